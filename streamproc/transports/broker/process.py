"""Broker: Apache Kafka as child processes that answer when start() returns and are gone after stop()."""

from __future__ import annotations

import atexit
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from streamproc.errors import ConfigurationError
from streamproc.settings import KafkaSettings
from streamproc.transports.broker.folders import (
    TemporaryFolder,
    choose_ports,
    cluster_id,
    is_free,
    remove_abandoned,
)
from streamproc.transports.broker.jars import ensure_jars
from streamproc.transports.broker.java import find_java, java_command
from streamproc.transports.broker.node import NodeProcess, Starter
from streamproc.transports.broker.properties import ADMIN, Certificates, Node, node_properties, render
from streamproc.transports.broker.users import SERVICE, Users
from streamproc.transports.kafka.nodes import brokers_seen

__all__ = ["Broker"]

_STOP_TIMEOUT_S = 8.0
_POLL_S = 0.05
_LOOK_TIMEOUT_S = 2.0


class Broker:
    """Apache Kafka (KRaft) on this machine, a context manager.

    The nodes end with this process, however it ends (on Linux the kernel sees to it; else at exit).

    Parameters
    ----------
    folder : Path or None
        Where topics are kept; None: a temporary folder that :meth:`stop` removes, or else the next start of
        any broker.
    port : int
        Port of the first node; 0: any free one.
    nodes : int
        Number of nodes; three keep every message three times and go on when one is lost.
    heap_mb : int
        Largest Java heap of each node (MB).
    host : str
        Address to listen on.
    properties : Mapping or None
        Laid over the properties of every node.
    tls : bool
        Clients' connections are encrypted and want a log-in (SASL_SSL, SCRAM-SHA-512), and users have only
        the rights they were given; :attr:`users` gives them.
    certificate_days : float
        How long the certificate that clients see is valid (days), counted from the start; negative: expired.
    start_timeout_s : float
        Deadline for the first answer (s), also of :meth:`restart_node`.
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
        tls: bool = False,
        certificate_days: float = 365.0,
        start_timeout_s: float = 120.0,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._kept, self._port, self._count = folder, port, nodes
        self._heap_mb, self._host, self._extra = heap_mb, host, dict(properties or {})
        self._tls, self._certificate_days = tls, certificate_days
        self._start_timeout_s = start_timeout_s
        self._tell = tell or (lambda line: print(line, file=sys.stderr, flush=True))
        self._temporary: TemporaryFolder | None = None
        self._starter: Starter | None = None
        self._nodes: list[NodeProcess] = []
        self._users: Users | None = None

    @property
    def bootstrap(self) -> str:
        """Addresses for clients, ``HOST:PORT`` joined by commas."""
        return ",".join(node.address for node in self.nodes)

    @property
    def nodes(self) -> list[Node]:
        """The nodes; their places in this list are what the methods about one node take."""
        return [node.node for node in self._nodes]

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """The process of each node, for tests."""
        return [node.process for node in self._nodes if node.process is not None]

    @property
    def users(self) -> Users:
        """Users and their rights, of a broker with ``tls``."""
        if self._users is None:
            raise ConfigurationError("a broker without tls has no users")
        return self._users

    def kafka_table(self, user: str = SERVICE) -> dict[str, str]:
        """Return the ``[kafka]`` settings with which ``user`` reaches this broker, password included."""
        return self.users.table_with_password(user) if self._tls else {"bootstrap": self.bootstrap}

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
        remove_abandoned()
        atexit.register(self.stop)
        try:
            self._temporary = TemporaryFolder() if self._kept is None else None
            folder = self._temporary.path if self._temporary else self._kept
            assert folder is not None
            self._starter = Starter()
            nodes, command = self._plan(folder), java_command(java, jars, self._heap_mb)
            self._nodes = [NodeProcess(node, command, self._starter) for node in nodes]
            self._prepare(folder, nodes)
            for node in self._nodes:
                node.start()
            self._wait()
            if self._users is not None:
                for user in (ADMIN, SERVICE):
                    self._users.add(user)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all nodes, also frozen ones: SIGTERM, after some seconds SIGKILL; remove a temporary folder."""
        atexit.unregister(self.stop)
        for node in self._nodes:
            # Nothing that was put into a temporary folder needs a clean shutdown.
            if self._kept is None:
                node.signal(signal.SIGKILL)
            else:
                node.ask_to_end()
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        for node in self._nodes:
            node.await_end(max(0.0, deadline_s - time.monotonic()))
        if self._starter is not None:
            self._starter.end()
        if self._temporary is not None:
            self._temporary.remove()
        self._nodes, self._starter, self._temporary, self._users = [], None, None, None

    def check(self) -> None:
        """Raise when a node has ended on its own.

        Raises
        ------
        ConfigurationError
            With the end of that node's log.
        """
        for node in self._nodes:
            node.check()

    def kill_node(self, index: int) -> None:
        """End a node at once (SIGKILL), frozen or not; :meth:`restart_node` brings it back."""
        self._nodes[index].kill()

    def freeze_node(self, index: int) -> None:
        """Stop a node where it is (SIGSTOP): its connections stay open and nothing answers."""
        self._nodes[index].freeze()

    def thaw_node(self, index: int) -> None:
        """Let a frozen node go on (SIGCONT)."""
        self._nodes[index].thaw()

    def restart_node(self, *indices: int) -> None:
        """Start one node (or several at once) again on its folder and port; one that runs is killed first.

        Returns when all nodes that are neither killed nor frozen answer and know each other; of three nodes
        two have to run for that.

        Raises
        ------
        ConfigurationError
            It does not start, or not within the deadline.
        """
        for index in indices:
            self._nodes[index].kill()
        for index in indices:
            self._nodes[index].start()
        self._wait()

    def _plan(self, folder: Path) -> list[Node]:
        if self._port and not is_free(self._host, self._port):
            raise ConfigurationError(
                f"port {self._port} of {self._host} is in use: another broker? Give --port, or use it with "
                f"--bootstrap {self._host}:{self._port}"
            )
        ports = choose_ports(self._host, 3 * self._count)
        clients = [self._port or ports[0], *ports[1 : self._count]]
        controllers, inner = ports[self._count : 2 * self._count], ports[2 * self._count :]
        folder = folder.resolve()
        return [
            Node(i + 1, self._host, clients[i], controllers[i], inner[i], folder / f"node-{i + 1}")
            for i in range(self._count)
        ]

    def _prepare(self, folder: Path, nodes: list[Node]) -> None:
        """Write certificates and properties; format the storage of a folder that is new."""
        folder = folder.resolve()
        try:
            certificates = self._certify(folder) if self._tls else None
            for node in nodes:
                node.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                properties = node_properties(node, nodes, certificates, self._extra)
                (node.folder / "server.properties").write_text(render(properties))
            self._users = Users(folder, nodes, certificates) if certificates is not None else None
        except OSError as error:
            raise ConfigurationError(f"broker folder {folder}: {error}") from error
        cluster = cluster_id(folder)
        with ThreadPoolExecutor(len(nodes)) as pool:
            for made in [pool.submit(node.format, cluster, self._start_timeout_s) for node in self._nodes]:
                made.result()

    def _certify(self, folder: Path) -> Certificates:
        try:
            from streamproc.transports.broker.certificates import make_certificates
        except ImportError as error:
            raise ConfigurationError(
                f"certificates cannot be made ({error}): pip install 'streamproc[broker]'"
            ) from error
        return make_certificates(
            folder / "certificates", [self._host, "127.0.0.1", "localhost"], self._certificate_days
        )

    def _wait(self) -> None:
        deadline_s = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline_s:
            self.check()
            running = [node.node for node in self._nodes if node.runs]
            numbers = {node.number for node in running}
            if all(numbers <= self._seen_by(node) for node in running):
                return
            time.sleep(_POLL_S)
        raise ConfigurationError(
            f"the broker did not answer within {self._start_timeout_s:g} s; the end of its log:\n"
            + "\n".join(node.log_tail() for node in self._nodes)
        )

    def _seen_by(self, node: Node) -> frozenset[int]:
        if is_free(node.host, node.port):
            return frozenset()
        own = KafkaSettings(bootstrap=node.address) if self._users is None else self._users.inner([node])
        return brokers_seen(own, _LOOK_TIMEOUT_S)
