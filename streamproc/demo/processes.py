"""Child processes that never outlive the demo and whose last words are kept."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from streamproc.errors import FatalError

__all__ = ["Child", "python_module", "stop_all"]

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.02


def _tied_to_parent() -> Callable[[], None] | None:
    """Return what a child does first so that the kernel ends it when its parent dies (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def tie() -> None:
        # Not SIGTERM: with the broker gone as well, nothing could be finished cleanly.
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return tie


class Child:
    """One process in a group of its own, its output in a log file.

    Start it from the main thread: the kernel ends it when the thread that started it ends.

    Parameters
    ----------
    name : str
        What messages call it.
    argv : sequence of str
        Program and arguments.
    log : Path
        Where standard error goes, and standard output as well unless it is ``piped``.
    piped : bool
        Keep standard input and output for the caller (text, line by line).
    """

    def __init__(self, name: str, argv: Sequence[str], log: Path, *, piped: bool = False) -> None:
        self.name = name
        self._log = log
        pipe = subprocess.PIPE if piped else None
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                argv,
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or out,
                stderr=out,
                text=True,
                bufsize=1,
                start_new_session=True,
                preexec_fn=_tied_to_parent(),
            )

    @property
    def pid(self) -> int:
        """Process number, and that of its group."""
        return self._process.pid

    @property
    def stdout(self) -> IO[str]:
        """Standard output of a piped child."""
        if self._process.stdout is None:
            raise ValueError(f"{self.name} is not piped")
        return self._process.stdout

    def say(self, line: str) -> None:
        """Write a line to a piped child's standard input; a child that is gone is noticed elsewhere."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()

    def returncode(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def last_words(self, lines: int = 12) -> str:
        """Return the end of its log."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def check(self, *, may_end: bool = False) -> None:
        """Say why when it has died.

        Parameters
        ----------
        may_end : bool
            A clean end (exit code 0) is in order.

        Raises
        ------
        FatalError
            With its exit code and the end of its log.
        """
        code = self.returncode()
        if code is not None and not (may_end and code == 0):
            words = self.last_words()
            said = f"; it said last:\n{words}" if words else "; it left no message"
            raise FatalError(f"the {self.name} ended unexpectedly (exit code {code}){said}")

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        self._signal(signal.SIGTERM)

    def finish(self, timeout_s: float) -> None:
        """Wait for its end; past ``timeout_s`` (s) it and whatever it started are killed."""
        deadline = time.monotonic() + timeout_s
        while self.returncode() is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def stop_all(children: Sequence[Child], timeout_s: float) -> None:
    """Ask all children to stop at once, then see to it that they do within ``timeout_s`` (s)."""
    deadline = time.monotonic() + timeout_s
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.finish(max(deadline - time.monotonic(), 0.0))


def python_module(module: str, *arguments: Any) -> list[str]:
    """Return the command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]
