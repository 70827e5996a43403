"""RawBook: what readings each raw run has, and whether the result events tell the same of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamproc.audit.book import ResultBook
from streamproc.audit.findings import Findings
from streamproc.audit.likeness import Copies, unlike
from streamproc.audit.published import PublishedRun
from streamproc.audit.slim import OfRuns, slim
from streamproc.documents import BadMessage, Document
from streamproc.errors import DocumentRefused
from streamproc.frames.assembler import Assembler, Missing
from streamproc.frames.requests import FrameRequest
from streamproc.results import copied_readings
from streamproc.runs import (
    NeedsRewind,
    Outcome,
    Run,
    RunClosed,
    RunOpened,
    RunTracker,
    RunUpdated,
    TrackerLimits,
)
from streamproc.runs.seen import SeqNums, TooManyGaps
from streamproc.validation import DocumentValidator

__all__ = ["RawBook", "RawRun", "RawStream"]

_MOST_UNANSWERED = 1000
_MANY = 10_000_000
"""Runs remembered; an audit forgets none, because a late document must not open its run again."""


@dataclass(slots=True)
class RawStream:
    """One stream of a raw run.

    Attributes
    ----------
    seen : SeqNums
        Numbers seen in events or stream_datums.
    keys : set of str
        Data keys that could be frames: external, or arrays.
    newest_s : float
        Time of the newest event (Unix s); 0 before the first.
    """

    seen: SeqNums = field(default_factory=SeqNums)
    keys: set[str] = field(default_factory=set)
    newest_s: float = 0.0


@dataclass(slots=True)
class RawRun:
    """One raw run.

    Attributes
    ----------
    uid : str
        Its uid.
    facts : Mapping
        ``time``, ``scan_id``, ``plan_name``, ``sample`` and ``num_points`` of the start.
    whole : bool
        Whether its start was read.
    streams : dict
        By name.
    stop, stop_s
        The stop document once seen, and when it was produced (Unix s; its own time where that is unknown).
    readings : dict
        Numbers of the readings that exist, by (stream, data key), for those that some analysis looks at.
    missing : dict
        Those of them that never became complete, once the run is over.
    """

    uid: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = True
    streams: dict[str, RawStream] = field(default_factory=dict)
    stop: Mapping[str, Any] | None = None
    stop_s: float = 0.0
    readings: dict[tuple[str, str], SeqNums] = field(default_factory=dict)
    missing: dict[tuple[str, str], list[Missing]] = field(default_factory=dict)

    def announced(self, stream: str) -> int:
        """Return how many events the stop says a stream has; 0 when it does not say."""
        counts = (self.stop or {}).get("num_events")
        count = counts.get(stream, 0) if isinstance(counts, Mapping) else 0
        return count if type(count) is int and count > 0 else 0

    def expected(self, stream: str, key: str) -> SeqNums:
        """Return the numbers of all readings that exist, seen or announced by the stop."""
        numbers = SeqNums(self.readings.get((stream, key), ()))
        numbers.add(1, 1 + self.announced(stream))
        return numbers


@dataclass(slots=True)
class _Work:
    """A raw run that may still bring documents."""

    known: RawRun
    assemblers: dict[tuple[str, str], Assembler] = field(default_factory=dict)
    copies: dict[str, Copies] = field(default_factory=dict)


class RawBook:
    """Takes the messages of the raw topic in order, after the results are known.

    Parameters
    ----------
    results : ResultBook
        The result runs; each of their events is compared when the reading it answers comes by, and forgotten.
    findings : Findings
        Where differences go.
    only : collection of str, optional
        Raw runs that matter; all by default.
    """

    def __init__(self, results: ResultBook, findings: Findings, only: Collection[str] | None = None) -> None:
        self.runs: dict[str, RawRun] = {}
        self.messages = self.undecodable = self.refused = 0
        self._findings = findings
        self._select = None if only is None else OfRuns(only)
        self._answers: dict[str, list[PublishedRun]] = {}
        for run in results.runs.values():
            self._answers.setdefault(run.raw_uid, []).append(run)
        self._works: dict[str, _Work] = {}
        self._message_s: float | None = None
        self._tracker = RunTracker(
            max_open=_MANY, limits=TrackerLimits(past_runs=_MANY), validator=DocumentValidator(schema=False)
        )

    def feed(self, message: Document | BadMessage) -> None:
        """Take one message."""
        self.messages += 1
        self._message_s = message.published_s
        if isinstance(message, BadMessage):
            self.undecodable += 1
            return
        if self._select is not None and not self._select(message):
            return
        document = slim(message)
        try:
            outcomes = self._tracker.feed(document)
            if any(isinstance(o, NeedsRewind) for o in outcomes):
                outcomes = self._tracker.adopt(document)
            for outcome in outcomes:
                self._handle(outcome)
        except DocumentRefused:
            self.refused += 1

    def finish(self) -> None:
        """Say that nothing more comes: what open runs have so far is what they have."""
        for uid in list(self._works):
            self._settle(self._works.pop(uid))

    # -- one document -----------------------------------------------------------------------------------

    def _handle(self, outcome: Outcome) -> None:
        if isinstance(outcome, RunOpened):
            known = self.runs.setdefault(outcome.run.uid, RawRun(outcome.run.uid))
            self._begin(known, outcome.run)
            self._works[known.uid] = _Work(known)
        elif isinstance(outcome, RunUpdated):
            self._update(self._works[outcome.run.uid], outcome.run, outcome.document)
        elif isinstance(outcome, RunClosed):
            work = self._works.pop(outcome.run.uid)
            work.known.stop = stop = outcome.run.stop
            work.known.stop_s = self._message_s or (float(stop["time"]) if stop else 0.0)
            self._settle(work)

    def _begin(self, known: RawRun, run: Run) -> None:
        wanted = ("time", "scan_id", "plan_name", "sample", "num_points")
        known.whole = run.complete_start
        known.facts = {k: run.start[k] for k in wanted if k in run.start}

    def _update(self, work: _Work, run: Run, document: Document) -> None:
        doc = document.doc
        if document.name == "start":
            self._begin(work.known, run)
        elif document.name == "descriptor":
            self._describe(work, run, doc)
        elif document.name in ("event", "stream_datum"):
            self._count(work.known, run, document)
        for pair, assembler in work.assemblers.items():
            requests = assembler.feed(document)
            while requests:
                for request in requests:
                    self._compare(work, pair, request)
                requests = assembler.take() if assembler.waiting else []

    def _describe(self, work: _Work, run: Run, doc: Mapping[str, Any]) -> None:
        name, entries = doc["name"], doc["data_keys"]
        stream = work.known.streams.setdefault(name, RawStream())
        stream.keys.update(k for k, v in entries.items() if v.get("external") or len(v.get("shape") or ()))
        if name not in work.copies:
            work.copies[name] = copied_readings(run, name)
        for published in self._answers.get(run.uid, ()):
            pair = (published.stream, published.key)
            if pair[0] == name and pair[1] in entries and pair not in work.assemblers:
                work.assemblers[pair] = Assembler(run, *pair, dark_stream=None)

    def _count(self, known: RawRun, run: Run, document: Document) -> None:
        doc = document.doc
        stream = known.streams[run.descriptors[doc["descriptor"]]["name"]]
        try:
            if document.name == "event":
                stream.seen.add(doc["seq_num"])
                stream.newest_s = max(stream.newest_s, doc["time"])
            else:
                stream.seen.add(doc["seq_nums"]["start"], doc["seq_nums"]["stop"])
        except TooManyGaps:
            self.refused += 1

    def _settle(self, work: _Work) -> None:
        for pair, assembler in work.assemblers.items():
            work.known.readings[pair] = assembler.expected
            work.known.missing[pair] = assembler.missing(work.known.stop)

    # -- one reading ------------------------------------------------------------------------------------

    def _compare(self, work: _Work, pair: tuple[str, str], request: FrameRequest) -> None:
        for published in self._answers.get(work.known.uid, ()):
            if (published.stream, published.key) == pair:
                answer = published.answers.pop(request.seq_num, None)
                if answer is not None:
                    copies = work.copies.get(request.stream, {}) if work.known.whole else {}
                    for finding in unlike(published, answer, request, copies):
                        self._findings.add(finding)
                elif len(published.unanswered) < _MOST_UNANSWERED:
                    published.unanswered[request.seq_num] = str(request.position)
