"""A recording that `streamproc record` made: one file per run, copied frames, checksums in a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from streamproc.errors import ArchiveDamaged, ConfigurationError
from streamproc.transports.archive.files import FileSpan, read_documents
from streamproc.transports.archive.ports import FramePlaces, NamedDocument, Query, RunRef
from streamproc.transports.archive.repair import repaired
from streamproc.transports.archive.select import select

__all__ = ["MANIFEST", "RecordingArchive", "checksum", "load_manifest"]

MANIFEST = "manifest.json"

_VERSION = 1
_CHUNK_BYTES = 1 << 20


class RecordingArchive:
    """The runs of a recording.

    Parameters
    ----------
    folder : Path
        With ``manifest.json`` in it; may have been moved since.

    Raises
    ------
    ConfigurationError
        The manifest cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self._folder = folder.resolve()
        self._manifest = load_manifest(folder)

    def runs(self, query: Query) -> Iterator[RunRef]:
        """Yield the runs a query means."""
        found = [self._ref(uid, entry) for uid, entry in self._manifest["runs"].items()]
        yield from select(found, query, str(self._folder))

    def documents(self, run: RunRef) -> Iterator[NamedDocument]:
        """Yield the documents of a run, after all its checksums were found right.

        Raises
        ------
        ArchiveDamaged
            A file is missing or is not what was recorded.
        """
        entry = run.handle
        self._check(entry["file"], entry)
        for frame in entry.get("frames", ()):
            self._check(frame["file"], frame)
        for missing in entry.get("missing", ()):
            run.note(f"frames were not there when the run was recorded: {missing}")
        span = FileSpan(self._folder / entry["file"], 0, int(entry["bytes"]))
        yield from repaired(read_documents(span), run.note)

    def close(self) -> None:
        """Nothing is kept open."""

    def _ref(self, uid: str, entry: Mapping[str, Any]) -> RunRef:
        frames = self._folder / "frames"
        places = {prefix: str(self._folder / kept) for prefix, kept in entry.get("places", {}).items()}
        known = FramePlaces((frames,), places) if places else FramePlaces()
        place = str(self._folder / entry["file"])
        return RunRef(uid, entry["start"], entry.get("stop"), place, entry, known)

    def _check(self, name: str, entry: Mapping[str, Any]) -> None:
        path = self._folder / name
        wanted = entry.get("sha256")
        if not path.is_file():
            raise ArchiveDamaged(f"{path}: it is in the manifest and not in the recording")
        if wanted is not None and (got := checksum(path)) != wanted:
            raise ArchiveDamaged(
                f"{path}: its SHA-256 is {got[:12]}... and was {wanted[:12]}... when it was recorded: it has "
                "changed since; copy it again from where the recording came from"
            )


def load_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a recording.

    Raises
    ------
    ConfigurationError
        None there, or not one.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        if manifest["version"] != _VERSION:
            raise ValueError(f"version {manifest['version']}, this program reads {_VERSION}")
        for entry in manifest["runs"].values():
            if not (
                isinstance(entry["start"], dict) and isinstance(entry["file"], str) and entry["bytes"] >= 0
            ):
                raise ValueError("an entry without start, file and bytes")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path}: no manifest of a recording: {error}") from error
    return manifest


def checksum(path: Path, length: int | None = None) -> str:
    """Return the SHA-256 of a file (or of its first ``length`` bytes) in hexadecimal."""
    digest, left = hashlib.sha256(), length
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES if left is None else min(_CHUNK_BYTES, left)):
            digest.update(chunk)
            left = None if left is None else left - len(chunk)
    return digest.hexdigest()
