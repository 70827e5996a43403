"""RunningClock: time during which this process was running; while it is stopped (Ctrl-Z) no time passes."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["RunningClock"]


class RunningClock:
    """Counts seconds, less those between a stop of the process and its continuation.

    Somebody has to look at it often: the last look before a stop is taken for the stop.

    Parameters
    ----------
    clock : callable
        Seconds from any origin, going on while the process is stopped.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._away_s = clock, 0.0
        self._looked_s = clock()

    def __call__(self) -> float:
        """Return the time (s)."""
        self._looked_s = now_s = self._clock()
        return now_s - self._away_s

    def continued(self) -> None:
        """The process goes on after it was stopped: what lies between is left out (call it at SIGCONT)."""
        now_s = self._clock()
        self._away_s += now_s - self._looked_s
        self._looked_s = now_s
