"""The demo's triple-axis spectrometer: a real RunEngine that scans energy at constant Q.

It publishes to Kafka. Run as a process of its own, ``python -m streamproc.demo.magnon.beamline --help``; see
:mod:`streamproc.demo.publishing` for what it tells its parent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from bluesky.protocols import HasHints, Readable, Stageable, Triggerable
from ophyd.status import Status

from streamproc.demo.devices import make_motor
from streamproc.demo.magnon.scan import ScanPoint, expected_counts, scan_points, write_truth
from streamproc.demo.publishing import Acquire, Callback, beamline_options, drive, paced, perform

__all__ = ["COUNTS", "MONITOR_COUNTS", "MOTORS", "Counter", "acquire"]

COUNTS = "counts"
"""Name of the detector and of its data key."""

MONITOR_COUNTS = 100_000
"""Every point counts to as many neutrons in the monitor."""

MOTORS = {"h": "r.l.u.", "k": "r.l.u.", "l": "r.l.u.", "energy": "meV"}
"""Axes of the spectrometer and their units."""


class Counter(Readable[Any], Triggerable, Stageable, HasHints):
    """A point detector behind the analyser, read with the monitor.

    Parameters
    ----------
    counts : sequence of int
        What it counts at the first, second, ... trigger since staging.
    """

    parent = None
    name = COUNTS

    def __init__(self, counts: Sequence[int] | npt.NDArray[np.int64]) -> None:
        self._counts = [int(c) for c in counts]
        self._next = 0
        self._reading: dict[str, Any] = {}

    @property
    def hints(self) -> Any:
        """Plot the counts."""
        return {"fields": [COUNTS]}

    def stage(self) -> list[Any]:
        """Begin with the first point."""
        self._next = 0
        return [self]

    def unstage(self) -> list[Any]:
        """Nothing to close."""
        return [self]

    def trigger(self) -> Status:
        """Count at one point."""
        now = time.time()
        values = {COUNTS: self._counts[self._next], "monitor": MONITOR_COUNTS}
        self._reading = {key: {"value": value, "timestamp": now} for key, value in values.items()}
        self._next += 1
        status = Status(obj=self)
        status.set_finished()
        return status

    def read(self) -> dict[str, Any]:
        """Return the newest counts."""
        return dict(self._reading)

    def describe(self) -> dict[str, Any]:
        """Describe counts and monitor: one number each."""
        key = {"dtype": "integer", "dtype_numpy": "<i8", "shape": [], "units": "counts"}
        return {name: {**key, "source": f"SIM:{name}"} for name in (COUNTS, "monitor")}


def acquire(
    points: Sequence[ScanPoint],
    counts: npt.NDArray[np.int64],
    callbacks: Sequence[Callback],
    *,
    rate_Hz: float = 0.0,
    metadata: dict[str, Any] | None = None,
    asked_to_stop: threading.Event | None = None,
) -> str:
    """Scan the points with a RunEngine; return the run's exit status.

    Parameters
    ----------
    points : sequence of ScanPoint
        Where to count, in this order.
    counts : ndarray of int, shape (points,)
        What the detector will count there.
    callbacks : sequence of callable
        Called with (name, doc) of every document.
    rate_Hz : float
        Points a second at most; 0: as fast as it goes.
    metadata : dict, optional
        Goes into the start document.
    asked_to_stop : threading.Event, optional
        When set, the run ends early with exit status ``abort``.
    """
    from bluesky import plans as bp
    from cycler import cycler

    motors = {name: make_motor(name, unit) for name, unit in MOTORS.items()}
    places = cycler(motors["energy"], [p.energy_meV for p in points])
    for axis, name in enumerate("hkl"):
        places += cycler(motors[name], [p.hkl[axis] for p in points])
    own = {"plan_name": "constant_q_scans", "hints": {"dimensions": [[["energy"], "primary"]]}}
    scan_nd: Any = bp.scan_nd
    plan = scan_nd(
        [Counter(counts)],
        places,
        per_step=paced(rate_Hz, asked_to_stop or threading.Event()),
        md={**own, **(metadata or {})},
    )
    return drive(plan, callbacks)


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
        places = scan_points(points)
        counts = expected_counts(places, seed)
        write_truth(folder / "truth.json", seed)
        about = {"sample": f"simulated antiferromagnet, seed {seed}", "scan_id": 1, "beamline_id": "demo"}
        return lambda callbacks, asked_to_stop: acquire(
            places, counts, callbacks, rate_Hz=rate, metadata=about, asked_to_stop=asked_to_stop
        )

    perform(prepare, bootstrap=bootstrap, topic=topic, record=record, hold=hold)


if __name__ == "__main__":
    main()
