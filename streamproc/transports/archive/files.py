"""Files of documents: suitcase-msgpack, suitcase-jsonl, our own recordings, one or many runs in each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    from msgpack._cmsgpack import Unpacker
except ImportError:  # no C extension on this platform
    from msgpack.fallback import Unpacker

from msgpack.exceptions import OutOfData, UnpackException

from streamproc.errors import ArchiveDamaged, ConfigurationError, DocumentRefused
from streamproc.runs.select import Reference, reference_of
from streamproc.transports.archive.ports import FramePlaces, NamedDocument, Query, RunRef
from streamproc.transports.archive.repair import repaired
from streamproc.transports.archive.select import select
from streamproc.transports.codec import DecodeLimits, decode

__all__ = ["SUFFIXES", "FileArchive", "FileSpan", "Owner", "read_documents"]

SUFFIXES = (".msgpack", ".jsonl")

_LIMITS = DecodeLimits(message_bytes=2**31 - 1, items=50_000_000, string_bytes=64 * 2**20)
_READ_BYTES = 1 << 20
_NAME = re.compile(rb'\s*(?:\[|\{\s*"name"\s*:)\s*"([a-z_]{1,40})"')
_FRAMED = ("start", "stop")


@dataclass(frozen=True, slots=True)
class FileSpan:
    """Where a run lies in a file: bytes ``begin`` to ``end``; None to the end of the file."""

    path: Path
    begin: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class _Raw:
    """One undecoded document: bytes ``begin`` to ``end`` of its file."""

    name: str
    value: bytes
    begin: int
    end: int


class FileArchive:
    """A file, or a folder with files, each with the documents of one run or of several after each other.

    Parameters
    ----------
    path : Path
        ``.msgpack`` (suitcase-msgpack, bluesky-kafka's messages one after the other) or ``.jsonl``
        (suitcase-jsonl; ``{"name": ..., "doc": ...}`` is read as well), or a folder of these.

    Raises
    ------
    ConfigurationError
        No such file or folder, or no file of these kinds in it.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        self._files = _files(path)

    def runs(self, query: Query) -> Iterator[RunRef]:
        """Yield the runs a query means; damaged files are passed over as long as one can be read."""
        found: list[RunRef] = []
        faults: list[str] = []
        for path in self._files:
            try:
                found += _index(path)
            except ArchiveDamaged as error:
                faults.append(error.message)
        if not found:
            raise ConfigurationError(faults[0] if faults else f"{self._path}: no run begins in it")
        for run in select(found, query, str(self._path)):
            run.notes.extend(faults)
            yield run

    def documents(self, run: RunRef) -> Iterator[NamedDocument]:
        """Yield the documents of a run; raises ArchiveDamaged where the file is cut off or garbage."""
        span: FileSpan = run.handle
        return repaired(_of_run(read_documents(span), run.uid), run.note)

    def close(self) -> None:
        """Nothing is kept open."""


def read_documents(span: FileSpan) -> Iterator[NamedDocument]:
    """Yield the documents of a span of a file.

    Raises
    ------
    ArchiveDamaged
        Cut off, or not documents; says at which byte.
    """
    for raw in _raws(span):
        yield raw.name, _decoded(raw, span.path)


class Owner:
    """Tells whether documents belong to one run, by what they refer to."""

    def __init__(self, run_uid: str) -> None:
        self.run_uid = run_uid
        self._mine: set[str] = set()
        self._others: set[str] = set()

    def has(self, name: str, doc: Any) -> bool:
        """Say whether a document is one of the run's."""
        reference: Reference = reference_of(name, doc)
        if reference.run_uid is not None:
            mine = reference.run_uid == self.run_uid
        elif reference.owns is not None:  # a resource that names no run
            mine = reference.owns not in self._others
        else:
            mine = any(n in self._mine for n in reference.needs)
        if reference.owns is not None:
            (self._mine if mine else self._others).add(reference.owns)
        return mine


def _of_run(documents: Iterator[NamedDocument], uid: str) -> Iterator[NamedDocument]:
    """Yield the documents of one run, its stop last."""
    owner = Owner(uid)
    for name, doc in documents:
        if owner.has(name, doc):
            yield name, doc
            if name == "stop":
                return


def _files(path: Path) -> list[Path]:
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise ConfigurationError(f"{path}: expected a {' or '.join(SUFFIXES)} file")
        return [path]
    if not path.is_dir():
        raise ConfigurationError(f"{path}: no such file or folder")
    found = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    if not found:
        raise ConfigurationError(f"{path}: no {' or '.join(SUFFIXES)} file in it")
    return found


def _index(path: Path) -> list[RunRef]:
    """Find where the runs of a file begin and end; only starts and stops are decoded."""
    starts: dict[str, tuple[dict[str, Any], int]] = {}
    stops: dict[str, dict[str, Any]] = {}
    try:
        for raw in _raws(FileSpan(path)):
            if raw.name in _FRAMED:
                doc = _decoded(raw, path)
                if raw.name == "start":
                    starts.setdefault(str(doc.get("uid")), (doc, raw.begin))
                elif doc:
                    stops[str(doc.get("run_start"))] = doc
    except ArchiveDamaged:
        if not starts:
            raise
    if not starts:
        raise ArchiveDamaged(f"{path}: no start document in it: no run begins here")
    return [
        RunRef(uid, doc, stops.get(uid), str(path), FileSpan(path, begin), FramePlaces())
        for uid, (doc, begin) in starts.items()
    ]


def _raws(span: FileSpan) -> Iterator[_Raw]:
    return _lines(span) if span.path.suffix == ".jsonl" else _messages(span)


def _lines(span: FileSpan) -> Iterator[_Raw]:
    with _open(span.path) as file:
        file.seek(span.begin)
        at = span.begin
        for line in file:
            begin, at = at, at + len(line)
            if span.end is not None and begin >= span.end:
                return
            text = line.strip(b"\x1e \r\n\t")
            if not text:
                continue
            match = _NAME.match(text[:200])
            if match is None or (not line.endswith(b"\n") and text[-1:] not in (b"]", b"}")):
                what = "is cut off" if match else "holds no Bluesky document"
                raise ArchiveDamaged(f"{span.path}: the line at byte {begin} {what}")
            yield _Raw(match[1].decode(), text, begin, at)


def _messages(span: FileSpan) -> Iterator[_Raw]:
    size = span.path.stat().st_size if span.path.exists() else 0
    end = size if span.end is None else min(span.end, size)
    with _open(span.path) as walked, _open(span.path) as file:
        walked.seek(span.begin)
        unpacker = Unpacker(walked, read_size=_READ_BYTES, max_buffer_size=_LIMITS.message_bytes)
        at = span.begin
        while at < end:
            try:
                unpacker.skip()
            except OutOfData:
                raise ArchiveDamaged(
                    f"{span.path}: cut off: the document at byte {at} needs more than the {size - at} bytes "
                    "that are left"
                ) from None
            except (ValueError, UnpackException) as error:
                raise ArchiveDamaged(f"{span.path}: no Bluesky document at byte {at}: {error}") from error
            stop = span.begin + unpacker.tell()
            file.seek(at)
            raw = file.read(stop - at)
            yield _Raw(_name(raw, span.path, at), raw, at, stop)
            at = stop


def _name(raw: bytes, path: Path, at: int) -> str:
    """Return the name of a message without decoding the rest."""
    if len(raw) > 3 and raw[0] == 0x92:  # a list of two, and its first is a text of
        if 0xA0 < raw[1] < 0xC0:  # up to 31 bytes
            return raw[2 : 2 + raw[1] - 0xA0].decode(errors="replace")
        if raw[1] == 0xD9:  # up to 255
            return raw[3 : 3 + raw[2]].decode(errors="replace")
    raise ArchiveDamaged(f"{path}: no Bluesky document at byte {at}")


def _decoded(raw: _Raw, path: Path) -> dict[str, Any]:
    try:
        if path.suffix != ".jsonl":
            return decode(raw.value, _LIMITS)[1]
        read = json.loads(raw.value)
        doc = read["doc"] if isinstance(read, dict) else read[1]
        if not isinstance(doc, dict):
            raise ValueError(f"no mapping but {type(doc).__name__}")
        return doc
    except DocumentRefused as error:
        reason = error.message
    except (ValueError, KeyError, IndexError, RecursionError) as error:
        reason = str(error)
    raise ArchiveDamaged(f"{path}: the {raw.name} document at byte {raw.begin} cannot be read: {reason}")


def _open(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise ArchiveDamaged(f"{path}: cannot be read: {error.strerror}") from error
