"""replay_run: one archived run through the service's own loop, to any target."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import structlog

from streamproc.analysis import Analysis
from streamproc.errors import ArchiveDamaged, StreamprocError
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.observability.metrics import ServiceMetrics
from streamproc.replay.delivery import Delivery
from streamproc.replay.resume import ResumeFile
from streamproc.replay.source import MAX_SPEED, ArchiveSource
from streamproc.replay.targets import Target
from streamproc.runs import RunTracker
from streamproc.service import Service, ServiceParts
from streamproc.settings import Settings
from streamproc.transports.archive.ports import Archive, RunRef

__all__ = ["Progress", "ReplayOutcome", "replay_run"]

_log = structlog.get_logger()

Progress = Callable[[int, int, int], None]
"""Called with (readings answered, readings of the run or 0, documents read)."""

Ending = Literal["complete", "unfinished", "damaged", "interrupted"]

_TELL_S = 0.1
_COMMIT_INTERVAL_S, _RESUMABLE_INTERVAL_S = 0.2, 1.0
"""Between two deliveries at full speed; making open-run state of a moment takes some milliseconds."""
_FRAME_WAIT_S = 1.0
_BATCHES_AHEAD = 4
_PACED_SWITCH_S = 0.0005
"""How long a working thread may keep the interpreter (s) when another is due: documents have their times."""
_NO_RESUME = "no resume"


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """What became of a run.

    Attributes
    ----------
    run_uid, result_uid : str
        Raw run; result run (empty when nothing of it was published).
    ending : str
        ``complete``; ``unfinished``: the archive has no stop; ``damaged``: it could not be read to the end;
        ``interrupted``: it was asked to stop.
    ledger : Mapping
        ``expected``, ``done``, ``failed``, ``dropped`` with reasons, as in the result run's stop.
    reason : str
        Why it is not complete; empty when it is.
    notes : tuple of str
        What the archive had lost, what was undone of it and what was not; where files differ from documents.
    documents, frames : int
        Result documents, and answered readings, of this attempt.
    elapsed_s : float
        Wall time of this attempt.
    late_p95_s : float or None
        Of a paced replay: how late documents were given out (95th percentile, s).
    """

    run_uid: str
    result_uid: str
    ending: Ending
    ledger: Mapping[str, Any]
    reason: str = ""
    notes: tuple[str, ...] = ()
    documents: int = 0
    frames: int = 0
    elapsed_s: float = 0.0
    late_p95_s: float | None = None

    @property
    def good(self) -> bool:
        """Whether the run is complete and no reading failed."""
        return self.ending == "complete" and not self.ledger.get("failed")


@dataclass(slots=True)
class _Attempt:
    """One attempt at one run: the service and what it is made of."""

    service: Service
    source: ArchiveSource
    delivery: Delivery
    reader: FrameReader
    began_s: float = field(default_factory=time.monotonic)


def replay_run(
    archive: Archive,
    run_ref: RunRef,
    analysis: Analysis,
    sink: Target,
    *,
    settings: Settings,
    speed: float = MAX_SPEED,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    resume: ResumeFile | None = None,
    tap: Callable[[str, Mapping[str, Any]], None] | None = None,
) -> ReplayOutcome:
    """Analyse one archived run with the loop of the live service.

    Parameters
    ----------
    archive, run_ref
        The run, and where it is.
    analysis : Analysis
        The loaded analysis; several runs may share it.
    sink : Target
        Where the result documents go.
    settings : Settings
        ``frames``, ``inference``, ``runs`` and ``service`` as for the live service.
    speed : float
        Times faster than it was taken; infinite (the default): as fast as it goes.
    progress : callable, optional
        See :data:`Progress`.
    stop : threading.Event, optional
        When set, the run is ended: what is in work is finished, the rest is in the ledger as dropped, and
        the result run gets a stop with exit status ``abort``.
    resume : ResumeFile, optional
        Where an interrupted run goes on; a run that is complete is noted there.
    tap : callable, optional
        Sees (name, doc) of every result document.

    Returns
    -------
    ReplayOutcome
        A damaged archive or a missing frame is said there; it raises nothing.

    Raises
    ------
    FatalError
        The target does not take results, or an analysis hangs.
    """
    resume = resume or ResumeFile(None, _NO_RESUME)
    _take_up(resume, run_ref.uid, sink)
    attempt = _attempt(archive, run_ref, analysis, sink, settings, speed, resume, tap)
    stop = stop or threading.Event()
    interval_s = sys.getswitchinterval()
    if speed != MAX_SPEED:
        sys.setswitchinterval(_PACED_SWITCH_S)
    try:
        _turn(attempt, run_ref, analysis, stop, progress)
        ended: Ending = "complete"
        if stop.is_set() and not _all_done(attempt):
            ended = "interrupted"
            _interrupt(attempt, run_ref, analysis)
        notes = (*run_ref.notes, *attempt.reader.notes(run_ref.uid))
    finally:
        sys.setswitchinterval(interval_s)
        attempt.service.close()
    outcome = _outcome(attempt, run_ref, analysis, ended, notes)
    if outcome.ending != "interrupted":
        sink.end_run(True)
        resume.run_done(run_ref.uid, sink.mark())
    else:
        sink.end_run(False)
    return outcome


def _take_up(resume: ResumeFile, run_uid: str, sink: Target) -> None:
    """Go back to where an interrupted attempt at this run was."""
    saved = resume.saved
    if resume.found and saved.run_uid == run_uid:
        sink.rewind(saved.mark)
    else:
        if resume.found and saved.mark is not None:
            sink.rewind(saved.mark)
        saved.run_uid, saved.offset, saved.records, saved.mark = run_uid, None, {}, sink.mark()
        resume.save()
    resume.found = False


def _attempt(
    archive: Archive, run_ref: RunRef, analysis: Analysis, sink: Target, settings: Settings, speed: float,
    resume: ResumeFile, tap: Callable[[str, Mapping[str, Any]], None] | None,
) -> _Attempt:  # fmt: skip
    settings = _adapted(settings, speed, resume.path is not None)
    source = ArchiveSource(_documents(archive, run_ref), f"replay of {run_ref.uid}", speed)
    frames, places = settings.frames, run_ref.frames
    policy = PathPolicy((*frames.roots, *places.roots), {**places.prefix_map, **frames.prefix_map})
    reader = FrameReader(policy, max_frame_bytes=frames.max_frame_bytes)
    delivery = Delivery(sink, resume, settings.topic("results"), settings.state_topic(analysis.name), tap)
    parts = ServiceParts(
        source=source,
        sink=delivery,
        state=delivery,
        analysis=analysis,
        make_tracker=lambda: RunTracker(settings.runs.max_open, float("inf")),
        reader=reader,
        metrics=ServiceMetrics(analysis.name),
        batch_done=source.wake,
        keeps_state=resume.path is not None,
    )
    return _Attempt(Service(parts, settings), source, delivery, reader)


def _documents(archive: Archive, run_ref: RunRef) -> Any:
    """Iterate an archive's documents; whatever a store's client raises means that it cannot be read on."""
    try:
        yield from archive.documents(run_ref)
    except StreamprocError as error:
        raise error if isinstance(error, ArchiveDamaged) else ArchiveDamaged(error.message) from error
    except Exception as error:
        raise ArchiveDamaged(f"{run_ref.place}: {type(error).__name__}: {error}") from error


def _adapted(settings: Settings, speed: float, resumable: bool) -> Settings:
    """Return the settings for files that are all there: little is waited for, little is read ahead."""
    ahead = max(2, _BATCHES_AHEAD * settings.inference.max_batch * settings.service.workers)
    frames = settings.frames.model_copy(
        update={
            "wait_s": min(settings.frames.wait_s, _FRAME_WAIT_S),
            "max_waiting_frames": min(settings.frames.max_waiting_frames, ahead),
        }
    )
    update: dict[str, Any] = {"frames": frames}
    if speed == MAX_SPEED:
        interval_s = _RESUMABLE_INTERVAL_S if resumable else _COMMIT_INTERVAL_S
        interval_s = max(settings.delivery.commit_interval_s, interval_s)
        update["delivery"] = settings.delivery.model_copy(update={"commit_interval_s": interval_s})
    service = settings.service.model_copy(update={"policy": "every", "one_pass": True})
    return settings.model_copy(update={**update, "service": service})


def _turn(
    attempt: _Attempt,
    run_ref: RunRef,
    analysis: Analysis,
    stop: threading.Event,
    progress: Progress | None,
) -> None:
    """Turn the service's loop until all is answered or it is asked to stop."""
    service, source = attempt.service, attempt.source
    total, told_s = run_ref.num_events(analysis.stream()), 0.0
    while not stop.is_set():
        idle = not service.step()
        now_s = time.monotonic()
        if progress is not None and now_s - told_s >= _TELL_S:
            told_s = now_s
            progress(attempt.delivery.answered, total, source.given)
        if idle and service.all_answered():
            if not service.open_runs:
                break
            service.close_runs(source.fault or "the archive has no stop document of it")
    if progress is not None:
        progress(attempt.delivery.answered, total, source.given)


def _all_done(attempt: _Attempt) -> bool:
    return attempt.service.all_answered() and not attempt.service.open_runs


def _interrupt(attempt: _Attempt, run_ref: RunRef, analysis: Analysis) -> None:
    """Finish what is in work, keep the moment, then end the result run with a complete ledger."""
    attempt.service.drain()
    attempt.delivery.freeze()
    reason = "replay interrupted; replayed again, these readings are answered"
    attempt.service.abandon(reason, run_ref.num_events(analysis.stream()))


def _outcome(
    attempt: _Attempt, run_ref: RunRef, analysis: Analysis, ending: Ending, notes: tuple[str, ...]
) -> ReplayOutcome:
    delivery, source = attempt.delivery, attempt.source
    reason = "it was asked to stop" if ending == "interrupted" else ""
    if ending == "complete" and source.fault:
        ending, reason = "damaged", source.fault
    stop = delivery.stop
    if ending == "complete" and run_ref.stop is None and _open_end(stop):
        ending, reason = "unfinished", "the archive has no stop document of it"
    late = np.asarray(source.late_s)
    return ReplayOutcome(
        run_ref.uid, delivery.result_uid, ending, _ledger(stop, run_ref, analysis, reason), reason, notes,
        delivery.documents, delivery.answered, time.monotonic() - attempt.began_s,
        float(np.percentile(late, 95)) if late.size else None,
    )  # fmt: skip


def _open_end(stop: Mapping[str, Any] | None) -> bool:
    return stop is None or "no stop document" in str(stop.get("reason", ""))


def _ledger(
    stop: Mapping[str, Any] | None, run_ref: RunRef, analysis: Analysis, reason: str
) -> Mapping[str, Any]:
    """Return the stop's ledger; of a run of which nothing could be said, one that says so."""
    if stop is not None:
        ledger: Mapping[str, Any] = stop["ledger"]["primary"]
        return ledger
    expected = run_ref.num_events(analysis.stream())
    reason = reason or f"the run has no frames for {analysis.name}"
    rows = [{"reason": reason, "count": expected, "first_seq_nums": list(range(1, min(expected, 10) + 1))}]
    return {
        "expected": expected, "done": 0, "failed": expected, "dropped": 0,
        "failed_reasons": rows if expected else [], "dropped_reasons": [],
    }  # fmt: skip
