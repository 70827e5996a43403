"""``streamproc watch``: the live view of any results topic."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click

__all__ = ["watch_command"]

_POLL_S = 0.1


@click.command("watch")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("--bootstrap", metavar="HOST:PORT", help="Broker; overrides the file.")
@click.option("--beamline", metavar="NAME", help="Short name that begins every topic; overrides the file.")
@click.option("--run", "run_uid", metavar="UID", help="Only this run: uid of the raw or of the result run.")
@click.option("--from-beginning", is_flag=True, help="Show what is in the topic already as well.")
@click.option("--shadow", "shadows", is_flag=True, help="Show the answers of shadow models as well.")
def watch_command(
    config: Path | None,
    bootstrap: str | None,
    beamline: str | None,
    run_uid: str | None,
    from_beginning: bool,
    shadows: bool,
) -> int:
    """Watch the results of a beamline as they come: progress, map or curve, newest answers, latency.

    An ordinary consumer of the results topic: nothing it does can slow the analysis. Ends with Ctrl-C.
    On a terminal it draws a picture, elsewhere it prints a line per answer.

    \b
    Example:
      streamproc watch --bootstrap localhost:9092 --beamline demo
    """
    from rich.console import Console

    from streamproc.cli.wiring import settings_of
    from streamproc.dashboard.following import results_source
    from streamproc.dashboard.state import Board
    from streamproc.dashboard.terminal import view_for

    settings = settings_of(config, bootstrap, beamline)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
    console = Console()
    source = results_source(settings, from_beginning=from_beginning or run_uid is not None)
    console.print(f"watching {settings.topic('results')} at {settings.kafka.bootstrap}; Ctrl-C ends")
    try:
        with view_for(Board(shadows=shadows), console) as view:
            _follow(source, view, run_uid)
    except KeyboardInterrupt:
        return 0
    finally:
        source.close()
    return 0


def _follow(source: Any, view: Any, run_uid: str | None) -> None:
    """Feed the view for ever."""
    from streamproc.dashboard.following import OwnRun
    from streamproc.dashboard.state import header_latency_ms
    from streamproc.documents import Document

    own = OwnRun(run_uid)
    while True:
        messages = source.poll(_POLL_S)
        documents = own.feed(messages) if run_uid else (m for m in messages if isinstance(m, Document))
        for document in documents:
            view.feed(document.name, document.doc, header_latency_ms(document.headers))


def _end(number: int, frame: Any) -> None:
    """End as Ctrl-C does."""
    sys.exit(0)
