"""Dead letters: a message that could not be used, kept byte for byte with the reason and the place it had."""

from __future__ import annotations

from streamproc.documents import BadMessage, Document
from streamproc.errors import Where
from streamproc.transports.ports import Outgoing

__all__ = ["ORIGIN", "REINJECTED", "dead_letter", "settled_letter"]

REINJECTED = "streamproc-reinjected"
"""Header of a reinjected message: the analysis that is to take it."""

ORIGIN = "streamproc-origin"
"""Header of a reinjected message: ``topic/partition@offset`` of the original."""

_MAX_REASON_CHARS = 1000


def dead_letter(
    topic: str,
    message: Document | BadMessage,
    reason: str,
    analysis: str,
    now_s: float,
    *,
    kind: str = "refused",
    where: Where | None = None,
) -> Outgoing:
    """Return what goes to the dead-letter topic: the original bytes and, in headers, why and from where.

    Headers (all UTF-8 text): ``reason``, ``kind``, ``topic``, ``partition``, ``offset``, ``analysis``,
    ``first_s`` and ``last_s`` (both ``now_s`` here; a reader joins the letters of one message), and where
    known ``run_uid``, ``stream``, ``seq_num`` and ``key`` (the message's own). The key of the letter is the
    position of the message; a reinjected message keeps the position of the original.

    Parameters
    ----------
    topic : str
        The dead-letter topic.
    message : Document or BadMessage
        What was refused.
    reason : str
        Why, in a sentence; cut after 1000 characters.
    analysis : str
        Name of the analysis that refused it.
    now_s : float
        Unix time (s).
    kind : str
        ``undecodable``, ``refused``, ``unexpected`` or ``frame`` (a reading that failed).
    where : Where, optional
        Run, stream and seq_num concerned.
    """
    position = str(message.position) if message.letter is None else message.letter.decode(errors="replace")
    place, _, offset = position.rpartition("@")
    name, _, partition = place.rpartition("/")
    where = where or Where()
    headers = {
        "reason": reason[:_MAX_REASON_CHARS],
        "kind": kind,
        "topic": name,
        "partition": partition,
        "offset": offset,
        "analysis": analysis,
        "first_s": f"{now_s:.3f}",
        "last_s": f"{now_s:.3f}",
        "run_uid": where.run_uid,
        "stream": where.stream,
        "seq_num": None if where.seq_num is None else str(where.seq_num),
    }
    encoded = [(k, v.encode(errors="replace")) for k, v in headers.items() if v is not None]
    if message.key is not None:
        encoded.append(("key", message.key))
    return Outgoing(topic=topic, key=position.encode(), value=message.raw, headers=tuple(encoded))


def settled_letter(topic: str, key: bytes) -> Outgoing:
    """Return the message that says a letter is settled; the topic's compaction then drops both."""
    return Outgoing(topic=topic, key=key, value=None)
