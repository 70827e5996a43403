"""Temporary folders that are removed even when their owner was killed, and ports nobody takes by chance."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import shutil
import signal
import socket
import tempfile
import uuid
from pathlib import Path
from typing import IO

from streamproc.errors import ConfigurationError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["TemporaryFolder", "choose_ports", "cluster_id", "is_free", "remove_abandoned", "write_private"]

_PREFIX = "streamproc-kafka-"
_OWNED = "owner.lock"
_PORTS = range(15000, 32000)
"""Below the ports that systems give to outgoing connections: a client that tries to reach a dead node could
be given that node's port, and the node could not come back."""
_PORTS_TRIED = 2000


class TemporaryFolder:
    """A folder of this process, which holds a lock on it; the kernel frees the lock when the process ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock: IO[str] | None = None
        if fcntl is not None:
            # Locked before it gets the name by which others would judge the folder.
            nameless = self.path / "new"
            self._lock = nameless.open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            nameless.rename(self.path / _OWNED)

    def remove(self) -> None:
        """Remove it with everything in it; never raises."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()


def remove_abandoned() -> list[Path]:
    """Remove the folders of owners that were killed, end what still runs there, and return them."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            if not folder.is_symlink() and folder.stat().st_uid == os.getuid() and _is_abandoned(folder):
                _end_processes(folder)
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


def _is_abandoned(folder: Path) -> bool:
    if fcntl is None or not (folder / _OWNED).exists():
        return False
    with (folder / _OWNED).open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _end_processes(folder: Path) -> None:
    """Kill the nodes of a folder; a process counts only when its command line names the folder."""
    for record in folder.glob("node-*/pid"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(record.read_text())
            if os.fsencode(folder) in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def write_private(path: Path, text: str | bytes) -> None:
    """Write a file that only its owner may read (mode 0600), whatever was there before."""
    data = text.encode() if isinstance(text, str) else text
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    fresh.replace(path)


def is_free(host: str, port: int) -> bool:
    """Tell whether nobody listens on a port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) != 0


def choose_ports(host: str, count: int) -> list[int]:
    """Return ``count`` free ports.

    Raises
    ------
    ConfigurationError
        ``host`` is no address of this machine, or there are not as many.
    """
    chosen: list[int] = []
    cause: OSError | None = None
    # From the system's own randomness: a seeded generator would send two processes to the same ports.
    for port in random.SystemRandom().sample(_PORTS, _PORTS_TRIED):
        if len(chosen) == count:
            return chosen
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError as error:
                cause = error
            else:
                chosen.append(port)
    raise ConfigurationError(f"no free port for the broker on {host}: {cause}")


def cluster_id(folder: Path) -> str:
    """Return the id of a folder's cluster, the same for all nodes and all starts of a folder."""
    name = uuid.uuid5(uuid.NAMESPACE_URL, str(folder))
    # The first bit off: an id that begins with "-" would be taken for an option.
    return base64.urlsafe_b64encode(bytes([name.bytes[0] & 0x7F]) + name.bytes[1:]).decode().rstrip("=")
