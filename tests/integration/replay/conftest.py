"""Runs of the demo's simulated beamline, stored in every kind of archive; a Tiled server of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from streamproc.analysis import Analysis
from streamproc.cli.wiring import load_analysis
from streamproc.demo.acquisition import acquire, frame_source
from streamproc.demo.run import demo_config
from streamproc.demo.sample import grid_points
from streamproc.documents import Document, Position
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.observability.metrics import ServiceMetrics
from streamproc.runs import RunTracker
from streamproc.service import Service, ServiceParts
from streamproc.settings import load_settings
from streamproc.testing.memory import MemorySink, MemorySource, MemoryState
from streamproc.transports.codec import decode, encode

POINTS = 4
FORMS = ("inline", "hdf5", "tiff", "resource")


class Beamline:
    """One folder with calibration, frames and the documents of one run per storage form."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = grid_points(POINTS, 0)
        self.expose = frame_source(folder, self.places, 0)
        (folder / "frames").mkdir(exist_ok=True)
        self.config = folder / "beamline.toml"
        text = demo_config("127.0.0.1:1", 0, "none", from_beginning=True)
        self.config.write_text(text.replace("http_port = 0\n", ""))
        self.settings = load_settings(self.config)
        self._analysis: Analysis | None = None
        self._runs: dict[str, list] = {}
        self._live: dict[str, list[bytes]] = {}

    @property
    def analysis(self) -> Analysis:
        if self._analysis is None:
            self._analysis = load_analysis("phase-map", self.settings)
        return self._analysis

    def run(self, form: str, label: str = "") -> list:
        """The documents as the RunEngine emitted them, as they are after a message queue."""
        if form + label not in self._runs:
            kept: list = []
            acquire(
                self.places,
                [lambda name, doc: kept.append(decode(encode(name, doc)))],
                storage=form,
                expose=self.expose,
                frames_folder=self.folder / "frames",
                metadata={"scan_id": 100 + FORMS.index(form) + 100 * len(label), "sample": "replay"},
            )
            self._runs[form + label] = kept
        return self._runs[form + label]

    def live(self, form: str) -> list[bytes]:
        """What the live service publishes for this run."""
        if form not in self._live:
            documents = [
                Document(n, d, Position("raw", 0, i), raw=encode(n, d))
                for i, (n, d) in enumerate(self.run(form))
            ]
            service = {"one_pass": True, "workers": 2}
            settings = self.settings.model_copy(
                update={"service": self.settings.service.model_copy(update=service)}
            )
            sink = MemorySink()
            parts = ServiceParts(
                source=MemorySource(documents),
                sink=sink,
                state=MemoryState(settings.state_topic("phase-map")),
                analysis=self.analysis,
                make_tracker=RunTracker,
                reader=FrameReader(PathPolicy((self.folder / "frames",), {})),
                metrics=ServiceMetrics("phase-map"),
            )
            Service(parts, settings).run()
            self._live[form] = [bytes(m.value) for m in sink.on_topic(settings.topic("results"))]
            assert len(self._live[form]) > POINTS + 3
        return self._live[form]

    def results_file(self, form: str) -> Path:
        """A file with the live results, as the demo keeps them."""
        path = self.folder / f"results-{form}.msgpack"
        path.write_bytes(b"".join(self.live(form)))
        return path


@pytest.fixture(scope="session")
def beam(tmp_path_factory) -> Beamline:
    return Beamline(tmp_path_factory.mktemp("beam"))


CONFIG = """\
authentication: {{single_user_api_key: "secret"}}
trees:
  - path: /
    tree: catalog
    args:
      uri: "sqlite:///{folder}/catalog.db"
      init_if_not_exists: true
      writable_storage: ["file://localhost{folder}/data", "duckdb:///{folder}/storage.duckdb"]
      readable_storage: ["file://localhost{readable}"]
uvicorn: {{host: 127.0.0.1, port: {port}}}
"""


@pytest.fixture(scope="session")
def tiled_server(tmp_path_factory, beam):
    """URL of a `tiled serve` process with a SQLite catalog; the key is in TILED_API_KEY."""
    folder = tmp_path_factory.mktemp("tiled")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, readable=beam.folder, port=port))
    log = (folder / "log").open("w")
    command = [str(Path(sys.executable).with_name("tiled")), "serve", "config", str(folder / "config.yml")]
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    url, deadline_s = f"http://127.0.0.1:{port}", time.monotonic() + 90
    os.environ["TILED_API_KEY"] = "secret"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/api/v1/", timeout=2)
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline_s, (folder / "log").read_text()
                time.sleep(0.2)
        yield url
    finally:
        os.environ.pop("TILED_API_KEY", None)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        log.close()
