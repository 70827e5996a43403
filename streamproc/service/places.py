"""Where reading goes on when the topic does not hold any more what it held: deleted, cut short, made anew."""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.transports.ports import Held

__all__ = ["Place", "place"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to read from.

    Attributes
    ----------
    offset : int or None
        Next position to read; None: where the settings say.
    void : bool
        Positions known from before mean nothing any more, or lie beyond what the topic holds.
    lost : int
        Messages that were deleted before they were read, as far as that can be counted.
    why : str
        What has happened; empty: nothing.
    """

    offset: int | None
    void: bool = False
    lost: int = 0
    why: str = ""


def place(held: Held | None, topic_id: str, through: int, offset: int | None) -> Place:
    """Compare a position with what the topic holds.

    Parameters
    ----------
    held : Held or None
        What the partition holds now; None where that cannot change (a replay).
    topic_id : str
        Identity of the topic when the position was stored, empty if not known.
    through : int
        Next position that was never read (an older one may be wanted for messages to be read again).
    offset : int or None
        Position to read from; None: none is known.
    """
    if held is None or offset is None:
        return Place(offset)
    if topic_id and held.topic_id and topic_id != held.topic_id:
        return Place(
            held.first, True, 0,
            "the topic was deleted and made anew: reading begins with its first message; what it held before "
            "and was not read is gone",
        )  # fmt: skip
    if offset > held.end:
        return Place(
            held.end, True, 0,
            f"the topic ends at {held.end}, before position {offset} that was read already (did a node lose "
            "messages?): reading goes on at its end",
        )  # fmt: skip
    unread = max(through, offset)
    if held.first > unread:
        lost = held.first - unread
        return Place(
            held.first, True, lost,
            f"{lost} messages ({unread} to {held.first - 1}) were deleted from the topic before they were "
            "read: its retention is shorter than the service was away",
        )  # fmt: skip
    return Place(max(offset, held.first))
