"""Findings: what an audit has to say, one difference at a time, and how many there are of each kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["KINDS", "Finding", "Findings"]

KINDS = {
    "conflict": "two different documents with one uid",
    "doubled": "a reading answered, or a document published, more than once",
    "repeated": "the same document again, byte for byte (allowed: a replay, or at-least-once delivery)",
    "lost": "a reading with neither an event nor a place in the ledger",
    "lost-run": "a raw run with frames for the analysis, and no result run",
    "unfounded": "an event for a reading that the raw run does not have",
    "unlike": "time, motor readings or copied facts that differ from the raw run's",
    "uid": "a uid that does not follow from what it stands for",
    "ledger": "counts that do not add up, or disagree with the events",
    "num-events": "a stop whose num_events disagrees with the events",
    "no-stop": "no stop although the raw run has one",
    "no-start": "no start document",
    "no-descriptor": "events without their descriptor",
    "second": "a second start, stop or descriptor of one stream",
    "invalid": "a document that event-model's schema or the run's own descriptor refuses",
    "no-raw-run": "a result run whose raw run is not in the raw topic",
    "no-first-run": "a supplementary run whose first result run is not in the topic",
    "order": "events that are not in the order of their seq_nums",
    "dead-letter": "a dead letter that is not settled",
}
"""What each kind of finding means."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference, or (``severity`` info) something worth knowing.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    expected, got : str
        In words.
    severity : str
        ``fault`` makes the audit fail, ``info`` does not.
    run_uid, result_uid, analysis, stream : str
        Raw run, result run, analysis and result stream concerned; empty where unknown.
    seq_num, last_seq_num : int or None
        The reading concerned, or the first and last of several (both included).
    positions : tuple of str
        ``topic/partition@offset`` of the messages concerned.
    """

    kind: str
    expected: str
    got: str
    severity: Literal["fault", "info"] = "fault"
    run_uid: str = ""
    result_uid: str = ""
    analysis: str = ""
    stream: str = ""
    seq_num: int | None = None
    last_seq_num: int | None = None
    positions: tuple[str, ...] = ()

    def __str__(self) -> str:
        last = self.last_seq_num
        numbers = str(self.seq_num) if last in (None, self.seq_num) else f"{self.seq_num}-{last}"
        where = {
            "run": self.run_uid,
            "result run": self.result_uid,
            "analysis": self.analysis,
            "stream": self.stream,
            "seq_num": numbers if self.seq_num is not None else "",
            "at": ", ".join(self.positions),
        }
        at = ", ".join(f"{name} {value}" for name, value in where.items() if value)
        return f"{self.kind}: expected {self.expected}, got {self.got} [{at}]"

    def to_json(self) -> dict[str, Any]:
        """Return what is known as plain values."""
        known = {name: value for name, value in asdict(self).items() if value not in ("", None)}
        return {**known, "positions": list(self.positions)}


class Findings:
    """Keeps the first ``most`` findings and counts all.

    Parameters
    ----------
    most : int
        How many are kept.
    """

    def __init__(self, most: int = 10_000) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        """Faults by result run uid (raw run uid where there is no result run)."""
        self._most = most

    def add(self, finding: Finding) -> None:
        """Take one."""
        self.counts[finding.kind] += 1
        if finding.severity == "fault":
            self.faults[finding.result_uid or finding.run_uid] += 1
        if len(self.kept) < self._most:
            self.kept.append(finding)

    @property
    def more(self) -> int:
        """How many there were that are not kept."""
        return self.counts.total() - len(self.kept)
