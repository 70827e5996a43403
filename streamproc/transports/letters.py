"""Letters: what lies in a dead-letter topic, the repeats of one message joined, the settled ones known."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamproc.documents import Position

if TYPE_CHECKING:
    from streamproc.transports.kafka.reading import Message

__all__ = ["UNKNOWN_KIND", "Letter", "LetterBook", "LetterFilter"]

UNKNOWN_KIND = "unknown"
"""Kind of a letter that was written before letters said their kind."""

_POSITION = re.compile(r"([A-Za-z0-9._-]{1,249})/([0-9]{1,10})@([0-9]{1,19})")
_WHOLE = re.compile(r"[0-9]{1,19}")
_CUT = re.compile(r"only its first [0-9]+ bytes are kept")


@dataclass(frozen=True, slots=True)
class Letter:
    """One original message that could not be used.

    Attributes
    ----------
    place : Position
        Where its newest letter lies in the dead-letter topic.
    offsets : tuple of int
        Offsets of all its letters in that partition, oldest first.
    key : bytes or None
        Key of the newest letter.
    origin : Position or None
        Where the original message was; None when the letter does not say.
    message_key : bytes or None
        Key of the original message.
    kind : str
        ``undecodable``, ``refused``, ``unexpected``, ``frame``, or ``unknown`` (older letters).
    reason : str
        Why, as the newest letter has it; text of unknown origin.
    analyses : tuple of str
        Who refused it, the newest last.
    first_s, last_s : float or None
        Unix time (s) of the first and the last refusal.
    run_uid, stream : str or None
        What it concerns, where known.
    seq_nums : tuple of int
        Readings it concerns, where known; one ``stream_datum`` can hold several that failed.
    size : int
        Bytes kept.
    written_s : float or None
        Unix time (s) the broker gave the newest letter.
    settled : bool
        Purged, or answered after it was reinjected.
    """

    place: Position
    offsets: tuple[int, ...]
    key: bytes | None
    origin: Position | None
    message_key: bytes | None
    kind: str
    reason: str
    analyses: tuple[str, ...]
    first_s: float | None
    last_s: float | None
    run_uid: str | None
    stream: str | None
    seq_nums: tuple[int, ...]
    size: int
    written_s: float | None
    settled: bool = False

    @property
    def name(self) -> str:
        """What the letter is called on the command line: its origin, or else its own place."""
        return str(self.origin or self.place)

    @property
    def count(self) -> int:
        """How often the message was refused, as far as the topic still knows."""
        return len(self.offsets)

    @property
    def cut(self) -> bool:
        """Whether only the first bytes of the message were kept."""
        return _CUT.search(self.reason) is not None


class LetterBook:
    """The letters of one topic, built message by message in the topic's order."""

    def __init__(self) -> None:
        self._letters: dict[tuple[int, str], Letter] = {}
        self._older: dict[tuple[int, bytes], set[str]] = {}
        self._first: dict[int, int] = {}
        self._next: dict[int, int] = {}

    def add(self, message: Message) -> None:
        """Take the next message of a partition: a letter, or the mark that one is settled."""
        partition, offset = message.position.partition, message.position.offset
        self._first.setdefault(partition, offset)
        self._next[partition] = offset + 1
        if message.value is None:
            self._settle(partition, message.key)
            return
        letter = _parsed(message)
        place = (partition, letter.name)
        if letter.key is not None and letter.key != letter.name.encode():
            self._older.setdefault((partition, letter.key), set()).add(letter.name)
        known = self._letters.get(place)
        self._letters[place] = letter if known is None or known.settled else _joined(known, letter)

    def letters(self, *, settled: bool = False) -> list[Letter]:
        """Return the open letters (``settled``: and the settled ones), the newest last."""
        chosen = (letter for letter in self._letters.values() if settled or not letter.settled)
        return sorted(chosen, key=lambda letter: (letter.last_s or 0.0, letter.place))

    def find(self, name: str, topic: str) -> list[Letter]:
        """Return the letters of a name (several only where partitions were added to the topic later).

        Parameters
        ----------
        name : str
            ``topic/partition@offset``, or ``partition@offset`` in ``topic``.
        topic : str
            The raw topic.
        """
        wanted = name if "/" in name else f"{topic}/{name}"
        found = (self._letters.get((partition, wanted)) for partition in self._next)
        return [letter for letter in found if letter is not None]

    def sharing(self, letter: Letter) -> list[Letter]:
        """Return the other open letters that the mark of this one would settle too (older letters only)."""
        if letter.key is None:
            return []
        names = self._older.get((letter.place.partition, letter.key), set())
        others = (self._letters[letter.place.partition, name] for name in sorted(names))
        return [o for o in others if o.name != letter.name and o.key == letter.key and not o.settled]

    def free_offsets(self, settling: Collection[Letter] = ()) -> dict[int, int]:
        """Return, by partition, the offset below which nothing is open once ``settling`` are settled.

        Partitions whose oldest message is still open are left out.
        """
        gone = {(letter.place.partition, letter.name) for letter in settling}
        lowest = dict(self._next)
        for place, letter in self._letters.items():
            if not letter.settled and place not in gone:
                lowest[place[0]] = min(lowest[place[0]], letter.offsets[0])
        return {p: offset for p, offset in lowest.items() if offset > self._first[p]}

    def _settle(self, partition: int, key: bytes | None) -> None:
        if key is None:
            return
        for name in {key.decode(errors="replace"), *self._older.pop((partition, key), ())}:
            letter = self._letters.get((partition, name))
            if letter is not None:
                self._letters[partition, name] = replace(letter, settled=True)


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; what is None says nothing.

    Attributes
    ----------
    run_uid : str or None
        Beginning of the run's uid.
    analysis, kind : str or None
        As the letter has them.
    reason : str or None
        A part of the reason, in any case.
    since_s : float or None
        Unix time (s): refused (again) at this time or later.
    """

    run_uid: str | None = None
    analysis: str | None = None
    kind: str | None = None
    reason: str | None = None
    since_s: float | None = None

    def __bool__(self) -> bool:
        return self != LetterFilter()

    def apply(self, letters: Iterable[Letter]) -> Iterator[Letter]:
        """Yield the letters that are meant."""
        return (letter for letter in letters if self._fits(letter))

    def _fits(self, letter: Letter) -> bool:
        return (
            (self.run_uid is None or (letter.run_uid or "").startswith(self.run_uid))
            and (self.analysis is None or self.analysis in letter.analyses)
            and (self.kind is None or letter.kind == self.kind)
            and (self.reason is None or self.reason.casefold() in letter.reason.casefold())
            and (self.since_s is None or (letter.last_s or 0.0) >= self.since_s)
        )


def _parsed(message: Message) -> Letter:
    headers = {name: value or b"" for name, value in message.headers}
    texts = {name: value.decode(errors="replace") for name, value in headers.items() if value}
    analysis = texts.get("analysis")
    first_s, last_s = _time_s(texts.get("first_s")), _time_s(texts.get("last_s"))
    last_s = message.timestamp_s if last_s is None else last_s
    return Letter(
        place=message.position,
        offsets=(message.position.offset,),
        key=message.key,
        origin=_origin(texts, message.key),
        message_key=headers.get("key"),
        kind=texts.get("kind", UNKNOWN_KIND),
        reason=texts.get("reason", ""),
        analyses=(analysis,) if analysis else (),
        first_s=last_s if first_s is None else first_s,
        last_s=last_s,
        run_uid=texts.get("run_uid"),
        stream=texts.get("stream"),
        seq_nums=(int(seq_num),) if _WHOLE.fullmatch(seq_num := texts.get("seq_num", "")) else (),
        size=len(message.value or b""),
        written_s=message.timestamp_s,
    )


def _origin(texts: dict[str, str], key: bytes | None) -> Position | None:
    said = f"{texts.get('topic', '')}/{texts.get('partition', '')}@{texts.get('offset', '')}"
    for text in (said, (key or b"").decode(errors="replace")):
        if match := _POSITION.fullmatch(text):
            return Position(match[1], int(match[2]), int(match[3]))
    return None


def _time_s(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _joined(known: Letter, new: Letter) -> Letter:
    """Join a letter with the earlier ones of the same message; the newest has the word."""
    times_s = [s for s in (known.first_s, new.first_s) if s is not None]
    return replace(
        new,
        offsets=(*known.offsets, *new.offsets),
        analyses=(*(a for a in known.analyses if a not in new.analyses), *new.analyses),
        first_s=min(times_s, default=None),
        last_s=max((s for s in (known.last_s, new.last_s) if s is not None), default=None),
        run_uid=new.run_uid or known.run_uid,
        stream=new.stream or known.stream,
        seq_nums=tuple(sorted({*known.seq_nums, *new.seq_nums})),
    )
