"""Halves of readings: what the assembler keeps until the other half comes, and how it is stored."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from streamproc.documents import Document, Position
from streamproc.frames.requests import DatumRef, Inline, Locator, Origin, StreamSlice
from streamproc.runs import Run
from streamproc.runs.state import pack, pack_position, unpack, unpack_position

__all__ = [
    "Dark",
    "Half",
    "Halves",
    "Piece",
    "Pieces",
    "datum_locator",
    "earliest",
    "newest",
    "origin_of",
    "pack_locator",
    "pack_origin",
    "unpack_locator",
    "unpack_origin",
]


@dataclass(frozen=True, slots=True)
class Dark:
    """A dark reading: where it is and the descriptor's entry for its key."""

    locator: Locator
    data_key: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Half:
    """An event whose array is not known yet; ``datum_id`` where the event names one."""

    uid: str
    seq_num: int
    descriptor: str
    time_s: float
    readings: Mapping[str, Any]
    timestamps: Mapping[str, float]
    position: Position
    published_s: float | None
    dark: Dark | None
    datum_id: str | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a stream_datum: events ``first`` to ``stop`` (half-open), from ``index`` in the file on."""

    first: int
    stop: int
    index: int
    descriptor: str
    stream_resource: str
    position: Position
    published_s: float | None
    dark: Dark | None
    origin: Origin | None = None

    def cut(self, first: int, stop: int) -> Piece:
        """Return the part from ``first`` to ``stop``."""
        if first == self.first and stop == self.stop:
            return self
        return replace(self, first=first, stop=stop, index=self.index + first - self.first)


class Halves:
    """Events that wait, by sequence number and by datum; of one number the newest counts."""

    def __init__(self) -> None:
        self._halves: dict[int, Half] = {}
        self._by_datum: dict[str, list[int]] = {}
        self.message_bytes = 0
        """Length of the messages that the halves keep alive (bytes)."""

    def __len__(self) -> int:
        return len(self._halves)

    def __iter__(self) -> Iterator[Half]:
        return iter(self._halves.values())

    def get(self, seq_num: int) -> Half | None:
        """Return the half of one event."""
        return self._halves.get(seq_num)

    def add(self, half: Half) -> None:
        """Keep a half instead of any other of the same number."""
        self.pop(half.seq_num)
        self._halves[half.seq_num] = half
        self.message_bytes += _message_bytes(half)
        if half.datum_id is not None:
            self._by_datum.setdefault(half.datum_id, []).append(half.seq_num)

    def pop(self, seq_num: int) -> Half | None:
        """Take out the half of one event."""
        half = self._halves.pop(seq_num, None)
        self.message_bytes -= _message_bytes(half)
        if half is not None and half.datum_id is not None:
            others = [n for n in self._by_datum[half.datum_id] if n != seq_num]
            if others:
                self._by_datum[half.datum_id] = others
            else:
                del self._by_datum[half.datum_id]
        return half

    def datum_ids(self) -> list[str]:
        """Return the datums that are waited for."""
        return list(self._by_datum)

    def waits(self, datum_id: str) -> bool:
        """Tell whether an event waits for a datum."""
        return datum_id in self._by_datum

    def take(self, datum_id: str) -> list[Half]:
        """Take out the halves that wait for one datum."""
        found = [self.pop(seq_num) for seq_num in tuple(self._by_datum.get(datum_id, ()))]
        return [half for half in found if half is not None]

    def without_datum(self, first: int, stop: int) -> list[Half]:
        """Return the halves from ``first`` to ``stop`` that wait for a stream_datum, in order."""
        few = stop - first <= len(self._halves)
        numbers = range(first, stop) if few else sorted(n for n in self._halves if first <= n < stop)
        found = (self._halves.get(n) for n in numbers)
        return [half for half in found if half is not None and half.datum_id is None]


def _message_bytes(half: Half | None) -> int:
    return 0 if half is None or half.origin is None else len(half.origin.raw)


class Pieces:
    """Disjoint pieces by sequence number; one more replaces what it overlaps (the newest retake counts)."""

    def __init__(self, pieces: Sequence[Piece] = ()) -> None:
        self._pieces = sorted(pieces, key=lambda p: p.first)
        self._starts = [p.first for p in self._pieces]

    def __len__(self) -> int:
        return len(self._pieces)

    def __iter__(self) -> Iterator[Piece]:
        return iter(self._pieces)

    def add(self, piece: Piece) -> None:
        """Take a piece in."""
        self._replace(piece.first, piece.stop, [piece])

    def pop(self, seq_num: int) -> Piece | None:
        """Take out the piece of one event; None when there is none."""
        i = bisect_right(self._starts, seq_num) - 1
        if i < 0 or seq_num >= self._pieces[i].stop:
            return None
        piece = self._pieces[i].cut(seq_num, seq_num + 1)
        self.remove(seq_num, seq_num + 1)
        return piece

    def remove(self, first: int, stop: int) -> None:
        """Take out all from ``first`` to ``stop`` (half-open)."""
        self._replace(first, stop, [])

    def _replace(self, first: int, stop: int, new: list[Piece]) -> None:
        i = bisect_right(self._starts, first) - 1
        i += i < 0 or self._pieces[i].stop <= first
        j = i
        while j < len(self._pieces) and self._pieces[j].first < stop:
            j += 1
        if i < j:
            left, right = self._pieces[i], self._pieces[j - 1]
            before = [left.cut(left.first, first)] if left.first < first else []
            after = [right.cut(stop, right.stop)] if right.stop > stop else []
            new = [*before, *new, *after]
        self._pieces[i:j] = new
        self._starts[i:j] = [p.first for p in new]


def pack_locator(locator: Locator) -> list[Any]:
    """Return a locator as ``[kind, values]``."""
    return [type(locator).__name__, [pack(getattr(locator, f.name)) for f in fields(locator)]]


def unpack_locator(kind: str, values: Sequence[Any]) -> Locator:
    """Take up what :func:`pack_locator` gave."""
    kinds: dict[str, type[Any]] = {k.__name__: k for k in (Inline, DatumRef, StreamSlice)}
    locator: Locator = kinds[kind](*(unpack(v) for v in values))
    return locator


def origin_of(document: Document) -> Origin:
    """Return the message of a document."""
    return Origin(document.position, document.key, document.raw, document.letter)


def pack_origin(origin: Origin | None) -> list[Any] | None:
    """Return an origin as plain values."""
    return (
        None
        if origin is None
        else [
            pack_position(origin.position),
            origin.key,
            origin.raw,
            origin.letter,
        ]
    )


def unpack_origin(state: Sequence[Any] | None) -> Origin | None:
    """Take up what :func:`pack_origin` gave."""
    return None if state is None else Origin(unpack_position(state[0]), *state[1:])


def earliest(one: Position, other: Position) -> Position:
    """Return the position that a restart must go back to; ``one`` where the two cannot be compared."""
    return other if one.topic_partition == other.topic_partition and other.offset < one.offset else one


def newest(one: float | None, other: float | None) -> float | None:
    """Return the later of two times (s), either of which may be unknown."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def datum_locator(run: Run, datum_id: str) -> DatumRef | None:
    """Return where a datum's array is; None while the datum or its resource has not come."""
    datum = run.datum(datum_id)
    resource = run.resources.get(datum["resource"]) if datum else None
    return DatumRef(resource, datum) if datum and resource else None
