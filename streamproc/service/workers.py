"""Workers: read frames and run the stateless half of an analysis, on a bounded number of threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import structlog

from streamproc.analysis import Frame, FrameFailure, FrameResult, RunAnalysis
from streamproc.errors import ContainedError, NotYet
from streamproc.frames.readers import FrameReader
from streamproc.frames.requests import FrameRequest

__all__ = ["Answer", "StillWaiting", "Workers", "analyse"]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StillWaiting:
    """The frame is not there yet, and why."""

    reason: str


Answer = FrameResult | FrameFailure | StillWaiting


class Workers:
    """A thread pool for :func:`analyse`.

    Parameters
    ----------
    reader : FrameReader
        Fetches the arrays; thread-safe.
    threads : int
        How many batches are in work at once.
    finished : callable or None
        Called, in a worker's thread, when a batch is done.
    """

    def __init__(self, reader: FrameReader, threads: int, finished: Callable[[], None] | None = None) -> None:
        self.reader = reader
        self.threads = threads
        self._finished = finished
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="analyse")

    def submit(self, analysis: RunAnalysis, requests: Sequence[FrameRequest]) -> Future[list[Answer]]:
        """Start on a batch of readings of one run."""
        future = self._pool.submit(analyse, self.reader, analysis, requests)
        if self._finished is not None:
            tell = self._finished
            future.add_done_callback(lambda _: tell())
        return future

    def close(self, *, wait: bool) -> None:
        """End the threads; what has not begun is given up."""
        self._pool.shutdown(wait=wait, cancel_futures=True)


def analyse(reader: FrameReader, analysis: RunAnalysis, requests: Sequence[FrameRequest]) -> list[Answer]:
    """Read and process a batch; one answer per request, never an exception for a single bad frame."""
    answers: list[Answer | None] = [None] * len(requests)
    frames: list[Frame] = []
    places: list[int] = []
    for place, request in enumerate(requests):
        got = _frame(reader, request)
        if isinstance(got, Frame):
            frames.append(got)
            places.append(place)
        else:
            answers[place] = got
    for place, answer in zip(places, _process(analysis, frames), strict=True):
        answers[place] = answer
    return [a if a is not None else StillWaiting("not analysed") for a in answers]


def _frame(reader: FrameReader, request: FrameRequest) -> Frame | FrameFailure | StillWaiting:
    try:
        array = reader.read(request)
        dark: npt.NDArray[Any] | None = reader.dark(request) if request.dark is not None else None
    except NotYet as error:
        return StillWaiting(error.message)
    except ContainedError as error:
        return FrameFailure(request.seq_num, error.message)
    except Exception as error:  # a reader's fault must not take the service down with it
        _log.exception(
            "frame reader failed", run_uid=request.run_uid, seq_num=request.seq_num, key=request.key
        )
        return FrameFailure(request.seq_num, f"reading failed: {type(error).__name__}: {error}")
    return Frame(
        request.run_uid, request.stream, request.seq_num, request.key, array,
        request.time_s, request.readings, request.timestamps, dark,
    )  # fmt: skip


def _process(analysis: RunAnalysis, frames: list[Frame]) -> Sequence[FrameResult | FrameFailure]:
    if not frames:
        return []
    try:
        results = analysis.process(frames)
        if len(results) == len(frames):
            return results
        raise RuntimeError(f"the analysis gave {len(results)} answers for {len(frames)} frames")
    except ContainedError as error:
        reason = error.message
    except Exception as error:
        _log.exception("analysis failed", run_uid=frames[0].run_uid, seq_num=frames[0].seq_num)
        reason = f"analysis failed: {type(error).__name__}: {error}"
    if len(frames) == 1:
        return [FrameFailure(frames[0].seq_num, reason)]
    # One bad frame must not cost its batch: find it by taking them one at a time.
    return [answer for frame in frames for answer in _process(analysis, [frame])]
