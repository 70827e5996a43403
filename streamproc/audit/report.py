"""AuditReport: one line per result run, every difference, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from streamproc.audit.findings import Findings
from streamproc.transports.letters import Letter

__all__ = ["AuditReport", "RunAudit", "letter_json"]


@dataclass(slots=True)
class RunAudit:
    """What became of the readings of one raw run in one analysis, supplementary runs included.

    ``expected = done + failed + dropped + late + lost + waiting`` wherever the raw run was read from its
    start; ``doubled`` counts readings that were answered more than once (they are done as well).

    Attributes
    ----------
    run_uid, result_uid, analysis, version : str
        ``result_uid`` is empty for a run that has no result run.
    scan_id, plan_name
        As the raw start says; None where it does not.
    expected, done, failed, dropped, late, lost, doubled, waiting : int
        Numbers of readings. ``failed`` and ``dropped`` have a reason in the ledger; ``late`` ones are done in
        a supplementary run; ``waiting`` ones may still be answered, because the run is open or just ended.
    state : str
        ``stopped``, ``open`` (the raw run has no stop yet) or ``unread`` (it was not read from its start).
    faults : int
        Differences found in it.
    reasons : dict
        Count of failed and dropped readings by reason.
    supplements : tuple of str
        Supplementary result runs.
    dead_letters : int
        Not settled.
    """

    run_uid: str
    result_uid: str
    analysis: str
    version: str = ""
    scan_id: Any = None
    plan_name: Any = None
    expected: int = 0
    done: int = 0
    failed: int = 0
    dropped: int = 0
    late: int = 0
    lost: int = 0
    doubled: int = 0
    waiting: int = 0
    state: str = "stopped"
    faults: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    supplements: tuple[str, ...] = ()
    dead_letters: int = 0

    @property
    def verdict(self) -> str:
        """``differs``; else ``complete``, ``accounted for``, ``open``, ``waiting`` or ``not comparable``."""
        if self.faults:
            return "differs"
        if self.state != "stopped":
            return "open" if self.state == "open" else "not comparable"
        if self.waiting:
            return "waiting"
        return "accounted for" if self.failed or self.dropped else "complete"


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The whole comparison.

    Attributes
    ----------
    runs : tuple of RunAudit
        By start of the raw run.
    findings : Findings
        Differences and remarks.
    letters : tuple of Letter
        Dead letters of these runs that are not settled.
    counts : Mapping
        ``raw_messages``, ``result_messages``, ``raw_undecodable``, ``raw_refused``, ``foreign_results``,
        ``letters_without_run``.
    """

    runs: tuple[RunAudit, ...]
    findings: Findings
    letters: tuple[Letter, ...]
    counts: Mapping[str, int]

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        return bool(self.findings.faults)

    @property
    def verdict(self) -> str:
        """``no difference`` or ``differs``."""
        return "differs" if self.differs else "no difference"

    def totals(self) -> dict[str, int]:
        """Return the sums over all runs."""
        names = ("expected", "done", "failed", "dropped", "late", "lost", "doubled", "waiting", "faults")
        return {name: sum(getattr(run, name) for run in self.runs) for name in names}

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "verdict": self.verdict,
            "totals": self.totals(),
            "runs": [{**asdict(run), "verdict": run.verdict} for run in self.runs],
            "findings": [finding.to_json() for finding in self.findings.kept],
            "findings_not_listed": self.findings.more,
            "findings_by_kind": dict(self.findings.counts),
            "dead_letters": [letter_json(letter) for letter in self.letters],
            "counts": dict(self.counts),
        }


def letter_json(letter: Letter) -> dict[str, Any]:
    """Return what a dead letter says, without its bytes."""
    return {
        "origin": letter.name,
        "kind": letter.kind,
        "reason": letter.reason,
        "analyses": list(letter.analyses),
        "run_uid": letter.run_uid,
        "stream": letter.stream,
        "seq_nums": list(letter.seq_nums),
        "refused": letter.count,
        "last_s": letter.last_s,
    }
