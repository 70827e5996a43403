"""Desk: which open runs are under analysis, and how each of their documents is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from streamproc.analysis import Analysis, FrameFailure, RunAnalysis, RunResult
from streamproc.documents import Document
from streamproc.errors import RunRefused
from streamproc.frames.assembler import Assembler
from streamproc.frames.requests import FrameRequest
from streamproc.results import ResultRun
from streamproc.runs import Run, RunClosed, RunOpened, RunUpdated
from streamproc.service.work import Pending, RunWork

__all__ = ["Desk"]

_log = structlog.get_logger()

Expect = Callable[[RunWork, Document, Sequence[FrameRequest]], None]


class Desk:
    """Begins the analysis of a run when its stream is described, feeds it, and closes it.

    Parameters
    ----------
    analysis : Analysis
        The loaded analysis.
    dark_stream : str or None
        Name of the stream with dark frames.
    most_waiting : int
        Readings of one run in work or waiting; more stay folded up in the assembler.
    """

    def __init__(self, analysis: Analysis, dark_stream: str | None, most_waiting: int) -> None:
        self.works: dict[str, RunWork] = {}
        self._assemblers: dict[str, Assembler] = {}
        self._analysis = analysis
        self._dark_stream = dark_stream
        self._most_waiting = most_waiting
        self._refusals: dict[str, str] = {}
        self._refused_closed: list[tuple[Run, str]] = []

    def handle(self, outcome: RunOpened | RunUpdated | RunClosed, expect: Expect) -> None:
        """Take what the tracker says of a run; new readings go to ``expect``."""
        if isinstance(outcome, RunOpened):
            # From the very start: dark frames are taken before the stream they belong to is described.
            run, stream = outcome.run, self._analysis.stream()
            self._assemblers[run.uid] = Assembler(run, stream, None, self._dark_stream)
        elif isinstance(outcome, RunUpdated):
            self._update(outcome, expect)
        elif isinstance(outcome, RunClosed):
            self._close(outcome)

    def forget(self, run_uid: str) -> None:
        """Drop a finished run."""
        self.works.pop(run_uid, None)
        self._assemblers.pop(run_uid, None)

    def take_refused(self) -> list[tuple[Run, str]]:
        """Return the refused runs that have closed since the last call, with the reason."""
        closed, self._refused_closed = self._refused_closed, []
        return closed

    def swap(self, analysis: Analysis) -> list[str]:
        """Go on with another analysis; returns the open runs that keep the one they began with.

        A run goes on with the new one when that gives the same quantities; otherwise its stream could not.
        """
        self._analysis = analysis
        quantities = self._quantities()
        kept = []
        for uid, work in self.works.items():
            try:
                if work.quantities != quantities:
                    raise RunRefused("the new model gives other quantities")
                fresh = analysis.begin(work.run)
                fresh.restore(work.analysis.snapshot())
                work.analysis = fresh
            except RunRefused as error:
                _log.warning("run keeps the model it began with", run_uid=uid, reason=error.message)
                kept.append(uid)
        return kept

    # -- stored state -------------------------------------------------------------------------------------

    def to_state(self, run_uid: str) -> dict[str, Any]:
        """Return what is known of a run beside the run itself and its waiting readings, as plain values."""
        assembler, work = self._assemblers.get(run_uid), self.works.get(run_uid)
        return {
            "assembler": None if assembler is None else assembler.to_state(),
            "refusal": self._refusals.get(run_uid),
            "work": None if work is None else work.to_state(),
        }

    def restore(self, run: Run, state: Mapping[str, Any], readings: Sequence[Pending]) -> None:
        """Take up a run with what :meth:`to_state` gave."""
        if state["refusal"] is not None:
            self._refusals[run.uid] = state["refusal"]
        if state["assembler"] is None:
            return
        assembler = self._assemblers[run.uid] = Assembler.from_state(run, state["assembler"])
        stored = state["work"]
        if stored is None:
            return
        analysis = self._continue(run, stored["quantities"])
        outputs, run_outputs = self._analysis.outputs(), self._analysis.run_outputs()
        result = ResultRun(run, assembler.stream, analysis.provenance, outputs, run_outputs)
        work = self.works[run.uid] = RunWork(run, assembler, analysis, result, stored["quantities"])
        work.restore_state(stored, readings)

    def _quantities(self) -> str:
        """Return the declared quantities as text, to see whether they have changed."""
        return repr((tuple(self._analysis.outputs()), sorted(self._analysis.run_outputs().items())))

    def _continue(self, run: Run, quantities: str) -> RunAnalysis:
        try:
            if quantities != self._quantities():
                raise RunRefused("the service was restarted with a model or version of other quantities")
            return self._analysis.begin(run)
        except RunRefused as error:
            _log.error("open run cannot be continued", run_uid=run.uid, reason=error.message)
            return _Unable(self._analysis, f"run begun before a restart: {error.message}")

    # -- documents ----------------------------------------------------------------------------------------

    def _update(self, outcome: RunUpdated, expect: Expect) -> None:
        run, document = outcome.run, outcome.document
        assembler = self._assemblers.get(run.uid)
        if assembler is None:
            return
        work = self.works.get(run.uid)
        if work is None and document.name == "descriptor" and run.stream_descriptors(assembler.stream):
            work = self._begin(run, assembler)
            if work is None:
                del self._assemblers[run.uid]
                return
        # Only a stream_datum can announce many readings at once; those that find no room stay folded up.
        many = work is not None and document.name == "stream_datum"
        room = max(self._most_waiting - len(work.pending), 0) if work is not None and many else None
        requests = assembler.feed(document, room)
        if work is not None:
            expect(work, document, requests)

    def _begin(self, run: Run, assembler: Assembler) -> RunWork | None:
        stream = assembler.stream
        try:
            key = self._analysis.frame_key(run)
            if key is None:
                _log.info(
                    "run has no frames for this analysis", run_uid=run.uid, analysis=self._analysis.name
                )
                return None
            analysis = self._analysis.begin(run)
        except RunRefused as error:
            self._refusals[run.uid] = error.message
            _log.error("run cannot be analysed", run_uid=run.uid, reason=error.message)
            return None
        assembler.choose(key)
        outputs, run_outputs = self._analysis.outputs(), self._analysis.run_outputs()
        result = ResultRun(run, stream, analysis.provenance, outputs, run_outputs, key)
        work = self.works[run.uid] = RunWork(run, assembler, analysis, result, self._quantities())
        _log.info("run begins", run_uid=run.uid, result_uid=work.result.uid, key=key)
        return work

    def _close(self, outcome: RunClosed) -> None:
        work = self.works.get(outcome.run.uid)
        if work is not None:
            work.closed = outcome.reason
        else:
            self._assemblers.pop(outcome.run.uid, None)
        reason = self._refusals.pop(outcome.run.uid, None)
        if reason is not None:
            self._refused_closed.append((outcome.run, reason))


class _Unable:
    """Stands in for an analysis that cannot go on with a run: each further reading fails with the reason."""

    def __init__(self, analysis: Analysis, reason: str) -> None:
        self.provenance = analysis.provenance()
        self._reason = reason

    def process(self, frames: Sequence[Any]) -> Sequence[FrameFailure]:
        return [FrameFailure(frame.seq_num, self._reason) for frame in frames]

    def update(self, results: Sequence[Any]) -> Sequence[RunResult]:
        return []

    def end(self) -> Sequence[RunResult]:
        return []

    def snapshot(self) -> Mapping[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing of it can be used."""
