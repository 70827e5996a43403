"""FileView: the documents of a whole run in its file, read anew by each reader, never all in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from streamproc.transports.lines import read_documents

__all__ = ["FileView"]

Pair = tuple[str, Mapping[str, Any]]


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
