"""The demo's beamline: a real RunEngine that maps the sample and publishes its documents to Kafka.

Run as a process of its own, ``python -m streamproc.demo.acquisition --help``. It tells its parent what
happens in JSON lines on standard output: ``ready`` (with ``--hold`` it then waits for a line on standard
input), ``start`` with the run's uid, ``stop`` with its exit status.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from streamproc.demo.calibration import write_calibration
from streamproc.demo.devices import STORAGES, Storage, make_detector, make_motor
from streamproc.demo.sample import MOTORS, PHASES, SamplePoint, grid_points, grid_shape

__all__ = [
    "DETECTOR",
    "MAX_MESSAGE_BYTES",
    "RunPublisher",
    "acquire",
    "frame_source",
    "map_plan",
    "write_truth",
]

DETECTOR = "pilatus"
"""Name of the detector and of its image's data key."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Largest message the publisher sends; a frame inside an event is 2 MB, the library's default limit 1 MB."""

_POLL_S = 0.1

Callback = Callable[[str, Any], Any]


class RunPublisher:
    """Publishes each run with bluesky-kafka's own Publisher, the run's uid as key (as nslsii does).

    Parameters
    ----------
    topic, bootstrap : str
        Where to.

    Attributes
    ----------
    refused : list of str
        What the broker did not take; empty when all arrived (checked after the run).
    """

    def __init__(self, topic: str, bootstrap: str) -> None:
        self.topic, self.bootstrap = topic, bootstrap
        self.refused: list[str] = []
        self._publisher: Any = None

    def __call__(self, name: str, doc: Any) -> None:
        """Publish one document; the stop document waits until the broker has everything."""
        if name == "start":
            from bluesky_kafka import Publisher

            self._publisher = Publisher(
                topic=self.topic,
                bootstrap_servers=self.bootstrap,
                key=doc["uid"],
                producer_config={
                    # In order even when a send is repeated, and without the wait for a producer id that an
                    # idempotent producer has on a broker that has just started.
                    "acks": "all",
                    "max.in.flight.requests.per.connection": 1,
                    "linger.ms": 0,
                    "message.max.bytes": MAX_MESSAGE_BYTES,
                    "message.timeout.ms": 30_000,
                },
                on_delivery=self._delivered,
                flush_on_stop_doc=True,
            )
        self._publisher(name, doc)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self.refused.append(str(error))


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
    """Return the plan: every point in order, at most ``rate_Hz`` points a second (0: as fast as it goes).

    Raises
    ------
    bluesky.utils.RequestAbort
        Inside the plan, when ``asked_to_stop`` is set: the run then ends with an ``abort`` stop document.
    """
    from bluesky import plan_stubs as bps
    from bluesky import plans as bp
    from bluesky.utils import RequestAbort
    from cycler import cycler

    started: list[float] = []

    def per_step(detectors: Any, step: Any, pos_cache: Any) -> Generator[Any, Any, None]:
        """Wait for the point's turn, then measure it."""
        now = time.monotonic()
        started.append(now)
        due = started[0] + (len(started) - 1) / rate_Hz if rate_Hz > 0 else now
        while not asked_to_stop.is_set() and (left := due - time.monotonic()) > 0:
            yield from bps.sleep(min(left, _POLL_S))
        if asked_to_stop.is_set():
            raise RequestAbort("the acquisition was asked to stop")
        yield from bps.one_nd_step(detectors, step, pos_cache)

    places = cycler(motors[0], [p.x_mm for p in points]) + cycler(motors[1], [p.y_mm for p in points])
    scan_nd: Any = bp.scan_nd
    return scan_nd([detector], places, per_step=per_step, md={**md, **_grid_metadata(points)})


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


class _Looking:
    """How the main thread waits for a RunEngine: it looks up ten times a second.

    A signal that comes just before a wait without end is handled when that ends, so a run would go on.
    """

    def block(self, blocking_event: threading.Event) -> None:
        """Wait until the plan has ended."""
        while not blocking_event.wait(_POLL_S):
            pass


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
    from bluesky.run_engine import RunEngine
    from bluesky.utils import RequestAbort

    looking: Any = _Looking()
    engine: Any = RunEngine({}, context_managers=[], during_task=looking)
    for callback in callbacks:
        engine.subscribe(callback)
    statuses = []
    engine.subscribe(lambda _, doc: statuses.append(doc["exit_status"]), "stop")
    detector = make_detector(storage, DETECTOR, expose, frames_folder)
    motors = [make_motor(name) for name in MOTORS]
    plan = map_plan(
        detector,
        motors,
        points,
        metadata or {},
        rate_Hz=rate_Hz,
        asked_to_stop=asked_to_stop or threading.Event(),
    )
    try:
        engine(plan)
    except RequestAbort:
        return "abort"
    return str(statuses[-1])


def _tell(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def _tell_start_and_stop(name: str, doc: Any) -> None:
    if name == "start":
        _tell("start", uid=doc["uid"], num_points=doc["num_points"])
    elif name == "stop":
        _tell("stop", uid=doc["run_start"], exit_status=doc["exit_status"])


def _recorder(path: Path) -> Callback:
    """Return a callback that appends every document to a file, as the Kafka messages have them."""
    import msgpack
    import msgpack_numpy

    path.parent.mkdir(parents=True, exist_ok=True)
    out = path.open("wb")

    def record(name: str, doc: Any) -> None:
        out.write(msgpack.packb((name, doc), default=msgpack_numpy.encode))
        if name == "stop":
            out.close()

    return record


@click.command()
@click.option(
    "--folder", type=click.Path(path_type=Path), required=True, help="Where frames, calibration and truth go."
)
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
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Chooses sample and noise."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Points a second at most (0: no limit).",
)
@click.option("--bootstrap", help="Kafka broker, HOST:PORT; without it the documents are not published.")
@click.option(
    "--topic",
    default="demo.bluesky.runengine.documents",
    show_default=True,
    help="Topic of the raw documents.",
)
@click.option(
    "--record", type=click.Path(path_type=Path), help="Write every document to this msgpack file as well."
)
@click.option("--hold", is_flag=True, help="Say ready, then wait for a line on standard input.")
def main(
    folder: Path, points: int, storage: Storage, seed: int, rate: float, bootstrap: str | None, topic: str,
    record: Path | None, hold: bool,
) -> None:  # fmt: skip
    """Map the simulated sample with a RunEngine and publish the documents."""
    asked_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_stop.set())
    places = grid_points(points, seed)
    expose = frame_source(folder, places, seed)
    write_truth(folder / "truth.json", places, seed)
    publisher = RunPublisher(topic, bootstrap) if bootstrap else None
    callbacks: list[Callback] = [_tell_start_and_stop]
    callbacks += [publisher] if publisher else []
    callbacks += [_recorder(record)] if record else []
    if hold and not _go_ahead(asked_to_stop):
        sys.exit(1)
    status = acquire(
        places, callbacks, storage=storage, expose=expose, frames_folder=folder / "frames", rate_Hz=rate,
        metadata={"sample": f"simulated mixture, seed {seed}", "scan_id": 1, "beamline_id": "demo"},
        asked_to_stop=asked_to_stop,
    )  # fmt: skip
    if publisher and publisher.refused:
        sys.exit(f"the broker did not take {len(publisher.refused)} documents: {publisher.refused[0]}")
    sys.exit(0 if status == "success" else 1)


def _go_ahead(asked_to_stop: threading.Event) -> bool:
    """Say ready and wait for a line; False when asked to stop or when the parent is gone."""
    answer: list[str] = []
    waiting = threading.Thread(target=lambda: answer.append(sys.stdin.readline()), daemon=True)
    waiting.start()
    _tell("ready")
    while waiting.is_alive() and not asked_to_stop.is_set():
        waiting.join(_POLL_S)
    return bool(answer and answer[0])


if __name__ == "__main__":
    main()
