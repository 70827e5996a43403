"""A process that stands still, and not one that was only told to."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

STANDS = "TtZX"
"""States of a thread that does nothing any more, in Linux' ``/proc``: stopped, traced, ended."""


def freeze(process: subprocess.Popen, timeout_s: float = 10.0) -> None:
    """Send SIGSTOP and wait until every thread stands: on a busy machine some of a broker's go on for a while."""
    process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + timeout_s
    while going := [s for s in states(process.pid) if s not in STANDS]:
        assert time.monotonic() < deadline, f"{len(going)} threads of process {process.pid} go on"
        time.sleep(0.002)


def states(pid: int) -> list[str]:
    """Return the state of each thread of a process."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            found.append(file.read_text().rpartition(")")[2].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return found
