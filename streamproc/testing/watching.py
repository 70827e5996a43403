"""What a process opens, starts, loads and connects to, seen from inside and from outside.

Three watches, each with its limits:

* :func:`audited`: an audit hook inside a Python process. It sees every file that Python code opens, every
  process it starts and every class a pickle names; not what a C library opens by itself (HDF5 does).
* :func:`traced`: ``strace`` around the process (Linux, where it is installed). It sees every open, whoever
  makes it, with the real path that the kernel came to; every program started; every connection.
* :class:`DecoyWatch`: inotify (Linux) on decoy files. It sees whoever opens one of them, and nothing else.

Looking at a path (``stat``, following links) is not opening it, and no watch reports it.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

__all__ = ["Access", "DecoyWatch", "audited", "read_audit", "read_trace", "traced"]

AccessKind = Literal["open", "start", "connect", "unpickle", "load"]

_CALLS = "open,openat,openat2,creat,open_by_handle_at,execve,execveat,fork,vfork,clone,clone3,connect"
_HOOK = """\
import json, os, sys, time

def watch(log):
    kinds = {
        "open": "open", "os.listdir": "open", "os.scandir": "open", "os.system": "start", "os.exec": "start",
        "os.fork": "start", "os.forkpty": "start", "os.posix_spawn": "start", "subprocess.Popen": "start",
        "pickle.find_class": "unpickle", "ctypes.dlopen": "load", "socket.getaddrinfo": "connect",
    }
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hook(event, arguments):
        kind = kinds.get(event)
        if kind is None or (kind == "open" and not isinstance(arguments[0], (str, bytes, os.PathLike))):
            return
        what = os.fsdecode(arguments[0]) if kind == "open" else " ".join(str(a) for a in arguments[:2])
        os.write(descriptor, (json.dumps([time.time(), kind, what]) + "\\n").encode())

    sys.addaudithook(hook)

watch(LOG)
"""
_IN_OPEN = 0x20
_IN_CREATE = 0x100
_TRACED = re.compile(
    r"^(?P<pid>\d+) +(?P<time>\d+\.\d+) (?:<\.\.\. )?(?P<call>\w+)(?: resumed>|\()(?P<rest>.*)$"
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
_OPENED = re.compile(r"= \d+<(.*)>$")
_OCTAL = re.compile(rb"\\([0-7]{1,3}|x[0-9a-f]{2}|.)")


@dataclass(frozen=True, slots=True)
class Access:
    """Something that a process did.

    Attributes
    ----------
    kind : str
        ``open`` (a file or folder), ``start`` (a program or process), ``connect``, ``unpickle`` (a class that
        a pickle names) or ``load`` (a library).
    what : str
        The path, command, address or class.
    time_s : float
        Unix time.
    """

    kind: AccessKind
    what: str
    time_s: float


def audited(folder: Path, log: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which every Python process writes what it does to ``log``.

    Parameters
    ----------
    folder : Path
        Gets a ``sitecustomize.py``, which Python runs before anything else; exists.
    log : Path
        File to append to; read it with :func:`read_audit`.
    environment : Mapping, optional
        What to start from; by default that of this process.
    """
    (folder / "sitecustomize.py").write_text(_HOOK.replace("LOG", repr(str(log))))
    base = dict(os.environ if environment is None else environment)
    path = [str(folder), *filter(None, [base.get("PYTHONPATH")])]
    return {**base, "PYTHONPATH": os.pathsep.join(path)}


def read_audit(log: Path) -> Iterator[Access]:
    """Iterate over what an audited process did."""
    for line in log.read_text().splitlines():
        time_s, kind, what = json.loads(line)
        yield Access(kind, what, time_s)


def traced(log: Path) -> list[str]:
    """Return what to put before a command so that the kernel's view of it is written to ``log``.

    The process keeps its number and its exit status. Empty where ``strace`` is not installed.
    """
    strace = shutil.which("strace")
    if strace is None:
        return []
    options = ["-D", "-f", "-qq", "-y", "-ttt", "--seccomp-bpf", "-s", "4096", "-e", f"trace={_CALLS}"]
    return [strace, *options, "-e", "signal=none", "-o", str(log)]


def read_trace(log: Path) -> Iterator[Access]:
    """Iterate over what a traced process did; a file that was opened is named by its real path.

    Threads are no processes, local sockets no connections: both are left out.
    """
    begun: dict[str, str] = {}
    for line in log.read_text(errors="surrogateescape").splitlines():
        match = _TRACED.match(line)
        if match is None:
            continue
        rest = match["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[match["pid"]] = rest.removesuffix("<unfinished ...>")
            continue
        if " resumed>" in line:
            rest = begun.pop(match["pid"], "") + rest
        access = _access(match["call"], rest, float(match["time"]))
        if access is not None:
            yield access


def _access(call: str, rest: str, time_s: float) -> Access | None:
    if call in ("fork", "vfork", "clone", "clone3"):
        return None if "CLONE_THREAD" in rest else Access("start", call, time_s)
    quoted = _QUOTED.search(rest)
    if call == "connect":
        port = _PORT.search(rest)
        return Access("connect", f"{quoted[1]}:{port[1]}", time_s) if quoted and port else None
    named = _plain(quoted[1]) if quoted else rest
    if call.startswith("exec"):
        return Access("start", named, time_s)
    opened = _OPENED.search(rest)
    return Access("open", _plain(opened[1]) if opened else named, time_s)


def _plain(text: str) -> str:
    """Undo the escapes that strace writes in C's manner."""

    def char(match: re.Match[bytes]) -> bytes:
        found = match[1]
        if found[:1].isdigit():
            return bytes([int(found, 8) & 0xFF])
        return {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}.get(found, found)

    return os.fsdecode(_OCTAL.sub(char, text.encode("utf-8", "surrogateescape")))


class DecoyWatch:
    """Tells whether anybody opens certain files; a context manager.

    Parameters
    ----------
    paths : iterable of Path
        Files, and folders whose files are meant; they exist.

    Raises
    ------
    OSError
        Not on this system.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError("files can be watched on Linux only")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watched: dict[int, Path] = {}
        for path in paths:
            number = self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_OPEN | _IN_CREATE)
            if number < 0:
                raise OSError(ctypes.get_errno(), f"cannot watch {path}")
            self._watched[number] = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def opened(self) -> list[str]:
        """Return the paths that were opened or created since the last call."""
        found: list[str] = []
        while events := self._read():
            at = 0
            while at < len(events):
                number, _, _, length = struct.unpack_from("iIII", events, at)
                name = events[at + 16 : at + 16 + length].rstrip(b"\0")
                found.append(str(self._watched[number] / os.fsdecode(name)))
                at += 16 + length
        return found

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, 65_536)
        except BlockingIOError:
            return b""
