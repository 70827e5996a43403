"""Broker: Apache Kafka as child processes that answer when start() returns and are gone after stop()."""

from __future__ import annotations

import atexit
import base64
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from streamproc.errors import ConfigurationError
from streamproc.settings import KafkaSettings
from streamproc.transports.broker.jars import ensure_jars
from streamproc.transports.broker.java import find_java
from streamproc.transports.broker.properties import Node, node_properties, render
from streamproc.transports.kafka.connect import brokers_seen

__all__ = ["Broker"]

_LOG_TAIL_LINES = 15
_STOP_TIMEOUT_S = 8.0
_POLL_S = 0.05
_PR_SET_PDEATHSIG = 1


class Broker:
    """A single-machine Apache Kafka (KRaft), a context manager.

    The nodes end with this process, however it ends (on Linux the kernel sees to it when :meth:`start` runs
    in the main thread; else at exit).

    Parameters
    ----------
    folder : Path or None
        Where topics are kept; None: a temporary folder that :meth:`stop` removes.
    port : int
        Port of the first node; 0: any free one.
    nodes : int
        Number of nodes.
    heap_mb : int
        Java heap of each node (MB).
    host : str
        Address to listen on.
    properties : Mapping or None
        Laid over the properties of every node.
    start_timeout_s : float
        Deadline for the first answer (s).
    tell : callable or None
        Gets a line now and then while jars are fetched; by default they go to stderr.
    """

    def __init__(
        self,
        folder: Path | None = None,
        port: int = 0,
        *,
        nodes: int = 1,
        heap_mb: int = 512,
        host: str = "127.0.0.1",
        properties: Mapping[str, str] | None = None,
        start_timeout_s: float = 60.0,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._kept, self._port, self._count = folder, port, nodes
        self._heap_mb, self._host, self._extra = heap_mb, host, dict(properties or {})
        self._start_timeout_s = start_timeout_s
        self._tell = tell or (lambda line: print(line, file=sys.stderr, flush=True))
        self._folder: Path | None = None
        self._nodes: list[Node] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def bootstrap(self) -> str:
        """Addresses for clients, ``HOST:PORT`` joined by commas."""
        return ",".join(node.address for node in self._nodes)

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """The node processes, for tests that kill or freeze one."""
        return list(self._processes)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start all nodes and wait until they answer.

        Raises
        ------
        ConfigurationError
            No Java, no jars, port in use, or no answer within the deadline (with the end of the log).
        """
        java, jars = find_java(), ensure_jars(self._tell)
        self._folder = self._kept or Path(tempfile.mkdtemp(prefix="streamproc-kafka-"))
        self._nodes = self._plan(self._folder)
        atexit.register(self.stop)
        try:
            command = self._command(java, jars)
            for node in self._nodes:
                self._prepare(command, node)
            self._processes = [self._spawn(command, node) for node in self._nodes]
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all nodes: SIGTERM, after some seconds SIGKILL; remove the folder if it was temporary."""
        atexit.unregister(self.stop)
        # Nothing that was put into a temporary folder needs a clean shutdown.
        first = signal.SIGTERM if self._kept else signal.SIGKILL
        for process in self._processes:
            _signal(process, first)
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()
        self._processes = []
        if self._folder is not None and self._kept is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def check(self) -> None:
        """Raise when a node has ended on its own.

        Raises
        ------
        ConfigurationError
            With the end of that node's log.
        """
        for process, node in zip(self._processes, self._nodes, strict=True):
            if process.poll() is not None:
                raise ConfigurationError(
                    f"the broker ended with code {process.returncode}; the end of its log:\n{_tail(node)}"
                )

    def _plan(self, folder: Path) -> list[Node]:
        if self._port and not _is_free(self._host, self._port):
            raise ConfigurationError(
                f"port {self._port} of {self._host} is in use: another broker? Give --port, or use it with "
                f"--bootstrap {self._host}:{self._port}"
            )
        free = _free_ports(self._host, 2 * self._count)
        ports = [self._port or free[0], *free[2::2]]
        return [
            Node(i + 1, self._host, ports[i], free[2 * i + 1], folder / f"node-{i + 1}")
            for i in range(self._count)
        ]

    def _command(self, java: Path, jars: list[Path]) -> list[str]:
        return [
            str(java),
            f"-Xmx{self._heap_mb}m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp",
            os.pathsep.join(map(str, jars)),
        ]

    def _prepare(self, command: list[str], node: Node) -> None:
        """Write the properties; format the storage of a folder that is new."""
        try:
            node.folder.mkdir(parents=True, exist_ok=True)
            properties = node.folder / "server.properties"
            properties.write_text(render(node_properties(node, self._nodes, self._extra)))
        except OSError as error:
            raise ConfigurationError(f"broker folder {node.folder}: {error}") from error
        if (node.folder / "data" / "meta.properties").exists():
            return
        tool = [
            *command,
            "kafka.tools.StorageTool",
            "format",
            "-t",
            self._cluster_id(),
            "-c",
            str(properties),
        ]
        try:
            done = subprocess.run(tool, capture_output=True, text=True, timeout=self._start_timeout_s)
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigurationError(f"broker storage {node.folder} not formatted: {error}") from error
        if done.returncode:
            raise ConfigurationError(f"broker storage {node.folder} not formatted: {done.stderr[-2000:]}")

    def _cluster_id(self) -> str:
        """Return the cluster's id, the same for all nodes and all starts of a folder."""
        assert self._folder is not None
        name = uuid.uuid5(uuid.NAMESPACE_URL, str(self._folder.resolve()))
        # The first bit off: an id that begins with "-" would be taken for an option.
        return base64.urlsafe_b64encode(bytes([name.bytes[0] & 0x7F]) + name.bytes[1:]).decode().rstrip("=")

    def _spawn(self, command: list[str], node: Node) -> subprocess.Popen[bytes]:
        with (node.folder / "broker.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "kafka.Kafka", str(node.folder / "server.properties")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )

    def _wait(self) -> None:
        deadline_s = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline_s:
            self.check()
            if all(not _is_free(n.host, n.port) for n in self._nodes) and (
                len(brokers_seen(KafkaSettings(bootstrap=self.bootstrap), 2.0)) == self._count
            ):
                return
            time.sleep(_POLL_S)
        raise ConfigurationError(
            f"the broker did not answer within {self._start_timeout_s:g} s; the end of its log:\n"
            + "\n".join(_tail(node) for node in self._nodes)
        )


def _die_with_parent() -> Callable[[], None] | None:
    """Return what the child does first on Linux: ask the kernel to be killed with its parent.

    The kernel takes the thread that started the child for its parent, so this is for the main thread only.
    The library is loaded here and not in the child, where locks may be held by threads that no longer exist.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, number)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) != 0


def _free_ports(host: str, count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((host, 0))
        return [probe.getsockname()[1] for probe in probes]


def _tail(node: Node) -> str:
    try:
        lines = (node.folder / "broker.log").read_text(errors="replace").splitlines()
    except OSError as error:
        return f"({error})"
    return "\n".join(lines[-_LOG_TAIL_LINES:])
