"""A service as a process of its own: started under watches, asked for its metrics, its memory sampled."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from streamproc.testing.watching import audited, traced

Counts = dict[tuple[str, str], float]


class ServiceProcess:
    """``streamproc run`` as a process; a context manager that leaves nothing running.

    Parameters
    ----------
    config : Path
        Its settings.
    folder : Path
        Where its log and the watches' logs are written.
    """

    def __init__(self, config: Path, folder: Path) -> None:
        self.log, self.audit, self.trace = folder / "service.log", folder / "audit", folder / "trace"
        command = [sys.executable, "-m", "streamproc", "run", "phase-map", "--config", str(config)]
        self.is_traced = bool(traced(self.trace))
        with self.log.open("wb") as stream:
            self._process = subprocess.Popen(
                [*traced(self.trace), *command], stderr=stream, env=audited(folder, self.audit), cwd=folder
            )
        self.pid = self._process.pid
        self.memory_MB: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def __enter__(self) -> ServiceProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def wait(self, what: str, reached: Callable[[], bool], timeout_s: float) -> None:
        """Wait for a condition; end with the service's last words when it ends or the time is over."""
        deadline = time.monotonic() + timeout_s
        while not reached():
            if not self.alive or time.monotonic() > deadline:
                state = f"ended with {self._process.poll()}" if not self.alive else "still runs"
                tail = self.log.read_text(errors="replace")[-3000:]
                raise SystemExit(f"waited for {what} in vain; the service {state}:\n{tail}")
            time.sleep(0.2)

    def ready(self) -> bool:
        """Whether it reads its partitions."""
        with contextlib.suppress(OSError):
            return self._get("/readyz") is not None
        return False

    def counts(self) -> Counts:
        """Return its metrics by (name, label); label is that of outcome, reason or name."""
        text = self._get("/metrics") or b""
        return {
            (sample.name, next((v for k, v in sample.labels.items() if k != "analysis"), "")): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }

    def end(self) -> int:
        """Ask it to end (SIGTERM) and return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self._process.wait(60)

    def _get(self, path: str) -> bytes | None:
        port = self._port()
        if port is None:
            return None
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return bytes(answer.read())

    def _port(self) -> int | None:
        with self.log.open("rb") as lines:
            for line in lines:
                if b'"status server"' in line:
                    return int(json.loads(line)["port"])
        return None

    def _sample(self) -> None:
        while not self._ended.wait(1.0):
            with contextlib.suppress(OSError, StopIteration, ValueError):
                status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
                kB = next(line for line in status if line.startswith("VmRSS")).split()[1]
                self.memory_MB.append((time.time(), int(kB) / 1024))
