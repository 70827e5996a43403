"""Pacer: documents at the distances they had when they were taken, or so many times closer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from streamproc.documents import Document

__all__ = ["MAX_SPEED", "Pacer"]

MAX_SPEED = float("inf")

_TIMED = ("start", "event", "stop")
_NAP_S = 0.01
"""Longest sleep: a pause, and the end, are noticed within it."""
_AWAKE_S = 0.0015
"""Sleeping comes back this late at worst on a quiet machine; the last moment of a wait is spent awake, which
also has the interpreter's lock at the right time."""


class Pacer:
    """Lets documents through at their times.

    Start, events and stop keep the distances of their own ``time``; others come in their order, not before
    the one before them is due.

    Parameters
    ----------
    speed : float
        How many times faster than they were taken.
    clock, sleep : callable
        Seconds from any origin; waiting.
    """

    def __init__(self, speed: float, clock: Callable[[], float], sleep: Callable[[float], Any]) -> None:
        self._speed, self._clock, self._sleep = speed, clock, sleep
        self._origin: tuple[float, float] | None = None
        self._held_s: float | None = None
        self._ended = False

    def paced(self, documents: Iterable[Document]) -> Iterator[tuple[Document, float | None]]:
        """Yield each document when it is due, with that time of the clock (s; None where it has none)."""
        for document in documents:
            time_s = document.doc.get("time")
            if document.name not in _TIMED or not isinstance(time_s, int | float):
                yield document, None
                continue
            if self._origin is None:
                self._origin = (self._clock(), float(time_s))
            self._wait(float(time_s))
            if self._ended:
                return
            yield document, self._due_s(float(time_s))

    def hold(self) -> None:
        """Let nothing through until :meth:`release`."""
        if self._held_s is None:
            self._held_s = self._clock()

    def release(self) -> None:
        """Go on with the distances that documents have, as if no time had passed."""
        if self._held_s is not None:
            if self._origin is not None:
                self._origin = (self._origin[0] + self._clock() - self._held_s, self._origin[1])
            self._held_s = None

    def end(self) -> None:
        """Let nothing more through."""
        self._ended = True

    def _due_s(self, time_s: float) -> float:
        began_s, first_s = self._origin or (0.0, 0.0)
        return began_s + (time_s - first_s) / self._speed

    def _wait(self, time_s: float) -> None:
        while not self._ended:
            left_s = self._due_s(time_s) - self._clock()
            if self._held_s is not None:
                self._sleep(_NAP_S)
            elif left_s > _AWAKE_S:
                self._sleep(min(left_s - _AWAKE_S, _NAP_S))
            elif left_s <= 0:
                return
