"""The whole torture: a broker, services and a beamline, the monkey among them, and the count at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from streamproc.demo.processes import python_module
from streamproc.errors import ConfigurationError, FatalError
from streamproc.settings import Settings, load_settings
from streamproc.torture.beamline import Beamline
from streamproc.torture.connections import require_cutting
from streamproc.torture.count import OwnCount
from streamproc.torture.faults import plan_faults
from streamproc.torture.looks import Silence, Watcher
from streamproc.torture.monkey import Monkey
from streamproc.torture.options import (
    ANALYSIS,
    BROKER_PROPERTIES,
    PARTITIONS,
    SERVICES,
    TortureOptions,
    service_config,
)
from streamproc.torture.report import Evidence, own_count, report
from streamproc.torture.services import Supervised
from streamproc.transports.broker import Broker
from streamproc.transports.broker.folders import choose_ports
from streamproc.transports.kafka import ensure_topics
from streamproc.transports.kafka.replicas import lagging_partitions

__all__ = ["run_torture"]

_TURN_S = 0.02
_READY_TIMEOUT_S = 330.0
_DRAIN_TIMEOUT_S = 120.0
_COUNT_INTERVAL_S = 2.0
_END_TIMEOUT_S = 10.0
_LOAD_INTERVAL_S = 5.0
_REQUEST_TIMEOUT_S = 8.0
_FLUSH_TIMEOUT_S = 10.0
_LOOK_TIMEOUT_S = 3.0
_NODES = 3

Tell = Callable[[str], None]


def run_torture(options: TortureOptions, tell: Tell) -> dict[str, Any]:
    """Torture two services to the end; return the report.

    Every process it starts has ended when this returns or raises.

    Parameters
    ----------
    options : TortureOptions
        What is asked for.
    tell : callable
        Gets a line for everything that happens.

    Raises
    ------
    StreamprocError
        The broker or the services did not start, a node did not come back, or nothing could be published:
        the torture itself failed.
    KeyboardInterrupt
        The user had enough.
    """
    if "cut" in options.faults:
        require_cutting()
    begun_s = time.monotonic()

    def tell_when(line: str) -> None:
        tell(f"{time.monotonic() - begun_s:7.1f}  {line}")

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_workplace(options.keep))
        broker = None
        if options.bootstrap is None:
            tell_when(f"starting Apache Kafka, {_NODES} nodes")
            kept = folder / "broker" if options.keep else None
            broker = stack.enter_context(
                Broker(kept, nodes=_NODES, properties=BROKER_PROPERTIES, tell=tell_when)
            )
        torture = _Torture(options, folder, broker, tell_when)
        stack.callback(torture.close)
        # Runs first on the way out: nothing may stop us from ending what we started.
        stack.callback(_ignore_signals)
        torture.start()
        torture.endure()
        own = torture.drain()
        return report(torture.evidence(own))


def _ignore_signals() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _workplace(keep: Path | None) -> Iterator[Path]:
    """Give a folder that is removed afterwards, unless the user wants to keep it; put signals back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise ConfigurationError(f"--keep {keep}: the folder is not empty; name a new one")
        keep.mkdir(parents=True, exist_ok=True)
    folder = keep.resolve() if keep is not None else Path(tempfile.mkdtemp(prefix="streamproc-torture-"))
    try:
        yield folder
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


class _Torture:
    """One torture: who is hit, who hits, and what was seen."""

    def __init__(self, options: TortureOptions, folder: Path, broker: Broker | None, tell: Tell) -> None:
        self._options, self._folder, self._broker, self._tell = options, folder, broker, tell
        self._settings = self._make_settings()
        for name in ("logs", "frames"):
            (folder / name).mkdir()
        self._services: list[Supervised] = []
        self._watchers: list[Watcher] = []
        self._beamline = Beamline(
            self._settings, PARTITIONS, folder / "frames", options.seed, options.rate_Hz, tell
        )
        weights = {kind: w for kind, w in options.faults.items() if broker is not None or kind != "node"}
        faults = plan_faults(options.seed, options.kills, weights, options.pace_s, options.session_timeout_s)
        self._monkey = Monkey(faults, self._services, broker, self._whole, tell)
        self._silence = Silence()
        self._loads: list[float] = []
        self._next_load_s = 0.0
        self._begin_s = self._begin_unix_s = 0.0

    def start(self) -> None:
        """Make the topics and start everything; returns when both services are ready."""
        reports = ensure_topics(self._settings, partitions=PARTITIONS, analysis=ANALYSIS)
        if problems := [f"topic {r.name} {problem}" for r in reports for problem in r.problems]:
            raise ConfigurationError("; ".join(problems))
        self._tell("starting two services")
        for name, port in zip(SERVICES, choose_ports("127.0.0.1", len(SERVICES)), strict=True):
            self._start_service(name, port)
        deadline_s = time.monotonic() + _READY_TIMEOUT_S
        while not all(service.idle for service in self._services):
            if time.monotonic() > deadline_s:
                raise FatalError(
                    f"the services were not ready after {_READY_TIMEOUT_S:g} s; the logs say why (--keep DIR)"
                )
            self._turn()
        self._tell("both are ready; the beamline begins")
        self._begin_s, self._begin_unix_s = time.monotonic(), time.time()
        self._beamline.start()

    def endure(self) -> None:
        """Let the monkey do what it wants."""
        while not self._monkey.finished:
            self._turn()
            self._monkey.turn()
            self._look_around(time.monotonic())

    def drain(self) -> OwnCount:
        """Let the beamline finish and the services answer the rest; end them, and count."""
        self._tell("all faults are over; the beamline finishes its runs")
        self._beamline.finish()
        while not self._beamline.finished:
            self._turn()
        deadline_s, next_s = time.monotonic() + _DRAIN_TIMEOUT_S, 0.0
        while time.monotonic() < deadline_s:
            self._turn()
            if time.monotonic() >= next_s and all(service.idle for service in self._services):
                own = own_count(self._settings, self._beamline.readings)
                if not (own.lost or own.unfinished):
                    break
                next_s = time.monotonic() + _COUNT_INTERVAL_S
        for service in self._services:
            service.end(_END_TIMEOUT_S)
        self._tell("the services have ended; counting")
        return own_count(self._settings, self._beamline.readings)

    def evidence(self, own: OwnCount) -> Evidence:
        """Return all that was seen."""
        return Evidence(
            options=self._options,
            settings=self._settings,
            begin_s=self._begin_s,
            begin_unix_s=self._begin_unix_s,
            end_s=time.monotonic(),
            own=own,
            services=self._services,
            faults=self._monkey.done,
            beamline=self._beamline,
            longest_silence_s=self._silence.longest_s,
            loads=self._loads,
        )

    def close(self) -> None:
        """End everything at once."""
        for service in self._services:
            service.end(0.0)
        self._monkey.close()
        for watcher in self._watchers:
            watcher.close()
        self._beamline.close()

    def _make_settings(self) -> Settings:
        """Return what the torture itself uses; the services have their own files."""
        bootstrap = self._broker.bootstrap if self._broker else str(self._options.bootstrap)
        kafka = {"bootstrap": bootstrap, "request_timeout_s": _REQUEST_TIMEOUT_S}
        delivery = {"flush_timeout_s": _FLUSH_TIMEOUT_S}
        settings = load_settings(None, {"kafka": kafka, "delivery": delivery})
        return settings.model_copy(update={"beamline": f"torture-{uuid.uuid4().hex[:8]}"})

    def _start_service(self, name: str, port: int) -> None:
        config = self._folder / f"{name}.toml"
        text = service_config(
            self._settings, name, self._folder / "frames", port, self._options.session_timeout_s
        )
        config.write_text(text, encoding="utf-8")
        argv = python_module("streamproc", "run", ANALYSIS, "--config", config)
        service = Supervised(name, argv, self._folder / "logs", port, self._tell)
        service.start()
        self._services.append(service)
        self._watchers.append(Watcher(port, service.present, service.take))

    def _turn(self) -> None:
        """Start again what has ended, and see that everything else is alive."""
        time.sleep(_TURN_S)
        for service in self._services:
            service.look()
        if self._broker is not None and not self._monkey.node_away:
            self._broker.check()
        if self._beamline.failure is not None:
            raise FatalError(f"the beamline failed: {self._beamline.failure}") from self._beamline.failure

    def _look_around(self, now_s: float) -> None:
        """Note whether there is anything new, and now and then how busy the machine is."""
        self._silence.note(now_s, sum(service.done.total() for service in self._services))
        if now_s >= self._next_load_s:
            self._next_load_s = now_s + _LOAD_INTERVAL_S
            self._loads.append(os.getloadavg()[0])

    def _whole(self) -> bool:
        return lagging_partitions(self._settings.kafka, _LOOK_TIMEOUT_S) == []
