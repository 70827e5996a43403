"""Dead letters as files: the original bytes, and beside them what is known of the letter."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from streamproc.cli.dlq_text import report
from streamproc.errors import ConfigurationError
from streamproc.transports.codec import DecodeLimits
from streamproc.transports.kafka.reading import Message
from streamproc.transports.letters import Letter

__all__ = ["check_free", "file_name", "write_files"]

_TOPIC_CHARS = 150


def file_name(letter: Letter) -> str:
    """Return a file name, without suffix, that is the letter's own and leads nowhere.

    Built from the position, whose topic has letters, digits, dots, dashes and underscores only; nothing that
    a message or its key says is in it.
    """
    position = letter.origin or letter.place
    topic = position.topic
    if len(topic) > _TOPIC_CHARS:
        digest = hashlib.sha256(topic.encode()).hexdigest()[:12]
        topic = f"{topic[: _TOPIC_CHARS - 13]}-{digest}"
    # Where the dead-letter topic was given more partitions, one message can have a letter in two of them.
    again = f"_letter{letter.place.partition}" if letter.origin and letter.place.partition else ""
    return f"letter_{topic}_{position.partition}_{position.offset}{again}"


def check_free(folder: Path, letters: Sequence[Letter]) -> None:
    """Say so when files that would be written are there already.

    Raises
    ------
    ConfigurationError
        Some are, or the folder is none.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"--to {folder}: is no folder")
    paths = [folder / f"{file_name(x)}{suffix}" for x in letters for suffix in (".msgpack", ".json")]
    there = [path for path in paths if os.path.lexists(path)]
    if there:
        raise ConfigurationError(
            f"--to {folder}: {len(there)} of these files are there already, e.g. {there[0].name}; nothing "
            "was written: choose another folder, or --force to replace them"
        )


def write_files(
    folder: Path, found: Iterable[tuple[Letter, Message | None]], limits: DecodeLimits, *, force: bool
) -> Iterator[tuple[Letter, Path | None]]:
    """Write each letter as ``.msgpack`` (the original bytes) and ``.json``; yield where, None for gone ones.

    Raises
    ------
    ConfigurationError
        The folder cannot be written to, or a file appeared meanwhile.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for letter, message in found:
            if message is None:
                yield letter, None
                continue
            path = folder / f"{file_name(letter)}.msgpack"
            _write(path, message.value or b"", force)
            told = json.dumps(report(letter, message, limits), indent=2, ensure_ascii=False, allow_nan=False)
            _write(path.with_suffix(".json"), told.encode(errors="backslashreplace"), force)
            yield letter, path
    except OSError as error:
        raise ConfigurationError(f"--to {folder}: {error}") from error


def _write(path: Path, content: bytes, force: bool) -> None:
    """Write a new file; with ``force`` the old one is replaced, and a link is never followed."""
    if force:
        path.unlink(missing_ok=True)
    with path.open("xb") as out:
        out.write(content)
