"""Account of one stream's readings: which exist, which became complete, and why others did not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from streamproc.runs.seen import SeqNums

__all__ = ["Account", "FileNumbers", "Missing"]


@dataclass(frozen=True, slots=True)
class Missing:
    """Readings ``first`` to ``stop`` (half-open) that never became complete, and why."""

    first: int
    stop: int
    reason: str

    @property
    def seq_nums(self) -> range:
        """The sequence numbers; a range, so that a large one costs nothing."""
        return range(self.first, self.stop)


class Account:
    """What was seen and what became of it.

    Attributes
    ----------
    expected, complete, repeated : SeqNums
        Sequence numbers seen at all; those whose reading is complete; those that came again after that.
    """

    def __init__(self, max_failures: int) -> None:
        self.expected, self.complete, self.repeated = SeqNums(), SeqNums(), SeqNums()
        self._failures: deque[Missing] = deque(maxlen=max_failures)

    def fail(self, first: int, stop: int, reason: str) -> None:
        """Note that readings will not become complete (unless they are taken again)."""
        self._failures.append(Missing(first, stop, reason))

    def missing(self, announced: int, waiting: Iterable[Missing], never: str) -> list[Missing]:
        """Return what exists but never became complete, in order.

        Parameters
        ----------
        announced : int
            How many readings the stop says there are.
        waiting : iterable of Missing
            What half-known readings wait for.
        never : str
            The reason for readings of which nothing was seen.
        """
        wanted = SeqNums(self.expected)
        wanted.add(1, 1 + announced)
        lost = SeqNums(gap for start, end in wanted for gap in self.complete.gaps(start, end))
        found = [
            Missing(*interval, one.reason)
            for one in (*waiting, *self._failures)
            for interval in lost.remove(one.first, one.stop)
        ]
        found.extend(Missing(*interval, never) for interval in lost)
        return _merged(found)

    def to_state(self) -> dict[str, Any]:
        """Return the account as plain values."""
        return {
            "expected": self.expected.to_state(),
            "complete": self.complete.to_state(),
            "repeated": self.repeated.to_state(),
            "failures": [[f.first, f.stop, f.reason] for f in self._failures],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`to_state` gave."""
        self.expected, self.complete = SeqNums(state["expected"]), SeqNums(state["complete"])
        self.repeated = SeqNums(state["repeated"])
        self._failures.extend(Missing(*f) for f in state["failures"])


class FileNumbers:
    """Turns the indices of stream_datums into event numbers within each file.

    ``indices`` count within one stream_resource (ophyd-async starts again at 0 with every file). Where a new
    single file continues the numbering of the one before, the numbers before it are taken off; sequences of
    numbered files keep theirs.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._bases: dict[str, int] = {}
        self._last: tuple[str, str, int] | None = None

    def index(self, indices: Mapping[str, int], resource: Mapping[str, Any]) -> int:
        """Return the number, within its own file, of the first event of a stream_datum."""
        uid, start = resource["uid"], int(indices["start"])
        if uid not in self._bases:
            self._bases[uid] = start if self._goes_on(resource, start) else 0
            if len(self._bases) > self._size:
                del self._bases[next(iter(self._bases))]
        self._note(uid, resource["uri"], int(indices["stop"]))
        base = self._bases.get(uid, 0)
        return start - base if start >= base else start

    def _note(self, uid: str, uri: str, stop: int) -> None:
        """Note where the numbering is; a stream_datum that is taken once more does not set it back."""
        last = self._last
        if (
            last is None
            or (uid == last[0] and stop > last[2])
            or (uid != last[0] and uid == [*self._bases][-1])
        ):
            self._last = (uid, uri, stop)

    def _goes_on(self, resource: Mapping[str, Any], start: int) -> bool:
        if self._last is None or start == 0 or start != self._last[2]:
            return False
        numbered = resource["mimetype"].startswith("multipart/") or "template" in resource["parameters"]
        return self._last[1] != resource["uri"] and not numbered

    def to_state(self) -> dict[str, Any]:
        """Return what is known as plain values."""
        return {"bases": dict(self._bases), "last": list(self._last) if self._last else None}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`to_state` gave."""
        self._bases = dict(state["bases"])
        last = state["last"]
        self._last = (last[0], last[1], last[2]) if last else None


def _merged(found: list[Missing]) -> list[Missing]:
    """Put neighbours with the same reason together, in order of sequence number."""
    merged: list[Missing] = []
    for one in sorted(found, key=lambda m: m.first):
        if merged and merged[-1].stop == one.first and merged[-1].reason == one.reason:
            merged[-1] = Missing(merged[-1].first, one.stop, one.reason)
        else:
            merged.append(one)
    return merged
