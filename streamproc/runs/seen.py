"""Bounded memory of what was seen: sequence numbers as intervals, uids as a window of the newest."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["RecentIds", "SeqNums", "TooManyGaps"]


class TooManyGaps(ValueError):
    """The set would need more intervals than it may hold."""


class SeqNums:
    """A set of integers kept as sorted, disjoint half-open intervals; memory grows with the gaps only.

    Parameters
    ----------
    intervals : iterable of (start, stop)
        To begin with.
    max_intervals : int
        Adding a value that would need more raises :class:`TooManyGaps`.
    """

    __slots__ = ("_max", "_starts", "_stops")

    def __init__(self, intervals: Iterable[Any] = (), max_intervals: int = 100_000) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._max = max_intervals
        for start, stop in intervals:
            self.add(start, stop)

    def add(self, start: int, stop: int | None = None) -> None:
        """Add ``start``, or every integer of the half-open interval ``[start, stop)``."""
        stop = start + 1 if stop is None else stop
        if stop <= start:
            return
        starts, stops = self._starts, self._stops
        if stops and stops[-1] == start:  # the usual case: one after the other
            stops[-1] = stop
            return
        lo = bisect_right(stops, start - 1)  # first interval that touches or lies behind
        hi = bisect_right(starts, stop)
        if lo == hi and len(starts) >= self._max:
            raise TooManyGaps(f"more than {self._max} gaps between sequence numbers")
        if lo < hi:
            start, stop = min(start, starts[lo]), max(stop, stops[hi - 1])
        starts[lo:hi] = [start]
        stops[lo:hi] = [stop]

    def __contains__(self, value: int) -> bool:
        i = bisect_right(self._starts, value) - 1
        return i >= 0 and value < self._stops[i]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Iterate over the intervals ``(start, stop)``, ascending."""
        return iter(zip(self._starts, self._stops, strict=True))

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeqNums) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SeqNums({list(self)})"

    def overlap(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the intervals of the set that lie in ``[start, stop)``."""
        i, j = self._touched(start, stop)
        pairs = zip(self._starts[i:j], self._stops[i:j], strict=True)
        return [(max(a, start), min(b, stop)) for a, b in pairs]

    def remove(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Take ``[start, stop)`` out and return the intervals that were in the set."""
        cut = self.overlap(start, stop)
        if cut:
            i, j = self._touched(start, stop)
            rest = [(self._starts[i], start), (stop, self._stops[j - 1])]
            kept = [(a, b) for a, b in rest if a < b]
            self._starts[i:j] = [a for a, _ in kept]
            self._stops[i:j] = [b for _, b in kept]
        return cut

    def _touched(self, start: int, stop: int) -> tuple[int, int]:
        i = bisect_right(self._stops, start)
        return i, max(i, bisect_right(self._starts, stop - 1))

    def gaps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Iterate over the maximal intervals of ``[start, stop)`` that are not in the set."""
        i = bisect_right(self._stops, start)
        while start < stop and i < len(self._starts) and self._starts[i] < stop:
            if self._starts[i] > start:
                yield start, self._starts[i]
            start = self._stops[i]
            i += 1
        if start < stop:
            yield start, stop

    def to_state(self) -> list[list[int]]:
        """Return the intervals as lists."""
        return [[start, stop] for start, stop in self]


class RecentIds:
    """The newest ``size`` identifiers, oldest forgotten first."""

    __slots__ = ("_ids", "size")

    def __init__(self, size: int, ids: Iterable[str] = ()) -> None:
        self.size = size
        self._ids: dict[str, None] = dict.fromkeys(ids)

    def __contains__(self, uid: str) -> bool:
        return uid in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, uid: str) -> None:
        """Remember ``uid``."""
        ids = self._ids
        ids[uid] = None
        if len(ids) > self.size:
            del ids[next(iter(ids))]
