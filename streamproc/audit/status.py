"""RunStatus: how far the analyses of one raw run are, from the topics alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from streamproc.audit.published import PublishedRun
from streamproc.audit.raw import RawRun
from streamproc.audit.report import letter_json
from streamproc.runs.seen import SeqNums
from streamproc.transports.letters import Letter

__all__ = ["AnalysisStatus", "RunStatus", "run_status"]


@dataclass(slots=True)
class AnalysisStatus:
    """One analysis of the run.

    Attributes
    ----------
    analysis, version, result_uid : str
        Which, and its result run.
    supplements : list of str
        Supplementary result runs with late answers.
    state : str
        ``running`` until the result run has its stop, then the stop's exit status.
    expected, done, late : int
        Readings there are so far (in the end), answered, answered in a supplement.
    failed, dropped : int or None
        As the ledger counts them. While running ``failed`` is what the dead letters name, ``dropped`` None.
    waiting : int
        Neither answered nor failed yet; 0 once stopped.
    missing : int
        Once stopped: in neither an event nor the ledger. `streamproc audit` says which.
    in_domain : int
        Answers that may be believed.
    newest_seq_num, newest_s : int, float or None
        The last answer, and the time of its reading (Unix s).
    behind_s : float or None
        While running: time between the newest raw reading and the newest that is answered (s).
    latency_p50_ms, latency_p95_ms : float or None
        From the raw document's arrival at the broker to the answer's departure.
    models : dict
        Answers by model.
    reasons : list of dict
        Why readings failed or were dropped: ``reason``, ``count``, ``first_seq_nums``.
    dead_letters : int
        Not settled.
    """

    analysis: str
    version: str
    result_uid: str
    supplements: list[str]
    state: str
    expected: int
    done: int
    late: int
    failed: int | None
    dropped: int | None
    waiting: int
    missing: int
    in_domain: int
    newest_seq_num: int | None
    newest_s: float | None
    behind_s: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    models: dict[str, int]
    reasons: list[dict[str, Any]]
    dead_letters: int


@dataclass(slots=True)
class RunStatus:
    """One raw run and its analyses.

    Attributes
    ----------
    run_uid : str
        The raw run.
    facts : Mapping
        ``time``, ``scan_id``, ``plan_name``, ``sample``, ``num_points`` where its start says them.
    state : str
        ``open``, the stop's exit status, or ``unread`` where the raw topic does not have its start.
    stop_reason : str
        As the stop has it.
    streams : dict
        By name: ``seen`` events, ``announced`` by the stop, ``newest_s`` (Unix s).
    analyses : list of AnalysisStatus
        By name.
    letters : list of Letter
        Dead letters of the run that are not settled.
    """

    run_uid: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    state: str = "unread"
    stop_reason: str = ""
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)
    analyses: list[AnalysisStatus] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "run_uid": self.run_uid,
            **self.facts,
            "state": self.state,
            "stop_reason": self.stop_reason,
            "streams": self.streams,
            "analyses": [asdict(analysis) for analysis in self.analyses],
            "dead_letters": [letter_json(letter) for letter in self.letters],
        }


def run_status(
    run_uid: str, raw: RawRun | None, results: Collection[PublishedRun], letters: Iterable[Letter]
) -> RunStatus:
    """Say how far a run is.

    Parameters
    ----------
    run_uid : str
        The raw run.
    raw : RawRun or None
        What the raw topic has of it.
    results : collection of PublishedRun
        Its result runs.
    letters : iterable of Letter
        Dead letters that are not settled.
    """
    status = RunStatus(run_uid, letters=[letter for letter in letters if letter.run_uid == run_uid])
    if raw is not None:
        _describe(status, raw)
    elif results:
        status.facts = next(iter(results)).facts
    for first in (run for run in results if not run.supplements):
        rest = [run for run in results if run.supplements == first.uid]
        status.analyses.append(_analysis(first, rest, raw, status.letters))
    status.analyses.sort(key=lambda a: (a.analysis, a.version, a.result_uid))
    return status


def _describe(status: RunStatus, raw: RawRun) -> None:
    status.facts = raw.facts
    if raw.stop is not None:
        status.state = str(raw.stop.get("exit_status", "stopped"))
        status.stop_reason = str(raw.stop.get("reason") or "")
    elif raw.whole:
        status.state = "open"
    for name, stream in raw.streams.items():
        status.streams[name] = {
            "seen": len(stream.seen),
            "announced": raw.announced(name) if raw.stop is not None else None,
            "newest_s": stream.newest_s or None,
        }


def _analysis(
    first: PublishedRun, rest: Sequence[PublishedRun], raw: RawRun | None, letters: Iterable[Letter]
) -> AnalysisStatus:
    mine = [letter for letter in letters if first.analysis in letter.analyses]
    runs, late = (first, *rest), _late(first, rest)
    stopped = first.stop is not None
    expected = _expected(first, raw)
    failed = first.count("failed") if stopped else len(_failed_so_far(mine, first))
    dropped = first.count("dropped") if stopped else None
    left = max(0, expected - len(first.done) - failed - (dropped or 0))
    return AnalysisStatus(
        analysis=first.analysis,
        version=first.version,
        result_uid=first.uid,
        supplements=[run.uid for run in rest],
        state=str((first.stop or {}).get("exit_status", "stopped")) if stopped else "running",
        expected=expected,
        done=len(first.done),
        late=len(late),
        failed=max(0, failed - len(late)),
        dropped=dropped,
        waiting=0 if stopped else left,
        missing=left if stopped else 0,
        in_domain=sum(run.in_domain for run in runs),
        newest_seq_num=first.newest[0] if first.newest else None,
        newest_s=first.newest[1] if first.newest else None,
        behind_s=None if stopped else _behind_s(first, raw),
        latency_p50_ms=_percentile(runs, 50.0),
        latency_p95_ms=_percentile(runs, 95.0),
        models={name: sum(run.models[name] for run in runs) for run in runs for name in run.models},
        reasons=[
            {"outcome": outcome, "reason": reason, "count": count, "first_seq_nums": numbers}
            for outcome in ("failed", "dropped")
            for reason, count, numbers in first.reasons(outcome)
        ],
        dead_letters=len(mine),
    )


def _expected(first: PublishedRun, raw: RawRun | None) -> int:
    if first.stop is not None or raw is None:
        return max(first.count("expected"), len(first.done))
    return len(raw.expected(first.stream, first.key))


def _late(first: PublishedRun, rest: Sequence[PublishedRun]) -> SeqNums:
    late = SeqNums()
    for run in rest:
        for start, stop in run.done:
            for gap in first.done.gaps(start, stop):
                late.add(*gap)
    return late


def _failed_so_far(letters: Iterable[Letter], first: PublishedRun) -> set[int]:
    """Return the readings that the dead letters name as failed."""
    frames = (letter for letter in letters if letter.kind == "frame")
    return {n for letter in frames for n in letter.seq_nums if n not in first.done}


def _behind_s(first: PublishedRun, raw: RawRun | None) -> float | None:
    stream = raw.streams.get(first.stream) if raw is not None else None
    if stream is None or not stream.newest_s or first.newest is None:
        return None
    return max(0.0, stream.newest_s - first.newest[1])


def _percentile(runs: Sequence[PublishedRun], percent: float) -> float | None:
    values = np.concatenate([np.asarray(run.latencies_ms) for run in runs])
    return float(np.percentile(values, percent)) if values.size else None
