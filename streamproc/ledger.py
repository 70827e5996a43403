"""Ledger: every expected reading of a run is done, failed (why) or dropped (why)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from streamproc.runs.seen import SeqNums

__all__ = ["Ledger"]

_FIRST = 10
"""How many seq_nums of each reason are named in the summary."""

_MOST_REASONS = 100
"""Distinct reasons kept; what comes after is counted as other."""


class Ledger:
    """What became of every reading of one stream.

    Each seq_num is counted once: :meth:`expect` before anything else, then exactly one of :meth:`done`,
    :meth:`failed` and :meth:`dropped`.
    """

    def __init__(self) -> None:
        self._expected = SeqNums()
        self._settled = SeqNums()
        self._done = 0
        self._failed: dict[str, SeqNums] = {}
        self._dropped: dict[str, SeqNums] = {}

    def expect(self, seq_num: int) -> None:
        """Note that a reading exists."""
        self._expected.add(seq_num)

    def done(self, seq_num: int) -> None:
        """Its result is published."""
        self._done += sum(stop - first for first, stop in self._settle(seq_num, seq_num + 1))

    def failed(self, seq_num: int, reason: str) -> None:
        """It could not be read or analysed."""
        self.failed_range(seq_num, seq_num + 1, reason)

    def failed_range(self, first: int, stop: int, reason: str) -> None:
        """Readings ``first`` to ``stop`` (half-open) failed for one reason."""
        for interval in self._settle(first, stop):
            _note(self._failed, interval, reason)

    def dropped(self, seq_num: int, reason: str) -> None:
        """It was left out on purpose (policy ``latest``)."""
        self.dropped_range(seq_num, seq_num + 1, reason)

    def dropped_range(self, first: int, stop: int, reason: str) -> None:
        """Readings ``first`` to ``stop`` (half-open) were left out for one reason."""
        for interval in self._settle(first, stop):
            _note(self._dropped, interval, reason)

    def retry(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Take failures of ``first`` to ``stop`` (half-open) back; they are expected again. Returns which."""
        taken = [cut for numbers in self._failed.values() for cut in numbers.remove(first, stop)]
        for start, end in taken:
            self._settled.remove(start, end)
        self._failed = {reason: numbers for reason, numbers in self._failed.items() if len(numbers)}
        return sorted(taken)

    @property
    def answered(self) -> SeqNums:
        """The readings that are done."""
        done = SeqNums(self._settled)
        for numbers in (*self._failed.values(), *self._dropped.values()):
            for start, stop in numbers:
                done.remove(start, stop)
        return done

    @property
    def failures(self) -> SeqNums:
        """The readings that failed, whatever the reason."""
        return SeqNums(interval for numbers in self._failed.values() for interval in numbers)

    @property
    def counts(self) -> dict[str, int]:
        """``expected``, ``done``, ``failed``, ``dropped``."""
        return {
            "expected": len(self._expected),
            "done": self._done,
            "failed": sum(map(len, self._failed.values())),
            "dropped": sum(map(len, self._dropped.values())),
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
            "expected": self._expected.to_state(),
            "settled": self._settled.to_state(),
            "done": self._done,
            "failed": {reason: numbers.to_state() for reason, numbers in self._failed.items()},
            "dropped": {reason: numbers.to_state() for reason, numbers in self._dropped.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Ledger:
        """Rebuild a ledger from :meth:`to_state`."""
        ledger = cls()
        ledger._expected = SeqNums(state["expected"])
        ledger._settled = SeqNums(state["settled"])
        ledger._done = int(state["done"])
        ledger._failed = {reason: SeqNums(numbers) for reason, numbers in state["failed"].items()}
        ledger._dropped = {reason: SeqNums(numbers) for reason, numbers in state["dropped"].items()}
        return ledger

    def _settle(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Mark as settled; returns the part that was not settled before."""
        self._expected.add(first, stop)
        fresh = list(self._settled.gaps(first, stop))
        self._settled.add(first, stop)
        return fresh


def _note(reasons: dict[str, SeqNums], interval: tuple[int, int], reason: str) -> None:
    """Count under the reason; a reason that names a file differs each time, so their number is bounded."""
    if reason not in reasons and len(reasons) >= _MOST_REASONS:
        reason = "other reasons (see the service's log)"
    reasons.setdefault(reason, SeqNums()).add(*interval)


def _reasons(reasons: Mapping[str, SeqNums]) -> list[dict[str, Any]]:
    return [
        {"reason": text, "count": len(numbers), "first_seq_nums": _first(numbers)}
        for text, numbers in reasons.items()
    ]


def _first(numbers: SeqNums) -> list[int]:
    return list(islice((n for start, stop in numbers for n in range(start, stop)), _FIRST))
