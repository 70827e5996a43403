"""What `streamproc replay` does with its options: archive, target, comparison, one run after the other."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from streamproc.analysis import Analysis
from streamproc.cli.reading import parse_since
from streamproc.cli.wiring import load_analysis, settings_of
from streamproc.errors import ConfigurationError
from streamproc.observability.logs import configure_logs
from streamproc.replay import ForwardTarget, JsonLinesTarget, NoTarget, ReplayOutcome, ResumeFile, Target
from streamproc.replay.engine import Progress, replay_run
from streamproc.replay.verify import Verdict, Verifier
from streamproc.results import result_run_uid
from streamproc.settings import Settings
from streamproc.transports.archive.files import FileArchive
from streamproc.transports.archive.opening import open_archive
from streamproc.transports.archive.ports import Archive, Query, RunRef

__all__ = ["Done", "Task", "replay_all"]


@dataclass(frozen=True, slots=True)
class Done:
    """One run replayed: what became of it, and the comparison where one was asked for."""

    run: RunRef
    outcome: ReplayOutcome
    verdict: Verdict | None

    @property
    def good(self) -> bool:
        """Whether it is complete without failures and, where compared, equal."""
        return self.outcome.good and (self.verdict is None or self.verdict.equal)


@dataclass(slots=True)
class Task:
    """The options of `streamproc replay`; see its help."""

    source: str
    runs: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    search: tuple[str, ...] = ()
    only_list: bool = False
    analysis: str = "phase-map"
    model: str | None = None
    speed: str = "max"
    target: str = "none"
    verify: str | None = None
    roots: tuple[Path, ...] = ()
    mapped: tuple[str, ...] = ()
    overwrite: bool = False
    resume_file: Path | None = None
    config: Path | None = None
    bootstrap: str | None = None
    beamline: str | None = None
    as_json: bool = False
    settings: Settings = field(default_factory=Settings)

    def configure(self) -> None:
        """Read the settings and check the options that can be checked at once."""
        from streamproc.cli.replay import parse_speed

        parse_speed(self.speed)
        settings = settings_of(self.config, self.bootstrap, self.beamline)
        for root in self.roots:
            if not root.is_dir():
                raise ConfigurationError(f"--frames {root}: no such folder")
        frames = settings.frames
        pairs = dict(_pair("--map", text) for text in self.mapped)
        roots = (*frames.roots, *(root.resolve() for root in self.roots))
        frames = frames.model_copy(update={"roots": roots, "prefix_map": {**frames.prefix_map, **pairs}})
        watch = settings.observability.model_copy(update={"log_level": "error"})
        self.settings = settings.model_copy(update={"frames": frames, "observability": watch})
        configure_logs(watch)
        if self.verify and self.to_file and Path(self.verify).resolve() == Path(self.target).resolve():
            raise ConfigurationError(f"--verify {self.verify} is what is written: nothing to compare")
        if self.verify and self.resume_file and not self.to_file:
            raise ConfigurationError(
                "--verify with --resume-file needs --to FILE.jsonl: it compares whole runs"
            )

    @property
    def to_file(self) -> bool:
        """Whether the results go to a file."""
        return self.target.endswith(".jsonl")

    @property
    def query(self) -> Query:
        """Which runs are meant."""
        named = self.runs or (() if self.since or self.until or self.search else ("-1",))
        search = tuple(_pair("--search", text) for text in self.search)
        return Query(named, parse_since(self.since), parse_since(self.until), search)

    def selected(self) -> list[RunRef]:
        """Return the runs that are meant."""
        archive = open_archive(self.source, self.settings)
        try:
            return list(archive.runs(self.query))
        finally:
            archive.close()

    def loaded(self) -> Analysis:
        """Load the analysis with its model."""
        model = self.model
        if model and model.endswith(".onnx"):
            model = str(Path(model).resolve())
        return load_analysis(self.analysis, self.settings, {"model": model} if model else None)

    def resume(self, analysis: Analysis) -> ResumeFile:
        """Open the resume file of this task."""
        path = self.resume_file
        if self.to_file:
            file = Path(self.target)
            path = path or file.with_name(file.name + ".resume")
            if self.overwrite:
                path.unlink(missing_ok=True)
                file.unlink(missing_ok=True)
            elif file.exists() and not path.exists():
                raise ConfigurationError(f"{file} exists; name another file, or --overwrite it")
        p = analysis.provenance()
        made = (p.analysis, p.version, p.model_sha256[:12], p.settings_sha256[:12], p.calibration_sha256[:12])
        asked = (*self.runs, self.since, self.until, *self.search)
        parts = (self.source, *(str(a) for a in asked if a), "/".join(made), self.target)
        return ResumeFile(path, " ".join(parts))

    def open_target(self) -> Target:
        """Open what the results go to."""
        if self.target == "none":
            return NoTarget()
        if self.to_file:
            return JsonLinesTarget(Path(self.target))
        if self.target == "kafka":
            return _kafka(self.settings)
        if self.target.startswith(("http://", "https://", "profile:")):
            from streamproc.transports.archive.tiled_writer import TiledTarget

            return TiledTarget(self.target)
        raise ConfigurationError(
            f"--to {self.target}: expected kafka, a .jsonl file, http://HOST:PORT/PATH or profile:NAME of a "
            "Tiled catalog, or none"
        )

    def how_to_resume(self) -> str:
        """Say how an interrupted replay goes on."""
        if self.to_file or self.resume_file:
            return "the same command again goes on where it ended"
        return "the same command again begins anew and gives the same documents (--resume-file would go on)"


def replay_all(task: Task, stop: threading.Event) -> Iterator[Done]:
    """Replay the runs of a task one after the other; yields each when it is over."""
    from streamproc.cli.replay import parse_speed

    archive = open_archive(task.source, task.settings)
    try:
        refs = list(archive.runs(task.query))
        analysis = task.loaded()
        resume = task.resume(analysis)
        reference = _Reference(task, analysis) if task.verify else None
        verifiers = {ref.uid: reference.verifier(ref) for ref in refs} if reference else {}
        target = task.open_target()
        try:
            for ref in refs:
                if stop.is_set() or ref.uid in resume.saved.done:
                    continue
                with _progress(ref, task.as_json) as told:
                    verifier = verifiers.get(ref.uid)
                    outcome = replay_run(
                        archive, ref, analysis, target, settings=task.settings, speed=parse_speed(task.speed),
                        progress=told, stop=stop, resume=resume,
                        tap=verifier.feed if verifier and not task.to_file else None,
                    )  # fmt: skip
                yield Done(ref, outcome, _verdict(task, verifier, outcome))
            if not stop.is_set():
                resume.remove()
        finally:
            target.close()
    finally:
        archive.close()


def _verdict(task: Task, verifier: Verifier | None, outcome: ReplayOutcome) -> Verdict | None:
    if verifier is None or outcome.ending == "interrupted":
        return None
    if task.to_file and outcome.result_uid:
        written = FileArchive(Path(task.target))
        ref = next(written.runs(Query(runs=(outcome.result_uid,), results=True)))
        for name, doc in written.documents(ref):
            verifier.feed(name, doc)
    return verifier.verdict()


class _Reference:
    """The results that a replay is held against."""

    def __init__(self, task: Task, analysis: Analysis) -> None:
        self._name, self._analysis = str(task.verify), analysis
        self._archive: Archive = open_archive(
            task.verify, task.settings, topic=task.settings.topic("results")
        )

    def verifier(self, ref: RunRef) -> Verifier:
        """Return what compares the results of a run."""
        uid, mine = ref.uid, self._analysis.name
        try:
            found = list(self._archive.runs(Query(search=(("original_run_uid", uid),), results=True)))
        except ConfigurationError as error:
            raise ConfigurationError(f"--verify {self._name}: no results of run {uid} in it") from error
        of_analysis = [r for r in found if (r.start.get("streamproc") or {}).get("analysis") == mine]
        firsts = [r for r in of_analysis if not r.start.get("supplements")]
        if not firsts:
            raise ConfigurationError(f"--verify {self._name}: no results of {mine} for run {uid} in it")
        wanted = result_run_uid(uid, self._analysis.provenance())
        chosen = next((r for r in firsts if r.uid == wanted), firsts[-1])
        return Verifier(uid, self._archive.documents(chosen), chosen.notes, ref.notes)


def _kafka(settings: Settings) -> Target:
    from streamproc.transports.kafka import KafkaSink, check_topics

    reports = check_topics(settings, None)
    faults = [f"topic {r.name} {p}" for r in reports if r.role == "results" for p in r.problems]
    if faults:
        raise ConfigurationError("; ".join(faults))
    return ForwardTarget(KafkaSink(settings.kafka, settings.delivery))


@contextmanager
def _progress(ref: RunRef, quiet: bool) -> Iterator[Progress | None]:
    """Show a bar on stderr where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task(f"run {ref.uid[:8]}", total=None, rate="")

        def tell(answered: int, total: int, read: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(shown, completed=answered, total=total or None, rate=f"{speed:.1f}/s" if speed else "")

        yield tell


def _pair(option: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigurationError(f"{option} {text!r}: expected KEY=VALUE")
    return key, value
