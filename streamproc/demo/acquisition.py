"""The demo's diffraction beamline: a real RunEngine that maps the sample and publishes to Kafka.

Run as a process of its own, ``python -m streamproc.demo.acquisition --help``; see
:mod:`streamproc.demo.publishing` for what it tells its parent.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from streamproc.demo.calibration import write_calibration
from streamproc.demo.devices import STORAGES, Storage, make_detector, make_motor
from streamproc.demo.publishing import Acquire, Callback, beamline_options, drive, paced, perform
from streamproc.demo.sample import MOTORS, PHASES, SamplePoint, grid_points, grid_shape

__all__ = ["DETECTOR", "acquire", "frame_source", "map_plan", "write_truth"]

DETECTOR = "pilatus"
"""Name of the detector and of its image's data key."""


def write_truth(path: Path, points: Sequence[SamplePoint], seed: int) -> None:
    """Write what the sample is at every point: seq_num, motors (mm), weight fractions."""
    listed = [
        {
            "seq_num": p.index + 1,
            MOTORS[0]: p.x_mm,
            MOTORS[1]: p.y_mm,
            "fractions": dict(zip(PHASES, p.fractions, strict=True)),
        }
        for p in points
    ]
    path.write_text(
        json.dumps({"seed": seed, "phases": PHASES, "points": listed}, indent=1), encoding="utf-8"
    )


def frame_source(
    folder: Path, points: Sequence[SamplePoint], seed: int
) -> Callable[[int], npt.NDArray[np.uint16]]:
    """Return what exposes the n-th frame of the scan; calibration files are written where missing."""
    from streamproc.demo.detector import Camera

    camera = Camera(write_calibration(folder).geometry, seed)
    return lambda n: camera.frame(n, points[n].fractions)


def map_plan(
    detector: Any,
    motors: Sequence[Any],
    points: Sequence[SamplePoint],
    md: dict[str, Any],
    *,
    rate_Hz: float,
    asked_to_stop: threading.Event,
) -> Any:
    """Return the plan: every point in order, at the pace of :func:`~streamproc.demo.publishing.paced`."""
    from bluesky import plans as bp
    from cycler import cycler

    places = cycler(motors[0], [p.x_mm for p in points]) + cycler(motors[1], [p.y_mm for p in points])
    scan_nd: Any = bp.scan_nd
    return scan_nd(
        [detector],
        places,
        per_step=paced(rate_Hz, asked_to_stop),
        md={**md, **_grid_metadata(points)},
    )


def _grid_metadata(points: Sequence[SamplePoint]) -> dict[str, Any]:
    """Return what a grid plan says of itself (slow motor first); the shape only of a complete grid."""
    rows, columns = grid_shape(len(points))
    md: dict[str, Any] = {
        "plan_name": "grid_map",
        "plan_args": {"num_points": len(points), "rows": rows, "columns": columns},
        "motors": [MOTORS[1], MOTORS[0]],
        "hints": {"dimensions": [[[MOTORS[1]], "primary"], [[MOTORS[0]], "primary"]]},
    }
    if rows * columns == len(points) and rows > 1 and columns > 1:
        xs, ys = [p.x_mm for p in points], [p.y_mm for p in points]
        md["shape"] = [rows, columns]
        md["extents"] = [[min(ys), max(ys)], [min(xs), max(xs)]]
        md["snaking"] = [False, True]
        md["hints"]["gridding"] = "rectilinear"
    return md


def acquire(
    points: Sequence[SamplePoint],
    callbacks: Sequence[Callback],
    *,
    storage: Storage,
    expose: Callable[[int], npt.NDArray[np.uint16]],
    frames_folder: Path,
    rate_Hz: float = 0.0,
    metadata: dict[str, Any] | None = None,
    asked_to_stop: threading.Event | None = None,
) -> str:
    """Map the points with a RunEngine; return the run's exit status.

    Parameters
    ----------
    points : sequence of SamplePoint
        Where to measure, in this order.
    callbacks : sequence of callable
        Called with (name, doc) of every document; an exception in one ends the run, as it does at a beamline.
    storage, expose, frames_folder
        See :func:`~streamproc.demo.devices.make_detector`.
    rate_Hz : float
        Points a second at most; 0: as fast as the detector goes.
    metadata : dict, optional
        Goes into the start document.
    asked_to_stop : threading.Event, optional
        When set, the run ends early with exit status ``abort``.
    """
    detector = make_detector(storage, DETECTOR, expose, frames_folder)
    plan = map_plan(
        detector,
        [make_motor(name) for name in MOTORS],
        points,
        metadata or {},
        rate_Hz=rate_Hz,
        asked_to_stop=asked_to_stop or threading.Event(),
    )
    return drive(plan, callbacks)


@click.command()
@click.option(
    "--points", type=click.IntRange(min=1), default=49, show_default=True, help="Points of the map."
)
@click.option(
    "--storage",
    type=click.Choice(STORAGES),
    default="inline",
    show_default=True,
    help="How frames are stored.",
)
@beamline_options
def main(
    points: int, storage: Storage, folder: Path, seed: int, rate: float, bootstrap: str | None, topic: str,
    record: Path | None, hold: bool,
) -> None:  # fmt: skip
    """Map the simulated sample with a RunEngine and publish the documents."""

    def prepare() -> Acquire:
        places = grid_points(points, seed)
        expose = frame_source(folder, places, seed)
        write_truth(folder / "truth.json", places, seed)
        return lambda callbacks, asked_to_stop: acquire(
            places, callbacks, storage=storage, expose=expose, frames_folder=folder / "frames", rate_Hz=rate,
            metadata={"sample": f"simulated mixture, seed {seed}", "scan_id": 1, "beamline_id": "demo"},
            asked_to_stop=asked_to_stop,
        )  # fmt: skip

    perform(prepare, bootstrap=bootstrap, topic=topic, record=record, hold=hold)


if __name__ == "__main__":
    main()
