"""Documents in files: a JSON pair a line (as suitcase-jsonl has it), or messages one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

try:
    from msgpack._cmsgpack import Unpacker
except ImportError:  # no C extension on this platform
    from msgpack.fallback import Unpacker

from msgpack.exceptions import UnpackException

from streamproc.errors import ConfigurationError, DocumentRefused
from streamproc.transports.codec import decode

__all__ = ["MESSAGE_SUFFIXES", "read_documents", "to_line"]

MESSAGE_SUFFIXES = (".msgpack", ".mpk")
_MOST_BYTES = 1024 * 1024 * 1024
_READ_BYTES = 1024 * 1024

Pair = tuple[str, dict[str, Any]]


def to_line(name: str, doc: Mapping[str, Any]) -> str:
    """Return a document as one line of JSON, ``["name", {...}]``, without the line's end.

    Arrays become lists (their dtype is in the descriptor); numbers keep every digit, NaN and the infinities
    are written as Python's json has them.
    """
    return json.dumps([name, doc], default=_plain, separators=(",", ":"))


def read_documents(path: Path) -> Iterator[Pair]:
    """Yield the documents of a file in their order.

    Parameters
    ----------
    path : Path
        ``.msgpack``: wire messages one after the other, as `streamproc demo --keep` records them; anything
        else: lines ``["name", {...}]`` or ``{"name": ..., "doc": {...}}``. Empty lines are passed over.

    Raises
    ------
    ConfigurationError
        No such file, or something in it is no document: names the place.
    """
    try:
        if path.suffix.lower() in MESSAGE_SUFFIXES:
            yield from _messages(path)
        else:
            yield from _lines(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from error


def _lines(path: Path) -> Iterator[Pair]:
    with path.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _pair(path, number, line)
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path}: not a text file of documents: {error}") from error


def _pair(path: Path, number: int, line: str) -> Pair:
    try:
        found = json.loads(line)
        name, doc = (found["name"], found["doc"]) if isinstance(found, dict) else found
    except (ValueError, KeyError, TypeError) as error:
        cut = "" if line.endswith("\n") else "; the line has no end: was the file cut off?"
        raise ConfigurationError(
            f'{path}, line {number}: expected a JSON pair ["name", {{...}}]: {error}{cut}'
        ) from error
    if not (isinstance(name, str) and isinstance(doc, dict)):
        raise ConfigurationError(f"{path}, line {number}: not a pair of a name and a document")
    return name, doc


def _messages(path: Path) -> Iterator[Pair]:
    """Find where each message ends, then decode it as one from the topic."""
    with path.open("rb") as file:
        finder, begin = Unpacker(max_buffer_size=_MOST_BYTES, strict_map_key=False), 0
        held = b""
        while piece := file.read(_READ_BYTES):
            finder.feed(piece)
            held += piece
            while True:
                try:
                    finder.skip()
                except UnpackException:
                    break
                except ValueError as error:
                    raise ConfigurationError(f"{path}, byte {begin}: no message: {error}") from error
                end = finder.tell()
                message, held = held[: end - begin], held[end - begin :]
                yield _decoded(path, begin, message)
                begin = end
        if held:
            raise ConfigurationError(
                f"{path}, byte {begin}: the last message has no end: was the file cut off?"
            )


def _decoded(path: Path, at: int, message: bytes) -> Pair:
    try:
        return decode(message)
    except DocumentRefused as error:
        raise ConfigurationError(f"{path}, byte {at}: {error.message}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
