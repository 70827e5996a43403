"""What every simulated beamline of the demo does: run a plan at a pace, publish, record, tell its parent.

It tells what happens in JSON lines on standard output: ``ready`` (with ``--hold`` it then waits for a line on
standard input), ``start`` with the run's uid, ``stop`` with its exit status.
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

__all__ = [
    "MAX_MESSAGE_BYTES",
    "Acquire",
    "Callback",
    "RunPublisher",
    "beamline_options",
    "drive",
    "paced",
    "perform",
]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Largest message the publisher sends; a frame inside an event is 2 MB, the library's default limit 1 MB."""

_POLL_S = 0.1

Callback = Callable[[str, Any], Any]

Acquire = Callable[[Sequence[Callback], threading.Event], str]
"""Measures; returns the run's exit status."""


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


def paced(rate_Hz: float, asked_to_stop: threading.Event) -> Callable[..., Generator[Any, Any, None]]:
    """Return how a scan takes a step: at most so many a second (0: as fast as it goes).

    Raises
    ------
    bluesky.utils.RequestAbort
        Inside the plan, when ``asked_to_stop`` is set: the run then ends with an ``abort`` stop document.
    """
    from bluesky import plan_stubs as bps
    from bluesky.utils import RequestAbort

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

    return per_step


class _Looking:
    """How the main thread waits for a RunEngine: it looks up ten times a second.

    A signal that comes just before a wait without end is handled when that ends, so a run would go on.
    """

    def block(self, blocking_event: threading.Event) -> None:
        """Wait until the plan has ended."""
        while not blocking_event.wait(_POLL_S):
            pass


def drive(plan: Any, callbacks: Sequence[Callback]) -> str:
    """Run a plan with a RunEngine; return the run's exit status.

    Parameters
    ----------
    plan : generator
        Of one run.
    callbacks : sequence of callable
        Called with (name, doc) of every document; an exception in one ends the run, as it does at a beamline.
    """
    from bluesky.run_engine import RunEngine
    from bluesky.utils import RequestAbort

    looking: Any = _Looking()
    engine: Any = RunEngine({}, context_managers=[], during_task=looking)
    for callback in callbacks:
        engine.subscribe(callback)
    statuses = []
    engine.subscribe(lambda _, doc: statuses.append(doc["exit_status"]), "stop")
    try:
        engine(plan)
    except RequestAbort:
        return "abort"
    return str(statuses[-1])


def perform(
    prepare: Callable[[], Acquire],
    *,
    bootstrap: str | None,
    topic: str,
    record: Path | None,
    hold: bool,
) -> None:
    """Be a beamline process: prepare, then tell, publish and record what is acquired; end with an exit code.

    Parameters
    ----------
    prepare : callable
        Makes the sample ready and returns what measures it, given callbacks and the wish to stop.
    bootstrap, topic, record, hold
        The options of :func:`beamline_options`.
    """
    asked_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_stop.set())
    acquire = prepare()
    publisher = RunPublisher(topic, bootstrap) if bootstrap else None
    callbacks: list[Callback] = [_tell_start_and_stop]
    callbacks += [publisher] if publisher else []
    callbacks += [_recorder(record)] if record else []
    if hold and not _go_ahead(asked_to_stop):
        sys.exit(1)
    status = acquire(callbacks, asked_to_stop)
    if publisher and publisher.refused:
        sys.exit(f"the broker did not take {len(publisher.refused)} documents: {publisher.refused[0]}")
    sys.exit(0 if status == "success" else 1)


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


def _go_ahead(asked_to_stop: threading.Event) -> bool:
    """Say ready and wait for a line; False when asked to stop or when the parent is gone."""
    answer: list[str] = []
    waiting = threading.Thread(target=lambda: answer.append(sys.stdin.readline()), daemon=True)
    waiting.start()
    _tell("ready")
    while waiting.is_alive() and not asked_to_stop.is_set():
        waiting.join(_POLL_S)
    return bool(answer and answer[0])


def beamline_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every simulated beamline has; they become arguments of the same names."""
    options = [
        click.option(
            "--folder",
            type=click.Path(path_type=Path),
            required=True,
            help="Where files and the truth go.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Chooses sample and noise.",
        ),
        click.option(
            "--rate",
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="Points a second at most (0: no limit).",
        ),
        click.option(
            "--bootstrap", help="Kafka broker, HOST:PORT; without it the documents are not published."
        ),
        click.option(
            "--topic",
            default="demo.bluesky.runengine.documents",
            show_default=True,
            help="Topic of the raw documents.",
        ),
        click.option(
            "--record",
            type=click.Path(path_type=Path),
            help="Write every document to this msgpack file as well.",
        ),
        click.option("--hold", is_flag=True, help="Say ready, then wait for a line on standard input."),
    ]
    for option in reversed(options):
        command = option(command)
    return command
