"""What `streamproc replay` does: archive, target, comparison, one run after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamproc.analysis import Analysis
from streamproc.cli.controls import Controls
from streamproc.cli.progress import run_progress
from streamproc.cli.replay_task import Task, parse_speed
from streamproc.errors import ConfigurationError
from streamproc.replay import ReplayOutcome, ResumeFile, Target, replay_run
from streamproc.replay.verdict import Verdict
from streamproc.replay.verify import Verifier
from streamproc.results import result_run_uid
from streamproc.transports.archive.files import FileArchive
from streamproc.transports.archive.opening import open_archive
from streamproc.transports.archive.ports import Archive, Query, RunRef

__all__ = ["Done", "replay_all"]

_FEW = 3
"""So many runs are searched for one by one in the results; of more, all results are listed once."""


@dataclass(frozen=True, slots=True)
class Done:
    """One run replayed: what became of it, and the comparison where one was asked for.

    ``uncompared`` says why there is none.
    """

    run: RunRef
    outcome: ReplayOutcome
    verdict: Verdict | None
    uncompared: str = ""

    @property
    def good(self) -> bool:
        """Whether it is complete without failures and, where that was asked for, equal."""
        return self.outcome.good and not self.uncompared and (self.verdict is None or self.verdict.equal)


def replay_all(task: Task, controls: Controls) -> Iterator[Done]:
    """Replay the runs of a task one after the other; yields each when it is over.

    What goes wrong with one of them is said in its outcome, and the next is begun.
    """
    archive = open_archive(task.source, task.settings)
    try:
        refs = task.choose(archive)
        analysis = task.loaded()
        resume = task.resume(analysis)
        reference = _Reference(task, analysis, refs) if task.verify else None
        target = task.open_target()
        try:
            kept = False
            for ref in refs:
                if not controls.stop.is_set() and ref.uid not in resume.saved.done:
                    done = _one(task, archive, ref, analysis, target, resume, reference, controls)
                    kept = kept or done.outcome.ending == "refused"
                    yield done
            if not controls.stop.is_set() and not kept:
                resume.remove()
        finally:
            target.close()
    finally:
        archive.close()


def _one(
    task: Task, archive: Archive, ref: RunRef, analysis: Analysis, target: Target, resume: ResumeFile,
    reference: _Reference | None, controls: Controls,
) -> Done:  # fmt: skip
    verifier = reference.verifier(ref) if reference else None
    with run_progress(ref, task.as_json, controls.pause) as told:
        outcome = replay_run(
            archive, ref, analysis, target, settings=task.settings, speed=parse_speed(task.speed),
            progress=told, stop=controls.stop, pause=controls.pause, resume=resume, clock=controls.clock,
            tap=verifier.feed if verifier and not task.to_file else None,
        )  # fmt: skip
    missing = reference is not None and verifier is None
    uncompared = (
        f"--verify {task.verify}: no results of {analysis.name} for this run in it" if missing else ""
    )
    return Done(ref, outcome, _verdict(task, verifier, outcome), uncompared)


def _verdict(task: Task, verifier: Verifier | None, outcome: ReplayOutcome) -> Verdict | None:
    if verifier is None or outcome.ending == "interrupted":
        return None
    if task.to_file and outcome.result_uid:
        written = FileArchive(Path(task.target))
        ref = next(written.runs(Query(runs=(outcome.result_uid,), results=True)))
        for name, doc in written.documents(ref):
            verifier.feed(name, doc)
    return verifier.verdict(outcome.reason)


class _Reference:
    """The results that replays are held against.

    Raises
    ------
    ConfigurationError
        It has results of none of the runs.
    """

    def __init__(self, task: Task, analysis: Analysis, runs: list[RunRef]) -> None:
        self._name, self._analysis = str(task.verify), analysis
        self._archive: Archive = open_archive(
            task.verify, task.settings, topic=task.settings.topic("results")
        )
        self._found: dict[str, list[RunRef]] = {}
        for query in _queries(runs):
            for ref in self._listed(query):
                self._found.setdefault(str(ref.start.get("original_run_uid")), []).append(ref)
        if not any(run.uid in self._found for run in runs):
            uids = ", ".join(run.uid for run in runs[:_FEW])
            raise ConfigurationError(
                f"--verify {self._name}: no results of {analysis.name} for run {uids} in it"
            )

    def verifier(self, run: RunRef) -> Verifier | None:
        """Return what compares the results of a run; None where it has none."""
        found = self._found.get(run.uid)
        if not found:
            return None
        wanted = result_run_uid(run.uid, self._analysis.provenance())
        chosen = next((r for r in found if r.uid == wanted), found[-1])
        return Verifier(run.uid, self._archive.documents(chosen), chosen.notes, run.notes)

    def _listed(self, query: Query) -> list[RunRef]:
        """Return the first result runs of the analysis."""
        try:
            found = list(self._archive.runs(query))
        except ConfigurationError:
            if query.search:
                return []  # an archive says by this that there is none
            raise
        about = [(ref, ref.start.get("streamproc") or {}) for ref in found]
        return [
            ref for ref, own in about
            if own.get("analysis") == self._analysis.name and not ref.start.get("supplements")
        ]  # fmt: skip


def _queries(runs: list[RunRef]) -> list[Query]:
    if len(runs) > _FEW:
        return [Query(results=True)]
    return [Query(search=(("original_run_uid", run.uid),), results=True) for run in runs]
