"""Pressure: the topic is paused rather than that memory grows."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from streamproc.observability.metrics import ServiceMetrics
from streamproc.service.work import Pending, RunWork
from streamproc.settings import FramesSettings
from streamproc.transports.ports import Source

__all__ = ["Pressure"]

_log = structlog.get_logger()

_INTERVAL_S = 0.02
"""How often it is looked at while nothing new comes; what waits can only become less then."""


class Pressure:
    """Pauses a source when too much waits, and lets it go on when half of that is worked off.

    Parameters
    ----------
    source : Source
        What is paused.
    frames : FramesSettings
        How many readings and bytes may wait.
    metrics : ServiceMetrics
        Told what waits.
    now_s : float
        The present time.
    """

    def __init__(self, source: Source, frames: FramesSettings, metrics: ServiceMetrics, now_s: float) -> None:
        self._source, self._frames, self._metrics = source, frames, metrics
        self._paused, self._last_s = False, now_s

    def due(self, now_s: float) -> bool:
        """Tell whether it is time to look, though nothing new has come."""
        return now_s - self._last_s >= _INTERVAL_S

    def balance(self, works: Sequence[RunWork], now_s: float) -> None:
        """Count what waits; pause or go on."""
        self._last_s = now_s
        pending = [p for work in works for p in work.pending.values()]
        count, size = len(pending), sum(p.inline_bytes for p in pending)
        if not self._paused and self._full(count, size, pending):
            self._source.pause()
            self._paused = True
            _log.warning("back-pressure: topic paused", frames=count, bytes=size, lag=self._source.lag())
        elif self._paused and self._half(count, size):
            self._source.resume()
            self._paused = False
            _log.info("back-pressure: topic resumed", frames=count, bytes=size)
        self._metrics.state(
            lag=self._source.lag(),
            waiting=count,
            waiting_bytes=size,
            open_runs=len(works),
            paused=self._paused,
        )

    def _full(self, count: int, size: int, pending: Sequence[Pending]) -> bool:
        full = count > self._frames.max_waiting_frames or size > self._frames.max_waiting_bytes
        # What was taken over and must be read again is no reason to stop reading.
        return full and not any(p.unread for p in pending)

    def _half(self, count: int, size: int) -> bool:
        frames = self._frames
        return count <= frames.max_waiting_frames // 2 and size <= frames.max_waiting_bytes // 2
