"""Halves of readings: what the assembler keeps until the other half comes, and how it is stored."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from streamproc.documents import Position
from streamproc.frames.requests import DatumRef, Inline, Locator, StreamSlice
from streamproc.runs.state import pack, pack_position, unpack, unpack_position

__all__ = [
    "Dark",
    "Darks",
    "Half",
    "Piece",
    "Pieces",
    "earliest",
    "flat_configuration",
    "newest",
    "pack_locator",
    "small_readings",
    "unpack_locator",
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


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a stream_datum: events ``first`` to ``stop`` (half-open), ``index`` being the file's for ``first``."""

    first: int
    stop: int
    index: int
    descriptor: str
    stream_resource: str
    position: Position
    published_s: float | None
    dark: Dark | None

    def cut(self, first: int, stop: int) -> Piece:
        """Return the part from ``first`` to ``stop``."""
        return replace(self, first=first, stop=stop, index=self.index + first - self.first)


class Pieces:
    """Disjoint pieces by sequence number; adding one replaces what it overlaps (a retake: the newest counts)."""

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


class Darks:
    """Stores darks once, however many halves share one (an inline dark is a whole image)."""

    def __init__(self, state: Sequence[Any] = ()) -> None:
        self._darks = [Dark(unpack_locator(kind, values), unpack(key)) for kind, values, key in state]

    def index(self, dark: Dark | None) -> int:
        """Return the number of ``dark`` in the table, -1 for none."""
        if dark is None:
            return -1
        for i, known in enumerate(self._darks):
            if known is dark:
                return i
        self._darks.append(dark)
        return len(self._darks) - 1

    def __getitem__(self, index: int) -> Dark | None:
        return None if index < 0 else self._darks[index]

    def to_state(self) -> list[Any]:
        """Return the table as plain msgpack-able values."""
        return [[*pack_locator(d.locator), pack(d.data_key)] for d in self._darks]

    def pack(self, part: Half | Piece) -> dict[str, Any]:
        """Return a half or piece as plain values."""
        state = {
            f.name: pack(getattr(part, f.name)) for f in fields(part) if f.name not in ("dark", "position")
        }
        return {**state, "dark": self.index(part.dark), "position": pack_position(part.position)}

    def unpack(self, kind: type[Any], state: Mapping[str, Any]) -> Any:
        """Take up what :meth:`pack` gave; ``kind`` is :class:`Half` or :class:`Piece`."""
        values = {name: unpack(value) for name, value in state.items()}
        values["dark"] = self[state["dark"]]
        values["position"] = unpack_position(state["position"])
        return kind(**values)


def pack_locator(locator: Locator) -> list[Any]:
    """Return a locator as ``[kind, values]``."""
    return [type(locator).__name__, [pack(getattr(locator, f.name)) for f in fields(locator)]]


def unpack_locator(kind: str, values: Sequence[Any]) -> Locator:
    """Take up what :func:`pack_locator` gave."""
    kinds: dict[str, type[Any]] = {k.__name__: k for k in (Inline, DatumRef, StreamSlice)}
    locator: Locator = kinds[kind](*(unpack(v) for v in values))
    return locator


def earliest(one: Position, other: Position) -> Position:
    """Return the position that a restart must go back to; ``one`` where the two cannot be compared."""
    return other if one.topic_partition == other.topic_partition and other.offset < one.offset else one


def newest(one: float | None, other: float | None) -> float | None:
    """Return the later of two times (s), either of which may be unknown."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def flat_configuration(descriptor: Mapping[str, Any], max_elements: int, max_chars: int) -> dict[str, Any]:
    """Return the descriptor's configuration values by name, small ones only (some devices send whole images)."""
    return {
        key: value
        for device in descriptor.get("configuration", {}).values()
        for key, value in device.get("data", {}).items()
        if _small(value, max_elements, max_chars)
    }


def small_readings(
    event: Mapping[str, Any], data_keys: Mapping[str, Any], frame_key: str, max_elements: int, max_chars: int
) -> dict[str, Any]:
    """Return the event's other readings: scalars, short texts, small numeric arrays; no references to files.

    Keys with ``.`` or ``/`` are left out: event-model allows no such key in the result's documents.
    """
    filled = event.get("filled", {})
    readings = {}
    for key, value in event["data"].items():
        if key == frame_key or "." in key or "/" in key or not _small(value, max_elements, max_chars):
            continue
        if isinstance(value, str) and (filled.get(key) is False or data_keys.get(key, {}).get("external")):
            continue
        readings[key] = value
    return readings


def _small(value: Any, max_elements: int, max_chars: int) -> bool:
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        return True
    if isinstance(value, str):
        return len(value) <= max_chars
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufcU" and value.size <= max_elements
    return isinstance(value, (list, tuple)) and _elements(value, max_elements) <= max_elements


def _elements(value: Sequence[Any], limit: int) -> int:
    """Count the numbers in nested lists; anything else in them counts as too many."""
    count, stack = 0, [value]
    while stack:
        items = stack.pop()
        count += len(items)
        if count > limit:
            return count
        for item in items:
            if isinstance(item, (list, tuple)):
                stack.append(item)
            elif not isinstance(item, (bool, int, float, str, np.number)):
                return limit + 1
    return count
