"""FrameCopier: the detector files that a run's documents point to, copied with checksums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from streamproc.errors import FrameFailed
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers.asks import joined_path
from streamproc.replay.runfiles import RunFile, safe_name
from streamproc.settings import FramesSettings

__all__ = ["FrameCopier"]

_CHUNK_BYTES = 1 << 20


class FrameCopier:
    """Copies into ``frames/<run uid>/<number>/`` of a recording.

    Parameters
    ----------
    frames : FramesSettings
        ``roots`` and ``prefix_map``: only what lies inside the roots is copied.
    folder : Path
        Of the recording.
    """

    def __init__(self, frames: FramesSettings, folder: Path) -> None:
        self._policy = PathPolicy(tuple(frames.roots), dict(frames.prefix_map))
        self._folder = folder

    def copy(self, run: RunFile) -> tuple[list[dict[str, Any]], dict[str, str], list[str]]:
        """Copy all files of a run that has ended.

        Returns
        -------
        list of dict
            ``file`` (in the recording), ``source``, ``bytes`` and ``sha256`` of each.
        dict
            Path prefixes as the documents have them -> where they are in the recording.
        list of str
            What could not be copied, and why.
        """
        copied: list[dict[str, Any]] = []
        places: dict[str, str] = {}
        missing: list[str] = []
        for number, named in enumerate(_named(run)):
            home = Path("frames") / safe_name(run.uid) / str(number)
            try:
                prefix, base, files, kept = self._files(named)
                copied += [self._one(file, home / file.relative_to(base)) for file in files]
                places[prefix] = str(home / kept)
            except FrameFailed as error:
                missing.append(error.message)
            except OSError as error:
                missing.append(f"{named}: {error.strerror or error}")
        return copied, places, missing

    def _files(self, named: str) -> tuple[str, Path, list[Path], str]:
        """Return the prefix to map, the folder that relative names count from, the files, and what is kept.

        One file keeps its name; a folder, or a common beginning of names, is mapped as a folder.
        """
        text = _document_path(named).rstrip("/")
        path = self._policy.check(self._policy.local(named).rstrip("/"))
        if path.is_file():
            return text, path.parent, [path, *self._neighbours(path)], path.name
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file())
            if not files:
                raise FrameFailed(f"{path}: an empty folder")
            return text, path, files, ""
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        found = sorted(p for p in beside if p.name.startswith(path.name) and p.is_file())
        if not found:
            raise FrameFailed(f"{path}: not there")
        return text.rpartition("/")[0], path.parent, found, ""

    def _neighbours(self, path: Path) -> Iterator[Path]:
        """Yield the files in the same folder or below that an HDF5 file links to."""
        for name in _links(path):
            other = self._policy.check(path.parent / name)
            if other != path and other.is_file() and other.is_relative_to(path.parent):
                yield other

    def _one(self, source: Path, name: Path) -> dict[str, Any]:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        fresh = target.with_name(target.name + ".new")
        with source.open("rb") as read, fresh.open("wb") as out:
            while chunk := read.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(target)
        return {"file": str(name), "source": str(source), "bytes": size, "sha256": digest.hexdigest()}


def _named(run: RunFile) -> list[str]:
    """Return the places that documents name, each once."""
    found: dict[str, None] = {}
    for name, doc in run.resources:
        if name == "stream_resource" and isinstance(doc.get("uri"), str):
            found[doc["uri"]] = None
        elif name != "descriptor" and "spec" in doc:
            found[joined_path(doc)] = None
    return list(found)


def _document_path(named: str) -> str:
    """Return a place as the path policy looks it up in ``prefix_map``."""
    parts = urlsplit(named)
    if parts.scheme != "file":
        return named
    host = parts.netloc.lower()
    return unquote(parts.path) if host in ("", "localhost") else f"file://{parts.netloc}{unquote(parts.path)}"


def _links(path: Path) -> list[str]:
    """Return the relative names of other files that an HDF5 file needs."""
    import h5py

    if not h5py.is_hdf5(path):
        return []
    names: set[str] = set()

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.is_virtual:
            names.update(source.file_name for source in item.virtual_sources())
        for key in item if isinstance(item, h5py.Group) else ():
            link: Any = item.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                names.add(link.filename)

    with h5py.File(path, "r", locking=False) as file:
        look("/", file)
        file.visititems(look)
    return sorted(n for n in names if n not in (".", "") and not n.startswith("/"))
