"""answer_run: one model on one archived run, through the replay engine, with what it costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from streamproc.analysis import Analysis, Frame, FrameFailure, FrameResult, RunAnalysis
from streamproc.comparison.comparison import Timing
from streamproc.errors import AnalysisHangs, ConfigurationError
from streamproc.export.choice import choose
from streamproc.export.table import ResultTable, build_table
from streamproc.replay import Archive, NoTarget, Progress, RunRef, replay_run
from streamproc.runs import Run
from streamproc.settings import Settings

__all__ = ["answer_run"]


def answer_run(
    archive: Archive,
    run: RunRef,
    analysis: Analysis,
    settings: Settings,
    *,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> tuple[ResultTable, Timing]:
    """Analyse an archived run and return the answers as a table.

    Parameters
    ----------
    archive, run
        Which frames.
    analysis : Analysis
        The loaded analysis with its model.
    settings : Settings
        As for a replay.
    progress : callable, optional
        As for a replay.
    stop : threading.Event, optional
        Ends it early; what was answered by then is in the table.

    Raises
    ------
    ConfigurationError
        The run has no frames for this analysis, or the archive cannot be read.
    """
    documents: list[tuple[str, Mapping[str, Any]]] = []
    watched = _Timed(analysis)
    outcome = replay_run(
        archive, run, cast(Analysis, watched), NoTarget(), settings=settings, progress=progress, stop=stop,
        tap=lambda name, doc: documents.append((name, doc)),
    )  # fmt: skip
    if outcome.ending == "hangs":
        raise AnalysisHangs(outcome.reason)
    starts = [doc for name, doc in documents if name == "start"]
    if not starts:
        raise ConfigurationError(f"run {run.uid}: {outcome.reason or 'nothing in it for ' + analysis.name}")
    table = build_table(choose(starts, None, model=None), documents)
    return table, watched.timing(outcome.frames, outcome.elapsed_s)


class _Timed:
    """An analysis whose calls of ``process`` are timed."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._spent: list[tuple[float, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._analysis, name)

    def begin(self, run: Run) -> RunAnalysis:
        return cast(RunAnalysis, _TimedRun(self._analysis.begin(run), self._note))

    def _note(self, seconds: float, frames: int) -> None:
        self._spent.append((seconds, frames))

    def timing(self, frames: int, elapsed_s: float) -> Timing:
        """Return milliseconds per frame over all calls, each frame of a batch with the batch's mean."""
        if not self._spent:
            return Timing(0, float("nan"), float("nan"), 0.0)
        each = np.concatenate([np.full(n, 1000 * s / n) for s, n in self._spent])
        return Timing(
            frames, float(np.median(each)), float(np.percentile(each, 95)), frames / max(elapsed_s, 1e-9)
        )


class _TimedRun:
    def __init__(self, analysis: RunAnalysis, note: Callable[[float, int], None]) -> None:
        self._analysis, self._note = analysis, note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._analysis, name)

    def process(self, frames: Sequence[Frame]) -> Sequence[FrameResult | FrameFailure]:
        began_s = time.perf_counter()
        answers = self._analysis.process(frames)
        self._note(time.perf_counter() - began_s, len(frames))
        return answers
