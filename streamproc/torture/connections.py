"""Cutting the connections of another process, without special rights and without its help (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import sys
from pathlib import Path

from streamproc.errors import ConfigurationError

__all__ = ["cut_connections", "require_cutting"]

_SYS_PIDFD_GETFD = 438
"""The same number on all processors, since Linux 5.6."""

_GONE = (errno.ESRCH, errno.EBADF, errno.ENOTSOCK)
"""The process, or the socket, ended while we looked."""


def cut_connections(pid: int, spared_port: int | None = None) -> int:
    """Shut down the TCP connections of a process of ours; both ends see them closed by the other.

    The kernel gives a parent a copy of its child's sockets (``pidfd_getfd``), and shutting down the copy
    shuts down the original.

    Parameters
    ----------
    pid : int
        A child, or any process of the same user where the machine allows that.
    spared_port : int or None
        Connections that others made to this port of the process are left alone.

    Returns
    -------
    int
        How many were cut; 0 also when the process is gone.

    Raises
    ------
    OSError
        The machine does not allow it.
    """
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    try:
        return sum(_cut(process, number, spared_port) for number in _sockets(pid))
    finally:
        os.close(process)


def require_cutting() -> None:
    """Raise ConfigurationError where connections cannot be cut."""
    try:
        if sys.platform != "linux":
            raise OSError("it needs Linux")
        with socket.socket() as ours:
            process = os.pidfd_open(os.getpid())
            try:
                _copy(process, ours.fileno()).close()
            finally:
                os.close(process)
    except OSError as error:
        raise ConfigurationError(
            f"connections cannot be cut on this machine ({error}): leave cut out of --faults"
        ) from error


def _sockets(pid: int) -> list[int]:
    """Return the file descriptors of a process that are sockets."""
    numbers = []
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(entry.readlink()).startswith("socket:"):
                    numbers.append(int(entry.name))
    return numbers


def _cut(process: int, number: int, spared_port: int | None) -> bool:
    try:
        copy = _copy(process, number)
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise
    with copy:
        if copy.family not in (socket.AF_INET, socket.AF_INET6) or copy.type != socket.SOCK_STREAM:
            return False
        try:
            copy.getpeername()  # one that listens has no peer, and shutting it down would end its listening
            if copy.getsockname()[1] == spared_port:
                return False
            copy.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
    return True


def _copy(process: int, number: int) -> socket.socket:
    """Return a copy of a socket of another process."""
    libc = ctypes.CDLL(None, use_errno=True)
    copied = libc.syscall(_SYS_PIDFD_GETFD, process, number, 0)
    if copied < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    try:
        return socket.socket(fileno=copied)
    except OSError:
        os.close(copied)
        raise
