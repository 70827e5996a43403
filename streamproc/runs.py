"""Run and RunTracker: what the documents of a run say, kept tolerant and bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamproc.documents import Document, Position

__all__ = ["Run", "RunClosed", "RunOpened", "RunUpdated", "Skipped"]


@dataclass(slots=True)
class Run:
    """What start, descriptors, resources and stop say about one raw run; open until ``stop`` or time-out.

    Attributes
    ----------
    uid : str
        The start document's uid.
    start : Mapping
        The start document; when it was never seen, ``{"uid": uid}`` with ``complete_start`` false.
    descriptors : dict
        Descriptor documents by uid, in the order they came (a stream may have several: configuration changes).
    resources, datums, stream_resources : dict
        The documents that say where frames are, by uid (datums by datum_id).
    stop : Mapping or None
        The stop document once seen.
    """

    uid: str
    start: Mapping[str, Any]
    first_position: Position
    complete_start: bool = True
    descriptors: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    resources: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    datums: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    stream_resources: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    stop: Mapping[str, Any] | None = None

    def stream_descriptors(self, stream: str) -> list[Mapping[str, Any]]:
        """Return the descriptors of one stream, oldest first."""
        return [d for d in self.descriptors.values() if d.get("name") == stream]


@dataclass(frozen=True, slots=True)
class RunOpened:
    """A run is known from now on."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunUpdated:
    """A document of an open run was accepted (anything but start and stop); duplicates are not reported."""

    run: Run
    document: Document


@dataclass(frozen=True, slots=True)
class RunClosed:
    """The run will bring nothing more: its stop came, or it was idle too long (``run.stop`` is None)."""

    run: Run
    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A document that is no concern of ours (unknown name, our own result run, duplicate); counted only."""

    document: Document
    reason: str
