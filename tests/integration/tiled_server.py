"""A real Tiled server as a process: SQLite catalog, DuckDB tables, on a folder that outlives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

KEY = "secret"

CONFIG = """\
authentication: {{single_user_api_key: "{key}"}}
trees:
  - path: /
    tree: catalog
    args:
      uri: "sqlite:///{folder}/catalog.db"
      init_if_not_exists: true
      writable_storage: ["file://localhost{folder}/data", "duckdb:///{folder}/storage.duckdb"]
      readable_storage: ["file://localhost{folder}"]
media_types:
  BlueskyRun: {{application/json-seq: "bluesky_tiled_plugins.exporters:json_seq_exporter"}}
uvicorn: {{host: 127.0.0.1, port: {port}}}
"""


class TiledServer:
    """Started with :meth:`start`; :meth:`kill` is SIGKILL, and the same data are there after another start."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._config, self._log = folder / "config.yml", folder / "server.log"
        self._config.write_text(CONFIG.format(key=KEY, folder=folder, port=port))
        self._process = None

    def start(self, timeout_s: float = 180.0) -> TiledServer:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tiled", "serve", "config", str(self._config)],
                stdout=log, stderr=log, env={**os.environ, "TILED_DATABASE_POOL_SIZE": "5"},
            )  # fmt: skip
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"tiled ended: {self._log.read_text()[-2000:]}")
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=2)
                return self
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"tiled does not answer: {self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def client(self):
        from tiled.client import from_uri

        return from_uri(self.url, api_key=KEY)
