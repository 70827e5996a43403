"""What `streamproc replay` prints, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from streamproc.replay.verdict import FieldVerdict, Verdict
from streamproc.transports.archive.ports import RunRef

if TYPE_CHECKING:
    from streamproc.cli.replaying import Done

__all__ = ["listing_lines", "outcome_json", "outcome_lines"]

_COLOURS = {
    "complete": "green",
    "interrupted": "yellow",
    "unfinished": "yellow",
    "damaged": "red",
    "refused": "red",
    "hangs": "red",
}
_MARKS = {"equal bytes": "green", "equal values": "cyan", "not kept": "yellow", "differs": "red"}


def listing_lines(runs: Sequence[RunRef]) -> Iterator[str]:
    """Yield a line for each run."""
    yield f"{'uid':<36}  {'scan_id':>8}  {'begun':<19}  {'plan':<16}  events"
    for run in runs:
        counts = (run.stop or {}).get("num_events") or {}
        events = ", ".join(f"{k} {v}" for k, v in counts.items()) if run.stop else "no stop"
        begun = datetime.fromtimestamp(run.time_s).isoformat(" ", "seconds")
        scan_id = "" if run.scan_id is None else run.scan_id
        yield f"{run.uid:<36}  {scan_id:>8}  {begun:<19}  {run.plan_name[:16]:<16}  {events}"


def outcome_lines(done: Done) -> Iterator[str]:
    """Yield what is to be said of a run."""
    outcome, ledger = done.outcome, done.outcome.ledger
    ending = click.style(outcome.ending, fg=_COLOURS[outcome.ending])
    counts = ", ".join(f"{ledger[k]} {k}" for k in ("expected", "done", "failed", "dropped"))
    yield f"run {outcome.run_uid} (scan_id {done.run.scan_id}): {ending}: {counts}"
    if outcome.reason:
        yield f"  {outcome.reason}"
    for kind in ("failed", "dropped"):
        for row in ledger.get(f"{kind}_reasons", ()):
            first = ", ".join(map(str, row["first_seq_nums"][:3]))
            more = ", ..." if row["count"] > 3 else ""
            yield f"  {row['count']} {kind} (seq_num {first}{more}): {row['reason']}"
    yield f"  result run {outcome.result_uid or 'none'}: {outcome.documents} documents{_pace(done)}"
    for note in outcome.notes:
        yield f"  note: {note}"
    if done.uncompared:
        yield f"  {click.style(done.uncompared, fg='red')}"
    if done.verdict is not None:
        yield from verdict_lines(done.verdict)


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Yield the comparison as a table, a line per field."""
    colour = "green" if verdict.equal else "red"
    yield f"  {click.style(verdict.words(), fg=colour)}"
    width = max((len(f.name) for f in verdict.fields), default=0)
    for one in verdict.fields:
        yield from _field_lines(one, width)
    for title, names in (("missing", verdict.missing), ("too many", verdict.extra)):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            yield f"    {title}: {', '.join(names[:5])}{more}"


def _field_lines(one: FieldVerdict, width: int) -> Iterator[str]:
    kind = click.style(f"{one.kind:<12}", fg=_MARKS[one.kind])
    yield f"    {one.name:<{width}}  {kind}  {one.documents - one.differing}/{one.documents}"
    if one.kind != "equal bytes":
        yield f"    {'':<{width}}  {one.example}; {one.why}"


def _pace(done: Done) -> str:
    outcome = done.outcome
    rate = outcome.frames / outcome.elapsed_s if outcome.elapsed_s else 0.0
    paced = ""
    if outcome.late_p95_s is not None and outcome.taken_p95_s is not None:
        late_ms, taken_ms = outcome.late_p95_s * 1000, outcome.taken_p95_s * 1000
        paced = f", times kept within {late_ms:.1f} ms, taken within {taken_ms:.1f} ms (p95)"
    return f", {outcome.frames} frames in {outcome.elapsed_s:.1f} s, {rate:.1f} frames/s{paced}"


def outcome_json(done: Done) -> dict[str, Any]:
    """Return all of it as plain values."""
    outcome = {k: getattr(done.outcome, k) for k in done.outcome.__slots__}
    verdict = None
    if done.verdict is not None:
        found = done.verdict
        verdict = {
            "verdict": found.words(), "identical": found.identical, "equal": found.equal,
            "fields": [asdict(one) for one in found.fields], "missing": found.missing, "extra": found.extra,
        }  # fmt: skip
    return {
        **outcome,
        "scan_id": done.run.scan_id,
        "good": done.good,
        "verify": verdict,
        "uncompared": done.uncompared,
    }
