"""``streamproc topics``: make and check the Kafka topics of a beamline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamproc.loading import analysis_names

if TYPE_CHECKING:
    from streamproc.settings import Settings

__all__ = ["topics_group"]


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--analysis",
            "analyses",
            multiple=True,
            metavar="NAME",
            help="Analysis whose state topic is meant as well; may be given again. Default: all installed.",
        ),
        click.option("--beamline", metavar="NAME", help="Beamline whose topics are meant."),
        click.option("--bootstrap", metavar="HOST:PORT", help="Broker, instead of the one in the settings."),
        click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML)."),
    ):
        command = option(command)
    return command


@click.group("topics")
def topics_group() -> None:
    """Create and check the Kafka topics: raw documents, results, dead letters, state of each analysis."""


@topics_group.command("create")
@_options
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Partitions of the raw topic, when it is made here; results and state get as many.",
)
def create(
    config: Path | None,
    bootstrap: str | None,
    beamline: str | None,
    analyses: tuple[str, ...],
    partitions: int,
) -> int:
    """Make the topics that are missing; those that exist are left as they are and checked.

    Only a state topic is given more partitions, where the raw topic has more by now: what is stored stays
    where it is.

    \b
    Example:
      streamproc topics create --config beamline.toml --partitions 3 --analysis phase-map

    Exit codes: 0 all is well, 2 a topic does not fit (the line says what to change) or no broker answers.
    """
    from streamproc.transports.kafka import ensure_topics

    settings = _settings(config, bootstrap, beamline)
    return _tell(ensure_topics(settings, partitions=partitions, analysis=analyses or analysis_names()))


@topics_group.command("check")
@_options
def check(config: Path | None, bootstrap: str | None, beamline: str | None, analyses: tuple[str, ...]) -> int:
    """Say what is wrong with the topics; nothing is made or altered.

    \b
    Example:
      streamproc topics check --config beamline.toml

    Exit codes: 0 all is well, 2 a topic is missing or does not fit, or the broker cannot be used.
    """
    from streamproc.transports.kafka import check_topics

    settings = _settings(config, bootstrap, beamline)
    return _tell(check_topics(settings, analyses or analysis_names()))


def _settings(config: Path | None, bootstrap: str | None, beamline: str | None) -> Settings:
    from streamproc.cli.wiring import settings_of

    return settings_of(config, bootstrap, beamline)


def _tell(reports: list[Any]) -> int:
    """Print one line per topic and one per problem; return the exit code."""
    for report in reports:
        state = "made" if report.created else "present" if report.partitions else "missing"
        click.echo(f"{report.role:12} {report.name}  {state}, partitions: {report.partitions}")
        for problem in report.problems:
            click.echo(f"{'':12} problem: {problem}")
    return 2 if any(report.problems for report in reports) else 0
