"""The demo's stage: service and beamline as processes of their own, their answers watched from here."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from rich.console import Console

from streamproc.dashboard.following import OwnRun, Recorder, results_source
from streamproc.dashboard.state import Board, RunView, header_latency_ms
from streamproc.dashboard.terminal import Screen, view_for
from streamproc.demo.options import BEAMLINE, DemoOptions, Experiment, service_config
from streamproc.demo.processes import Child, python_module, stop_all
from streamproc.documents import Document
from streamproc.errors import ConfigurationError, FatalError
from streamproc.settings import Settings, load_settings
from streamproc.transports.broker import Broker
from streamproc.transports.kafka import ensure_topics
from streamproc.transports.kafka.groups import active_groups

__all__ = ["Stage"]

_GROUP_PREFIX = "streamproc-demo-"
_READY_TIMEOUT_S = 330.0
_HINT_AFTER_S = 15.0
_SILENCE_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 6.0
_POLL_S = 0.05


class Stage:
    """One demo: its processes, its view of the results."""

    def __init__(
        self,
        experiment: Experiment,
        options: DemoOptions,
        console: Console,
        folder: Path,
        broker: Broker | None,
    ) -> None:
        self._experiment = experiment
        self._options, self._console, self._folder, self._broker = options, console, folder, broker
        self._children: list[Child] = []
        self._board = Board(max_points=max(experiment.points, 1))
        self._told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._own = OwnRun()
        self._closing = contextlib.ExitStack()
        self._started_s = self._newest_s = 0.0

    def start(self) -> None:
        """Start service and beamline and wait until both are ready."""
        folder, own_broker = self._folder, self._broker is not None
        bootstrap = self._broker.bootstrap if self._broker else str(self._options.bootstrap)
        for name in ("logs", "frames", "documents"):
            (folder / name).mkdir(exist_ok=True)
        self._experiment.prepare(folder)
        config, port = folder / "beamline.toml", _free_port()
        beamline = BEAMLINE if own_broker else self._free_beamline(bootstrap)
        group = f"{_GROUP_PREFIX}{uuid.uuid4().hex[:12]}"
        text = service_config(
            bootstrap, port, group, self._experiment.tables(), beamline=beamline, from_beginning=own_broker
        )
        config.write_text(text, encoding="utf-8")
        settings = load_settings(config)
        faults = [f"topic {r.name} {p}" for r in ensure_topics(settings) for p in r.problems]
        if faults:
            raise ConfigurationError("; ".join(faults))
        analysis = self._experiment.analysis
        self._console.print(f"starting the {analysis} service and the simulated beamline")
        service = python_module("streamproc", "run", analysis, "--config", config)
        self._service = self._child(f"{analysis} service", service)
        self._beamline = self._child("simulated beamline", self._beamline_command(settings), piped=True)
        threading.Thread(target=self._listen, name="beamline-output", daemon=True).start()
        self._source = results_source(settings, from_beginning=own_broker)
        self._closing.callback(self._source.close)
        kept = folder / "documents" / "results.msgpack" if self._options.keep else None
        self._recorder = Recorder(kept)
        self._closing.callback(self._recorder.close)
        self._wait_ready(f"http://127.0.0.1:{port}/readyz")

    def watch(self) -> dict[str, Any]:
        """Let the beamline measure, show the answers as they come, and sum up."""
        self._console.print(self._experiment.doing())
        self._beamline.say("go")
        self._started_s = self._newest_s = time.monotonic()
        with view_for(self._board, self._console) as view:
            while (run := self._answered()) is None:
                self._turn(view)
        summary = self._experiment.summarise(run, self._folder, self._newest_s - self._started_s)
        summary |= {"seed": self._options.seed, "raw_run_uid": run.raw_uid}
        for line in self._experiment.lines(summary):
            self._console.print(line, highlight=False, soft_wrap=True)
        for reason, count in run.ledger.reasons if run.ledger else ():
            self._console.print(f"{count} readings: {reason}", style="red", markup=False)
        return summary

    def write(self, summary: dict[str, Any]) -> None:
        """Leave the summary in the folder, where that is kept."""
        if self._options.keep:
            (self._folder / "summary.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
            self._console.print(f"everything is in {self._folder}", markup=False, highlight=False)
            documents, config = self._folder / "documents", self._folder / "beamline.toml"
            again = (
                f"streamproc replay {documents} --analysis {self._experiment.analysis} --config {config} "
                f"--verify {documents / 'results.msgpack'}"
            )
            self._console.print(f"the same once more: {again}", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """End all processes."""
        stop_all(self._children, _STOP_TIMEOUT_S)
        self._closing.close()

    def _free_beamline(self, bootstrap: str) -> str:
        """Return the name our topics begin with: another one while another service answers the usual ones."""
        kafka = load_settings(None, {"kafka": {"bootstrap": bootstrap}}).kafka
        if not any(group.startswith(_GROUP_PREFIX) for group in active_groups(kafka)):
            return BEAMLINE
        beamline = f"{BEAMLINE}-{uuid.uuid4().hex[:6]}"
        self._console.print(
            f"another service answers {BEAMLINE}.* on this broker; this demo's topics begin with {beamline}",
            highlight=False,
        )
        return beamline

    def _child(self, name: str, argv: list[str], *, piped: bool = False) -> Child:
        log = self._folder / "logs" / f"{name.split()[-1]}.log"
        child = Child(name, argv, log, piped=piped)
        self._children.append(child)
        return child

    def _beamline_command(self, settings: Settings) -> list[str]:
        options, folder = self._options, self._folder
        module, *own = self._experiment.beamline()
        command = python_module(
            module, "--hold", "--folder", folder, *own, "--seed", options.seed,
            "--rate", self._experiment.rate_Hz, "--bootstrap", settings.kafka.bootstrap,
            "--topic", settings.topic("raw"),
        )  # fmt: skip
        return [*command, "--record", str(folder / "documents" / "raw.msgpack")] if options.keep else command

    def _listen(self) -> None:
        """Hand on what the beamline says (runs in a thread of its own)."""
        with contextlib.suppress(ValueError):
            for line in self._beamline.stdout:
                with contextlib.suppress(json.JSONDecodeError):
                    self._told.put(json.loads(line))

    def _wait_ready(self, url: str) -> None:
        """Wait for the service's readiness, the beamline's, and our own place in the results topic."""
        deadline, hint_s = time.monotonic() + _READY_TIMEOUT_S, time.monotonic() + _HINT_AFTER_S
        beamline_ready = False
        while not (beamline_ready and self._source.lag() == 0 and _answers(url)):
            if time.monotonic() > deadline:
                words = self._service.last_words()
                raise FatalError(
                    f"the service was not ready after {_READY_TIMEOUT_S:.0f} s; it said last:\n{words}"
                )
            if time.monotonic() > hint_s:
                hint_s = deadline + 1.0
                self._console.print("the first start compiles for this machine, once: up to two minutes")
            self._check()
            self._own_documents()
            beamline_ready = beamline_ready or self._news() == "ready"

    def _turn(self, view: Screen) -> None:
        """Take what has arrived and see that everything is still alive."""
        self._news()
        for document in self._own_documents():
            view.feed(document.name, document.doc, header_latency_ms(document.headers))
            self._newest_s = time.monotonic()
        self._check()
        if self._beamline.returncode() is not None and time.monotonic() - self._newest_s > _SILENCE_TIMEOUT_S:
            words = self._service.last_words()
            raise FatalError(
                f"no answer for {_SILENCE_TIMEOUT_S:.0f} s after the scan; the service said last:\n{words}"
            )

    def _own_documents(self) -> list[Document]:
        documents = list(self._own.feed(self._source.poll(_POLL_S)))
        for document in documents:
            self._recorder.add(document)
        return documents

    def _news(self) -> str | None:
        """Return the next thing the beamline said, if it said something."""
        try:
            told = self._told.get_nowait()
        except queue.Empty:
            return None
        if told.get("event") == "start":
            self._own.uid = str(told["uid"])
            self._started_s = self._newest_s = time.monotonic()
        return str(told.get("event"))

    def _check(self) -> None:
        if self._broker is not None:
            self._broker.check()
        self._service.check()
        self._beamline.check(may_end=self._own.uid is not None)

    def _answered(self) -> RunView | None:
        """Return the run that answers ours once it has ended."""
        return next((r for r in self._board.runs.values() if r.exit_status is not None), None)


def _answers(url: str) -> bool:
    """Whether the service says it is ready."""
    try:
        with urllib.request.urlopen(url, timeout=1.0) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
