"""ArchiveSource: the documents of one archived run as a source, at the pace they had or faster."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from streamproc.documents import BadMessage, Document, Position, TopicPartition
from streamproc.errors import ArchiveDamaged
from streamproc.transports.archive.ports import NamedDocument

__all__ = ["MAX_SPEED", "ArchiveSource"]

MAX_SPEED = float("inf")

_BATCH = 64
_WAIT_S = 0.02
_SPIN_S = 0.0015
"""Sleeping is this much late at worst on a quiet machine; the rest of a wait is spent awake."""


class ArchiveSource:
    """One run as the one partition ``(name, 0)`` of a topic; positions count its documents.

    Parameters
    ----------
    documents : iterator of (name, doc)
        From :meth:`Archive.documents`; may raise ArchiveDamaged at any place.
    name : str
        Of the archive.
    speed : float
        How many times faster than it was taken; infinite: as fast as it goes. Documents keep the distances
        of their own times (``time`` of start, events and stop); others come in their order, not before the
        one before them is due.
    clock, sleep : callable
        Seconds from any origin; waiting.

    Attributes
    ----------
    given : int
        Documents given out so far.
    exhausted : bool
        Whether all have been.
    fault : str
        Why the archive ended early; empty while it did not.
    late_s : array of float
        How much after its time each paced document was given out (s).
    """

    def __init__(
        self,
        documents: Iterator[NamedDocument],
        name: str,
        speed: float = MAX_SPEED,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        self.given, self.exhausted, self.fault = 0, False, ""
        self.late_s: array[float] = array("d")
        self._documents, self._speed = documents, speed
        self._partition: TopicPartition = (name, 0)
        self._clock, self._sleep = clock, sleep
        self._begun = self._paused = False
        self._skip = 0
        self._next: NamedDocument | None = None
        self._origin: tuple[float, float] | None = None
        self._wake = threading.Event()

    def wake(self) -> None:
        """End a wait of :meth:`poll` early; any thread may call it."""
        self._wake.set()

    def poll(self, timeout_s: float) -> Sequence[Document | BadMessage]:
        """Return what is due; waits for at most ``timeout_s`` (s) where nothing is."""
        if not self._begun or self._paused or self.exhausted:
            self._wait(min(timeout_s, _WAIT_S))
            return ()
        if self._speed == MAX_SPEED:
            return self._batch()
        return self._due(timeout_s)

    def _batch(self) -> list[Document]:
        batch: list[Document] = []
        while len(batch) < _BATCH and (named := self._pull()) is not None:
            batch.append(self._document(named))
        return batch

    def _due(self, timeout_s: float) -> list[Document]:
        """Give out the next document at its time, with those that have none before it."""
        batch: list[Document] = []
        until_s = self._clock() + timeout_s
        while (named := self._next or self._pull()) is not None:
            self._next = named
            due_s = self._due_s(named)
            if due_s is not None:
                if batch and due_s > self._clock():
                    break
                if due_s > until_s:
                    self._wait_for(until_s)
                    break
                self._wait_for(due_s)
                self.late_s.append(self._clock() - due_s)
            self._next = None
            batch.append(self._document(named))
            if due_s is not None:
                break
        return batch

    def _due_s(self, named: NamedDocument) -> float | None:
        time_s = named[1].get("time")
        if not isinstance(time_s, int | float) or named[0] not in ("start", "event", "stop"):
            return None
        if self._origin is None:
            self._origin = (self._clock(), float(time_s))
        return self._origin[0] + (float(time_s) - self._origin[1]) / self._speed

    def _wait_for(self, due_s: float) -> None:
        """Wait until a time of the clock, the last moment awake: sleeping comes back too late."""
        while (left_s := due_s - self._clock()) > 0:
            if left_s > _SPIN_S:
                self._sleep(left_s - _SPIN_S)

    def _wait(self, wait_s: float) -> None:
        self._wake.wait(wait_s)
        self._wake.clear()

    def _pull(self) -> NamedDocument | None:
        try:
            while True:
                named = next(self._documents)
                self.given += 1
                if self.given > self._skip:
                    return named
        except StopIteration:
            self.exhausted = True
        except ArchiveDamaged as error:
            self.exhausted, self.fault = True, error.message
        return None

    def _document(self, named: NamedDocument) -> Document:
        return Document(named[0], named[1], Position(*self._partition, self.given - 1))

    # -- the rest of the protocol -------------------------------------------------------------------------

    def rewind_to_start(self, run_uid: str | None, before: Document) -> Sequence[Document | BadMessage]:
        """Return nothing: a run is read from its beginning, what did not come then is not there."""
        return ()

    def pause(self) -> None:
        """Give nothing out until :meth:`resume`."""
        self._paused = True

    def resume(self) -> None:
        """Give out again; a paced replay goes on from here with the distances the documents have."""
        self._paused = False

    def assigned(self) -> Sequence[TopicPartition]:
        """Return the one partition."""
        return [self._partition]

    def gained(self) -> Sequence[TopicPartition]:
        """Return the one partition until it was begun."""
        return [] if self._begun else [self._partition]

    def begin(self, partition: TopicPartition, offset: int | None) -> None:
        """Begin at document number ``offset`` (from 0)."""
        self._begun, self._skip = True, offset or 0

    def on_leaving(self, callback: Callable[[Sequence[TopicPartition]], None]) -> None:
        """Never call it: nobody takes the partition away."""

    def revoked(self) -> Sequence[TopicPartition]:
        """Return nothing."""
        return []

    def lag(self) -> int:
        """Return 0 when all was given out, else 1 (how many are left is not known)."""
        return 0 if self.exhausted else 1

    def close(self) -> None:
        """Let go of the archive's iterator."""
        close = getattr(self._documents, "close", None)
        if callable(close):
            close()
