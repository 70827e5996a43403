"""The process of one node: started, frozen, killed, ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from streamproc.errors import ConfigurationError
from streamproc.transports.broker.properties import Node

__all__ = ["NodeProcess", "Starter"]

Made = TypeVar("Made")

_LOG_TAIL_LINES = 15
_PR_SET_PDEATHSIG = 1


class Starter:
    """A thread that starts processes and lives as long as this process.

    On Linux the kernel is asked to kill a node when its parent dies, and takes the *thread* that started it
    for the parent; so one that lasts starts them all, whoever asks.
    """

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="streamproc-broker-starter", daemon=True).start()

    def run(self, make: Callable[[], Made]) -> Made:
        """Run ``make`` in the thread; return or raise what it does."""
        result: Future[Made] = Future()

        def work() -> None:
            try:
                result.set_result(make())
            except BaseException as error:
                result.set_exception(error)

        self._asked.put(work)
        return result.result()

    def end(self) -> None:
        """Let the thread end; what it started is killed then."""
        self._asked.put(None)

    def _work(self) -> None:
        while (work := self._asked.get()) is not None:
            work()


class NodeProcess:
    """A node and the process it runs in, if it does.

    Parameters
    ----------
    node : Node
        Which one.
    command : sequence of str
        Java with its options, without the class to run.
    starter : Starter
        Starts the process.
    """

    def __init__(self, node: Node, command: Sequence[str], starter: Starter) -> None:
        self.node = node
        self.process: subprocess.Popen[bytes] | None = None
        self.frozen = False
        self._command, self._starter = command, starter
        self._wanted = False

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped, frozen or killed by us."""
        return self._wanted and not self.frozen

    def format(self, cluster_id: str, timeout_s: float) -> None:
        """Prepare the storage of a folder that is new, within ``timeout_s`` (s).

        Raises
        ------
        ConfigurationError
            With what the tool says.
        """
        if (self.node.folder / "data" / "meta.properties").exists():
            return
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c"]
        command = [*self._command, *tool, str(self.node.folder / "server.properties")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigurationError(f"broker storage {self.node.folder} not formatted: {error}") from error
        if done.returncode:
            raise ConfigurationError(
                f"broker storage {self.node.folder} not formatted: {done.stderr[-2000:]}"
            )

    def start(self) -> None:
        """Start the process on the node's folder."""
        self.process = self._starter.run(self._spawn)
        (self.node.folder / "pid").write_text(str(self.process.pid))
        self.frozen, self._wanted = False, True

    def kill(self) -> None:
        """SIGKILL, frozen or not; returns when it is gone."""
        self._wanted = False
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        self.frozen = False

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self.signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)
        self.frozen = False

    def ask_to_end(self) -> None:
        """SIGTERM, which a frozen process gets only once it goes on."""
        self._wanted = False
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)

    def await_end(self, timeout_s: float) -> None:
        """Wait for the end; past ``timeout_s`` (s), SIGKILL."""
        if self.process is None:
            return
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process is there."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.process is not None and self.process.poll() is None:
                os.killpg(self.process.pid, number)

    def check(self) -> None:
        """Raise ConfigurationError with the end of the log when it ended on its own."""
        if self._wanted and self.process is not None and self.process.poll() is not None:
            raise ConfigurationError(
                f"the broker ended with code {self.process.returncode}; the end of its log:\n"
                f"{self.log_tail()}"
            )

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        try:
            lines = (self.node.folder / "broker.log").read_text(errors="replace").splitlines()
        except OSError as error:
            return f"({error})"
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (self.node.folder / "broker.log").open("ab") as log:
            return subprocess.Popen(
                [*self._command, "kafka.Kafka", str(self.node.folder / "server.properties")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )


def _die_with_parent() -> Callable[[], object] | None:
    """Return what the child does first on Linux: ask the kernel to be killed with the thread that started it.

    The library is loaded here and not in the child, where locks may be held by threads that no longer exist.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
