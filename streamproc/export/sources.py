"""Where results are read from: a topic, a file of documents, a Tiled catalog, or documents at hand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from streamproc.errors import ConfigurationError, DocumentRefused
from streamproc.settings import Settings, load_settings
from streamproc.transports.codec import decode
from streamproc.transports.lines import read_documents

__all__ = ["DocumentsAtHand", "FileResults", "ResultSource", "TopicResults", "open_source"]

Pair = tuple[str, Mapping[str, Any]]

_STARTS = (b"\x92\xa5start", b"\x92\xd9\x05start")
"""How the message of a start document begins; all others need not be decoded to know where runs begin."""


class ResultSource(Protocol):
    """Somewhere that result runs are."""

    name: str

    def starts(self) -> Iterable[Mapping[str, Any]]:
        """Yield the start documents, oldest first; those of other runs may be among them."""

    def documents(self, uids: Collection[str]) -> Iterable[Pair]:
        """Yield the documents of these result runs at least, each run's in order."""


class DocumentsAtHand:
    """Documents in memory.

    Parameters
    ----------
    pairs : iterable of (name, doc)
        As published; other runs may be among them.
    """

    name = "the documents given"

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self._pairs = list(pairs)

    def starts(self) -> Iterable[Mapping[str, Any]]:
        """Return the start documents."""
        return [doc for name, doc in self._pairs if name == "start"]

    def documents(self, uids: Collection[str]) -> Iterable[Pair]:
        """Return everything."""
        return self._pairs


class FileResults:
    """A file of documents, or every such file of a folder.

    Parameters
    ----------
    path : Path
        ``.jsonl`` or ``.msgpack``, or a folder with them (a spool, say).
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        if path.is_dir():
            self._files = sorted(p for p in path.iterdir() if p.suffix in (".jsonl", ".msgpack"))
            if not self._files:
                raise ConfigurationError(f"{path}: no .jsonl or .msgpack file in this folder")
        else:
            self._files = [path]

    def starts(self) -> Iterable[Mapping[str, Any]]:
        """Yield the start documents."""
        return (doc for file in self._files for name, doc in read_documents(file) if name == "start")

    def documents(self, uids: Collection[str]) -> Iterable[Pair]:
        """Yield everything."""
        return (pair for file in self._files for pair in read_documents(file))


class TopicResults:
    """The results topic of a beamline, read to its present end; nothing is committed.

    Parameters
    ----------
    settings : Settings
        Broker and topic names.
    timeout_s : float
        Deadline for reading the topic once (s).
    """

    def __init__(self, settings: Settings, timeout_s: float = 600.0) -> None:
        self._settings, self._timeout_s = settings, timeout_s
        self._since_s: dict[str, float] = {}
        self.name = f"{settings.topic('results')} at {settings.kafka.bootstrap}"

    def starts(self) -> Iterator[Mapping[str, Any]]:
        """Yield the start documents in the order they were published (in one partition)."""
        with self._reader(None) as reader:
            for message in reader.messages():
                if message.value is not None and message.value.startswith(_STARTS):
                    try:
                        _, doc = decode(message.value)
                    except DocumentRefused:
                        continue
                    self._since_s.setdefault(str(doc.get("uid")), message.timestamp_s or 0.0)
                    yield doc

    def documents(self, uids: Collection[str]) -> Iterator[Pair]:
        """Yield the documents of these runs: messages are told apart by their key, the run's uid."""
        keys = {uid.encode() for uid in uids}
        since_s = min((self._since_s.get(uid, 0.0) for uid in uids), default=0.0)
        with self._reader(since_s - 1.0 if since_s > 0 else None) as reader:
            for message in reader.messages():
                if message.key in keys and message.value is not None:
                    try:
                        yield decode(message.value)
                    except DocumentRefused:
                        continue

    def _reader(self, since_s: float | None) -> Any:
        from streamproc.transports.kafka.reading import TopicReader

        return TopicReader(
            self._settings.kafka, self._settings.topic("results"), since_s=since_s, timeout_s=self._timeout_s
        )


def open_source(
    source: Any, *, run: str | None = None, api_key: str | None = None, timeout_s: float = 600.0
) -> ResultSource:
    """Find out what ``source`` is.

    Parameters
    ----------
    source : str, Path, Settings, Tiled container or iterable of (name, doc)
        Settings (or their ``.toml`` file): the results topic. ``http(s)://`` or ``profile:NAME[/PATH]``: a
        Tiled catalog. Another path: documents in a file or folder.
    run : str or None
        The run that will be asked for; a Tiled server need then not list all others.
    api_key : str or None
        For a Tiled server; by default what the environment variable ``TILED_API_KEY`` holds.
    timeout_s : float
        Deadline for reading a topic (s).

    Raises
    ------
    ConfigurationError
        It is none of these, or cannot be opened.
    """
    if isinstance(source, Settings):
        return TopicResults(source, timeout_s)
    if isinstance(source, str | Path):
        text = str(source)
        if text.startswith(("http://", "https://", "profile:")):
            from streamproc.transports.tiled.reading import TiledResults

            return TiledResults.from_url(text, run=run, api_key=api_key)
        path = Path(source)
        if path.suffix == ".toml":
            return TopicResults(load_settings(path), timeout_s)
        if not path.exists():
            raise ConfigurationError(
                f"{path}: no such file, folder or settings (.toml), and no http(s):// address"
            )
        return FileResults(path)
    if hasattr(source, "context") and hasattr(source, "search"):
        from streamproc.transports.tiled.reading import TiledResults

        return TiledResults(source, run=run)
    try:
        return DocumentsAtHand(source)
    except TypeError as error:
        raise ConfigurationError(
            f"{type(source).__name__} is no source of results: give settings or their .toml file, a file of "
            "documents, a Tiled address or container, or (name, doc) pairs"
        ) from error
