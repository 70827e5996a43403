"""``streamproc torture``: what becomes of every frame when services and broker are broken on purpose."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click

__all__ = ["torture_command"]


@click.command("torture")
@click.option(
    "--kills",
    metavar="N",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Number of faults; one takes 6 to 12 s.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Decides faults and runs; the same seed gives the same ones.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write everything to this file.")
@click.option(
    "--faults",
    metavar="KIND[=WEIGHT],...",
    default="kill,stop,term,node,cut",
    show_default=True,
    help="What may happen, and how often in proportion: kill (SIGKILL a service), stop (SIGSTOP, later "
    "SIGCONT, half of them beyond the session time-out), term (SIGTERM), node (kill or freeze a broker "
    "node, and bring it back), cut (a service's connections, for up to 3 s).",
)
@click.option(
    "--rate",
    metavar="HZ",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Readings a second, all runs together.",
)
@click.option(
    "--pace",
    metavar="S",
    type=click.FloatRange(min=0, min_open=True),
    default=7.0,
    show_default=True,
    help="Mean pause between two faults (s).",
)
@click.option(
    "--restart-limit",
    metavar="S",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="A restarted service must answer again within this time (s).",
)
@click.option(
    "--bootstrap",
    metavar="HOST:PORT",
    help="A cluster of one's own instead of starting one; its nodes are left alone, and topics that begin "
    "with torture- stay on it.",
)
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep logs, settings, frames and the broker's data in this (new) folder.",
)
def torture_command(json_file: Path | None, **asked: Any) -> int:
    """Break things on purpose and count every frame afterwards.

    Starts Apache Kafka with three nodes, two services of phase-map that share a topic of three partitions,
    and a beamline that publishes overlapping runs (patterns in the events, and in HDF5 files that grow).
    Services are killed, frozen, ended and cut off, nodes are killed and frozen; what ends is started again at
    once. Afterwards raw and result documents are compared one by one, in two ways that know nothing of each
    other.

    \b
    Examples:
      streamproc torture --kills 5
      streamproc torture --kills 50 --seed 1 --json out.json
      streamproc torture --kills 20 --faults kill=3,cut --keep my-torture

    Exit codes: 0 no frame lost, none answered twice, every restart answered within the limit, memory flat; 1
    otherwise; 2 something is missing or wrong (the sentence says what). Ctrl-C ends everything.
    """
    from streamproc.observability.logs import configure_logs
    from streamproc.settings import ObservabilitySettings
    from streamproc.torture.faults import parse_kinds
    from streamproc.torture.options import TortureOptions
    from streamproc.torture.report import write_report
    from streamproc.torture.run import run_torture
    from streamproc.torture.table import table

    # What happens to our own clients is no news here: it is what the monkey does.
    configure_logs(ObservabilitySettings(log_level="error"))
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
    options = TortureOptions(
        kills=asked["kills"],
        seed=asked["seed"],
        faults=parse_kinds(asked["faults"]),
        rate_Hz=asked["rate"],
        pace_s=asked["pace"],
        restart_limit_s=asked["restart_limit"],
        bootstrap=asked["bootstrap"],
        keep=asked["keep"],
    )
    report = run_torture(options, lambda line: click.echo(line, err=True))
    for line in table(report):
        click.echo(line)
    if json_file is not None:
        write_report(json_file, report)
    return 0 if report["passed"] else 1


def _end(number: int, frame: Any) -> None:
    """End as Ctrl-C does: everything that was started is ended on the way out."""
    sys.exit(128 + number)
