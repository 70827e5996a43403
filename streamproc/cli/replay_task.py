"""The options of `streamproc replay` and what follows from them: settings, runs, analysis, target."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from streamproc.analysis import Analysis
from streamproc.cli.reading import parse_since
from streamproc.cli.wiring import load_analysis, settings_of
from streamproc.errors import ConfigurationError
from streamproc.loading import analysis_settings, find_analysis
from streamproc.observability.logs import configure_logs
from streamproc.replay import ForwardTarget, JsonLinesTarget, NoTarget, ResumeFile, Target
from streamproc.settings import Settings
from streamproc.transports.archive.opening import open_archive
from streamproc.transports.archive.ports import Archive, Query, RunRef

__all__ = ["Task", "parse_speed"]


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
            return self.choose(archive)
        finally:
            archive.close()

    def choose(self, archive: Archive) -> list[RunRef]:
        """Return the runs of an archive that are meant, each once."""
        return list({run.uid: run for run in archive.runs(self.query)}.values())

    def loaded(self) -> Analysis:
        """Load the analysis with its model."""
        model = self._model()
        return load_analysis(self.analysis, self.settings, {"model": model} if model else None)

    def _model(self) -> str | None:
        """Return the model that is asked for; a version alone is one of the model of the settings."""
        model = self.model
        if model and model.endswith(".onnx"):
            return str(Path(model).resolve())
        if model and model.isdecimal():
            found = find_analysis(self.analysis)
            usual = analysis_settings(found, self.settings.analysis.get(found.name, {}))
            name, _, _ = str(getattr(usual, "model", "")).partition(":")
            return f"{name}:{model}" if name and not name.endswith(".onnx") else model
        return model

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
        if self.target == "tiled":
            return _tiled(self.settings.tiled_catalog(), self.settings)
        if self.target.startswith(("http://", "https://", "profile:")):
            return _tiled(self.target, self.settings)
        raise ConfigurationError(
            f"--to {self.target}: expected kafka, a .jsonl file, tiled (the catalog of the settings), "
            "http://HOST:PORT/PATH or profile:NAME of a Tiled catalog, or none"
        )

    def how_to_resume(self) -> str:
        """Say how an interrupted replay goes on."""
        if self.to_file or self.resume_file:
            return "the same command again goes on where it ended"
        return "the same command again begins anew and gives the same documents (--resume-file would go on)"


def _kafka(settings: Settings) -> Target:
    from streamproc.transports.kafka import KafkaSink, check_topics

    reports = check_topics(settings, None)
    faults = [f"topic {r.name} {p}" for r in reports if r.role == "results" for p in r.problems]
    if faults:
        raise ConfigurationError("; ".join(faults))
    return ForwardTarget(KafkaSink(settings.kafka, settings.delivery))


def _tiled(where: str, settings: Settings) -> Target:
    from streamproc.replay.tiled_target import TiledTarget

    name = settings.tiled.api_key_env
    key = os.environ.get(name)
    try:
        return TiledTarget(where, key)
    except ConfigurationError as error:
        hint = "" if key else f" (environment variable {name} is not set)"
        raise ConfigurationError(error.message + hint) from error


def _pair(option: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigurationError(f"{option} {text!r}: expected KEY=VALUE")
    return key, value


def parse_speed(text: str) -> float:
    """Return how many times faster: ``real`` 1, ``10x`` 10, ``max`` infinite.

    Raises
    ------
    ConfigurationError
        None of these.
    """
    known = {"real": 1.0, "max": float("inf")}
    try:
        speed = known[text] if text in known else float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise ConfigurationError(f"--speed {text!r}: expected real, max, or a number such as 10x")
    return speed
