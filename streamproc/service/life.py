"""Life: how the owners of a partition ended, and the reading that may have ended them.

A frame can end its process: a library that crashes on it, memory that it takes, a loop without end. What
died comes back to the same frame. So a partition whose owners die one after the other is worked on with
care, one reading at a time, each noted in the stored state before it is tried; a reading that was the one
being tried each time is failed, with the reason, and everything else goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Life"]

_CALM_S = 15.0
"""Who lives so long did not die of what it found at its beginning."""

_CARE = 2
"""So many owners in a row must have died young for the next one to take care."""

_TRIES = 3
"""So often a reading is tried alone; who is killed for other reasons is hardly killed thrice during it."""

_Trying = tuple[str, int, int]


@dataclass(slots=True)
class Life:
    """The present owner of a partition, and those before it.

    Attributes
    ----------
    began_s : float
        When it took over (s, the service's clock).
    deaths : int
        Owners in a row, just before this one, that ended without a word.
    before : (str, int, int) or None
        Run, seq_num and number of tries of the reading that the last one tried alone.
    ended : bool
        Whether this one ends in order.
    """

    began_s: float
    deaths: int = 0
    before: _Trying | None = None
    ended: bool = False
    _trying: _Trying | None = None

    @classmethod
    def restored(cls, state: Any, now_s: float) -> Life:
        """Begin a life with what is stored of the last one; None: there was none."""
        if not state:
            return cls(now_s)
        trying = state["trying"]
        before = None if trying is None else (str(trying[0]), int(trying[1]), int(trying[2]))
        return cls(now_s, 0 if state["ended"] else int(state["deaths"]) + 1, before)

    def to_state(self, now_s: float) -> dict[str, Any]:
        """Return what the next owner must know, as plain values."""
        deaths, trying = 0 if self._calm(now_s) else self.deaths, self._trying or self.before
        return {"ended": self.ended, "deaths": deaths, "trying": trying and list(trying)}

    def careful(self, now_s: float) -> bool:
        """Tell whether readings are to be tried one at a time."""
        return self.deaths >= _CARE and not self._calm(now_s)

    def hung(self) -> None:
        """Note that this life ends because an analysis does not."""
        self.began_s, self.deaths = float("inf"), _CARE

    def tries(self, run_uid: str, seq_num: int) -> str:
        """Note the reading that is tried next; returns why it must not be, empty: it may."""
        again = self.before is not None and self.before[:2] == (run_uid, seq_num)
        count = self.before[2] + 1 if again and self.before is not None else 1
        if count > _TRIES:
            return (
                f"the service ended {_TRIES} times while this reading alone was in work (a crash of a "
                "library, too much memory, an analysis without end); it is left aside, so that all others "
                "are answered"
            )
        self._trying = (run_uid, seq_num, count)
        return ""

    def _calm(self, now_s: float) -> bool:
        return now_s - self.began_s > _CALM_S
