"""The demo's tensile stage: a real RunEngine that pulls the specimen and reads a strip detector at every
step.

It publishes to Kafka. Run as a process of its own, ``python -m streamproc.demo.deformation.beamline --help``;
see
:mod:`streamproc.demo.publishing` for what it tells its parent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from streamproc.demo.deformation.scan import Camera, axis_deg, tensile_test, write_truth
from streamproc.demo.devices import make_motor
from streamproc.demo.publishing import Acquire, beamline_options, perform
from streamproc.demo.scanning import EventDetector, Key, scan

__all__ = ["COUNTS", "MONITOR", "STRAIN", "TWO_THETA", "strip_detector"]

COUNTS, TWO_THETA, MONITOR, STRAIN = "mythen", "mythen_two_theta", "i0", "strain"
"""Data keys: counts of the strips, their angles, the monitor before the sample, the specimen's strain."""


def strip_detector(camera: Camera) -> EventDetector:
    """Return a strip detector around the sample, read with its angles and the monitor.

    Parameters
    ----------
    camera : Camera
        Takes the patterns.
    """
    axis = axis_deg()
    keys = {
        COUNTS: Key("array", "<i4", "counts", axis.shape),
        TWO_THETA: Key("array", "<f8", "deg", axis.shape),
        MONITOR: Key("integer", "<i8", "counts"),
    }

    def take(number: int) -> dict[str, Any]:
        counts, monitor = camera.take(number)
        return {COUNTS: counts, TWO_THETA: axis, MONITOR: monitor}

    return EventDetector(COUNTS, keys, take, plotted=MONITOR)


@click.command()
@click.option(
    "--points", type=click.IntRange(min=1), default=40, show_default=True, help="Readings of the test."
)
@beamline_options
def main(
    points: int, folder: Path, seed: int, rate: float, bootstrap: str | None, topic: str,
    record: Path | None, hold: bool,
) -> None:  # fmt: skip
    """Pull the simulated specimen with a RunEngine and publish the documents."""

    def prepare() -> Acquire:
        from cycler import cycler

        truth = tensile_test(points, seed)
        write_truth(folder / "truth.json", truth)
        places = cycler(make_motor(STRAIN, "percent"), [s.strain_percent for s in truth.steps])
        about = {
            "plan_name": "tensile_test", "hints": {"dimensions": [[[STRAIN], "primary"]]}, "scan_id": 1,
            "sample": f"simulated copper, seed {seed}", "beamline_id": "demo",
        }  # fmt: skip
        return scan(strip_detector(Camera(truth)), places, rate_Hz=rate, metadata=about)

    perform(prepare, bootstrap=bootstrap, topic=topic, record=record, hold=hold)


if __name__ == "__main__":
    main()
