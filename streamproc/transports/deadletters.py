"""Dead letters: a message that could not be used, kept byte for byte with the reason and the place it had."""

from __future__ import annotations

from streamproc.documents import BadMessage, Document
from streamproc.transports.ports import Outgoing

__all__ = ["dead_letter"]

_MAX_REASON_CHARS = 1000


def dead_letter(
    topic: str, message: Document | BadMessage, reason: str, analysis: str, now_s: float
) -> Outgoing:
    """Return what goes to the dead-letter topic: the original bytes and, in headers, why and from where.

    Headers (all UTF-8 text): ``reason``, ``topic``, ``partition``, ``offset``, ``analysis``, ``first_s``
    (Unix time the producer gave the message; empty when unknown) and ``last_s`` (``now_s``, when it was
    refused). The key is the message's own, or its position where it had none.

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
    """
    position = message.position
    first = "" if message.published_s is None else f"{message.published_s:.3f}"
    headers = {
        "reason": reason[:_MAX_REASON_CHARS],
        "topic": position.topic,
        "partition": str(position.partition),
        "offset": str(position.offset),
        "analysis": analysis,
        "first_s": first,
        "last_s": f"{now_s:.3f}",
    }
    return Outgoing(
        topic=topic,
        key=message.key if message.key is not None else str(position).encode(),
        value=message.raw,
        headers=tuple((k, v.encode(errors="replace")) for k, v in headers.items()),
    )
