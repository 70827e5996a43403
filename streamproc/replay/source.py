"""ArchiveSource: the documents of one archived run as a source, at the pace they had or faster."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Sequence

from streamproc.documents import BadMessage, Document, Position, TopicPartition
from streamproc.errors import ArchiveDamaged
from streamproc.transports.archive.ports import NamedDocument

__all__ = ["MAX_SPEED", "ArchiveSource"]

MAX_SPEED = float("inf")

_BATCH = 64
_WAIT_S = 0.02


class ArchiveSource:
    """One run as the one partition ``(name, 0)`` of a topic; positions count its documents.

    Parameters
    ----------
    documents : iterator of (name, doc)
        From :meth:`Archive.documents`; may raise ArchiveDamaged at any place.
    name : str
        Of the archive.

    Attributes
    ----------
    given : int
        Documents given out so far.
    exhausted : bool
        Whether the archive has no more.
    fault : str
        Why the archive ended early; empty while it did not.
    late_s, taken_s : array of float
        Of each document that has its time: how much after it the document was given out, and was taken by
        the loop (s).
    """

    def __init__(self, documents: Iterator[NamedDocument], name: str) -> None:
        self.given, self.exhausted, self.fault = 0, False, ""
        self.late_s: array[float] = array("d")
        self.taken_s: array[float] = array("d")
        self._documents = documents
        self._stream = self._pull()
        self._partition: TopicPartition = (name, 0)
        self._begun = self._paused = self._held = False
        self._skip = self._pulled = 0
        self._wake = threading.Event()

    def wake(self) -> None:
        """End a wait of :meth:`poll` early; any thread may call it."""
        self._wake.set()

    def poll(self, timeout_s: float) -> Sequence[Document | BadMessage]:
        """Return what is due; waits for at most ``timeout_s`` (s) where nothing is."""
        if not self._begun or self._paused or self._held or self.lag() == 0:
            self._wait(min(timeout_s, _WAIT_S))
            return ()
        return self._take(timeout_s)

    def hold(self) -> None:
        """Give nothing more out until :meth:`release`: the user pauses."""
        self._held = True

    def release(self) -> None:
        """Give out again."""
        self._held = False

    def _take(self, timeout_s: float) -> list[Document]:
        batch: list[Document] = []
        while len(batch) < _BATCH and (document := next(self._stream, None)) is not None:
            self.given = self._pulled
            batch.append(document)
        return batch

    def _wait(self, wait_s: float) -> None:
        self._wake.wait(wait_s)
        self._wake.clear()

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

    # -- the rest of the protocol -------------------------------------------------------------------------

    def rewind_to_start(self, run_uid: str | None, before: Document) -> Sequence[Document | BadMessage]:
        """Return nothing: a run is read from its beginning, what did not come then is not there."""
        return ()

    def pause(self) -> None:
        """Give nothing out until :meth:`resume`."""
        self._paused = True

    def resume(self) -> None:
        """Give out again; documents that came due meanwhile come at once."""
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
