"""Views: the documents of a whole run where they lie, read anew by each reader, never all in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from streamproc.transports.codec import decode
from streamproc.transports.lines import read_documents

__all__ = ["FileView", "MessageView"]

Pair = tuple[str, Mapping[str, Any]]


class MessageView:
    """Messages one after the other in an open file.

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


class FileView:
    """A file of documents; reading it once now shows whether it is whole.

    Parameters
    ----------
    path : Path
        From the spool.

    Raises
    ------
    ConfigurationError
        It is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start: Mapping[str, Any] = {}
        self.stop: Mapping[str, Any] = {}
        for name, doc in read_documents(path):
            if name == "start":
                self.start = doc
            elif name == "stop":
                self.stop = doc

    def __iter__(self) -> Iterator[Pair]:
        return iter(read_documents(self.path))
