"""Service: one loop that reads documents, keeps work going, publishes in order and then commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog

from streamproc.analysis import Analysis, FrameFailure
from streamproc.documents import BadMessage, Document, TopicPartition
from streamproc.errors import AnalysisHangs
from streamproc.frames.readers import FrameReader
from streamproc.observability.metrics import ServiceMetrics
from streamproc.runs import RunTracker
from streamproc.service.lane import Lane
from streamproc.service.outbox import Outbox
from streamproc.service.work import Pending, RunWork
from streamproc.service.workers import Answer, StillWaiting, Workers
from streamproc.settings import FramesSettings, Settings
from streamproc.transports.ports import Sink, Source, StateReader

__all__ = ["Service", "ServiceParts"]

_log = structlog.get_logger()

_BALANCE_INTERVAL_S = 0.02
"""How often back-pressure is looked at while nothing new comes; what waits can only become less then."""

_AHEAD = 1
"""Batches that wait for a worker, so that none is idle until the loop comes round."""


@dataclass(frozen=True, slots=True)
class ServiceParts:
    """What the composition root puts together for a service."""

    source: Source
    sink: Sink
    state: StateReader
    analysis: Analysis
    make_tracker: Callable[[], RunTracker]
    reader: FrameReader
    metrics: ServiceMetrics
    clock: Callable[[], float] = time.monotonic
    """For deadlines only."""
    wall_clock: Callable[[], float] = time.time
    """For latencies and dead-letter times only; nothing of it enters a result."""
    batch_done: Callable[[], None] | None = None
    """Called from a worker's thread when a batch is done: a source that waits may wake up."""
    keeps_state: bool = True
    """Whether the sink stores open-run state; nothing is made of it where it does not."""


@dataclass(slots=True)
class _Job:
    lane: Lane
    future: Future[list[Answer]]
    batch: list[Pending]
    deadline_s: float | None = None
    """From when a worker was seen to have begun with it."""


class Service:
    """Analyses the runs of one topic.

    ``step()`` turns the loop once, ``run()`` until ``stop()`` (which any thread or signal handler may call).

    Parameters
    ----------
    parts : ServiceParts
        Source, sink, stored state, analysis, reader, metrics.
    settings : Settings
        Topics, deadlines, bounds.
    """

    def __init__(self, parts: ServiceParts, settings: Settings) -> None:
        self._parts = parts
        self._settings = settings
        self._source = parts.source
        self._analysis = parts.analysis
        self._next_analysis: Analysis | None = None
        self._workers = Workers(parts.reader, settings.service.workers, parts.batch_done)
        self._outbox = Outbox(parts, settings)
        self._lanes: dict[TopicPartition, Lane] = {}
        self._jobs: list[_Job] = []
        self._paused = False
        self._stop_requested = False
        self._last_turn_s = parts.clock()
        self._last_expiry_s = self._last_balance_s = parts.clock()
        self._source.on_leaving(self._finish_before_leaving)

    def stop(self) -> None:
        """Ask the loop to end: what is in work is finished (within ``drain_timeout_s``) and committed."""
        self._stop_requested = True

    def reload(self, analysis: Analysis) -> None:
        """Go on with another analysis from the next turn on; any thread may ask for it.

        Readings in work are finished by the analysis that has them, all others are left to the new one. An
        open run goes on with the new one if that gives the same quantities, else it keeps the old.
        """
        self._next_analysis = analysis

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
                if idle and self._settings.service.one_pass and self.all_answered():
                    break
            self.drain()
        finally:
            self.close()

    def step(self) -> bool:
        """Turn the loop once; returns whether anything happened."""
        now_s = self._parts.clock()
        self._last_turn_s = now_s
        self._swap()
        self._take_over()
        polled = self._poll()
        for message in polled:
            lane = self._lanes.get(message.position.topic_partition)
            if lane is not None:
                lane.take(message)
        self._drop_revoked()
        self._expire(now_s)
        collected = self._collect()
        unfolded = [lane.unfold() for lane in self._lanes.values()]
        submitted = self._submit()
        delivered = self._publish()
        if polled or any(unfolded) or now_s - self._last_balance_s >= _BALANCE_INTERVAL_S:
            self._last_balance_s = now_s
            self._balance()
        return bool(polled or collected or any(unfolded) or submitted or delivered)

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
        return ok, {"seconds_since_last_turn": round(silent_s, 3), "open_runs": sum(1 for _ in self._works())}

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Say whether the loop turns and has partitions to read (all is loaded by then)."""
        healthy, details = self.health()
        assigned = self._source.assigned()
        return healthy and bool(assigned), {**details, "partitions": [f"{t}/{p}" for t, p in assigned]}

    def _works(self) -> Iterator[tuple[Lane, RunWork]]:
        for lane in list(self._lanes.values()):
            for work in list(lane.works()):
                yield lane, work

    # -- partitions -----------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Restore what is open in partitions that were assigned, then read on."""
        for partition in self._source.gained():
            lane = Lane(partition, self._parts, self._analysis, self._settings, self._known_elsewhere)
            stored = self._parts.state.load(partition[1])
            offset = lane.placed(stored.held, lane.restore(stored.records, stored.committed))
            self._lanes[partition] = lane
            self._source.begin(partition, offset)
            _log.info(
                "partition taken over", partition=partition[1], offset=offset, open_runs=len(lane.desk.works)
            )

    def _known_elsewhere(self, document: Document) -> TopicPartition | None:
        own = document.position.topic_partition
        others = (lane for p, lane in self._lanes.items() if p != own)
        return next((lane.partition for lane in others if lane.tracker.knows(document)), None)

    def _finish_before_leaving(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver what is finished in partitions that another instance is about to get; drop the rest."""
        self._collect()
        leaving = [self._lanes[p] for p in partitions if p in self._lanes]
        for lane in leaving:
            self._publish_lane(lane)
        self._outbox.send(leaving, force=True)

    def _drop_revoked(self) -> None:
        """Give up the lanes of partitions that another instance has now; it goes on where we ended."""
        for partition in self._source.revoked():
            lane = self._lanes.pop(partition, None)
            if lane is not None:
                lane.dropped = True
                for work in lane.works():
                    self._parts.reader.release(work.run.uid)
                _log.info(
                    "partition left to its new owner", partition=partition[1], open_runs=len(lane.desk.works)
                )

    def _swap(self) -> None:
        """Put a new analysis to work, between two documents."""
        if self._next_analysis is not None:
            self._analysis, self._next_analysis = self._next_analysis, None
            kept = [uid for lane in self._lanes.values() for uid in lane.swap(self._analysis)]
            _log.info("analysis swapped", runs_that_keep_the_old=len(kept))

    # -- reading --------------------------------------------------------------------------------------

    def _poll(self) -> Sequence[Document | BadMessage]:
        busy = bool(self._jobs) or any(w.pending or w.finished for _, w in self._works())
        settings = self._settings
        wait_s = settings.service.poll_timeout_s
        if busy:  # a source that wakes up when a batch is done need only be back for the next look at a frame
            wait_s = settings.frames.retry_interval_s / (4 if self._parts.batch_done is None else 1)
        return self._source.poll(wait_s)

    def _expire(self, now_s: float) -> None:
        if now_s - self._last_expiry_s >= 1.0:
            self._last_expiry_s = now_s
            for lane in self._lanes.values():
                lane.expire(now_s)

    # -- work -----------------------------------------------------------------------------------------

    def _submit(self) -> bool:
        """Hand waiting readings to the workers: what is there is taken, nothing is waited for."""
        now_s, submitted = self._parts.clock(), False
        free = self._workers.threads + _AHEAD - len(self._jobs)
        for lane, work in self._works():
            ready = list(work.waiting(now_s)) if free > 0 else []
            if not ready:
                continue
            share = -(-len(ready) // min(free, self._workers.threads))
            size = max(1, min(self._settings.inference.max_batch, share))
            for at in range(0, len(ready), size):
                if free <= 0:
                    break
                self._start(lane, work, ready[at : at + size])
                free, submitted = free - 1, True
        return submitted

    def _start(self, lane: Lane, work: RunWork, batch: list[Pending]) -> None:
        for pending in batch:
            pending.in_work = True
        future = self._workers.submit(work.analysis, [p.request for p in batch])
        self._jobs.append(_Job(lane, future, batch))

    def _collect(self) -> bool:
        now_s, unfinished, collected = self._parts.clock(), [], False
        for job in self._jobs:
            if job.lane.dropped:
                continue
            if job.future.done():
                for pending, answer in zip(job.batch, job.future.result(), strict=True):
                    self._accept(pending, answer, now_s)
                collected = True
            elif job.deadline_s is None:
                if job.future.running():
                    job.deadline_s = now_s + self._settings.service.frame_timeout_s
                unfinished.append(job)
            elif now_s > job.deadline_s:
                request = job.batch[0].request
                raise AnalysisHangs(
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
        for lane in self._lanes.values():
            self._publish_lane(lane)
        return self._outbox.send(list(self._lanes.values()))

    def _publish_lane(self, lane: Lane) -> None:
        for work in list(lane.works()):
            self._outbox.add(lane, work, work.publishable())
            if work.finished:
                self._finish(lane, work)
        for run, reason in lane.desk.take_refused():
            self._outbox.refused_run(lane, self._analysis, run, reason)

    def _finish(self, lane: Lane, work: RunWork) -> None:
        self._outbox.finish(lane, work)
        for note in (*work.run.notes, *self._parts.reader.notes(work.run.uid)):
            _log.info("note", run_uid=work.run.uid, note=note)
        lane.finished(work)
        self._parts.reader.release(work.run.uid)

    def _balance(self) -> None:
        """Pause the topic rather than grow; go on when half of it is worked off."""
        frames: FramesSettings = self._settings.frames
        pending = [p for _, w in self._works() for p in w.pending.values()]
        count, size = len(pending), sum(p.inline_bytes for p in pending)
        # What was taken over and must be read again is no reason to stop reading.
        full = count > frames.max_waiting_frames or size > frames.max_waiting_bytes
        if not self._paused and full and not any(p.unread for p in pending):
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
            open_runs=sum(1 for _ in self._works()),
            paused=self._paused,
        )

    # -- ending ---------------------------------------------------------------------------------------

    @property
    def open_runs(self) -> int:
        """How many runs have begun and not ended."""
        return sum(len(lane.tracker.open_runs) for lane in self._lanes.values())

    def close_runs(self, reason: str) -> None:
        """Close all open runs: their source has nothing more of them, no stop either."""
        for lane in self._lanes.values():
            lane.close_runs(reason)

    def abandon(self, reason: str, announced: int = 0) -> None:
        """Leave out what has no answer yet and end the result runs with a complete ledger.

        Parameters
        ----------
        reason : str
            Stands in the ledger and in the stop.
        announced : int
            How many readings there are as far as is known; those that were never read are counted too.
        """
        for _, work in self._works():
            work.abandon(reason, announced)
        self._jobs = []
        self.close_runs(reason)
        for lane in self._lanes.values():
            self._publish_lane(lane)
        self._outbox.send(list(self._lanes.values()), force=True)

    def all_answered(self) -> bool:
        """Tell whether the source is read to its present end and everything is answered and delivered."""
        return (
            self._source.lag() == 0
            and not self._jobs
            and not any(w.pending or w.finished for _, w in self._works())
            and not any(lane.unsent for lane in self._lanes.values())
        )

    def drain(self) -> None:
        """Finish what is in work, within the time allowed; the rest is in the stored state."""
        self._source.pause()
        deadline_s = self._parts.clock() + self._settings.service.drain_timeout_s
        while self._jobs and self._parts.clock() < deadline_s:
            self._last_turn_s = self._parts.clock()
            self._source.poll(0.01)
            self._drop_revoked()
            self._collect()
            self._publish()
        for lane in self._lanes.values():
            self._publish_lane(lane)
        self._outbox.send(list(self._lanes.values()), force=True)
