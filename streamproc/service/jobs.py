"""Jobs: batches of readings with the workers, from being handed out to their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from streamproc.analysis import FrameFailure
from streamproc.errors import AnalysisHangs
from streamproc.service.lane import Lane
from streamproc.service.work import Pending, RunWork
from streamproc.service.workers import Answer, StillWaiting, Workers
from streamproc.settings import Settings

__all__ = ["Jobs"]

_AHEAD = 1
"""Batches that wait for a worker, so that none is idle until the loop comes round."""


@dataclass(slots=True)
class _Job:
    lane: Lane
    future: Future[list[Answer]]
    batch: list[Pending]
    deadline_s: float | None = None
    """From when a worker was seen to have begun with it."""


class Jobs:
    """What the workers have.

    Parameters
    ----------
    workers : Workers
        Who does the work.
    settings : Settings
        Batch size, deadlines of a frame.
    clock : callable
        Seconds from any origin.
    """

    def __init__(self, workers: Workers, settings: Settings, clock: Callable[[], float]) -> None:
        self._workers, self._settings, self._clock = workers, settings, clock
        self._jobs: list[_Job] = []

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def forget(self) -> None:
        """Let what is in work come to nothing."""
        self._jobs = []

    def submit(self, works: Iterable[tuple[Lane, RunWork]]) -> bool:
        """Hand waiting readings to the workers: what is there is taken, nothing is waited for."""
        now_s, submitted = self._clock(), False
        free = self._workers.threads + _AHEAD - len(self._jobs)
        for lane, work in works:
            ready = list(work.waiting(now_s)) if free > 0 else []
            if not ready:
                continue
            share = -(-len(ready) // min(free, self._workers.threads))
            size = max(1, min(self._settings.inference.max_batch, share))
            for at in range(0, len(ready), size):
                if free <= 0:
                    break
                self.start(lane, work, ready[at : at + size])
                free, submitted = free - 1, True
        return submitted

    def start(self, lane: Lane, work: RunWork, batch: list[Pending]) -> None:
        """Hand a batch of waiting readings of one run to the workers."""
        for pending in batch:
            pending.in_work = True
        future = self._workers.submit(work.analysis, [p.request for p in batch])
        self._jobs.append(_Job(lane, future, batch))

    def collect(self) -> bool:
        """Take the answers that are there; returns whether there were any.

        Raises
        ------
        AnalysisHangs
            A batch is past ``service.frame_timeout_s``.
        """
        now_s, unfinished, collected = self._clock(), [], False
        for job in self._jobs:
            if job.lane.dropped:
                continue
            if job.future.done():
                for pending, answer in zip(job.batch, job.future.result(), strict=True):
                    self._accept(pending, answer, now_s)
                collected = True
                continue
            self._watch(job, now_s)
            unfinished.append(job)
        self._jobs = unfinished
        return collected

    def _watch(self, job: _Job, now_s: float) -> None:
        timeout_s = self._settings.service.frame_timeout_s
        if job.deadline_s is None:
            if job.future.running():
                job.deadline_s = now_s + timeout_s
        elif now_s > job.deadline_s:
            request = job.batch[0].request
            job.lane.hung()
            raise AnalysisHangs(
                f"analysis of {len(job.batch)} frame(s) from seq_num {request.seq_num} of run "
                f"{request.run_uid} did not end within service.frame_timeout_s ({timeout_s:g} s); "
                "a restart goes on at the committed offset"
            )

    def _accept(self, pending: Pending, answer: Answer, now_s: float) -> None:
        frames = self._settings.frames
        pending.in_work = False
        if not isinstance(answer, StillWaiting):
            pending.answer = answer
        elif now_s >= pending.deadline_s:
            reason = f"not there after {frames.wait_s:g} s: {answer.reason}"
            pending.answer = FrameFailure(pending.request.seq_num, reason)
        else:
            pending.next_try_s = now_s + frames.retry_interval_s
