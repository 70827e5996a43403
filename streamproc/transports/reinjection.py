"""Reinjection: a message goes to the raw topic again, for the analyses that refused it."""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.transports.deadletters import ORIGIN, REINJECTED
from streamproc.transports.letters import Letter

__all__ = ["Reinjection", "refusal", "reinjections"]


@dataclass(frozen=True, slots=True)
class Reinjection:
    """A message for the raw topic; unlike our own messages it may have no key."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def refusal(
    letter: Letter, topic: str, partitions: int, analysis: str | None, *, repaired: bool = False
) -> str | None:
    """Return why a letter cannot be reinjected into a topic; None when it can.

    Parameters
    ----------
    letter : Letter
        The letter.
    topic : str
        The raw topic.
    partitions : int
        How many partitions it has.
    analysis : str or None
        Who is to take it; None: those who refused it.
    repaired : bool
        Whether other bytes take the place of the kept ones.
    """
    if letter.settled:
        return "it is settled: purged, or answered after it was reinjected"
    if letter.origin is None:
        return "it does not say where its message was"
    if letter.origin.topic != topic:
        return (
            f"its message was in topic {letter.origin.topic}, the raw topic here is {topic}: see --beamline"
        )
    if letter.origin.partition >= partitions:
        return f"its message was in partition {letter.origin.partition}, the topic has only {partitions}"
    if not (analysis or letter.analyses):
        return "it does not say which analysis refused it: name one with --analysis"
    if letter.cut and not repaired:
        return "only its first bytes were kept: give the whole message with --file"
    if not letter.size and not repaired:
        return "its message had no value: give one with --file"
    return None


def reinjections(letter: Letter, value: bytes, analysis: str | None) -> list[Reinjection]:
    """Return what goes to the raw topic, one message for each analysis that is to take it.

    Parameters
    ----------
    letter : Letter
        One for which :func:`refusal` gives None.
    value : bytes
        The original message, or a repaired one.
    analysis : str or None
        Who is to take it; None: those who refused it.
    """
    if letter.origin is None:
        raise ValueError("a letter without an origin cannot be reinjected")
    origin = str(letter.origin).encode()
    return [
        Reinjection(
            topic=letter.origin.topic,
            partition=letter.origin.partition,
            key=letter.message_key,
            value=value,
            headers=((REINJECTED, name.encode()), (ORIGIN, origin)),
        )
        for name in ([analysis] if analysis else letter.analyses)
    ]
