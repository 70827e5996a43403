"""ResumeFile: what an interrupted replay needs to go on: position, open-run state, length of the target."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamproc.errors import ConfigurationError
from streamproc.transports.plain import from_bytes, to_bytes

__all__ = ["ResumeFile", "Saved"]

_VERSION = 1


@dataclass(slots=True)
class Saved:
    """One moment of a replay.

    Attributes
    ----------
    task : str
        What is replayed, with what and to where, as text: a file of another task is refused.
    done : list of str
        Uids of the raw runs that are complete.
    run_uid : str
        The run that is under way; empty between two.
    offset : int or None
        Where the archive is read on from.
    records : Mapping of str to bytes
        Open-run state, as the service writes it to its state topic.
    mark : int or None
        How far the target was.
    """

    task: str
    done: list[str] = field(default_factory=list)
    run_uid: str = ""
    offset: int | None = None
    records: Mapping[str, bytes] = field(default_factory=dict)
    mark: int | None = None


class ResumeFile:
    """Keeps the newest moment in a file that is replaced whole, so that a crash leaves the one before.

    Parameters
    ----------
    path : Path or None
        The file; None keeps nothing.
    task : str
        See :class:`Saved`.

    Raises
    ------
    ConfigurationError
        The file is of another task or cannot be read.
    """

    def __init__(self, path: Path | None, task: str) -> None:
        self.path = path
        self.saved = Saved(task)
        self.found = path is not None and path.exists()
        if path is not None and self.found:
            self.saved = _load(path)
            if self.saved.task != task:
                raise ConfigurationError(
                    f"{path} belongs to another replay ({self.saved.task}; this one: {task}); give the same "
                    "command again to go on with that one, or begin anew with --overwrite"
                )

    def save(self) -> None:
        """Write the present moment."""
        if self.path is None:
            return
        saved = self.saved
        value: dict[str, Any] = {
            "version": _VERSION, "task": saved.task, "done": saved.done, "run_uid": saved.run_uid,
            "offset": saved.offset, "records": dict(saved.records), "mark": saved.mark,
        }  # fmt: skip
        fresh = self.path.with_name(self.path.name + ".new")
        with fresh.open("wb") as out:
            out.write(to_bytes(value))
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self.path)

    def run_done(self, run_uid: str, mark: int | None) -> None:
        """Note that a run is complete."""
        saved = self.saved
        saved.done.append(run_uid)
        saved.run_uid, saved.offset, saved.records, saved.mark = "", None, {}, mark
        self.save()

    def remove(self) -> None:
        """Everything is complete: nothing is to be resumed."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _load(path: Path) -> Saved:
    try:
        value = from_bytes(path.read_bytes())
        if value["version"] != _VERSION:
            raise ValueError(f"version {value['version']}")
        return Saved(
            str(value["task"]), [str(uid) for uid in value["done"]], str(value["run_uid"]), value["offset"],
            {str(k): bytes(v) for k, v in value["records"].items()}, value["mark"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path}: no resume file of a replay ({type(error).__name__}: {error}); remove it, or begin anew "
            "with --overwrite"
        ) from error
