"""PacedSource: an archived run whose documents come at the distances they had when they were taken."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from streamproc.documents import Document, TopicPartition
from streamproc.replay import ticker
from streamproc.replay.source import ArchiveSource
from streamproc.transports.archive.ports import NamedDocument

__all__ = ["PacedSource"]

_TIMED = ("start", "event", "stop")
_AHEAD, _AHEAD_BYTES = 64, 64 * 1024 * 1024
"""What is read ahead of its time at most, in documents and in bytes of their arrays."""
_NAP_S, _WAIT_S, _JOIN_S = 0.002, 0.02, 5.0
_READ_BYTES = 1 << 16


class PacedSource(ArchiveSource):
    """An archive that gives a run out as it was taken, or so many times faster.

    Start, events and stop keep the distances of their own ``time``; others come in their order, not before
    the one before them is due. A thread reads ahead; a process of its own, :mod:`ticker`, gives each document
    out by telling its number at its time, whatever this process is doing. As with a broker, a loop that is
    busy takes it later.

    Parameters
    ----------
    documents, name
        As :class:`ArchiveSource` has them.
    speed : float
        How many times faster than it was taken.
    """

    def __init__(self, documents: Iterator[NamedDocument], name: str, speed: float) -> None:
        super().__init__(documents, name)
        self._speed, self._first_s = speed, float("nan")
        self._ready: deque[tuple[Document, bool, int]] = deque()
        self._ready_bytes, self._told, self._rest = 0, -1, b""
        self._closed = False
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._ticker: subprocess.Popen[bytes] | None = None
        self._reading = threading.Thread(target=self._read_ahead, name="read-ahead", daemon=True)

    def begin(self, partition: TopicPartition, offset: int | None) -> None:
        """Begin at document number ``offset`` (from 0)."""
        super().begin(partition, offset)
        command = [sys.executable, "-I", "-S", ticker.__file__]
        # In a session of its own: Ctrl-C and Ctrl-Z are for this process to deal with.
        self._ticker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        os.set_blocking(self._told_at, False)
        if self._held:
            self._ask(ticker.HOLD)
        self._reading.start()

    def wake(self) -> None:
        """End a wait of :meth:`poll` early; any thread may call it."""
        with suppress(OSError):  # full: it will wake up; closed: nobody waits
            os.write(self._waker, b"w")

    def hold(self) -> None:
        """Give nothing more out until :meth:`release`: the user pauses."""
        if not self._held:
            super().hold()
            self._ask(ticker.HOLD)

    def release(self) -> None:
        """Give out again, as if no time had passed."""
        if self._held:
            super().release()
            self._ask(ticker.RELEASE)

    def lag(self) -> int:
        """Return 0 when all was given out, else 1 (how many are left is not known)."""
        return 0 if self.exhausted and not self._ready else 1

    def close(self) -> None:
        """End the ticker and let go of the archive's iterator."""
        self._closed = True
        if self._ticker is not None:
            self._reading.join(_JOIN_S)
            for pipe in (self._ticker.stdin, self._ticker.stdout):
                if pipe is not None:
                    pipe.close()
            self._ticker.kill()
            self._ticker.wait()
            self._ticker = None
        for end in (self._woken, self._waker):
            with suppress(OSError):
                os.close(end)
        if not self._reading.is_alive():  # else it waits for the archive: nothing can be closed under it
            super().close()

    # -- the loop's side ------------------------------------------------------------------------------------

    @property
    def _told_at(self) -> int:
        assert self._ticker is not None and self._ticker.stdout is not None
        return self._ticker.stdout.fileno()

    def _wait(self, wait_s: float) -> None:
        if select.select([self._woken], [], [], wait_s)[0]:
            with suppress(BlockingIOError):
                os.read(self._woken, _READ_BYTES)

    def _take(self, timeout_s: float) -> list[Document]:
        """Take all documents that were given out; waits for the next where there is none."""
        batch = self._given_out()
        if not batch:
            ready, _, _ = select.select([self._told_at, self._woken], [], [], min(timeout_s, _WAIT_S))
            if self._woken in ready:
                self._wait(0.0)
            if self._told_at in ready:
                self._hear()
                batch = self._given_out()
        return batch

    def _hear(self) -> None:
        """Take what the ticker tells."""
        read = os.read(self._told_at, _READ_BYTES)
        if not read:
            self.fault, self.exhausted = "the process that gives out documents at their times ended", True
            self._ready.clear()
            return
        read, now_s = self._rest + read, time.monotonic()
        whole = len(read) - len(read) % ticker.TOLD.size
        for number, due_s, told_s in ticker.TOLD.iter_unpack(read[:whole]):
            self._told = number
            self.late_s.append(told_s - due_s)
            self.taken_s.append(now_s - due_s)
        self._rest = read[whole:]

    def _given_out(self) -> list[Document]:
        batch: list[Document] = []
        while self._ready and (not self._ready[0][1] or self._ready[0][0].position.offset <= self._told):
            document, _, size = self._ready.popleft()
            self._ready_bytes -= size
            self.given = document.position.offset + 1
            batch.append(document)
        return batch

    # -- the reading thread's side --------------------------------------------------------------------------

    def _read_ahead(self) -> None:
        """Read documents and have them told at their times, not too many at once."""
        try:
            for document in self._stream:
                size = _array_bytes(document.doc.get("data"))
                while self._full(size) and not self._closed:
                    time.sleep(_NAP_S)
                if self._closed:
                    return
                self._lay_ready(document, size)
        except Exception as error:  # a thread that ends in silence would leave the loop waiting
            self.fault, self.exhausted = self.fault or f"{type(error).__name__}: {error}", True
        self.wake()

    def _full(self, size: int) -> bool:
        ahead = len(self._ready)
        return ahead >= _AHEAD or (ahead > 1 and self._ready_bytes + size > _AHEAD_BYTES)

    def _lay_ready(self, document: Document, size: int) -> None:
        time_s = document.doc.get("time")
        timed = document.name in _TIMED and isinstance(time_s, int | float)
        self._ready_bytes += size
        self._ready.append((document, timed, size))
        if timed and isinstance(time_s, int | float):
            if self._first_s != self._first_s:
                self._first_s = float(time_s)
            self._ask(ticker.TELL, document.position.offset, (float(time_s) - self._first_s) / self._speed)
        else:
            self.wake()

    def _ask(self, command: int, number: int = 0, offset_s: float = 0.0) -> None:
        if self._ticker is not None and self._ticker.stdin is not None:
            with suppress(OSError):  # it ended: heard of where it tells
                os.write(self._ticker.stdin.fileno(), ticker.ASK.pack(command, number, offset_s))


def _array_bytes(data: Any) -> int:
    values = data.values() if isinstance(data, dict) else ()
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))
