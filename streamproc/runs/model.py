"""Run and the outcomes of tracking: the seam between documents and everything that works per run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamproc.documents import Document, Position
from streamproc.runs.state import pack, pack_position, unpack, unpack_position

__all__ = ["NeedsRewind", "Outcome", "Run", "RunClosed", "RunOpened", "RunUpdated", "Skipped"]

_RECENT_DATUMS = 64
"""How many consumed datum documents are kept in case a second event names one again (shared dark frames)."""


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
        Descriptor documents by uid, in the order they came (several per stream: configuration changes).
    resources, datums, stream_resources : dict
        The documents that say where frames are, by uid (datums by datum_id). A datum leaves
        ``datums`` when an event consumed it (:meth:`consume_datum`).
    stop : Mapping or None
        The stop document once seen.
    missing : list of str
        What a join in the middle of the run could not find, in words; empty for a run seen from its start.
    notes : list of str
        Harmless deviations from the event-model schema, once each, at most a few dozen.
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
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    consumed_datums: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def stream_descriptors(self, stream: str) -> list[Mapping[str, Any]]:
        """Return the descriptors of one stream, oldest first."""
        return [d for d in self.descriptors.values() if d.get("name") == stream]

    def datum(self, datum_id: str) -> Mapping[str, Any] | None:
        """Return a datum document that is waiting or was consumed lately; None when it is not known."""
        return self.datums.get(datum_id) or self.consumed_datums.get(datum_id)

    def consume_datum(self, datum_id: str) -> Mapping[str, Any] | None:
        """Return a datum document and let it go: only the newest few consumed ones are kept."""
        datum = self.datums.pop(datum_id, None)
        if datum is None:
            return self.consumed_datums.get(datum_id)
        self.consumed_datums[datum_id] = datum
        if len(self.consumed_datums) > _RECENT_DATUMS:
            del self.consumed_datums[next(iter(self.consumed_datums))]
        return datum

    def documents(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Yield what is kept of its documents as ``(kind, uid, doc)``; the stop is among the facts."""
        yield "start", "whole" if self.complete_start else "part", self.start
        for kind in _KINDS:
            for uid, doc in getattr(self, kind).items():
                yield kind, uid, doc

    def facts(self) -> dict[str, Any]:
        """Return what changes in the course of the run, as plain msgpack-able values."""
        state: dict[str, Any] = {name: pack(getattr(self, name)) for name in _FACTS}
        state["first_position"] = pack_position(self.first_position)
        return state

    @classmethod
    def from_parts(
        cls, facts: Mapping[str, Any], documents: Iterable[tuple[str, str, Mapping[str, Any]]]
    ) -> Run:
        """Take up what :meth:`facts` and :meth:`documents` gave."""
        values = {name: unpack(facts[name]) for name in _FACTS}
        run = cls(
            start={"uid": values["uid"]}, first_position=unpack_position(facts["first_position"]), **values
        )
        for kind, uid, doc in documents:
            if kind == "start":
                run.start = doc
            elif kind in _KINDS:
                getattr(run, kind)[uid] = doc
        return run

    def to_state(self) -> dict[str, Any]:
        """Return the run as plain msgpack-able values."""
        return {"facts": self.facts(), "documents": [[k, u, pack(d)] for k, u, d in self.documents()]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Run:
        """Take up what :meth:`to_state` gave."""
        return cls.from_parts(state["facts"], [(k, u, unpack(d)) for k, u, d in state["documents"]])


_KINDS = ("descriptors", "resources", "datums", "stream_resources", "consumed_datums")
_FACTS = ("uid", "complete_start", "stop", "missing", "notes")


@dataclass(frozen=True, slots=True)
class RunOpened:
    """A run is known from now on."""

    run: Run


@dataclass(frozen=True, slots=True)
class RunUpdated:
    """A document of an open run was accepted (anything but stop); duplicates are not reported.

    Pages arrive unpacked: one outcome per event or datum. A start document appears here only when it
    completes a run that was joined in the middle.
    """

    run: Run
    document: Document


@dataclass(frozen=True, slots=True)
class RunClosed:
    """The run will bring nothing more: its stop came, or it was idle too long (``run.stop`` is None)."""

    run: Run
    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A document that is no concern of ours (unknown name, our own result run, duplicate); counted only.

    ``kind`` is a short label for counters: ``unknown-name``, ``own-result``, ``duplicate``, ``late`` or
    ``held`` (its run or descriptor is not known yet; it is kept for a while in case that comes).
    """

    document: Document
    reason: str
    kind: str = "duplicate"


@dataclass(frozen=True, slots=True)
class NeedsRewind:
    """A document of a run whose beginning was not seen: ask the source for what came before it.

    Feed what ``source.rewind_to_start(run_uid, before=document)`` returns, then ``document`` again; when it
    returned nothing or the document needs a rewind still, hand it to ``RunTracker.adopt``.

    Attributes
    ----------
    run_uid : str or None
        The run, where the document names it; events, datums and stream_datums name only their descriptor or
        resource.
    reference : str
        What is unknown, in words: ``descriptor 'abc'``.
    """

    run_uid: str | None
    document: Document
    reference: str


Outcome = RunOpened | RunUpdated | RunClosed | Skipped | NeedsRewind
