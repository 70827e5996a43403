"""The files of a recording: one per run, and the manifest that says what of them is safe."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from streamproc.errors import ConfigurationError, DeliveryError
from streamproc.replay.targets import plain
from streamproc.transports.archive.files import FileSpan, read_documents
from streamproc.transports.archive.recording import MANIFEST, checksum, load_manifest

__all__ = ["Manifest", "RunFile", "safe_name", "sync_folder"]

_VERSION = 1
_LONGEST_NAME = 150
_KEPT = ("stream_resource", "resource", "descriptor")


def safe_name(uid: str) -> str:
    """Return a uid as a file name: it comes from a document."""
    name = quote(uid, safe="").replace(".", "%2E")
    return name if len(name) <= _LONGEST_NAME else hashlib.sha256(uid.encode(errors="replace")).hexdigest()


class RunFile:
    """The growing file of one run.

    Parameters
    ----------
    folder : Path
        Of the recording.
    uid : str
        Of the run.
    start : Mapping
        Its start document.
    length : int or None
        How many bytes of an existing file count; None for a new one.
    """

    def __init__(self, folder: Path, uid: str, start: Mapping[str, Any], length: int | None = None) -> None:
        self.uid, self.start = uid, start
        self.stop: Mapping[str, Any] | None = None
        self.resources: list[tuple[str, Mapping[str, Any]]] = []
        """Where frames are: stream_resource and resource documents."""
        self._folder = folder
        self._path = folder / "runs" / f"{safe_name(uid)}.msgpack.part"
        self._documents = 0
        self._path.parent.mkdir(exist_ok=True)
        final = self._path.with_suffix("")
        if length is not None and not self._path.exists() and final.exists():
            final.rename(self._path)  # it was finished just before the manifest could say so
        self._file = self._path.open("ab" if length is not None else "wb")
        if length is not None:
            self._file.truncate(length)
            self._file.seek(length)

    def append(self, value: bytes, name: str, doc: Mapping[str, Any]) -> None:
        """Add one message as it came."""
        try:
            self._file.write(value)
        except OSError as error:
            raise DeliveryError(f"{self._path}: cannot be written: {error.strerror}") from error
        self._note(name, doc)

    def reread(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield what is in the file already, taking note of it."""
        for name, doc in read_documents(FileSpan(self._path)):
            self._note(name, doc)
            yield name, doc

    def entry(self, *, checked: bool = False) -> dict[str, Any]:
        """Make what is written safe and return how the manifest names it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        digest = checksum(self._path, size) if checked else None
        return self._entry(self._path, size, digest)

    def finish(
        self, frames: list[dict[str, Any]], places: Mapping[str, str], missing: list[str]
    ) -> dict[str, Any]:
        """Give the file its final name; return its entry with checksums."""
        entry = self.entry(checked=True)
        self._file.close()
        final = self._path.with_suffix("")
        self._path.rename(final)
        entry["file"] = str(final.relative_to(self._folder))
        return {**entry, "complete": True, "frames": frames, "places": dict(places), "missing": missing}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _note(self, name: str, doc: Mapping[str, Any]) -> None:
        self._documents += 1
        if name == "stop":
            self.stop = doc
        elif name in _KEPT:
            self.resources.append((name, doc))

    def _entry(self, path: Path, size: int, digest: str | None) -> dict[str, Any]:
        stop = None if self.stop is None else plain(self.stop)
        return {
            "file": str(path.relative_to(self._folder)), "bytes": size, "sha256": digest,
            "documents": self._documents, "complete": False, "start": plain(self.start), "stop": stop,
        }  # fmt: skip


class Manifest:
    """What of a recording is safe.

    Attributes
    ----------
    folder : Path
        Of the recording.
    positions : dict of int to int
        Next offset to read, by partition.
    entries : dict
        The complete runs, by uid.
    """

    def __init__(self, folder: Path, topic: str, value: Mapping[str, Any]) -> None:
        self.folder, self._topic = folder, topic
        self.positions = {int(p): int(o) for p, o in value.get("positions", {}).items()}
        runs: Mapping[str, Any] = value.get("runs", {})
        self.entries = {uid: dict(entry) for uid, entry in runs.items() if entry.get("complete")}
        self._open = {uid: entry for uid, entry in runs.items() if not entry.get("complete")}

    @classmethod
    def load(cls, folder: Path, topic: str) -> Manifest:
        """Take up the recording in a folder, or begin one.

        Raises
        ------
        ConfigurationError
            It is one of another topic.
        """
        if not (folder / MANIFEST).exists():
            return cls(folder.resolve(), topic, {})
        value = load_manifest(folder)
        if value.get("topic") != topic:
            raise ConfigurationError(
                f"{folder} has a recording of topic {value.get('topic')}, not of {topic}; name another folder"
            )
        return cls(folder.resolve(), topic, value)

    def reopened(self) -> dict[str, RunFile]:
        """Return the files of runs that were under way, cut to what was safe; others are removed."""
        found = {
            uid: RunFile(self.folder, uid, entry["start"], int(entry["bytes"]))
            for uid, entry in self._open.items()
        }
        known = {f"{safe_name(uid)}.msgpack.part" for uid in found}
        for part in (self.folder / "runs").glob("*.part"):
            if part.name not in known:
                part.unlink()
        return found

    def save(self, open_runs: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the manifest by one that is true now."""
        value = {
            "version": _VERSION, "topic": self._topic,
            "positions": {str(p): o for p, o in sorted(self.positions.items())},
            "runs": {**self.entries, **open_runs},
        }  # fmt: skip
        path = self.folder / MANIFEST
        fresh = path.with_name(MANIFEST + ".new")
        with fresh.open("w", encoding="utf-8") as out:
            json.dump(value, out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
        sync_folder(self.folder)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder safe."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
