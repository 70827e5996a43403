"""Looking at a running service from outside: its metrics, its readiness, its memory."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Look", "Silence", "Watcher", "parse_metrics", "resident_bytes"]

_TIMEOUT_S = 1.0
_FROM_THE_BEGINNING_S = 8.0
"""So long after its start a process still loads what it needs; its memory is not counted yet."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one process.

    Attributes
    ----------
    pid : int
        Which one.
    at_s : float
        When (s, monotonic).
    done : int or None
        Answers it has published; None when it did not say.
    busy : bool
        Whether it has anything to read or to answer.
    nothing_to_do : bool
        Ready, with partitions, all read and all answered, now and at the look before.
    rss_bytes : int or None
        Resident memory; None while the process is young or gone.
    """

    pid: int
    at_s: float
    done: int | None = None
    busy: bool = True
    nothing_to_do: bool = False
    rss_bytes: int | None = None


@dataclass(slots=True)
class Silence:
    """The longest time without anything new.

    Attributes
    ----------
    longest_s : float
        So far (s).
    """

    longest_s: float = 0.0
    _since_s: float | None = None
    _count: int = -1

    def note(self, now_s: float, count: int) -> None:
        """Take a count of what there is at ``now_s`` (s, monotonic)."""
        if self._since_s is None or count != self._count:
            self._since_s, self._count = now_s, count
        self.longest_s = max(self.longest_s, now_s - self._since_s)


class Watcher:
    """A thread that looks at one service again and again.

    Parameters
    ----------
    port : int
        The service's status server on this machine.
    present : callable
        Returns process number and start (s, monotonic) of the present process.
    take : callable
        Gets every :class:`Look`, in the watcher's thread.
    interval_s : float
        Pause between two looks (s).
    """

    def __init__(
        self,
        port: int,
        present: Callable[[], tuple[int, float]],
        take: Callable[[Look], None],
        interval_s: float = 0.2,
    ) -> None:
        self._port, self._present, self._take, self._interval_s = port, present, take, interval_s
        self._calm = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"watcher-{port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the looking."""
        self._over.set()
        self._thread.join(3 * _TIMEOUT_S)

    def _work(self) -> None:
        while not self._over.wait(self._interval_s):
            self._take(self._look())

    def _look(self) -> Look:
        pid, started_s = self._present()
        young = time.monotonic() - started_s < _FROM_THE_BEGINNING_S
        rss_bytes = None if young else resident_bytes(pid)
        try:
            metrics = parse_metrics(_get(self._port, "/metrics")[1])
            status, text = _get(self._port, "/readyz")
            ready = status == 200 and bool(json.loads(text).get("partitions"))
        except (OSError, http.client.HTTPException, ValueError):
            self._calm = False
            return Look(pid, time.monotonic(), rss_bytes=rss_bytes)
        busy = any(metrics.get(name, 1.0) > 0 for name in ("lag_messages", "frames_waiting"))
        # A service that was just given partitions may say for an instant that it has read them all.
        before, self._calm = self._calm, ready and not busy
        return Look(
            pid, time.monotonic(), int(metrics.get("frames_total:done", 0)), busy,
            before and self._calm, rss_bytes,
        )  # fmt: skip


def parse_metrics(text: str) -> dict[str, float]:
    """Return values by name without ``streamproc_``; an outcome follows its name after a colon."""
    values: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("streamproc_") and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            head, _, labels = name.removeprefix("streamproc_").partition("{")
            _, _, rest = labels.partition('outcome="')
            outcome = rest.partition('"')[0]
            with contextlib.suppress(ValueError):
                values[f"{head}:{outcome}" if outcome else head] = float(value)
    return values


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process; None when it is gone or the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
