"""RunTracker: which documents belong to which run, tolerant of what real streams do and bounded in all it keeps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from streamproc.documents import Document
from streamproc.errors import DocumentRefused, Where
from streamproc.runs.model import NeedsRewind, Outcome, Run, RunClosed, RunOpened, RunUpdated, Skipped
from streamproc.runs.pages import unpack_document
from streamproc.runs.seen import RecentIds
from streamproc.runs.select import Reference, reference_of
from streamproc.runs.state import pack, pack_position, unpack, unpack_position
from streamproc.validation import DOCUMENT_NAMES, DocumentValidator

__all__ = ["RunTracker", "TrackerLimits"]

_PastKind = Literal["late", "own-result"]


@dataclass(frozen=True, slots=True)
class TrackerLimits:
    """How much the tracker keeps.

    Per open run: ``descriptors`` (more are refused), ``resources`` and ``datums`` (the least recently used are
    dropped), ``recent_ids`` uids to recognise duplicates by, ``notes``. Altogether: ``past_runs`` remembered
    with at most ``past_ids`` of their descriptors and resources each, ``held`` documents that wait for their
    descriptor or resource, and ``rewinds_per_minute`` requests to look back in the topic.
    """

    descriptors: int = 10_000
    resources: int = 20_000
    datums: int = 20_000
    recent_ids: int = 1024
    notes: int = 32
    past_runs: int = 1024
    past_ids: int = 1024
    held: int = 1000
    rewinds_per_minute: int = 64


@dataclass(slots=True)
class _Open:
    run: Run
    last_s: float
    recent: RecentIds


@dataclass(slots=True)
class _Past:
    kind: _PastKind
    ids: list[str] = field(default_factory=list)


class RunTracker:
    """Follows every run of a document stream.

    Rules: interleaved runs are told apart by what each document refers to; redelivered documents are skipped;
    a stream may have several descriptors (an event names its own); runs that this package published are ignored
    from start to stop; documents after the stop are ``late``; a document of an unknown run gives
    :class:`NeedsRewind` once per run, descriptor or resource, and :meth:`adopt` goes on with what is known.

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
        self._open: dict[str, _Open] = {}  # in order of last document: the first is idle longest
        self._past: dict[str, _Past] = {}
        self._owner: dict[str, str] = {}  # descriptor, resource or stream_resource uid -> run uid
        self._given_up = RecentIds(self.limits.past_runs)
        self._held: deque[Document] = deque()
        self._rewinds_s: deque[float] = deque(maxlen=self.limits.rewinds_per_minute)

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
        """Close the runs that have been idle for longer than the time-out (``now_s`` on the tracker's clock)."""
        now_s = self._clock() if now_s is None else now_s
        reason = f"no document for {self.idle_timeout_s:g} s and no stop"
        idle = [uid for uid, entry in self._open.items() if now_s - entry.last_s > self.idle_timeout_s]
        return [self._close(uid, reason) for uid in idle]

    # -- one document ---------------------------------------------------------------------------------

    def _feed(self, document: Document, adopting: bool) -> list[Outcome]:
        if document.name not in DOCUMENT_NAMES:
            return [Skipped(document, f"unknown document name {document.name[:80]!r}", "unknown-name")]
        try:
            notes = self._validator.check(document.name, document.doc)
            parts = unpack_document(document)
            if not (parts and parts[0] is document):
                for part in parts:  # all or none of a page
                    self._validator.check(part.name, part.doc)
        except DocumentRefused as error:
            where = replace(error.where, position=str(document.position))
            raise DocumentRefused(error.message, where) from None
        outcomes: list[Outcome] = []
        for part in parts:
            outcomes.extend(self._route(part, notes, adopting))
        return outcomes

    def _route(self, document: Document, notes: list[str], adopting: bool) -> list[Outcome]:
        reference = reference_of(document.name, document.doc)
        uid = reference.run_uid or next((self._owner[n] for n in reference.needs if n in self._owner), None)
        if uid in self._past:
            return [self._past_document(uid, reference, document)]
        if document.name == "start":
            return self._start(document, notes)
        if reference.owns is not None and uid is None:  # a stream_resource that names no run
            uid = self._only_open_run()
        if uid in self._open:
            return self._accept(self._open[uid], reference, document, notes)
        wanted = uid or (reference.needs or (reference.owns or "",))[0]
        if not adopting and wanted not in self._given_up and self._may_rewind():
            return [NeedsRewind(uid, document, self._words(document, wanted))]
        self._given_up.add(wanted)
        if uid is None:
            return [self._hold(document, self._words(document, wanted))]
        return [
            *self._open_incomplete(uid, document),
            *self._accept(self._open[uid], reference, document, notes),
        ]

    def _start(self, document: Document, notes: list[str]) -> list[Outcome]:
        uid = document.doc["uid"]
        entry = self._open.get(uid)
        own = isinstance(document.doc.get("streamproc"), Mapping)
        if entry is None and own:
            self._remember(uid, "own-result")
            return [Skipped(document, "a result run of streamproc", "own-result")]
        if entry is None:
            return self._open_run(Run(uid, document.doc, document.position, notes=notes[: self.limits.notes]))
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
        if document.name in ("event", "stream_datum"):
            descriptor = document.doc["descriptor"]
            if descriptor not in run.descriptors:
                if descriptor in self._owner and self._owner[descriptor] != run.uid:
                    raise self._refused(document, run, f"descriptor {descriptor!r} belongs to another run")
                return [self._hold(document, f"descriptor {descriptor!r}")]
        identity = document.name + ":" + str(document.doc.get("datum_id") or document.doc.get("uid"))
        if identity in entry.recent or self._known(run, document):
            return [Skipped(document, f"{document.name} repeated")]
        if reference.owns is not None:
            self._register(run, document, reference.owns)
            self._note(run, notes)
        elif document.name == "datum":
            self._datum(run, document.doc)
        entry.recent.add(identity)
        return [RunUpdated(run, document), *(self._release(reference.owns) if reference.owns else ())]

    def _known(self, run: Run, document: Document) -> bool:
        doc = document.doc
        if document.name == "descriptor":
            return doc["uid"] in run.descriptors
        if document.name == "resource":
            return doc["uid"] in run.resources
        if document.name == "stream_resource":
            return doc["uid"] in run.stream_resources
        return document.name == "datum" and run.datum(doc["datum_id"]) is not None

    def _register(self, run: Run, document: Document, uid: str) -> None:
        """Keep a descriptor, resource or stream_resource."""
        if document.name == "descriptor":
            owner = self._owner.get(uid, run.uid)
            if owner != run.uid:
                raise self._refused(document, run, f"descriptor {uid!r} belongs to run {owner!r} already")
            if len(run.descriptors) >= self.limits.descriptors:
                raise self._refused(
                    document, run, f"more than {self.limits.descriptors} descriptors in one run"
                )
            run.descriptors[uid] = document.doc
        else:
            kept = run.resources if document.name == "resource" else run.stream_resources
            kept[uid] = document.doc
            if len(kept) > self.limits.resources:
                dropped = next(iter(kept))
                del kept[dropped]
                self._disown(dropped, run.uid)
        # the same resource comes again in later runs (shared dark frames): the newest run counts
        self._owner[uid] = run.uid

    def _datum(self, run: Run, doc: Mapping[str, Any]) -> None:
        resource = run.resources.pop(doc["resource"], None)
        if resource is not None:  # used last, dropped last
            run.resources[doc["resource"]] = resource
        run.datums[doc["datum_id"]] = doc
        if len(run.datums) > self.limits.datums:
            del run.datums[next(iter(run.datums))]

    # -- runs -----------------------------------------------------------------------------------------

    def _open_run(self, run: Run) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while len(self._open) >= self.max_open:
            oldest = next(iter(self._open))
            outcomes.append(
                self._close(oldest, f"more than {self.max_open} runs open; this one was idle longest")
            )
        self._open[run.uid] = _Open(run, self._clock(), RecentIds(self.limits.recent_ids))
        return [*outcomes, RunOpened(run)]

    def _open_incomplete(self, uid: str, document: Document) -> list[Outcome]:
        run = Run(uid, {"uid": uid}, document.position, complete_start=False)
        run.missing.append(f"the start document and all before {document.position}")
        return self._open_run(run)

    def _touch(self, entry: _Open) -> None:
        entry.last_s = self._clock()
        self._open[entry.run.uid] = self._open.pop(entry.run.uid)

    def _close(self, uid: str, reason: str, kind: _PastKind = "late") -> RunClosed:
        run = self._open.pop(uid).run
        owned = [*run.descriptors, *run.stream_resources, *run.resources]
        for dropped in owned[self.limits.past_ids :]:
            self._disown(dropped, uid)
        self._remember(uid, kind, owned[: self.limits.past_ids])
        return RunClosed(run, reason)

    def _remember(self, uid: str, kind: _PastKind, ids: list[str] | None = None) -> None:
        self._past[uid] = _Past(kind, ids or [])
        if len(self._past) > self.limits.past_runs:
            oldest = next(iter(self._past))
            for owned in self._past.pop(oldest).ids:
                self._disown(owned, oldest)

    def _past_document(self, uid: str | None, reference: Reference, document: Document) -> Skipped:
        assert uid is not None
        past = self._past[uid] = self._past.pop(uid)  # still talked about: forgotten last
        if (
            reference.owns is not None
            and reference.owns not in self._owner
            and len(past.ids) < self.limits.past_ids
        ):
            past.ids.append(reference.owns)
            self._owner[reference.owns] = uid
        if past.kind == "own-result":
            return Skipped(document, "a result run of streamproc", "own-result")
        return Skipped(document, f"{document.name} after run {uid!r} was closed", "late")

    def _disown(self, owned: str, uid: str) -> None:
        if self._owner.get(owned) == uid:
            del self._owner[owned]

    def _only_open_run(self) -> str | None:
        return next(iter(self._open)) if len(self._open) == 1 else None

    # -- documents whose run is not known -----------------------------------------------------------

    def _may_rewind(self) -> bool:
        now_s, asked = self._clock(), self._rewinds_s
        if len(asked) == asked.maxlen and now_s - asked[0] < 60.0:
            return False  # garbage must not make us search the topic again and again
        asked.append(now_s)
        return True

    def _hold(self, document: Document, what: str) -> Skipped:
        self._held.append(replace(document, raw=b""))
        if len(self._held) > self.limits.held:
            self._held.popleft()
        return Skipped(
            document, f"{document.name} refers to {what}, which has not come (held for a while)", "held"
        )

    def _release(self, owned: str) -> Iterator[Outcome]:
        """Take up the held documents that refer to ``owned``."""
        ready = [d for d in self._held if owned in reference_of(d.name, d.doc).needs]
        if ready:
            self._held = deque(d for d in self._held if owned not in reference_of(d.name, d.doc).needs)
        for document in ready:
            yield from self._route(document, [], adopting=True)

    @staticmethod
    def _words(document: Document, wanted: str) -> str:
        kinds = {"event": "descriptor", "stream_datum": "descriptor", "datum": "resource"}
        return f"{kinds.get(document.name, 'run')} {wanted!r}"

    def _note(self, run: Run, notes: list[str]) -> None:
        for note in notes:
            if len(run.notes) < self.limits.notes and note not in run.notes:
                run.notes.append(note)

    @staticmethod
    def _refused(document: Document, run: Run, why: str) -> DocumentRefused:
        return DocumentRefused(
            f"{document.name}: {why}", Where(run_uid=run.uid, position=str(document.position))
        )

    # -- state ------------------------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Return all that is needed to go on elsewhere, as plain msgpack-able values (idle times as ages, s)."""
        now_s = self._clock()
        return {
            "open": [[e.run.to_state(), now_s - e.last_s, list(e.recent)] for e in self._open.values()],
            "past": [[uid, past.kind, list(past.ids)] for uid, past in self._past.items()],
            "given_up": list(self._given_up),
            "held": [
                [d.name, pack(d.doc), pack_position(d.position), d.key, d.published_s] for d in self._held
            ],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`to_state` gave; settings and clock are this tracker's own."""
        now_s = self._clock()
        self._open, self._past, self._owner = {}, {}, {}
        for uid, kind, ids in state["past"]:
            self._past[uid] = _Past(kind, list(ids))
            self._owner.update(dict.fromkeys(ids, uid))
        for run_state, age_s, recent in state["open"]:
            run = Run.from_state(run_state)
            self._open[run.uid] = _Open(run, now_s - age_s, RecentIds(self.limits.recent_ids, recent))
            for kept in (run.descriptors, run.resources, run.stream_resources):
                self._owner.update(dict.fromkeys(kept, run.uid))
        self._given_up = RecentIds(self.limits.past_runs, state["given_up"])
        self._held = deque(
            Document(name, unpack(doc), unpack_position(position), key, published_s=published_s)
            for name, doc, position, key, published_s in state["held"]
        )
