"""RunTracker: which documents belong to which run; tolerant of real streams, bounded in all it keeps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from streamproc.documents import Document
from streamproc.errors import DocumentRefused, Where
from streamproc.runs.model import NeedsRewind, Outcome, Run, RunClosed, RunOpened, RunUpdated, Skipped
from streamproc.runs.pages import unpack_document
from streamproc.runs.past import Holding, Owners, PastKind
from streamproc.runs.seen import RecentIds
from streamproc.runs.select import Reference, reference_of
from streamproc.validation import DOCUMENT_NAMES, DocumentValidator

__all__ = ["RunTracker", "TrackerLimits"]


@dataclass(frozen=True, slots=True)
class TrackerLimits:
    """How much the tracker keeps.

    Per open run: ``descriptors`` and ``descriptor_bytes`` (more are refused), ``resources`` and ``datums``
    (the least recently used are dropped), ``recent_ids`` uids to recognise duplicates by, ``notes``.
    Altogether: ``open_bytes`` of start documents, descriptors and resources of all open runs (beyond it the
    run that is idle longest is closed), ``past_runs`` remembered with at most ``past_ids`` of their
    descriptors and resources each, ``held`` documents that wait for their descriptor or resource, and
    ``rewinds_per_minute`` requests to look back in the topic, as long as answering them takes no more than
    ``rewind_burst_s`` at once and ``rewind_share`` of the time on average.
    """

    descriptors: int = 10_000
    descriptor_bytes: int = 256 * 2**20
    resources: int = 20_000
    datums: int = 20_000
    recent_ids: int = 256
    notes: int = 32
    open_bytes: int = 1024 * 2**20
    past_runs: int = 1024
    past_ids: int = 1024
    held: int = 1000
    rewinds_per_minute: int = 64
    rewind_burst_s: float = 20.0
    rewind_share: float = 0.1


@dataclass(slots=True)
class _Open:
    run: Run
    last_s: float
    recent: RecentIds
    descriptor_bytes: int = 0
    kept_bytes: int = 0


class RunTracker:
    """Follows every run of a document stream.

    Rules: interleaved runs are told apart by what each document refers to; redelivered documents are skipped;
    a stream may have several descriptors (an event names its own); runs that this package published are
    ignored from start to stop; documents after the stop are ``late``; a document of an unknown run gives
    :class:`NeedsRewind`, and :meth:`adopt` goes on with what is known.

    Parameters
    ----------
    max_open : int
        Runs followed at a time; one more closes the one that has been idle longest.
    idle_timeout_s : float
        A run without any document for so long is closed by :meth:`expire` (s).
    clock : callable
        Returns seconds from any fixed origin.
    limits : TrackerLimits, optional
        How much is kept.
    validator : DocumentValidator, optional
        What a usable document is.
    """

    def __init__(
        self,
        max_open: int = 64,
        idle_timeout_s: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
        *,
        limits: TrackerLimits | None = None,
        validator: DocumentValidator | None = None,
    ) -> None:
        self.max_open = max_open
        self.idle_timeout_s = idle_timeout_s
        self.limits = limits or TrackerLimits()
        self._clock = clock
        self._validator = validator or DocumentValidator()
        self._kept_bytes = 0
        self._open: dict[str, _Open] = {}  # in order of last document: the first is idle longest
        self._owners = Owners(self.limits.past_runs, self.limits.past_ids)
        self._holding = Holding(
            self.limits.held,
            self.limits.past_runs,
            self.limits.rewinds_per_minute,
            self.limits.rewind_burst_s,
            self.limits.rewind_share,
        )

    @property
    def open_runs(self) -> Mapping[str, Run]:
        """The open runs by uid, the one idle longest first."""
        return {uid: entry.run for uid, entry in self._open.items()}

    # -- what the service calls -------------------------------------------------------------------------

    def feed(self, document: Document) -> list[Outcome]:
        """Take one document and say what it meant.

        Raises
        ------
        DocumentRefused
            When it cannot be used (not a valid document, or one that contradicts what is known); the tracker
            is as before.
        """
        return self._feed(document, adopting=False)

    def adopt(self, document: Document) -> list[Outcome]:
        """Go on with a document whose run's beginning could not be found.

        A document that names its run opens it, with ``complete_start`` false and ``missing`` filled; any
        other is held for a while (``Skipped`` with kind ``held``) in case its descriptor or resource comes.

        Raises
        ------
        DocumentRefused
            As :meth:`feed`.
        """
        return self._feed(document, adopting=True)

    def expire(self, now_s: float | None = None) -> list[RunClosed]:
        """Close the runs that were idle for longer than the time-out (``now_s`` on the tracker's clock)."""
        now_s = self._clock() if now_s is None else now_s
        reason = f"no document for {self.idle_timeout_s:g} s and no stop"
        idle = [uid for uid, entry in self._open.items() if now_s - entry.last_s > self.idle_timeout_s]
        return [self._close(uid, reason) for uid in idle]

    def close_all(self, reason: str) -> list[RunClosed]:
        """Close every open run: nothing of them will come any more."""
        return [self._close(uid, reason) for uid in list(self._open)]

    def may_look_back(self) -> bool:
        """Tell whether looking back in the topic has taken less than its share of the time so far.

        :class:`NeedsRewind` comes only while it has.
        """
        return self._holding.has_time(self._clock())

    def looked_back(self, took_s: float) -> None:
        """Note how long it took to look back in the topic (s)."""
        self._holding.looked(took_s)

    def forget(self, run_uid: str) -> None:
        """Drop a run as if it had never been seen (its partition went to another instance)."""
        if run_uid in self._open:
            self._close(run_uid, "forgotten")
        self._owners.forget(run_uid)

    # -- one document -----------------------------------------------------------------------------------

    def _feed(self, document: Document, adopting: bool) -> list[Outcome]:
        if document.name not in DOCUMENT_NAMES:
            return [Skipped(document, f"unknown document name {document.name[:80]!r}", "unknown-name")]
        notes, parts = self.check(document)
        return [outcome for part in parts for outcome in self._route(part, notes, adopting)]

    def check(self, document: Document) -> tuple[list[str], list[Document]]:
        """Check a document of a known name, and each that is packed in it; nothing is taken in.

        Returns
        -------
        notes : list of str
            What is unusual about it.
        parts : list of Document
            The document, or those of a page.

        Raises
        ------
        DocumentRefused
            It cannot be used; says why and where it lies.
        """
        try:
            notes = self._validator.check(document.name, document.doc)
            parts = unpack_document(document)
            if not (parts and parts[0] is document):
                for part in parts:  # all or none of a page
                    self._validator.check(part.name, part.doc)
        except DocumentRefused as error:
            where = replace(error.where, position=str(document.position))
            raise DocumentRefused(error.message, where) from None
        return notes, parts

    def _route(self, document: Document, notes: list[str], adopting: bool) -> list[Outcome]:
        reference = reference_of(document.name, document.doc)
        uid = reference.run_uid or self._owners.find(reference.needs)
        if uid is not None and self._owners.is_past(uid):
            return [self._late(uid, reference, document)]
        if document.name == "start":
            return self._start(document, notes)
        if reference.owns is not None and uid is None:
            return self._without_run(document, reference, notes)
        if uid is not None and uid in self._open:
            return self._accept(self._open[uid], reference, document, notes)
        wanted = uid or reference.needs[0]
        if not adopting and self._holding.grant(wanted, self._clock()):
            return [NeedsRewind(uid, document, _words(document, wanted))]
        self._holding.give_up(wanted)
        if uid is None:
            return [self._hold(document, wanted)]
        opened = self._open_incomplete(uid, document)
        return [*opened, *self._accept(self._open[uid], reference, document, notes)]

    def _start(self, document: Document, notes: list[str]) -> list[Outcome]:
        uid = document.doc["uid"]
        entry = self._open.get(uid)
        own = isinstance(document.doc.get("streamproc"), Mapping)
        if entry is None and own:
            self._owners.remember(uid, "own-result")
            return [Skipped(document, "a result run of streamproc", "own-result")]
        if entry is None:
            run = Run(uid, document.doc, document.position)
            self._note(run, notes)
            opened = self._open_run(run)
            return [*opened, *self._keep(self._open[uid], document)]
        self._touch(entry)
        if entry.run.complete_start:
            return [Skipped(document, "start repeated")]
        entry.run.start, entry.run.complete_start = document.doc, True
        self._note(entry.run, notes)
        if own:
            return [self._close(uid, "it turned out to be a result run of streamproc", "own-result")]
        return [RunUpdated(entry.run, document)]

    def _accept(
        self, entry: _Open, reference: Reference, document: Document, notes: list[str]
    ) -> list[Outcome]:
        """Take a document of an open run."""
        run = entry.run
        self._touch(entry)
        if document.name == "stop":
            run.stop = document.doc
            self._note(run, notes)
            return [self._close(run.uid, "stop")]
        claimed: list[Outcome] = []
        if document.name in ("event", "stream_datum"):
            descriptor = document.doc["descriptor"]
            if descriptor not in run.descriptors:
                return [self._undescribed(run, document, descriptor)]
            if document.name == "stream_datum":
                claimed = self._claim(entry, document.doc["stream_resource"])
        identity = f"{document.name}:{document.doc.get('datum_id') or document.doc.get('uid')}"
        if identity in entry.recent or _known(run, document):
            return [*claimed, Skipped(document, f"{document.name} repeated")]
        closed: list[Outcome] = []
        if reference.owns is not None:
            self._register(entry, document, reference.owns)
            self._note(run, notes)
            closed = self._keep(entry, document)
        elif document.name == "datum":
            self._keep_datum(run, document.doc)
        entry.recent.add(identity)
        released = self._holding.release(reference.owns) if reference.owns else []
        freed = [outcome for held in released for outcome in self._route(held, [], adopting=True)]
        return [*claimed, RunUpdated(run, document), *closed, *freed]

    def _late(self, uid: str, reference: Reference, document: Document) -> Skipped:
        kind = self._owners.late(uid, reference.owns)
        if kind == "own-result":
            return Skipped(document, "a result run of streamproc", kind)
        return Skipped(document, f"{document.name} after run {uid!r} was closed", kind)

    # -- what a run keeps -------------------------------------------------------------------------------

    def _register(self, entry: _Open, document: Document, uid: str) -> None:
        """Keep a descriptor, resource or stream_resource."""
        run = entry.run
        if document.name == "descriptor":
            owner = self._owners.owner(uid)
            if owner not in (None, run.uid):
                raise _refused(document, run, f"descriptor {uid!r} belongs to run {owner!r} already")
            if len(run.descriptors) >= self.limits.descriptors:
                raise _refused(document, run, f"more than {self.limits.descriptors} descriptors in one run")
            if entry.descriptor_bytes + len(document.raw) > self.limits.descriptor_bytes:
                raise _refused(
                    document, run, f"descriptors of more than {self.limits.descriptor_bytes} bytes"
                )
            entry.descriptor_bytes += len(document.raw)
            run.descriptors[uid] = document.doc
        else:
            kept = run.resources if document.name == "resource" else run.stream_resources
            kept[uid] = document.doc
            if len(kept) > self.limits.resources:
                dropped = next(iter(kept))
                del kept[dropped]
                self._owners.disown(dropped, run.uid)
        self._owners.own(uid, run.uid)

    def _keep_datum(self, run: Run, doc: Mapping[str, Any]) -> None:
        resource = run.resources.pop(doc["resource"], None)
        if resource is not None:  # used last, dropped last
            run.resources[doc["resource"]] = resource
        run.datums[doc["datum_id"]] = doc
        if len(run.datums) > self.limits.datums:
            del run.datums[next(iter(run.datums))]

    def _note(self, run: Run, notes: list[str]) -> None:
        for note in notes:
            if len(run.notes) < self.limits.notes and note not in run.notes:
                run.notes.append(note)

    # -- documents whose run is not known ---------------------------------------------------------------

    def _without_run(self, document: Document, reference: Reference, notes: list[str]) -> list[Outcome]:
        """Take a resource or stream_resource that names no run (the schema allows it)."""
        if len(self._open) == 1:
            return self._accept(next(iter(self._open.values())), reference, document, notes)
        self._holding.hold(document)
        return [Skipped(document, f"{document.name} names no run and {len(self._open)} are open", "held")]

    def _claim(self, entry: _Open, stream_resource: str) -> list[Outcome]:
        """Give a held stream_resource that names no run to the run whose stream_datum refers to it."""
        if stream_resource in entry.run.stream_resources:
            return []
        return [
            outcome
            for held in self._holding.claim(stream_resource)
            for outcome in self._accept(entry, reference_of(held.name, held.doc), held, [])
        ]

    def _undescribed(self, run: Run, document: Document, descriptor: str) -> Skipped:
        owner = self._owners.owner(descriptor)
        if owner not in (None, run.uid):
            raise _refused(document, run, f"its descriptor {descriptor!r} belongs to run {owner!r}")
        return self._hold(document, descriptor)

    def _hold(self, document: Document, wanted: str) -> Skipped:
        self._holding.hold(document)
        what = _words(document, wanted)
        return Skipped(document, f"{document.name} refers to {what}, which has not come; held", "held")

    # -- runs -------------------------------------------------------------------------------------------

    def _open_run(self, run: Run) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while len(self._open) >= self.max_open:
            reason = f"more than {self.max_open} runs were open and this one was idle longest"
            outcomes.append(self._close(next(iter(self._open)), reason))
        self._open[run.uid] = _Open(run, self._clock(), RecentIds(self.limits.recent_ids))
        return [*outcomes, RunOpened(run)]

    def _keep(self, entry: _Open, document: Document) -> list[Outcome]:
        """Count the bytes of a document that is kept; close the longest idle runs where that is too much."""
        entry.kept_bytes += len(document.raw)
        self._kept_bytes += len(document.raw)
        outcomes: list[Outcome] = []
        while self._kept_bytes > self.limits.open_bytes and len(self._open) > 1:
            reason = f"open runs held more than {self.limits.open_bytes} bytes and this one was idle longest"
            outcomes.append(self._close(next(iter(self._open)), reason))
        return outcomes

    def _open_incomplete(self, uid: str, document: Document) -> list[Outcome]:
        run = Run(uid, {"uid": uid}, document.position, complete_start=False)
        run.missing.append(f"the start document and all before {document.position}")
        return self._open_run(run)

    def _touch(self, entry: _Open) -> None:
        entry.last_s = self._clock()
        self._open[entry.run.uid] = self._open.pop(entry.run.uid)

    def _close(self, uid: str, reason: str, kind: PastKind = "late") -> RunClosed:
        entry = self._open.pop(uid)
        self._kept_bytes -= entry.kept_bytes
        run = entry.run
        self._owners.remember(uid, kind, [*run.descriptors, *run.stream_resources, *run.resources])
        return RunClosed(run, reason)

    # -- state ------------------------------------------------------------------------------------------

    def entry_state(self, run_uid: str) -> dict[str, Any] | None:
        """Return what is kept of an open run beside the run itself, as plain values; None when not open."""
        entry = self._open.get(run_uid)
        if entry is None:
            return None
        return {
            "age_s": self._clock() - entry.last_s,
            "recent": list(entry.recent),
            "descriptor_bytes": entry.descriptor_bytes,
            "kept_bytes": entry.kept_bytes,
        }

    def restore_run(self, run: Run, state: Mapping[str, Any]) -> None:
        """Take up an open run with what :meth:`entry_state` gave."""
        recent = RecentIds(self.limits.recent_ids, state["recent"])
        entry = _Open(run, self._clock() - state["age_s"], recent, state["descriptor_bytes"])
        entry.kept_bytes = state["kept_bytes"]
        self._kept_bytes += entry.kept_bytes
        self._open[run.uid] = entry
        self._open = dict(sorted(self._open.items(), key=lambda item: item[1].last_s))
        for uid in (*run.descriptors, *run.resources, *run.stream_resources):
            self._owners.own(uid, run.uid)

    @property
    def memory_version(self) -> int:
        """A number that changes with what :meth:`memory_state` returns."""
        return self._owners.version + self._holding.version

    def memory_state(self) -> dict[str, Any]:
        """Return what is remembered of past runs and held, as plain msgpack-able values."""
        return {"past": self._owners.to_state(), **self._holding.to_state()}

    def restore_memory(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`memory_state` gave, before any run is restored."""
        self._owners.restore(state["past"])
        self._holding.restore(state)

    def run_of(self, document: Document) -> Run | None:
        """Return the open run that a document belongs to; None when it is not open here."""
        reference = reference_of(document.name, document.doc)
        entry = self._open.get(reference.run_uid or self._owners.find(reference.needs) or "")
        return None if entry is None else entry.run

    def knows(self, document: Document) -> bool:
        """Tell whether a document belongs to a run that is open here, or was."""
        reference = reference_of(document.name, document.doc)
        uid = reference.run_uid or self._owners.find(reference.needs)
        return uid is not None and (uid in self._open or self._owners.is_past(uid))

    def to_state(self) -> dict[str, Any]:
        """Return all that is needed to go on elsewhere, as plain msgpack-able values (idle times as ages)."""
        opened = [[e.run.to_state(), self.entry_state(uid)] for uid, e in self._open.items()]
        return {"open": opened, **self.memory_state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], **settings: Any) -> RunTracker:
        """Make a tracker with ``settings`` (those of the class) and take up what :meth:`to_state` gave."""
        tracker = cls(**settings)
        tracker.restore_memory(state)
        for run_state, entry in state["open"]:
            tracker.restore_run(Run.from_state(run_state), entry)
        return tracker


def _known(run: Run, document: Document) -> bool:
    doc = document.doc
    if document.name == "descriptor":
        return doc["uid"] in run.descriptors
    if document.name == "resource":
        return doc["uid"] in run.resources
    if document.name == "stream_resource":
        return doc["uid"] in run.stream_resources
    return document.name == "datum" and run.datum(doc["datum_id"]) is not None


def _words(document: Document, wanted: str) -> str:
    kinds = {"event": "descriptor", "stream_datum": "descriptor", "datum": "resource"}
    return f"{kinds.get(document.name, 'run')} {wanted!r}"


def _refused(document: Document, run: Run, why: str) -> DocumentRefused:
    where = Where(run_uid=run.uid, position=str(document.position))
    return DocumentRefused(f"{document.name}: {why}", where)
