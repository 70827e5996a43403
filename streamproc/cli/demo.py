"""``streamproc demo``: a simulated experiment, understood while it runs."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click

from streamproc.errors import ConfigurationError

__all__ = ["demo_command"]

_NEEDED = ("bluesky", "ophyd", "bluesky_kafka", "gemmi")
_EXPERIMENTS = ("diffraction", "magnon", "deformation")


@click.command("demo")
@click.option(
    "--experiment",
    type=click.Choice(_EXPERIMENTS),
    default="diffraction",
    show_default=True,
    help="diffraction: a map of four minerals, phase fractions at every point. magnon: a triple-axis scan "
    "of an antiferromagnet, its exchange constants while it counts. deformation: a tensile test of copper, "
    "its dislocations and stacking faults, with an alarm at the yield point.",
)
@click.option(
    "--points",
    type=click.IntRange(min=1),
    help="Points of the map [default: 49], or of the scan [default: 480, 30 energies at each of 16 Q], "
    "or of the test [default: 40].",
)
@click.option(
    "--storage",
    type=click.Choice(["inline", "hdf5", "tiff", "resource"]),
    help="How frames of the diffraction map travel [default: inline]: inside the events; HDF5 written while "
    "it is read (stream_resource); TIFF sequence (stream_resource); TIFF sequence told by resource and "
    "datum documents (AD_TIFF).",
)
@click.option(
    "--rate",
    metavar="HZ",
    type=click.FloatRange(min=0),
    help="Points a second at most [default: 5; magnon: 20]; 0: as fast as the simulated detector goes.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Chooses the sample and the noise.",
)
@click.option("--bootstrap", metavar="HOST:PORT", help="A Kafka broker of one's own instead of starting one.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the summary to this file.")
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep everything in this (new) folder: frames, documents, configuration, logs, truth, results.",
)
def demo_command(
    experiment: str,
    points: int | None,
    storage: str | None,
    rate: float | None,
    seed: int,
    bootstrap: str | None,
    json_file: Path | None,
    keep: Path | None,
) -> int:
    """Watch a simulated experiment being understood while it runs.

    A real Bluesky RunEngine maps a sample of four minerals with a simulated area detector and publishes to
    Apache Kafka; the phase-map service answers every frame with weight fractions. Broker, beamline and
    service are processes of their own; Ctrl-C ends them all.

    With --experiment magnon a triple-axis spectrometer counts at one Q and energy after the other, and the
    excitation-fit service says after every scan at constant Q what the exchange constants are.

    With --experiment deformation copper is pulled until it yields; the defect-flags service says what the
    crystal's defects are, which readings are bad, and raises an alarm when the defects begin to grow.

    \b
    Examples:
      streamproc demo
      streamproc demo --experiment magnon
      streamproc demo --experiment deformation
      streamproc demo --points 100 --storage hdf5 --keep my-demo
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the demo needs {', '.join(missing)}, not installed here: pip install 'streamproc[demo]'"
        )
    from rich.console import Console

    from streamproc.demo.run import DemoOptions, run_demo

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
    options = DemoOptions(experiment, points, storage, rate, seed, bootstrap, keep)
    summary = run_demo(options, Console())
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    ledger = summary["ledger"]
    return 0 if ledger["done"] == ledger["expected"] == summary["points"] else 1


def _end(number: int, frame: Any) -> None:
    """End as Ctrl-C does: everything that was started is stopped on the way out."""
    sys.exit(128 + number)
