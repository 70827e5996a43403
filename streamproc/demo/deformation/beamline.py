"""The demo's tensile stage: a real RunEngine that pulls the specimen and reads a strip detector at every
step.

It publishes to Kafka. Run as a process of its own, ``python -m streamproc.demo.deformation.beamline --help``;
see
:mod:`streamproc.demo.publishing` for what it tells its parent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from bluesky.protocols import HasHints, Readable, Stageable, Triggerable
from ophyd.status import Status

from streamproc.demo.deformation.scan import Camera, Truth, axis_deg, tensile_test, write_truth
from streamproc.demo.devices import make_motor
from streamproc.demo.publishing import Acquire, Callback, beamline_options, drive, paced, perform

__all__ = ["COUNTS", "MONITOR", "STRAIN", "TWO_THETA", "StripDetector", "acquire"]

COUNTS, TWO_THETA, MONITOR, STRAIN = "mythen", "mythen_two_theta", "i0", "strain"
"""Data keys: counts of the strips, their angles, the monitor before the sample, the specimen's strain."""


class StripDetector(Readable[Any], Triggerable, Stageable, HasHints):
    """A strip detector around the sample, read with its angles and the monitor.

    Parameters
    ----------
    camera : Camera
        Takes the patterns.
    """

    parent = None
    name = COUNTS

    def __init__(self, camera: Camera) -> None:
        self._camera, self._axis = camera, axis_deg()
        self._next = 0
        self._reading: dict[str, Any] = {}

    @property
    def hints(self) -> Any:
        """Plot the monitor; a pattern is no number."""
        return {"fields": [MONITOR]}

    def stage(self) -> list[Any]:
        """Begin with the first step."""
        self._next = 0
        return [self]

    def unstage(self) -> list[Any]:
        """Nothing to close."""
        return [self]

    def trigger(self) -> Status:
        """Take one pattern, in a thread of its own as a real detector would."""
        status = Status(obj=self)
        threading.Thread(target=self._acquire, args=(status,), name="mythen-exposure").start()
        return status

    def _acquire(self, status: Status) -> None:
        try:
            counts, monitor = self._camera.take(self._next)
            now = time.time()
            values = {COUNTS: counts, TWO_THETA: self._axis, MONITOR: monitor}
            self._reading = {key: {"value": value, "timestamp": now} for key, value in values.items()}
            self._next += 1
        except Exception as error:
            status.set_exception(error)
        else:
            status.set_finished()

    def read(self) -> dict[str, Any]:
        """Return the newest pattern."""
        return dict(self._reading)

    def describe(self) -> dict[str, Any]:
        """Describe pattern, axis and monitor."""
        shape = [self._axis.size]
        rows: Sequence[tuple[str, str, str, str, list[int]]] = (
            (COUNTS, "array", "<i4", "counts", shape),
            (TWO_THETA, "array", "<f8", "deg", shape),
            (MONITOR, "integer", "<i8", "counts", []),
        )
        return {
            key: {"source": f"SIM:{key}", "dtype": kind, "dtype_numpy": code, "shape": size, "units": units}
            for key, kind, code, units, size in rows
        }


def acquire(
    truth: Truth,
    callbacks: Sequence[Callback],
    *,
    rate_Hz: float = 0.0,
    metadata: dict[str, Any] | None = None,
    asked_to_stop: threading.Event | None = None,
) -> str:
    """Pull the specimen with a RunEngine; return the run's exit status.

    Parameters
    ----------
    truth : Truth
        The test.
    callbacks : sequence of callable
        Called with (name, doc) of every document.
    rate_Hz : float
        Readings a second at most; 0: as fast as it goes.
    metadata : dict, optional
        Goes into the start document.
    asked_to_stop : threading.Event, optional
        When set, the run ends early with exit status ``abort``.
    """
    from bluesky import plans as bp
    from cycler import cycler

    steps = cycler(make_motor(STRAIN, "percent"), [s.strain_percent for s in truth.steps])
    own = {"plan_name": "tensile_test", "hints": {"dimensions": [[[STRAIN], "primary"]]}}
    scan_nd: Any = bp.scan_nd
    plan = scan_nd(
        [StripDetector(Camera(truth))],
        steps,
        per_step=paced(rate_Hz, asked_to_stop or threading.Event()),
        md={**own, **(metadata or {})},
    )
    return drive(plan, callbacks)


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
        truth = tensile_test(points, seed)
        write_truth(folder / "truth.json", truth)
        about = {"sample": f"simulated copper, seed {seed}", "scan_id": 1, "beamline_id": "demo"}
        return lambda callbacks, asked_to_stop: acquire(
            truth, callbacks, rate_Hz=rate, metadata=about, asked_to_stop=asked_to_stop
        )

    perform(prepare, bootstrap=bootstrap, topic=topic, record=record, hold=hold)


if __name__ == "__main__":
    main()
