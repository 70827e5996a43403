"""Stream_datums whose stream_resource has not come: kept until it does, so far as there is room."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from streamproc.documents import Document
from streamproc.runs.state import pack, pack_position, unpack, unpack_position

__all__ = ["Unresolved"]


class Unresolved:
    """Stream_datums in the order in which they came; the oldest goes when there is no room.

    Parameters
    ----------
    most : int
        How many are kept.
    most_bytes : int
        How long their messages may be altogether; one is kept whatever its length.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: deque[Document] = deque()
        self._bytes = 0

    def __iter__(self) -> Iterator[Document]:
        return iter(self._kept)

    def add(self, document: Document) -> None:
        """Keep one more."""
        self._kept.append(document)
        self._bytes += len(document.raw)
        while len(self._kept) > self._most or (self._bytes > self._most_bytes and len(self._kept) > 1):
            self._bytes -= len(self._kept.popleft().raw)

    def take(self, stream_resource: str) -> list[Document]:
        """Return those that waited for a stream_resource, and keep them no longer."""
        taken = [d for d in self._kept if d.doc["stream_resource"] == stream_resource]
        if taken:
            self._kept = deque(d for d in self._kept if d.doc["stream_resource"] != stream_resource)
            self._bytes -= sum(len(d.raw) for d in taken)
        return taken

    def to_state(self) -> list[Any]:
        """Return what is kept as plain msgpack-able values."""
        return [
            [d.name, pack(d.doc), pack_position(d.position), d.key, d.raw, d.published_s] for d in self._kept
        ]

    def restore(self, state: Iterable[Any]) -> None:
        """Take up what :meth:`to_state` gave."""
        self._kept.extend(
            Document(name, unpack(doc), unpack_position(position), key, raw, published_s)
            for name, doc, position, key, raw, published_s in state
        )
        self._bytes = sum(len(d.raw) for d in self._kept)
