"""RunWork: one raw run under analysis, from its frames to its result documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from streamproc.analysis import FrameFailure, FrameResult, RunAnalysis, RunResult
from streamproc.errors import ContainedError
from streamproc.frames.assembler import Assembler
from streamproc.frames.requests import FrameRequest, Inline, Origin
from streamproc.ledger import Ledger
from streamproc.results import NamedDocument, ResultRun
from streamproc.runs import Run

__all__ = ["Pending", "Published", "RunWork"]

_log = structlog.get_logger()

_MOST_LETTERS = 10_000
"""Failed messages of one run that are remembered as kept in the dead letters already."""


@dataclass(slots=True)
class Pending:
    """A reading on its way: waiting for its frame, in work, or answered."""

    request: FrameRequest
    deadline_s: float
    next_try_s: float = 0.0
    in_work: bool = False
    answer: FrameResult | FrameFailure | None = None
    dropped: str | None = None
    unread: bool = False
    """Taken over from stored state, and the message with its array has not been read again yet."""
    lacking: tuple[str, ...] = ()
    """Readings that are to be taken from that message."""

    @property
    def open(self) -> bool:
        """True while it has no answer."""
        return self.answer is None and self.dropped is None

    @property
    def waiting(self) -> bool:
        """True while nobody works on it and it has no answer."""
        return self.open and not (self.in_work or self.unread)

    @property
    def inline(self) -> bool:
        """True when its array is in the message itself."""
        return isinstance(self.request.locator, Inline)

    @property
    def inline_bytes(self) -> int:
        """Bytes that it keeps in memory: of its message or arrays (a frame in a file costs nothing yet)."""
        request = self.request
        message = 0 if request.origin is None else len(request.origin.raw)
        locator, dark = request.locator, request.dark  # asked for every waiting reading: no loop here
        arrays = int(getattr(locator.value, "nbytes", 0)) if isinstance(locator, Inline) else 0
        if isinstance(dark, Inline):
            arrays += int(getattr(dark.value, "nbytes", 0))
        return max(arrays, message)


@dataclass(frozen=True, slots=True)
class Published:
    """Documents ready to go out, and the readings that they settle."""

    documents: list[NamedDocument]
    settled: list[Pending] = field(default_factory=list)


class RunWork:
    """The state of one raw run: readings in order, per-run half of the analysis, ledger, result run.

    Parameters
    ----------
    run : Run
        The raw run.
    assembler : Assembler
        Turns its documents into frame requests.
    analysis : RunAnalysis
        The analysis at work on this run.
    result : ResultRun
        Composes the result documents.
    quantities : str
        What the result run's streams hold, as text.
    """

    def __init__(
        self, run: Run, assembler: Assembler, analysis: RunAnalysis, result: ResultRun, quantities: str = ""
    ) -> None:
        self.quantities = quantities
        self.run = run
        self.assembler = assembler
        self.analysis = analysis
        self.result = result
        self.ledger = Ledger()
        self.pending: dict[int, Pending] = {}
        self.closed: str | None = None
        self._started = False
        self._abandoned: tuple[str, int] | None = None
        self._unsaid = ""
        self._lettered: set[int] = set()

    def expect(self, request: FrameRequest, deadline_s: float) -> Pending:
        """Take up a reading."""
        self.ledger.expect(request.seq_num)
        pending = Pending(request, deadline_s)
        self.pending[request.seq_num] = pending
        return pending

    def waiting(self, now_s: float) -> Iterator[Pending]:
        """Yield the readings whose frame may be looked for now, oldest first."""
        return (p for p in self.pending.values() if p.waiting and p.next_try_s <= now_s)

    def drop_older(self, keep: int) -> int:
        """Drop all but the newest ``keep`` readings nobody works on yet; returns how many."""
        idle = [p for p in self.pending.values() if p.waiting]
        for pending in idle[: max(len(idle) - keep, 0)]:
            pending.dropped = "skipped to the newest frame (policy latest)"
        return max(len(idle) - keep, 0)

    def start_documents(self) -> list[NamedDocument]:
        """Return the start document, once."""
        if self._started:
            return []
        self._started = True
        return [self.result.start(self.run)]

    def publishable(self) -> Published:
        """Settle the readings at the head of the queue that are answered and compose their documents.

        A reading without an answer holds back those behind it: results leave in order.
        """
        published = Published(self.start_documents())
        while self.pending:
            seq_num, pending = next(iter(self.pending.items()))
            if pending.answer is None and pending.dropped is None:
                break
            del self.pending[seq_num]
            published.settled.append(pending)
            published.documents.extend(self._settle(pending))
        return published

    def abandon(self, reason: str, announced: int) -> None:
        """Leave out all readings without an answer, also those of ``announced`` that were never read."""
        for pending in self.pending.values():
            if pending.answer is None and pending.dropped is None:
                pending.dropped = reason
        for request in self.assembler.take(self.assembler.waiting):
            self.ledger.dropped(request.seq_num, reason)
        self._abandoned = (reason, announced)

    @property
    def finished(self) -> bool:
        """True when the run is closed and every reading is settled."""
        return self.closed is not None and not self.pending and not self.assembler.waiting

    def finish(self) -> list[NamedDocument]:
        """Compose the end of the result run: what the analysis says last, and the stop with the ledger."""
        if self._abandoned is not None:
            reason, announced = self._abandoned
            top = max([announced + 1, *(stop for _, stop in self.assembler.expected)])
            self.ledger.dropped_range(1, top, reason)
        for lost in self.assembler.missing(self.run.stop):
            self.ledger.failed_range(lost.first, lost.stop, lost.reason)
        documents = self.start_documents()
        documents.extend(self._composed(self._said_last()))
        documents.append(self.result.stop(self.run, self.ledger, self._reason()))
        return documents

    def first_failure_of(self, pending: Pending) -> bool:
        """Tell whether the message of a failed reading goes to the dead letters now (one letter each)."""
        origin = pending.request.origin
        if origin is None or origin.position.offset in self._lettered:
            return False
        if len(self._lettered) < _MOST_LETTERS:
            self._lettered.add(origin.position.offset)
        return True

    def owes(self, origin: Origin) -> bool:
        """Tell whether a message has readings that wait still, or one that failed."""
        waiting = (p.request.origin for p in self.pending.values())
        offset = origin.position.offset
        return offset in self._lettered or any(o and o.position.offset == offset for o in waiting)

    def _settle(self, pending: Pending) -> list[NamedDocument]:
        request, answer = pending.request, pending.answer
        if pending.dropped is not None:
            self.ledger.dropped(request.seq_num, pending.dropped)
            return []
        if answer is None:
            raise RuntimeError(f"reading {request.seq_num} of run {self.run.uid} has no answer to settle")
        said: Sequence[RunResult] = ()
        try:
            said = self._said_of(answer)
        except Exception as error:  # one reading must not end the service; without its part, no result of it
            if isinstance(answer, FrameResult):
                answer = FrameFailure(request.seq_num, self._fault("update", error, request.seq_num))
                pending.answer = answer
        documents: list[NamedDocument] = []
        if isinstance(answer, FrameResult):
            self.ledger.done(request.seq_num)
            documents.extend(self.result.event(answer, request.time_s, request.readings, request.timestamps))
        else:
            self.ledger.failed(request.seq_num, answer.reason)
        return documents + self._composed(said)

    def _said_of(self, answer: FrameResult | FrameFailure) -> Sequence[RunResult]:
        """Hand an answer to the per-run half; returns what it says."""
        return self.analysis.update([answer])

    def _said_last(self) -> Sequence[RunResult]:
        if self._abandoned is not None:
            return ()  # what is said last of half a run would have the uids of what is said of the whole one
        try:
            return self.analysis.end()
        except Exception as error:  # the run still ends, with its ledger
            self._unsaid = self._fault("end", error, None)
            return ()

    def _composed(self, said: Sequence[RunResult]) -> list[NamedDocument]:
        return [named for one in said for named in self.result.run_event(one.stream, one.values)]

    def _fault(self, what: str, error: Exception, seq_num: int | None) -> str:
        """Log a fault of the per-run half with its traceback; returns it as a reason."""
        if isinstance(error, ContainedError):
            return error.message
        _log.exception(f"analysis failed in {what}", run_uid=self.run.uid, seq_num=seq_num)
        return f"analysis failed in {what}: {type(error).__name__}: {error}"

    def _reason(self) -> str:
        notes = [f"raw run: {self.closed}"] if self.closed not in (None, "stop") else []
        notes.extend(self.run.missing)
        notes.extend([self._unsaid] if self._unsaid else [])
        return "; ".join(notes)

    def to_log(self) -> dict[str, Any]:
        """Return the facts worth a log line."""
        return {"run_uid": self.run.uid, "result_uid": self.result.uid, **self.ledger.counts}

    def to_state(self) -> dict[str, Any]:
        """Return what a restart needs beside run, assembler and the waiting readings, as plain values."""
        return {
            "result": self.result.to_state(), "started": self._started, "ledger": self.ledger.to_state(),
            "snapshot": self.analysis.snapshot(), "closed": self.closed, "order": list(self.pending),
            "lettered": sorted(self._lettered), "quantities": self.quantities,
        }  # fmt: skip

    def restore_state(self, state: Mapping[str, Any], readings: Sequence[Pending]) -> None:
        """Take up what :meth:`to_state` gave, with the readings that wait."""
        self.result.restore_state(state["result"])
        self.ledger = Ledger.from_state(state["ledger"])
        self.analysis.restore(state["snapshot"])
        self._started, self.closed = state["started"], state["closed"]
        self._lettered = set(state["lettered"])
        by_number = {p.request.seq_num: p for p in readings}
        self.pending = {n: by_number[n] for n in state["order"]}
