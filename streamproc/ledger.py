"""Ledger: every expected reading of a run is done, failed (why) or dropped (why)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Ledger", "SeqNums"]

_FIRST = 10
"""How many seq_nums of each reason are named in the summary."""


class SeqNums:
    """A set of sequence numbers kept as closed ranges, so that a million done frames cost nothing."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Iterable[Iterable[int]] = ()) -> None:
        self._ranges: list[list[int]] = [list(r) for r in ranges]

    def add(self, seq_num: int) -> bool:
        """Add a number; False when it was there already."""
        at = self._bisect(seq_num)
        if at and self._ranges[at - 1][1] >= seq_num:
            return False
        joins_left = at > 0 and self._ranges[at - 1][1] == seq_num - 1
        joins_right = at < len(self._ranges) and self._ranges[at][0] == seq_num + 1
        if joins_left and joins_right:
            self._ranges[at - 1][1] = self._ranges.pop(at)[1]
        elif joins_left:
            self._ranges[at - 1][1] = seq_num
        elif joins_right:
            self._ranges[at][0] = seq_num
        else:
            self._ranges.insert(at, [seq_num, seq_num])
        return True

    def __contains__(self, seq_num: int) -> bool:
        at = self._bisect(seq_num)
        return at > 0 and self._ranges[at - 1][1] >= seq_num

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._ranges)

    def ranges(self) -> list[list[int]]:
        """Return the ranges as [first, last] pairs."""
        return [list(r) for r in self._ranges]

    def _bisect(self, seq_num: int) -> int:
        """Return the index of the first range that starts after ``seq_num``."""
        low, high = 0, len(self._ranges)
        while low < high:
            middle = (low + high) // 2
            if self._ranges[middle][0] <= seq_num:
                low = middle + 1
            else:
                high = middle
        return low


@dataclass(slots=True)
class _Reason:
    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, seq_num: int) -> None:
        self.count += 1
        if len(self.first) < _FIRST:
            self.first.append(seq_num)


class Ledger:
    """What became of every reading of one stream.

    Each seq_num is counted once: :meth:`expect` before anything else, then exactly one of :meth:`done`,
    :meth:`failed` and :meth:`dropped`.
    """

    def __init__(self) -> None:
        self._expected = SeqNums()
        self._settled = SeqNums()
        self._done = 0
        self._failed: dict[str, _Reason] = {}
        self._dropped: dict[str, _Reason] = {}

    def expect(self, seq_num: int) -> bool:
        """Note that a reading exists; False when that was known."""
        return self._expected.add(seq_num)

    def done(self, seq_num: int) -> None:
        """Its result is published."""
        if self._settle(seq_num):
            self._done += 1

    def failed(self, seq_num: int, reason: str) -> None:
        """It could not be read or analysed."""
        if self._settle(seq_num):
            self._failed.setdefault(reason, _Reason()).add(seq_num)

    def dropped(self, seq_num: int, reason: str) -> None:
        """It was left out on purpose (policy ``latest``)."""
        if self._settle(seq_num):
            self._dropped.setdefault(reason, _Reason()).add(seq_num)

    @property
    def counts(self) -> dict[str, int]:
        """``expected``, ``done``, ``failed``, ``dropped``."""
        return {
            "expected": len(self._expected),
            "done": self._done,
            "failed": sum(r.count for r in self._failed.values()),
            "dropped": sum(r.count for r in self._dropped.values()),
        }

    def summary(self) -> dict[str, Any]:
        """Return what stands in the result run's stop: counts, and each reason with its first seq_nums."""
        return {
            **self.counts,
            "failed_reasons": _reasons(self._failed),
            "dropped_reasons": _reasons(self._dropped),
        }

    def to_state(self) -> dict[str, Any]:
        """Return everything, for the open-run state."""
        return {
            "expected": self._expected.ranges(),
            "settled": self._settled.ranges(),
            "done": self._done,
            "failed": {k: [r.count, r.first] for k, r in self._failed.items()},
            "dropped": {k: [r.count, r.first] for k, r in self._dropped.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Ledger:
        """Rebuild a ledger from :meth:`to_state`."""
        ledger = cls()
        ledger._expected = SeqNums(state["expected"])
        ledger._settled = SeqNums(state["settled"])
        ledger._done = int(state["done"])
        ledger._failed = {k: _Reason(int(n), list(first)) for k, (n, first) in state["failed"].items()}
        ledger._dropped = {k: _Reason(int(n), list(first)) for k, (n, first) in state["dropped"].items()}
        return ledger

    def _settle(self, seq_num: int) -> bool:
        self._expected.add(seq_num)
        return self._settled.add(seq_num)


def _reasons(reasons: Mapping[str, _Reason]) -> list[dict[str, Any]]:
    return [
        {"reason": text, "count": r.count, "first_seq_nums": list(r.first)} for text, r in reasons.items()
    ]
