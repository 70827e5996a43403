"""Desk: which open runs are under analysis, and how each of their documents is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from streamproc.analysis import Analysis
from streamproc.documents import Document, TopicPartition
from streamproc.errors import RunRefused
from streamproc.frames.assembler import Assembler
from streamproc.frames.requests import FrameRequest
from streamproc.results import ResultRun
from streamproc.runs import Run, RunClosed, RunOpened, RunUpdated
from streamproc.service.work import RunWork

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

    def drop_partition(self, partition: TopicPartition) -> list[str]:
        """Drop the runs of a partition that was taken away; returns their uids."""
        gone = [u for u, a in self._assemblers.items() if a.run.first_position.topic_partition == partition]
        for uid in gone:
            self.forget(uid)
            self._refusals.pop(uid, None)
        return gone

    def take_refused(self) -> list[tuple[Run, str]]:
        """Return the refused runs that have closed since the last call, with the reason."""
        closed, self._refused_closed = self._refused_closed, []
        return closed

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
        work = RunWork(
            run, assembler, analysis, ResultRun(run, stream, analysis.provenance, outputs, run_outputs, key)
        )
        self.works[run.uid] = work
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
