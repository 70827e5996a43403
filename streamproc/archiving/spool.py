"""Spool: runs that could not be stored, each whole in a file of its own, kept until they are."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import structlog

from streamproc.archiving.views import FileView
from streamproc.errors import ConfigurationError, DeliveryError
from streamproc.transports.lines import to_line

__all__ = ["Spool", "stem_of"]

_log = structlog.get_logger()

Pair = tuple[str, Mapping[str, Any]]

_NAME = re.compile(r"[^A-Za-z0-9._-]")


def stem_of(uid: str) -> str:
    """Return the name of a run's file, without its ending."""
    return _NAME.sub("_", uid)[:200]


class Spool:
    """A folder with one file ``UID.jsonl`` per run, and ``open/UID.jsonl`` for runs that never stopped.

    A file appears whole, and is on the disk, before :meth:`keep` returns.

    Parameters
    ----------
    folder : Path
        Made where it is not there; of this process alone as long as it runs.

    Raises
    ------
    ConfigurationError
        It cannot be written, or another archiver uses it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: IO[str] | None = None
        try:
            (folder / "open").mkdir(parents=True, exist_ok=True)
            self._lock = (folder / ".lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"spool folder {folder}: another archiver uses it; name another"
            ) from error
        except OSError as error:
            raise ConfigurationError(f"spool folder {folder}: {error.strerror}") from error
        for left in folder.rglob("*.part"):
            left.unlink(missing_ok=True)

    def keep(self, uid: str, documents: Iterable[Pair], *, complete: bool = True) -> Path:
        """Write a run's documents.

        Raises
        ------
        DeliveryError
            They cannot be written; nothing may be committed then.
        """
        folder = self.folder if complete else self.folder / "open"
        path = folder / f"{stem_of(uid)}.jsonl"
        part = path.with_suffix(".part")
        try:
            with part.open("w", encoding="utf-8") as file:
                for name, doc in documents:
                    file.write(to_line(name, doc) + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise DeliveryError(f"{path}: cannot be written: {error.strerror}") from error
        return path

    def waiting(self) -> Sequence[Path]:
        """Return the files of complete runs, oldest first."""
        return sorted(self.folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)

    def load(self, path: Path) -> FileView | None:
        """Return a run's documents; a damaged file is put aside and None returned."""
        try:
            return FileView(path)
        except ConfigurationError as error:
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            _log.error("file of the spool is damaged and put aside", file=str(aside), reason=error.message)
            return None

    def open_run(self, uid: str) -> list[Pair]:
        """Return what is kept of a run that had no stop; empty where there is none."""
        path = self.folder / "open" / f"{stem_of(uid)}.jsonl"
        return list(self.load(path) or ()) if path.exists() else []

    def settled(self, uid: str) -> None:
        """Forget a run that is stored."""
        name = f"{stem_of(uid)}.jsonl"
        for path in (self.folder / name, self.folder / "open" / name):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
