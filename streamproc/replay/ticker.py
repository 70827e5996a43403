"""Ticker: a small process that says when documents are due, whatever the replay's own process is doing.

A thread of the replay's process could not: it would wait for the interpreter's lock, which on a busy machine
a working thread may hold for 50 ms and more while it is not even running. This file is run as a program and
imports nothing but the standard library, so that it is there at once.
"""

from __future__ import annotations

import os
import select
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["ASK", "HOLD", "RELEASE", "TELL", "TOLD", "Timetable", "run"]

ASK = struct.Struct("<Bqd")
"""What is asked: a command, the number of a document, its offset from the first one (s)."""
TELL, HOLD, RELEASE = 1, 2, 3
TOLD = struct.Struct("<qdd")
"""What is told: the number of a document that is due, when it was due and when that is told (monotonic s)."""

_NAP_S = 0.02
"""Longest wait: a stopped parent is noticed within it."""
_AWAKE_S, _FIRST_AWAKE_S = 0.001, 0.0002
"""How late a sleep may end, usually and of a process that comes before all others; the last moment before a
document is due is spent awake."""


class Timetable:
    """When documents are due; the first one that is asked for is due at once.

    Parameters
    ----------
    clock : callable
        Seconds from any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: deque[tuple[int, float]] = deque()
        self._origin_s: float | None = None
        self._holders: set[str] = set()
        self._held_s = 0.0

    def ask(self, number: int, offset_s: float) -> None:
        """Take a document: its number, and how long after the first it is due (s); in order."""
        if self._origin_s is None:
            self._origin_s = (self._held_s if self._holders else self._clock()) - offset_s
        self._asked.append((number, offset_s))

    def hold(self, who: str) -> None:
        """Let no time pass until everybody who holds has released."""
        if not self._holders:
            self._held_s = self._clock()
        self._holders.add(who)

    def release(self, who: str) -> None:
        """Let time pass again, as if none had passed meanwhile."""
        if who in self._holders:
            self._holders.remove(who)
            if not self._holders and self._origin_s is not None:
                self._origin_s += self._clock() - self._held_s

    def left_s(self) -> float | None:
        """Return how long it is until the next document is due (s); None when that is not known."""
        if not self._asked or self._holders or self._origin_s is None:
            return None
        return self._origin_s + self._asked[0][1] - self._clock()

    def due(self) -> Iterator[tuple[int, float]]:
        """Yield the number of each document that is due, and since when; each once."""
        while (left_s := self.left_s()) is not None and left_s <= 0:
            number, offset_s = self._asked.popleft()
            yield number, (self._origin_s or 0.0) + offset_s


def run(asked: int, told: int, parent: int) -> None:
    """Answer what comes on one file descriptor on the other, until the first is closed."""
    table, rest = Timetable(), b""
    awake_s = _FIRST_AWAKE_S if _come_first() else _AWAKE_S
    while True:
        left_s = table.left_s()
        nap_s = _NAP_S if left_s is None else min(max(left_s - awake_s, 0.0), _NAP_S)
        if select.select([asked], [], [], nap_s)[0]:
            read = os.read(asked, 1 << 16)
            if not read:
                return
            rest = _obey(table, rest + read)
        (table.hold if _stopped(parent) else table.release)("stopped")
        while (left_s := table.left_s()) is not None and 0 < left_s <= awake_s:
            pass
        for number, due_s in table.due():
            os.write(told, TOLD.pack(number, due_s, time.monotonic()))


def _come_first() -> bool:
    """Come before all usual processes where that is allowed (it takes microseconds at a time)."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except (OSError, AttributeError):
        return False
    return True


def _obey(table: Timetable, read: bytes) -> bytes:
    """Do what is asked; returns the beginning of what has not come whole."""
    whole = len(read) - len(read) % ASK.size
    for command, number, offset_s in ASK.iter_unpack(read[:whole]):
        if command == TELL:
            table.ask(number, offset_s)
        elif command == HOLD:
            table.hold("user")
        elif command == RELEASE:
            table.release("user")
    return read[whole:]


def _stopped(process: int) -> bool:
    """Tell whether a process is stopped (Ctrl-Z); where that cannot be known it is not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in "Tt"


if __name__ == "__main__":
    run(0, 1, os.getppid())
