"""replay_run: one archived run through the service's own loop, to any target."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import structlog

from streamproc.analysis import Analysis
from streamproc.errors import AnalysisHangs, RunNotStored
from streamproc.replay.attempt import Attempt, make_attempt
from streamproc.replay.outcome import Ending, Progress, ReplayOutcome, ledger_of
from streamproc.replay.quiet import quiet
from streamproc.replay.resume import ResumeFile
from streamproc.replay.source import MAX_SPEED
from streamproc.replay.targets import Target
from streamproc.settings import Settings
from streamproc.transports.archive.ports import Archive, RunRef

__all__ = ["replay_run"]

_log = structlog.get_logger()

_TELL_S = 0.1
_NO_RESUME = "no resume"
_INTERRUPTED = "replay interrupted; replayed again, these readings are answered"


@dataclass(frozen=True, slots=True)
class _Controls:
    """What somebody outside may do to a replay, and is told of it."""

    stop: threading.Event
    pause: threading.Event
    progress: Progress | None


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
    pause: threading.Event | None = None,
    resume: ResumeFile | None = None,
    tap: Callable[[str, Mapping[str, Any]], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
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
    pause : threading.Event, optional
        While set, nothing more is given out; what is in work is finished. A paced run goes on as if no time
        had passed.
    resume : ResumeFile, optional
        Where an interrupted run goes on; a run that is complete is noted there.
    tap : callable, optional
        Sees (name, doc) of every result document.
    clock : callable
        Seconds from any origin; :class:`RunningClock` where the process may be stopped meanwhile.

    Returns
    -------
    ReplayOutcome
        A damaged archive or a missing frame is said there; it raises nothing.

    Raises
    ------
    FatalError
        The target does not take results.
    """
    resume = resume or ResumeFile(None, _NO_RESUME)
    _take_up(resume, run_ref.uid, sink)
    attempt = make_attempt(archive, run_ref, analysis, sink, settings, speed, resume, tap, clock)
    controls = _Controls(stop or threading.Event(), pause or threading.Event(), progress)
    with quiet(speed != MAX_SPEED):
        outcome = _replayed(attempt, run_ref, analysis, controls)
    over = outcome.ending != "interrupted"
    try:
        sink.end_run(over and outcome.ending != "hangs")
    except RunNotStored as error:
        return replace(outcome, ending="refused", reason=error.message)
    if over:
        resume.run_done(run_ref.uid, sink.mark())
    return outcome


def _replayed(attempt: Attempt, run_ref: RunRef, analysis: Analysis, controls: _Controls) -> ReplayOutcome:
    ended: Ending = "complete"
    reason = ""
    try:
        try:
            _turn(attempt, run_ref.num_events(analysis.stream()), controls)
            if controls.stop.is_set() and not _all_done(attempt):
                ended, reason = "interrupted", "it was asked to stop"
                attempt.service.drain()
                _abandon(attempt, run_ref, analysis, _INTERRUPTED)
        except AnalysisHangs as error:
            ended, reason = "hangs", error.message
            _abandon(attempt, run_ref, analysis, reason)
        notes = (*run_ref.notes, *attempt.reader.notes(run_ref.uid))
    finally:
        attempt.service.close()
    return _outcome(attempt, run_ref, analysis, ended, reason, notes)


def _take_up(resume: ResumeFile, run_uid: str, sink: Target) -> None:
    """Go back to where an interrupted attempt at this run was; to its start where the target cannot go on."""
    saved = resume.saved
    if resume.found and saved.run_uid == run_uid and sink.goes_on:
        sink.rewind(saved.mark)
    else:
        if resume.found and saved.mark is not None:
            sink.rewind(saved.mark)
        saved.run_uid, saved.offset, saved.records, saved.mark = run_uid, None, {}, sink.mark()
        resume.save()
    resume.found = False


def _turn(attempt: Attempt, total: int, controls: _Controls) -> None:
    """Turn the service's loop until all is answered or it is asked to stop."""
    service, source, told_s = attempt.service, attempt.source, float("-inf")
    while not controls.stop.is_set():
        held, began_s = controls.pause.is_set(), attempt.clock()
        (source.hold if held else source.release)()
        idle = not service.step()
        now_s = attempt.clock()
        attempt.held_s += now_s - began_s if held else 0.0
        if now_s - told_s >= _TELL_S:
            told_s = now_s
            _tell(attempt, total, controls)
        if idle and service.all_answered():
            if not service.open_runs:
                break
            service.close_runs(source.fault or "the archive has no stop document of it")
    _tell(attempt, total, controls)


def _tell(attempt: Attempt, total: int, controls: _Controls) -> None:
    if controls.progress is not None:
        controls.progress(attempt.delivery.answered, total, attempt.source.given)


def _all_done(attempt: Attempt) -> bool:
    return attempt.service.all_answered() and not attempt.service.open_runs


def _abandon(attempt: Attempt, run_ref: RunRef, analysis: Analysis, reason: str) -> None:
    """Keep the moment, then end the result run with a complete ledger."""
    attempt.delivery.freeze()
    attempt.service.abandon(reason, run_ref.num_events(analysis.stream()))


def _outcome(
    attempt: Attempt, run_ref: RunRef, analysis: Analysis, ending: Ending, reason: str, notes: tuple[str, ...]
) -> ReplayOutcome:
    delivery, source = attempt.delivery, attempt.source
    if ending == "complete" and source.fault:
        ending, reason = "damaged", source.fault
    stop = delivery.stop
    if ending == "complete" and run_ref.stop is None and _open_end(stop):
        ending, reason = "unfinished", "the archive has no stop document of it"
    return ReplayOutcome(
        run_ref.uid, delivery.result_uid, ending, ledger_of(stop, run_ref, analysis, reason), reason, notes,
        delivery.documents, delivery.answered, attempt.clock() - attempt.began_s - attempt.held_s,
        _p95(source.late_s), _p95(source.taken_s),
    )  # fmt: skip


def _p95(values: Sequence[float]) -> float | None:
    return float(np.percentile(np.asarray(values), 95)) if len(values) else None


def _open_end(stop: Mapping[str, Any] | None) -> bool:
    return stop is None or "no stop document" in str(stop.get("reason", ""))
