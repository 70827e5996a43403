"""KeptRun: the documents of one run in the order they came; large runs lie on the disk meanwhile."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

from streamproc.transports.codec import decode, encode

__all__ = ["KeptRun", "MessageView"]

Pair = tuple[str, Mapping[str, Any]]

_IN_MEMORY_BYTES = 8 * 1024 * 1024


class MessageView:
    """Messages one after the other in an open file, read anew by each reader, never all in memory.

    Parameters
    ----------
    file : binary file
        Nobody else reads or writes it meanwhile.
    sizes : list of int
        Length of each message (bytes).
    """

    def __init__(self, file: IO[bytes], sizes: list[int]) -> None:
        self._file, self._sizes = file, sizes

    @property
    def start(self) -> Mapping[str, Any]:
        """The first document."""
        return self._at(0, self._sizes[0])[1]

    @property
    def stop(self) -> Mapping[str, Any]:
        """The last document."""
        return self._at(sum(self._sizes[:-1]), self._sizes[-1])[1]

    def __iter__(self) -> Iterator[Pair]:
        at = 0
        for size in self._sizes:
            yield self._at(at, size)
            at += size

    def _at(self, at: int, size: int) -> Pair:
        self._file.seek(at)
        return decode(self._file.read(size))


class KeptRun:
    """Keeps each document once, by its uid."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._sizes: list[int] = []
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, name: str, doc: Mapping[str, Any], raw: bytes = b"") -> bool:
        """Take a document (``raw``: as it came); False when it is a repeat."""
        uid = str(doc.get("uid", ""))
        if uid in self._seen:
            return False
        self._seen.add(uid)
        raw = raw or encode(name, doc)
        self._file.seek(0, 2)
        self._file.write(raw)
        self._sizes.append(len(raw))
        return True

    def documents(self) -> MessageView:
        """Return the documents in the order they came; nothing may be added while they are read."""
        return MessageView(self._file, self._sizes)

    def close(self) -> None:
        """Free it."""
        self._file.close()
