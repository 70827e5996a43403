"""judge: every reading of a raw run held against the events and the ledger of its result runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamproc.audit.findings import Findings
from streamproc.audit.published import PublishedRun
from streamproc.audit.raw import RawRun
from streamproc.audit.report import RunAudit
from streamproc.results import is_interrupted
from streamproc.runs.seen import SeqNums

__all__ = ["judge"]

_COUNTS = ("done", "failed", "dropped")
_MOST_LISTED = 8
_MANY = 2**31


@dataclass(slots=True)
class _Case:
    """A result run, what supplements it, and the raw run they answer."""

    raw: RawRun | None
    first: PublishedRun
    supplements: Sequence[PublishedRun]
    findings: Findings
    due_s: float
    """What ended before this (Unix s) must be answered."""

    @property
    def over(self) -> bool:
        """Whether the raw run ended long enough ago for everything to be answered."""
        return self.raw is not None and self.raw.stop is not None and self.raw.stop_s <= self.due_s

    def tell(self, kind: str, expected: str, got: str, **more: Any) -> None:
        """Add a finding about the first result run."""
        self.findings.add(self.first.finding(kind, expected, got, **more))


def judge(
    raw: RawRun | None,
    first: PublishedRun,
    supplements: Sequence[PublishedRun],
    findings: Findings,
    *,
    due_s: float,
) -> RunAudit:
    """Compare a result run, with what supplements it, and the raw run; differences go to ``findings``.

    Parameters
    ----------
    raw : RawRun or None
        None where the raw topic does not have it.
    first, supplements
        The result runs; everything that could be compared event by event has been.
    findings : Findings
        Where differences go.
    due_s : float
        Every answer to a raw run that ended before this time (Unix s) must be there.
    """
    case = _Case(raw, first, supplements, findings, due_s)
    for run in (first, *supplements):
        _check_itself(case, run)
    for run in supplements:
        if run.stop is None and (run.published_s or 0.0) <= due_s:
            findings.add(run.finding("no-stop", "a stop of the supplementary run", "none"))
    row = RunAudit(first.raw_uid, first.uid, first.analysis, first.version)
    row.supplements = tuple(s.uid for s in supplements)
    row.done, row.doubled = len(first.done), len(_doubled(case))
    row.reasons = {r: n for name in ("failed", "dropped") for r, n, _ in first.reasons(name)}
    row.failed, row.dropped = first.count("failed"), first.count("dropped")
    if raw is None or not raw.whole:
        row.state, row.expected = "unread", first.count("expected")
    else:
        _compare(case, raw, row)
    return row


# -- a result run by itself -------------------------------------------------------------------------------


def _check_itself(case: _Case, run: PublishedRun) -> None:
    if run.disordered is not None:
        before, after = run.disordered
        case.findings.add(
            run.finding("order", f"a seq_num above {before}", str(after), severity="info", seq_num=after)
        )
    if run.stop is None:
        return
    announced = run.stop.get("num_events")
    counts = {k: v for k, v in announced.items() if v} if isinstance(announced, Mapping) else {}
    if counts != dict(run.events):
        case.findings.add(run.finding("num-events", _listed(run.events), _listed(counts)))
    _check_ledger(case, run)


def _check_ledger(case: _Case, run: PublishedRun) -> None:
    def tell(expected: str, got: str, **more: Any) -> None:
        case.findings.add(run.finding("ledger", expected, got, **more))

    if not run.ledger:
        tell("a ledger of stream primary in the stop", "none")
        return
    counts = {name: run.count(name) for name in ("expected", *_COUNTS)}
    if counts["expected"] != sum(counts[name] for name in _COUNTS):
        tell("expected = done + failed + dropped", _listed(counts))
    if counts["done"] != len(run.done):
        tell(f"done {len(run.done)}, as there are events", str(counts["done"]))
    for name in ("failed", "dropped"):
        reasons = run.reasons(name)
        named = sum(count for reason, count, _ in reasons if reason)
        if named != counts[name]:
            tell(f"reasons for {counts[name]} {name} reading(s)", f"reasons for {named}")
        for reason, _, numbers in reasons:
            for seq_num in numbers:
                if seq_num in run.done:
                    got = f"an event, and in the ledger: {name}, {reason}"
                    tell("an event or a place in the ledger", got, seq_num=seq_num, stream="primary")


# -- against the raw run ----------------------------------------------------------------------------------


def _compare(case: _Case, raw: RawRun, row: RunAudit) -> None:
    first = case.first
    readings = raw.expected(first.stream, first.key)
    row.expected, row.state = len(readings), "stopped" if raw.stop is not None else "open"
    _check_copies(case, raw)
    _check_unfounded(case, readings)
    late = _late(case)
    silent = _without(readings, first.done)
    if first.stop is not None:
        _check_accounts(case, row, silent, late)
    elif case.over:
        case.tell("no-stop", "a stop, as the raw run has one", "none")
        row.failed = row.dropped = 0
        row.late = len(late)
        _tell_lost(case, row, _without(silent, late))
    else:
        row.late, row.waiting = len(late), len(_without(silent, late))


def _check_accounts(case: _Case, row: RunAudit, silent: SeqNums, late: SeqNums) -> None:
    """Hold the readings without an event against what the stop's ledger says of them."""
    first = case.first
    failed, dropped = first.count("failed"), first.count("dropped")
    if first.count("expected") != row.expected:
        case.tell("ledger", f"expected {row.expected}, as the raw run has", str(first.count("expected")))
    unaccounted = len(silent) - failed - dropped
    late_of_silent = _common(silent, late)
    row.late = len(late_of_silent)
    # A late answer is one that the first result run counts as failed or, where nothing failed, as dropped.
    row.failed = max(0, failed - row.late)
    row.dropped = max(0, dropped - max(0, row.late - failed))
    if unaccounted > 0:
        _tell_lost(case, row, _not_named(case, silent, late), unaccounted)
    elif unaccounted < 0:
        got = f"{failed} failed and {dropped} dropped"
        case.tell("ledger", f"{len(silent)} reading(s) without an event failed or dropped", got)


def _not_named(case: _Case, silent: SeqNums, late: SeqNums) -> SeqNums:
    """Return the readings without event that the ledger does not name (it names the first of each reason)."""
    left = _without(silent, late)
    for name in ("failed", "dropped"):
        for _, _, numbers in case.first.reasons(name):
            for seq_num in numbers:
                left.remove(seq_num, seq_num + 1)
    return left


def _tell_lost(case: _Case, row: RunAudit, among: SeqNums, count: int | None = None) -> None:
    """Name the lost readings, or where only their number is certain, the readings they are among."""
    count = len(among) if count is None else min(count, len(among))
    row.lost = count
    expected = "an event or a place in the ledger"
    if count == len(among):
        for start, stop in among:
            known = (case.first.unanswered.get(n) for n in dict.fromkeys((start, stop - 1)))
            at = tuple(position for position in known if position is not None)
            numbers = {"seq_num": start, "last_seq_num": stop - 1}
            case.tell("lost", expected, "neither", stream="primary", positions=at, **numbers)
    else:
        got = f"neither for {count} of the {len(among)} readings {_ranges(among)}"
        case.tell("lost", expected, got, stream="primary")


def _check_unfounded(case: _Case, readings: SeqNums) -> None:
    for run in (case.first, *case.supplements):
        # What is left here was compared with nothing: the raw run brought no such reading.
        for seq_num, answer in sorted(run.answers.items()):
            exists = seq_num in readings
            if exists and run is not case.first:
                continue  # a late answer may rest on a document that came after the raw run's stop
            got = "one whose raw documents never came together" if exists else "one it does not have"
            case.findings.add(
                run.finding(
                    "unfounded", "an event for a reading of the raw run", got,
                    stream="primary", seq_num=seq_num, positions=(answer.position,),
                )
            )  # fmt: skip


def _check_copies(case: _Case, raw: RawRun) -> None:
    for run in (case.first, *case.supplements):
        for name in ("time", "scan_id"):
            # Compared as text: a scan_id may be anything.
            got = repr(run.facts.get(name))
            if name in raw.facts and run.started and got != repr(raw.facts[name]):
                case.findings.add(run.finding("unlike", f"start.{name} {raw.facts[name]!r}", got))
    stop = case.first.stop
    # A run that the service closed by itself says so, and its end is not the raw run's.
    closed_by_service = str((stop or {}).get("reason", "")).startswith("raw run:")
    if stop is None or raw.stop is None or closed_by_service or is_interrupted(stop):
        return
    if stop.get("time") != raw.stop["time"]:
        case.tell("unlike", f"stop.time {raw.stop['time']!r}", repr(stop.get("time")))


def _late(case: _Case) -> SeqNums:
    late = SeqNums((), _MANY)
    for run in case.supplements:
        for start, stop in run.done:
            late.add(start, stop)
    return _without(late, case.first.done)


def _doubled(case: _Case) -> SeqNums:
    """Return the readings answered more than once, within a result run or across what supplements it."""
    doubled, done = SeqNums(case.first.doubled, _MANY), SeqNums(case.first.done, _MANY)
    for run in case.supplements:
        for start, stop in run.doubled:
            doubled.add(start, stop)
        for start, stop in run.done:
            for low, high in done.overlap(start, stop):
                doubled.add(low, high)
                case.findings.add(
                    run.finding(
                        "doubled", "a late answer only for a reading without one",
                        f"one that result run {case.first.uid} or another supplement has as well",
                        stream="primary", seq_num=low, last_seq_num=high - 1,
                    )
                )  # fmt: skip
            done.add(start, stop)
    return doubled


def _without(numbers: SeqNums, others: SeqNums) -> SeqNums:
    return SeqNums((gap for start, stop in numbers for gap in others.gaps(start, stop)), _MANY)


def _common(numbers: SeqNums, others: SeqNums) -> SeqNums:
    return SeqNums((part for start, stop in numbers for part in others.overlap(start, stop)), _MANY)


def _ranges(numbers: SeqNums) -> str:
    parts = [str(a) if b - a == 1 else f"{a}-{b - 1}" for a, b in numbers]
    more = len(parts) - _MOST_LISTED
    return ", ".join(parts[:_MOST_LISTED]) + (f" and {more} more ranges" if more > 0 else "")


def _listed(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
