"""ArchiveSource: the documents of one archived run as a source, at the pace they had or faster."""

from __future__ import annotations

import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from streamproc.documents import BadMessage, Document, Position, TopicPartition
from streamproc.errors import ArchiveDamaged
from streamproc.replay.pacer import MAX_SPEED, Pacer
from streamproc.transports.archive.ports import NamedDocument

__all__ = ["MAX_SPEED", "ArchiveSource"]

_BATCH = 64
_WAIT_S = 0.02
_AHEAD = 16
"""Paced documents that may lie ready; when the loop takes none, the next come late."""
_NAP_S = 0.002
_JOIN_S = 5.0


class ArchiveSource:
    """One run as the one partition ``(name, 0)`` of a topic; positions count its documents.

    A paced run is read by a thread of its own, which lays each document ready at its time whatever the loop
    is doing, as a broker would.

    Parameters
    ----------
    documents : iterator of (name, doc)
        From :meth:`Archive.documents`; may raise ArchiveDamaged at any place.
    name : str
        Of the archive.
    speed : float
        How many times faster than it was taken, see :class:`Pacer`; infinite: as fast as it goes.
    clock, sleep : callable
        Seconds from any origin; waiting.

    Attributes
    ----------
    given : int
        Documents given out so far.
    exhausted : bool
        Whether the archive has no more.
    fault : str
        Why the archive ended early; empty while it did not.
    late_s, taken_s : array of float
        Of each paced document: how much after its time it lay ready, and was taken by the loop (s).
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
        self.taken_s: array[float] = array("d")
        self._documents, self._clock = documents, clock
        self._stream = self._pull()
        self._partition: TopicPartition = (name, 0)
        self._pacer = None if speed == MAX_SPEED else Pacer(speed, clock, sleep)
        self._ready: deque[tuple[Document, float | None]] = deque()
        self._thread: threading.Thread | None = None
        self._begun = self._paused = self._held = self._closed = False
        self._skip = self._pulled = 0
        self._wake = threading.Event()

    def wake(self) -> None:
        """End a wait of :meth:`poll` early; any thread may call it."""
        self._wake.set()

    def poll(self, timeout_s: float) -> Sequence[Document | BadMessage]:
        """Return what is due; waits for at most ``timeout_s`` (s) where nothing is."""
        if not self._begun or self._paused or (self.exhausted and not self._ready):
            self._wait(min(timeout_s, _WAIT_S))
            return ()
        if self._pacer is not None:
            return self._taken(min(timeout_s, _WAIT_S))
        if self._held:
            self._wait(min(timeout_s, _WAIT_S))
            return ()
        return self._batch()

    def hold(self) -> None:
        """Give nothing more out until :meth:`release`: the user pauses."""
        self._held = True
        if self._pacer is not None:
            self._pacer.hold()

    def release(self) -> None:
        """Give out again; a paced run goes on as if no time had passed."""
        self._held = False
        if self._pacer is not None:
            self._pacer.release()

    # -- at full speed --------------------------------------------------------------------------------------

    def _batch(self) -> list[Document]:
        batch: list[Document] = []
        while len(batch) < _BATCH and (document := next(self._stream, None)) is not None:
            self.given = self._pulled
            batch.append(document)
        return batch

    def _pull(self) -> Iterator[Document]:
        """Yield the documents from the offset on where it began; notes the end and the fault."""
        try:
            for name, doc in self._documents:
                self._pulled += 1
                if self._pulled > self._skip:
                    yield Document(name, doc, Position(*self._partition, self._pulled - 1))
        except ArchiveDamaged as error:
            self.fault = error.message
        self.exhausted = True

    # -- paced ----------------------------------------------------------------------------------------------

    def _taken(self, timeout_s: float) -> list[Document]:
        """Take all that lie ready."""
        if not self._ready:
            self._wait(timeout_s)
        batch: list[Document] = []
        while self._ready:
            document, due_s = self._ready.popleft()
            self.given = document.position.offset + 1
            batch.append(document)
            if due_s is not None:
                self.taken_s.append(self._clock() - due_s)
        return batch

    def _pace(self, pacer: Pacer) -> None:
        """Lay each document ready at its time, until the end."""
        try:
            for document, due_s in pacer.paced(self._stream):
                while len(self._ready) >= _AHEAD and not self._closed:
                    time.sleep(_NAP_S)
                if self._closed:
                    return
                self._ready.append((document, due_s))
                self._wake.set()
                if due_s is not None:
                    self.late_s.append(self._clock() - due_s)
        except Exception as error:  # a thread that ends in silence would leave the loop waiting
            self.fault, self.exhausted = f"{type(error).__name__}: {error}", True
        self._wake.set()

    def _wait(self, wait_s: float) -> None:
        self._wake.wait(wait_s)
        self._wake.clear()

    # -- the rest of the protocol -------------------------------------------------------------------------

    def rewind_to_start(self, run_uid: str | None, before: Document) -> Sequence[Document | BadMessage]:
        """Return nothing: a run is read from its beginning, what did not come then is not there."""
        return ()

    def pause(self) -> None:
        """Give nothing out until :meth:`resume`."""
        self._paused = True

    def resume(self) -> None:
        """Give out again; documents of a paced run that came due meanwhile come at once."""
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
        if self._pacer is not None:
            self._thread = threading.Thread(target=self._pace, args=(self._pacer,), name="pacer", daemon=True)
            self._thread.start()

    def on_leaving(self, callback: Callable[[Sequence[TopicPartition]], None]) -> None:
        """Never call it: nobody takes the partition away."""

    def revoked(self) -> Sequence[TopicPartition]:
        """Return nothing."""
        return []

    def lag(self) -> int:
        """Return 0 when all was given out, else 1 (how many are left is not known)."""
        return 0 if self.exhausted and not self._ready else 1

    def close(self) -> None:
        """Let go of the archive's iterator."""
        self._closed = True
        if self._pacer is not None and self._thread is not None:
            self._pacer.end()
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():  # it waits for the archive; the iterator cannot be closed under it
                return
        close = getattr(self._documents, "close", None)
        if callable(close):
            close()
