"""Frames judged before any science, by every analysis alike: reading, pattern, and what its run says of
it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from streamproc.consumers._patterns import MeasuredPattern, PatternSource

from streamproc.analysis import Frame, FrameResult
from streamproc.errors import FrameFailed
from streamproc.reduction.flags.patterns import PatternReader
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.reading import LEAST_CHANNELS, Reading
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.watch import FlagWatch, Judgement

__all__ = ["READING", "FrameJudge", "RunJudge"]

READING = "data-flags: reading"
"""Key under which a reading goes from the per-frame to the per-run half; no data key has a colon."""


class FrameJudge:
    """Reads frames: what they show by themselves, and their pattern, in one pass over the pixels.

    Parameters
    ----------
    source : PatternSource
        Reads 1-D patterns.
    settings : FlagSettings
        Thresholds.
    reader : FrameReader or None
        Reads images; None where frames are patterns.
    run_dark : bool
        Darks come from the run.
    """

    def __init__(
        self, source: PatternSource, settings: FlagSettings, reader: FrameReader | None, run_dark: bool
    ) -> None:
        self._source, self._reader, self._run_dark = source, reader, run_dark
        self._patterns = PatternReader(settings)

    def read(self, frame: Frame) -> tuple[Reading, Callable[[], MeasuredPattern]]:
        """Read a frame.

        Returns
        -------
        reading : Reading
        pattern : callable
            Returns the frame's pattern, or raises FrameFailed where it is empty or mostly negative.

        Raises
        ------
        FrameFailed
            There is nothing to judge: wrong shape, no axis, not finite, hardly any channel or ring.
        """
        if self._reader is not None:
            reading, profile = self._reader.read(frame.array, frame.dark if self._run_dark else None)
            return reading, lambda: self._source.of_profile(profile)
        pattern = self._source.given(frame)
        if pattern.intensity.size < LEAST_CHANNELS:
            raise FrameFailed(f"a pattern of {pattern.intensity.size} channels, at least {LEAST_CHANNELS}")
        reading = self._patterns.read(pattern.axis, pattern.intensity, pattern.kind, pattern.wavelength_A)
        return reading, lambda: self._source.checked(pattern)


class RunJudge:
    """Judges the readings of one run in order.

    Parameters
    ----------
    settings : FlagSettings
        Thresholds, and which reading is the monitor.
    """

    def __init__(self, settings: FlagSettings) -> None:
        self._watch, self._monitor = FlagWatch(settings), settings.monitor_key or ""

    def take(self, result: FrameResult) -> Judgement:
        """Judge the next result, which holds its reading under ``READING``."""
        return self._watch.take(result.readings[READING], _number(result.readings.get(self._monitor)))

    def snapshot(self) -> dict[str, Any]:
        """Return the state."""
        return self._watch.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._watch.restore(state)


def _number(value: Any) -> float:
    try:
        return float(np.asarray(value, float).reshape(()))
    except (TypeError, ValueError):
        return float("nan")
