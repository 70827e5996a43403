"""Service: one loop that reads documents, keeps work going, publishes in order and then commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import structlog

from streamproc.analysis import Analysis, FrameFailure
from streamproc.documents import BadMessage, Document, TopicPartition
from streamproc.errors import AnalysisHangs
from streamproc.frames.readers import FrameReader
from streamproc.observability.metrics import ServiceMetrics
from streamproc.runs import RunTracker
from streamproc.service.jobs import Jobs
from streamproc.service.lane import Lane
from streamproc.service.outbox import Outbox
from streamproc.service.pressure import Pressure
from streamproc.service.work import Pending, RunWork
from streamproc.service.workers import Workers
from streamproc.settings import Settings
from streamproc.transports.ports import Sink, Source, StateReader

__all__ = ["Service", "ServiceParts"]

_log = structlog.get_logger()


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
        self._jobs = Jobs(self._workers, settings, parts.clock)
        self._pressure = Pressure(parts.source, settings.frames, parts.metrics, parts.clock())
        self._stop_requested = False
        self._turn = 0
        self._last_turn_s = parts.clock()
        self._last_expiry_s = parts.clock()
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
        submitted = self._submit(now_s)
        delivered = self._publish()
        if polled or any(unfolded) or self._pressure.due(now_s):
            self._pressure.balance([work for _, work in self._works()], now_s)
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
        gained = []
        for partition in self._source.gained():
            lane = Lane(partition, self._parts, self._analysis, self._settings, self._known_elsewhere)
            stored = self._parts.state.load(partition[1])
            offset = lane.placed(stored.held, lane.restore(stored.records, stored.committed))
            self._lanes[partition] = lane
            began = self._source.begin(partition, offset)
            lane.begins(began)
            gained.append(lane)
            _log.info(
                "partition taken over", partition=partition[1], offset=offset, open_runs=len(lane.desk.works)
            )
            if lane.careful(self._parts.clock()):
                _log.warning(
                    "those who had the partition ended one after the other: readings are tried one at a time",
                    partition=partition[1], ends=lane.life.deaths,
                )  # fmt: skip
        if self._parts.keeps_state:
            # Known before anything is tried, or who dies of the first frame is not counted.
            self._outbox.send(gained, force=True)

    def _known_elsewhere(self, document: Document) -> TopicPartition | None:
        own = document.position.topic_partition
        others = (lane for p, lane in self._lanes.items() if p != own)
        return next((lane.partition for lane in others if lane.tracker.knows(document)), None)

    def _finish_before_leaving(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver what is finished in partitions that another instance is about to get; drop the rest."""
        self._jobs.collect()
        leaving = [self._lanes[p] for p in partitions if p in self._lanes]
        for lane in leaving:
            self._publish_lane(lane)
            lane.ends()
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

    # -- analysing ------------------------------------------------------------------------------------

    def _submit(self, now_s: float) -> bool:
        """Hand waiting readings to the workers; returns whether there were any."""
        careful = [lane for lane in self._lanes.values() if lane.careful(now_s)]
        if not careful:
            return self._jobs.submit(self._works())
        if self._jobs:
            return False
        firsts = [(lane, w, p) for lane, w in self._works() for p in islice(w.waiting(now_s), 1)]
        suspects = [(lane, w, p) for lane, w, p in firsts if lane in careful and lane.suspects(p)]
        self._turn += 1
        # every second turn is a suspect's: the sooner they are through, the sooner all go on as usual
        waiting = suspects if suspects and self._turn % 2 else firsts
        return bool(waiting) and self._try_alone(*waiting[self._turn // 2 % len(waiting)])

    def _try_alone(self, lane: Lane, work: RunWork, pending: Pending) -> bool:
        """Hand out one reading once it is stored that it is in work; or fail it where it may not be."""
        self._publish_lane(lane)  # the answer before goes out in the same transaction
        reason = lane.tries(pending)
        if reason:
            pending.answer = FrameFailure(pending.request.seq_num, reason)
        elif self._outbox.send([lane], force=True):
            self._jobs.start(lane, work, [pending])
        else:
            return False
        return True

    def _collect(self) -> bool:
        """Take what the workers have answered; returns whether there was any."""
        try:
            return self._jobs.collect()
        except AnalysisHangs:
            self._outbox.send(list(self._lanes.values()), force=True)
            raise

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
        self._jobs.forget()
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
            self._jobs.collect()
            self._publish()
        for lane in self._lanes.values():
            self._publish_lane(lane)
            lane.ends()
        self._outbox.send(list(self._lanes.values()), force=True)
