"""The demo's triple-axis spectrometer: a real RunEngine that scans energy at constant Q.

It publishes to Kafka. Run as a process of its own, ``python -m streamproc.demo.magnon.beamline --help``; see
:mod:`streamproc.demo.publishing` for what it tells its parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from streamproc.demo.devices import make_motor
from streamproc.demo.magnon.scan import ScanPoint, expected_counts, scan_points, write_truth
from streamproc.demo.publishing import Acquire, beamline_options, perform
from streamproc.demo.scanning import EventDetector, Key, scan

__all__ = ["COUNTS", "MONITOR", "MONITOR_COUNTS", "MOTORS", "counter", "places_of"]

COUNTS, MONITOR = "counts", "monitor"
"""Data keys of the detector and of the monitor before the sample."""

MONITOR_COUNTS = 100_000
"""Every point counts to as many neutrons in the monitor."""

MOTORS = {"h": "r.l.u.", "k": "r.l.u.", "l": "r.l.u.", "energy": "meV"}
"""Axes of the spectrometer and their units."""


def counter(counts: npt.NDArray[np.int64]) -> EventDetector:
    """Return a point detector behind the analyser, read with the monitor.

    Parameters
    ----------
    counts : ndarray of int, shape (points,)
        What it counts at the first, second, ... trigger since staging.
    """
    number = Key("integer", "<i8", "counts")
    return EventDetector(
        COUNTS,
        {COUNTS: number, MONITOR: number},
        lambda n: {COUNTS: int(counts[n]), MONITOR: MONITOR_COUNTS},
        plotted=COUNTS,
    )


def places_of(points: Sequence[ScanPoint]) -> Any:
    """Return where the spectrometer goes, in this order."""
    from cycler import cycler

    motors = {name: make_motor(name, unit) for name, unit in MOTORS.items()}
    places = cycler(motors["energy"], [p.energy_meV for p in points])
    for axis, name in enumerate("hkl"):
        places += cycler(motors[name], [p.hkl[axis] for p in points])
    return places


@click.command()
@click.option(
    "--points", type=click.IntRange(min=1), default=480, show_default=True, help="Points of the scan."
)
@beamline_options
def main(
    points: int, folder: Path, seed: int, rate: float, bootstrap: str | None, topic: str,
    record: Path | None, hold: bool,
) -> None:  # fmt: skip
    """Scan the simulated magnet with a RunEngine and publish the documents."""

    def prepare() -> Acquire:
        path = scan_points(points)
        detector, places = counter(expected_counts(path, seed)), places_of(path)
        write_truth(folder / "truth.json", seed)
        about = {
            "plan_name": "constant_q_scans", "hints": {"dimensions": [[["energy"], "primary"]]}, "scan_id": 1,
            "sample": f"simulated antiferromagnet, seed {seed}", "beamline_id": "demo",
        }  # fmt: skip
        return scan(detector, places, rate_Hz=rate, metadata=about)

    perform(prepare, bootstrap=bootstrap, topic=topic, record=record, hold=hold)


if __name__ == "__main__":
    main()
