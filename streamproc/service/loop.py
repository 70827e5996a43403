"""Service: one loop that reads documents, keeps work going, publishes in order and then commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog

from streamproc.analysis import Analysis, FrameFailure
from streamproc.documents import BadMessage, Document
from streamproc.errors import DocumentRefused, FatalError
from streamproc.frames.readers import FrameReader
from streamproc.frames.requests import FrameRequest
from streamproc.observability.metrics import ServiceMetrics
from streamproc.runs import NeedsRewind, Outcome, RunTracker, Skipped
from streamproc.service.desk import Desk
from streamproc.service.offsets import OffsetBook
from streamproc.service.outbox import Outbox
from streamproc.service.work import Pending, RunWork
from streamproc.service.workers import Answer, StillWaiting, Workers
from streamproc.settings import FramesSettings, Settings
from streamproc.transports.ports import Sink, Source

__all__ = ["Service", "ServiceParts"]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ServiceParts:
    """What the composition root puts together for a service."""

    source: Source
    sink: Sink
    analysis: Analysis
    tracker: RunTracker
    reader: FrameReader
    metrics: ServiceMetrics
    clock: Callable[[], float] = time.monotonic
    """For deadlines only."""
    wall_clock: Callable[[], float] = time.time
    """For latencies and dead-letter times only; nothing of it enters a result."""


@dataclass(frozen=True, slots=True)
class _Job:
    future: Future[list[Answer]]
    batch: list[Pending]
    deadline_s: float


class Service:
    """Analyses the runs of one topic.

    ``step()`` turns the loop once, ``run()`` until ``stop()`` (which any thread or signal handler may call).

    Parameters
    ----------
    parts : ServiceParts
        Source, sink, analysis, tracker, reader, metrics.
    settings : Settings
        Topics, deadlines, bounds.
    """

    def __init__(self, parts: ServiceParts, settings: Settings) -> None:
        self._parts = parts
        self._settings = settings
        self._source, self._tracker = parts.source, parts.tracker
        self._workers = Workers(parts.reader, settings.service.workers)
        self._offsets = OffsetBook()
        self._outbox = Outbox(parts, settings, self._offsets)
        self._desk = Desk(parts.analysis, settings.frames.dark_stream, settings.frames.max_waiting_frames)
        self._jobs: list[_Job] = []
        self._paused = False
        self._stop_requested = False
        self._last_turn_s = parts.clock()
        self._last_expiry_s = parts.clock()

    def stop(self) -> None:
        """Ask the loop to end: what is in work is finished (within ``drain_timeout_s``) and committed."""
        self._stop_requested = True

    def run(self) -> None:
        """Turn the loop until :meth:`stop`; with ``one_pass`` until everything there is was answered.

        Raises
        ------
        FatalError
            What cannot be trusted: a publication past its deadline, an analysis that hangs.
        """
        try:
            while not self._stop_requested:
                idle = not self.step()
                if idle and self._settings.service.one_pass and self._all_answered():
                    break
            self._drain()
        finally:
            self.close()

    def step(self) -> bool:
        """Turn the loop once; returns whether anything happened."""
        now_s = self._parts.clock()
        self._last_turn_s = now_s
        polled = self._poll()
        for message in polled:
            self._take(message)
        self._expire(now_s)
        self._drop_revoked()
        collected = self._collect()
        unfolded = self._unfold()
        submitted = self._submit()
        delivered = self._publish()
        self._balance()
        return bool(polled or collected or unfolded or submitted or delivered)

    def close(self) -> None:
        """Free everything; never raises."""
        self._workers.close(wait=False)
        for part in (self._parts.reader, self._source, self._parts.sink):
            try:
                part.close()
            except Exception:
                _log.exception("closing failed", part=type(part).__name__)

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        """Say whether the loop turns."""
        silent_s = self._parts.clock() - self._last_turn_s
        ok = silent_s < self._settings.observability.stalled_after_s
        return ok, {"seconds_since_last_turn": round(silent_s, 3), "open_runs": len(self._desk.works)}

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Say whether the loop turns and has partitions to read (all is loaded by then)."""
        healthy, details = self.health()
        assigned = self._source.assigned()
        return healthy and bool(assigned), {**details, "partitions": [f"{t}/{p}" for t, p in assigned]}

    # -- reading --------------------------------------------------------------------------------------

    def _poll(self) -> Sequence[Document | BadMessage]:
        busy = bool(self._jobs) or any(w.pending or w.finished for w in self._desk.works.values())
        settings = self._settings
        wait_s = settings.frames.retry_interval_s / 4 if busy else settings.service.poll_timeout_s
        return self._source.poll(wait_s)

    def _take(self, message: Document | BadMessage) -> None:
        self._offsets.read(message.position)
        if isinstance(message, BadMessage):
            self._outbox.dead_letter(message, message.reason, "undecodable")
            return
        self._parts.metrics.document(message.name if message.name in _KNOWN else "other")
        try:
            self._handle(self._tracker.feed(message))
        except DocumentRefused as error:
            self._outbox.dead_letter(message, error.message, "refused")
        except Exception as error:  # one document must not end the service; it is kept with its traceback
            _log.exception("document could not be handled", name=message.name, position=str(message.position))
            self._outbox.dead_letter(message, f"{type(error).__name__}: {error}", "unexpected")

    def _handle(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Skipped):
                self._parts.metrics.skipped(outcome.kind)
            elif isinstance(outcome, NeedsRewind):
                self._rewind(outcome)
            else:
                self._desk.handle(outcome, self._expect)

    def _rewind(self, lost: NeedsRewind) -> None:
        """Bring in what came before a document of a run joined in the middle."""
        earlier = self._source.rewind_to_start(lost.run_uid, lost.document)
        _log.info("joined a run in the middle", needs=lost.reference, found=len(earlier))
        for message in earlier:
            if isinstance(message, Document):
                try:
                    self._handle([o for o in self._tracker.feed(message) if not isinstance(o, NeedsRewind)])
                except DocumentRefused as error:
                    _log.info("an earlier document was refused", reason=error.message)
        again = self._tracker.feed(lost.document)
        if any(isinstance(o, NeedsRewind) for o in again):
            again = self._tracker.adopt(lost.document)
        self._handle([o for o in again if not isinstance(o, NeedsRewind)])

    def _expect(self, work: RunWork, document: Document, requests: Sequence[FrameRequest]) -> None:
        if work.assembler.waiting and work.backlog is None:
            work.backlog = document.position
            self._offsets.hold(document.position)
        self._take_up(work, requests)

    def _take_up(self, work: RunWork, requests: Sequence[FrameRequest]) -> None:
        deadline_s = self._parts.clock() + self._settings.frames.wait_s
        for request in requests:
            self._offsets.hold(request.position)
            work.expect(request, deadline_s)
        if self._settings.service.policy == "latest":
            work.drop_older(self._settings.service.workers)

    def _unfold(self) -> bool:
        """Take more of the readings that a long fly scan announced at once."""
        unfolded = False
        for work in self._desk.works.values():
            room = self._settings.frames.max_waiting_frames - len(work.pending)
            if work.assembler.waiting and room > 0:
                self._take_up(work, work.assembler.take(room))
                unfolded = True
            if work.backlog is not None and not work.assembler.waiting:
                self._offsets.release(work.backlog)
                work.backlog = None
        return unfolded

    def _expire(self, now_s: float) -> None:
        if now_s - self._last_expiry_s >= 1.0:
            self._last_expiry_s = now_s
            self._handle(self._tracker.expire(now_s))

    def _drop_revoked(self) -> None:
        """Give up runs of partitions that another instance has now; it goes on at the committed offset."""
        for partition in self._source.revoked():
            self._offsets.forget(partition)
            for uid in self._desk.drop_partition(partition):
                self._tracker.forget(uid)
                self._parts.reader.release(uid)
                _log.info("partition taken away; its run is left to the new owner", run_uid=uid)

    # -- work -----------------------------------------------------------------------------------------

    def _submit(self) -> bool:
        """Hand waiting readings to idle workers: what is queued is taken, nothing is waited for."""
        now_s, submitted = self._parts.clock(), False
        free = self._workers.threads - len(self._jobs)
        for work in list(self._desk.works.values()):
            ready = list(work.waiting(now_s)) if free > 0 else []
            if not ready:
                continue
            share = -(-len(ready) // free)
            size = max(1, min(self._settings.inference.max_batch, share))
            for at in range(0, len(ready), size):
                if free <= 0:
                    break
                self._start(work, ready[at : at + size])
                free, submitted = free - 1, True
        return submitted

    def _start(self, work: RunWork, batch: list[Pending]) -> None:
        for pending in batch:
            pending.in_work = True
        future = self._workers.submit(work.analysis, [p.request for p in batch])
        self._jobs.append(_Job(future, batch, self._parts.clock() + self._settings.service.frame_timeout_s))

    def _collect(self) -> bool:
        now_s, unfinished, collected = self._parts.clock(), [], False
        for job in self._jobs:
            if job.future.done():
                for pending, answer in zip(job.batch, job.future.result(), strict=True):
                    self._accept(pending, answer, now_s)
                collected = True
            elif now_s > job.deadline_s:
                request = job.batch[0].request
                raise FatalError(
                    f"analysis of {len(job.batch)} frame(s) from seq_num {request.seq_num} of run "
                    f"{request.run_uid} did not end within service.frame_timeout_s "
                    f"({self._settings.service.frame_timeout_s:g} s); "
                    "a restart goes on at the committed offset"
                )
            else:
                unfinished.append(job)
        self._jobs = unfinished
        return collected

    def _accept(self, pending: Pending, answer: Answer, now_s: float) -> None:
        pending.in_work = False
        if not isinstance(answer, StillWaiting):
            pending.answer = answer
        elif now_s >= pending.deadline_s:
            waited = self._settings.frames.wait_s
            reason = f"not there after {waited:g} s: {answer.reason}"
            pending.answer = FrameFailure(pending.request.seq_num, reason)
        else:
            pending.next_try_s = now_s + self._settings.frames.retry_interval_s

    # -- publishing -----------------------------------------------------------------------------------

    def _publish(self) -> bool:
        for work in list(self._desk.works.values()):
            self._outbox.add(work, work.publishable())
            if work.finished:
                self._finish(work)
        for run, reason in self._desk.take_refused():
            self._outbox.refused_run(run, reason)
        return self._outbox.send()

    def _finish(self, work: RunWork) -> None:
        self._outbox.finish(work)
        for note in (*work.run.notes, *self._parts.reader.notes(work.run.uid)):
            _log.info("note", run_uid=work.run.uid, note=note)
        self._desk.forget(work.run.uid)
        self._parts.reader.release(work.run.uid)

    def _balance(self) -> None:
        """Pause the topic rather than grow; go on when half of it is worked off."""
        frames: FramesSettings = self._settings.frames
        pending = [p for w in self._desk.works.values() for p in w.pending.values()]
        count, size = len(pending), sum(p.inline_bytes for p in pending)
        if not self._paused and (count > frames.max_waiting_frames or size > frames.max_waiting_bytes):
            self._source.pause()
            self._paused = True
            _log.warning("back-pressure: topic paused", frames=count, bytes=size, lag=self._source.lag())
        elif (
            self._paused and count <= frames.max_waiting_frames // 2 and size <= frames.max_waiting_bytes // 2
        ):
            self._source.resume()
            self._paused = False
            _log.info("back-pressure: topic resumed", frames=count, bytes=size)
        self._parts.metrics.state(
            lag=self._source.lag(),
            waiting=count,
            waiting_bytes=size,
            open_runs=len(self._desk.works),
            paused=self._paused,
        )

    # -- ending ---------------------------------------------------------------------------------------

    def _all_answered(self) -> bool:
        return (
            self._source.lag() == 0
            and not self._jobs
            and not any(w.pending for w in self._desk.works.values())
        )

    def _drain(self) -> None:
        """Finish what is in work, within the time allowed; the rest is read again after a restart."""
        self._source.pause()
        deadline_s = self._parts.clock() + self._settings.service.drain_timeout_s
        while self._jobs and self._parts.clock() < deadline_s:
            self._last_turn_s = self._parts.clock()
            self._source.poll(0.01)
            self._collect()
            self._publish()
        self._publish()
        self._outbox.send(force=True)


_KNOWN = frozenset(
    ["start", "descriptor", "event", "event_page", "resource", "datum", "datum_page", "stream_resource",
     "stream_datum", "stop", "bulk_events", "bulk_datum"]
)  # fmt: skip
