"""open_archive: from what a user types to the archive that is meant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamproc.errors import ConfigurationError
from streamproc.settings import Settings
from streamproc.transports.archive.files import SUFFIXES, FileArchive
from streamproc.transports.archive.ports import Archive, NamedDocument, Query
from streamproc.transports.archive.python_file import PREFIX, catalog_of
from streamproc.transports.archive.recording import MANIFEST, RecordingArchive

__all__ = ["open_archive", "stored_documents"]


def open_archive(source: Any, settings: Settings, *, topic: str = "", timeout_s: float = 600.0) -> Archive:
    """Open a store of runs; Tiled and Kafka are imported only where they are asked for.

    Parameters
    ----------
    source : str, Path or Tiled client
        A recording's folder, a ``.msgpack`` or ``.jsonl`` file or a folder of them, the URL of a Tiled
        server (with a path to the catalog in it), ``profile:NAME[/PATH]`` (or just its name), ``tiled`` (the
        catalog of the settings), ``python:FILE.py:NAME`` (a catalog made there), ``kafka``, ``kafka:TOPIC``
        or ``kafka:TOPIC@PARTITION:FROM-TO``; or a catalog object such as ``databroker.v2.temp()``.
    settings : Settings
        Broker and topic names.
    topic : str
        What ``kafka`` alone means; by default the raw topic.
    timeout_s : float
        Deadline of reading a topic once (s).

    Raises
    ------
    ConfigurationError
        There is no such store, or it does not answer; says what was tried.
    """
    if not isinstance(source, str | Path):
        from streamproc.transports.archive.tiled import TiledArchive

        return TiledArchive(source)
    text = str(source)
    if text == "kafka" or text.startswith("kafka:"):
        from streamproc.transports.archive.topic import TopicArchive, parse_topic

        name, ranges = parse_topic(text, topic or settings.topic("raw"))
        return TopicArchive(settings.kafka, name, ranges, timeout_s)
    if text.startswith(PREFIX):
        from streamproc.transports.archive.tiled import TiledArchive

        return TiledArchive(catalog_of(text), text)
    api_key = None
    if text == "tiled":
        text, api_key = settings.tiled_catalog(), os.environ.get(settings.tiled.api_key_env)
    if text.startswith(("http://", "https://")):
        from streamproc.transports.archive.tiled import TiledArchive, connect_tiled

        return TiledArchive(connect_tiled(text, api_key), text.partition("?")[0])
    if text.startswith("profile:"):
        return _profile(text.removeprefix("profile:"), text, api_key)
    path = Path(text)
    if (path / MANIFEST).is_file():
        return RecordingArchive(path)
    if path.exists() or path.suffix in SUFFIXES:
        return FileArchive(path)
    if text.partition("/")[0] in _profiles():
        return _profile(text, f"profile:{text}")
    raise ConfigurationError(
        f"{text}: neither a file or folder, nor a profile of databroker or Tiled; a server is given as "
        "http://HOST:PORT/PATH, a topic as kafka:TOPIC"
    )


def _profile(text: str, name: str, api_key: str | None = None) -> Archive:
    from streamproc.transports.archive.tiled import TiledArchive, connect_profile

    return TiledArchive(connect_profile(text, api_key), name)


def _profiles() -> list[str]:
    try:
        from tiled.profiles import list_profiles
    except ImportError:
        return []
    return list(list_profiles())


def stored_documents(
    source: Any, run: str = "-1", settings: Settings | None = None
) -> Iterator[NamedDocument]:
    """Yield the documents of one run wherever it is stored, as they were when it was taken.

    Parameters
    ----------
    source : str, Path or Tiled client
        As :func:`open_archive` has it.
    run : str
        Uid (or its first six characters), scan_id, or ``-1`` for the newest.
    settings : Settings, optional
        Where the source is a topic, or the catalog of the settings.

    Raises
    ------
    ConfigurationError
        There is no such store or run.
    ArchiveDamaged
        Where the store turns out to be cut off.
    """
    archive = open_archive(source, settings or Settings())
    try:
        yield from archive.documents(next(archive.runs(Query(runs=(run,)))))
    finally:
        archive.close()
