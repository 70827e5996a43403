"""PublishedRun: one result run as its topic has it, without its curves."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamproc.audit.findings import Finding
from streamproc.results import is_shadow
from streamproc.runs.seen import SeqNums

__all__ = ["SHADOW", "Answer", "PublishedRun", "ResultIndex", "StartEntry"]


SHADOW = " (shadow)"
"""What the name of an analysis ends with here when its model is a shadow: nobody depends on its answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An event of stream ``primary``, kept until the raw reading it answers comes by.

    ``copied`` are the motor readings with their times, by data key of the result; None where no descriptor
    said which they are.
    """

    time_s: float
    copied: Mapping[str, tuple[Any, Any]] | None
    position: str


@dataclass(slots=True)
class PublishedRun:
    """One result run.

    Attributes
    ----------
    uid, raw_uid, analysis, version, stream, key, supplements : str
        As the start says; ``supplements`` names the first result run of a supplementary one.
    facts : Mapping
        ``time`` and ``scan_id`` of the start.
    started, stop
        Whether the start was seen; the stop, if it was.
    done, doubled : SeqNums
        Readings answered, and answered more than once.
    events : Counter
        Distinct events by stream.
    answers : dict
        Events of ``primary`` by seq_num, as long as they are not compared with the raw run.
    unanswered : dict
        Where in the raw topic the first readings without an event are, by seq_num.
    in_domain, models, latencies_ms
        How many answers may be believed; answers by model; latencies from the headers (ms).
    newest : (int, float) or None
        seq_num and time (Unix s) of the answer that came last.
    published_s : float or None
        When the last message was produced (Unix s).
    disordered : (int, int) or None
        A seq_num and the lower one that came after it; the first such pair.
    seen : dict
        Content and position of every document, by uid.
    streams, keys, copies
        Stream by descriptor uid; data keys by stream; those of ``primary`` that are copies of raw readings
        (None before its descriptor came).
    """

    uid: str
    raw_uid: str = ""
    analysis: str = ""
    version: str = ""
    stream: str = "primary"
    key: str = ""
    supplements: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    started: bool = False
    stop: Mapping[str, Any] | None = None
    done: SeqNums = field(default_factory=SeqNums)
    doubled: SeqNums = field(default_factory=SeqNums)
    events: Counter[str] = field(default_factory=Counter)
    answers: dict[int, Answer] = field(default_factory=dict)
    unanswered: dict[int, str] = field(default_factory=dict)
    in_domain: int = 0
    models: Counter[str] = field(default_factory=Counter)
    latencies_ms: array[float] = field(default_factory=lambda: array("d"))
    newest: tuple[int, float] | None = None
    published_s: float | None = None
    disordered: tuple[int, int] | None = None
    seen: dict[str, tuple[int, str]] = field(default_factory=dict)
    streams: dict[str, str] = field(default_factory=dict)
    keys: dict[str, frozenset[str]] = field(default_factory=dict)
    copies: tuple[str, ...] | None = None

    def finding(self, kind: str, expected: str, got: str, **more: Any) -> Finding:
        """Return a finding about this run."""
        return Finding(
            kind, expected, got, run_uid=self.raw_uid, result_uid=self.uid, analysis=self.analysis, **more
        )

    @property
    def ledger(self) -> Mapping[str, Any]:
        """The ledger of stream ``primary`` in the stop; empty while there is none."""
        ledgers = (self.stop or {}).get("ledger")
        entry = ledgers.get("primary") if isinstance(ledgers, Mapping) else None
        return entry if isinstance(entry, Mapping) else {}

    def count(self, name: str) -> int:
        """Return a count of the ledger (``expected``, ``done``, ``failed``, ``dropped``); 0 without one."""
        return _whole(self.ledger.get(name))

    def reasons(self, name: str) -> list[tuple[str, int, list[int]]]:
        """Return why readings ``failed`` or were ``dropped``: reason, count, first seq_nums."""
        rows = [r for r in _list(self.ledger.get(f"{name}_reasons")) if isinstance(r, Mapping)]
        return [
            (
                str(row.get("reason", "")),
                _whole(row.get("count")),
                [n for n in _list(row.get("first_seq_nums")) if type(n) is int],
            )
            for row in rows
        ]


@dataclass(frozen=True, slots=True)
class StartEntry:
    """A result run's start in a few words; times in Unix s."""

    uid: str
    raw_uid: str
    analysis: str
    supplements: str
    time_s: float
    published_s: float | None


class ResultIndex:
    """The starts of all result runs: which raw runs each analysis answered, which data keys it looks at."""

    def __init__(self) -> None:
        self.entries: dict[str, StartEntry] = {}
        self.keys: dict[str, set[tuple[str, str]]] = {}
        """(stream, data key) pairs by analysis."""
        self.answered: dict[str, set[str]] = {}
        """Raw run uids by analysis."""

    def add(self, doc: Mapping[str, Any], published_s: float | None) -> StartEntry | None:
        """Take a start document; None when it is no result run's."""
        about, time_s = doc.get("streamproc"), doc.get("time")
        if not isinstance(about, Mapping):
            return None
        analysis, key = str(about.get("analysis", "")), str(about.get("key", ""))
        analysis += SHADOW if is_shadow(doc) else ""
        entry = StartEntry(
            str(doc.get("uid", "")), str(doc.get("original_run_uid", "")), analysis,
            str(doc.get("supplements", "")), float(time_s) if isinstance(time_s, int | float) else 0.0,
            published_s,
        )  # fmt: skip
        self.entries.setdefault(entry.uid, entry)
        known = self.keys.setdefault(analysis, set())
        if key:
            known.add((str(about.get("stream", "primary")), key))
        if not entry.supplements:
            self.answered.setdefault(analysis, set()).add(entry.raw_uid)
        return entry


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _whole(value: Any) -> int:
    return value if type(value) is int else 0
