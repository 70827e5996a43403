"""``streamproc doctor``: say what is missing before a service can run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import click

from streamproc.cli.wiring import load_analysis, settings_of
from streamproc.errors import ConfigurationError
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import list_models
from streamproc.loading import analysis_names
from streamproc.settings import Settings

__all__ = ["doctor_command"]


@click.command("doctor")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("--bootstrap", metavar="HOST:PORT", help="Broker; overrides the file.")
@click.option("--analysis", "analyses", multiple=True, help="Only this analysis (default: all configured).")
def doctor_command(config: Path | None, bootstrap: str | None, analyses: tuple[str, ...]) -> int:
    """Say what is missing: settings, file roots, models, geometry, broker, topics (then exit code 2)."""
    try:
        settings = settings_of(config, bootstrap)
    except ConfigurationError as error:
        click.echo(_line(False, "settings", error.message))
        return 2
    click.echo(_line(True, "settings", str(config or "defaults")))
    sound = True
    for title, examine in _examinations(
        settings, analyses or tuple(settings.analysis) or tuple(analysis_names())
    ):
        try:
            click.echo(_line(True, title, examine()))
        except ConfigurationError as error:
            sound = False
            click.echo(_line(False, title, error.message))
    return 0 if sound else 2


def _line(ok: bool, title: str, text: str) -> str:
    mark = click.style("ok     ", fg="green") if ok else click.style("missing", fg="red")
    return f"{mark} {title}: {text}"


def _examinations(settings: Settings, analyses: tuple[str, ...]) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "file roots", lambda: _roots(settings)
    yield "models", lambda: _models(settings)
    for name in analyses:
        yield f"analysis {name}", lambda name=name: _analysis(name, settings)  # type: ignore[misc]
    yield "broker and topics", lambda: _topics(settings)


def _roots(settings: Settings) -> str:
    roots = settings.frames.roots
    gone = [str(r) for r in roots if not r.is_dir()]
    if gone:
        raise ConfigurationError(f"frames.roots: no such folder: {', '.join(gone)}")
    if not roots:
        return "none set: only frames inside the documents can be read (frames.roots)"
    return ", ".join(map(str, roots))


def _models(settings: Settings) -> str:
    loaded = [OnnxModel(m.path, settings.inference).model_id for m in list_models(settings.inference)]
    if not loaded:
        raise ConfigurationError("no model found; set inference.model_roots")
    return ", ".join(loaded)


def _analysis(name: str, settings: Settings) -> str:
    provenance = load_analysis(name, settings).provenance()
    return f"ready (calibration {provenance.calibration_sha256[:12] or 'from the run'})"


def _topics(settings: Settings) -> str:
    from streamproc.transports.kafka import check_topics

    reports = check_topics(settings)
    faults = [f"{r.name}: {problem}" for r in reports for problem in r.problems]
    if faults:
        raise ConfigurationError("; ".join(faults))
    return f"{settings.kafka.bootstrap}: " + ", ".join(f"{r.name} ({r.partitions})" for r in reports)
