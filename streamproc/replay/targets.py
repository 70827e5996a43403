"""Targets: where the result documents of a replay go."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from streamproc.errors import ConfigurationError, DeliveryError
from streamproc.results import REPLAYED
from streamproc.transports.codec import decode
from streamproc.transports.ports import Outgoing, Sink

__all__ = ["ForwardTarget", "JsonLinesTarget", "NoTarget", "Target", "json_line", "plain"]


class Target(Protocol):
    """Takes the result documents in order; where it can, it goes back to a :meth:`mark`.

    Attributes
    ----------
    goes_on : bool
        Whether the rest of an interrupted run may be written behind what is there; otherwise the run begins
        anew.
    """

    @property
    def goes_on(self) -> bool:
        """See the class."""

    def write(self, messages: Sequence[Outgoing]) -> None:
        """Take messages (``value``: an encoded document) for good."""

    def mark(self) -> int | None:
        """Return how far it is, having made that safe; None where it cannot go back."""

    def rewind(self, mark: int | None) -> None:
        """Forget everything after a mark."""

    def end_run(self, complete: bool) -> None:
        """Note that a run has ended, complete or interrupted.

        Raises
        ------
        RunNotStored
            The target refuses this run; it may take others.
        """

    def close(self) -> None:
        """Free everything."""


class NoTarget:
    """Takes the results and lets them go; ``tap`` sees each."""

    goes_on = True

    def __init__(self, tap: Callable[[bytes], None] | None = None) -> None:
        self._tap = tap

    def write(self, messages: Sequence[Outgoing]) -> None:
        """Show each message to the tap."""
        if self._tap is not None:
            for message in messages:
                self._tap(bytes(message.value or b""))

    def mark(self) -> int | None:
        """There is nothing to go back to."""
        return None

    def rewind(self, mark: int | None) -> None:
        """Do nothing."""

    def end_run(self, complete: bool) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class JsonLinesTarget:
    """A file with one ``["name", {...}]`` a line, as suitcase-jsonl writes them (NaN as ``NaN``).

    Parameters
    ----------
    path : Path
        The file; what it has already stays until :meth:`rewind`.
    """

    goes_on = True

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error
        self._path = path

    def write(self, messages: Sequence[Outgoing]) -> None:
        """Append the documents."""
        try:
            self._file.write(b"".join(json_line(*decode(bytes(m.value or b""))) for m in messages))
            self._file.flush()
        except OSError as error:
            raise DeliveryError(f"{self._path}: cannot be written: {error.strerror}") from error

    def mark(self) -> int | None:
        """Return the length of the file, which is on the disk then."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def rewind(self, mark: int | None) -> None:
        """Cut the file to a length it had."""
        length = os.fstat(self._file.fileno()).st_size
        if mark is None or mark > length:
            raise ConfigurationError(
                f"{self._path} is shorter than when the replay was interrupted ({length} of {mark} bytes); "
                "begin anew with --overwrite"
            )
        self._file.truncate(mark)
        self._file.seek(mark)

    def end_run(self, complete: bool) -> None:
        """Make what is written safe."""
        self.mark()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ForwardTarget:
    """Hands the messages to a sink of the transports (Kafka's), marked as a replay's.

    It cannot take back what is out. An interrupted run has its aborted stop there, behind which nothing of a
    run may come: gone on with, it begins anew, with the same uids and bytes.
    """

    goes_on = False

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, messages: Sequence[Outgoing]) -> None:
        """Publish and wait until it is done."""
        if messages:
            self._sink.deliver([replace(m, headers=(*m.headers, (REPLAYED, b"1"))) for m in messages], {})

    def mark(self) -> int | None:
        """It cannot go back."""
        return None

    def rewind(self, mark: int | None) -> None:
        """Nothing can be taken back: repeated documents have the same uids and bytes."""

    def end_run(self, complete: bool) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Free the sink."""
        self._sink.close()


def json_line(name: str, doc: Mapping[str, Any]) -> bytes:
    """Return a document as one line of JSON."""
    return json.dumps([name, plain(doc)], allow_nan=True, ensure_ascii=False).encode() + b"\n"


def plain(value: Any) -> Any:
    """Return a value with arrays as lists and numpy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value
