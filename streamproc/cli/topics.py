"""``streamproc topics``: make and check the Kafka topics of a beamline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from streamproc.settings import Settings

__all__ = ["topics_group"]


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--beamline", metavar="NAME", help="Beamline whose topics are meant."),
        click.option("--bootstrap", metavar="HOST:PORT", help="Broker, instead of the one in the settings."),
        click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML)."),
    ):
        command = option(command)
    return command


@click.group("topics")
def topics_group() -> None:
    """Create and check the Kafka topics: raw documents, results, dead letters."""


@topics_group.command("create")
@_options
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Partitions of the raw topic, when it is made here; results get as many.",
)
def create(config: Path | None, bootstrap: str | None, beamline: str | None, partitions: int) -> int:
    """Make the topics that are missing; those that exist are left as they are and checked."""
    from streamproc.transports.kafka import ensure_topics

    return _tell(ensure_topics(_settings(config, bootstrap, beamline), partitions=partitions))


@topics_group.command("check")
@_options
def check(config: Path | None, bootstrap: str | None, beamline: str | None) -> int:
    """Say what is wrong with the topics; exit code 2 when something is."""
    from streamproc.transports.kafka import check_topics

    return _tell(check_topics(_settings(config, bootstrap, beamline)))


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
