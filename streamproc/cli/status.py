"""``streamproc status``: how far the analyses of one run are, read from the topics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from streamproc.audit.published import ResultIndex
    from streamproc.audit.status import AnalysisStatus, RunStatus
    from streamproc.cli.reading import Found, Topics

__all__ = ["status_command", "status_lines"]

_MOST_REASONS = 10


@click.command("status")
@click.argument("run_uid")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("--bootstrap", metavar="HOST:PORT", help="Broker; overrides the file.")
@click.option("--beamline", metavar="NAME", help="Short name that begins every topic; overrides the file.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Deadline for reading one topic.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status_command(
    run_uid: str,
    config: Path | None,
    bootstrap: str | None,
    beamline: str | None,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Say how far the analyses of a run are: readings done, failed, dropped, waiting, and the latency.

    RUN_UID is the uid of the raw or of a result run; its first six characters are enough where they are
    unique among the runs that have results. Read from the topics; no service need run.

    \b
    Example:
      streamproc status 3f2a91 --config beamline.toml

    Exit codes: 0 found, 2 no such run (or several: they are listed), no broker or no topic.
    """
    from streamproc.cli.reading import Topics
    from streamproc.cli.wiring import settings_of

    status = _status(Topics(settings_of(config, bootstrap, beamline), timeout_s), run_uid)
    if as_json:
        click.echo(json.dumps(status.to_json(), default=str, indent=2))
    else:
        click.echo("\n".join(status_lines(status)))
    return 0


def _status(topics: Topics, uid: str) -> RunStatus:
    from streamproc.audit.published import ResultIndex
    from streamproc.audit.status import run_status

    index = ResultIndex()
    found = topics.find(uid, index)
    letters = topics.letters()
    # By the clock of the acquisition first; the whole topic only where that does not lead to the start.
    for since_s in dict.fromkeys((found.raw_since_s, None)):
        book, raw = _read(topics, found, since_s, index)
        if raw is not None and raw.whole:
            break
    return run_status(found.run_uid, raw, list(book.runs.values()), letters)


def _read(topics: Topics, found: Found, since_s: float | None, index: ResultIndex) -> tuple[Any, Any]:
    """Return the result runs, and what the raw topic has of the run up to its stop."""
    from streamproc.audit.book import ResultBook
    from streamproc.audit.findings import Findings
    from streamproc.audit.raw import RawBook

    findings = Findings(most=0)
    book = ResultBook(findings, index, {found.run_uid})
    if found.results_since_s is not None:
        with topics.reader("results", found.results_since_s) as results:
            for message in results.documents():
                book.feed(message)
    raw = RawBook(book, findings, {found.run_uid})
    with topics.reader("raw", since_s) as reader:
        for message in reader.documents():
            raw.feed(message)
            known = raw.runs.get(found.run_uid)
            if known is not None and known.stop is not None:
                break
    raw.finish()
    return book, raw.runs.get(found.run_uid)


# -- for people -------------------------------------------------------------------------------------------


def status_lines(status: RunStatus) -> Iterator[str]:
    """Yield the lines that people read."""
    facts = status.facts
    about = [str(facts[k]) for k in ("plan_name", "sample") if facts.get(k)]
    if facts.get("scan_id") is not None:
        about.insert(0, f"scan {facts['scan_id']}")
    yield f"run {status.run_uid}" + (f"  ({', '.join(about)})" if about else "")
    reason = f": {status.stop_reason}" if status.stop_reason else ""
    begun = f"started {_clock(facts['time'])}, " if isinstance(facts.get("time"), int | float) else ""
    ends = {"open": "still open", "unread": "its documents are not in the raw topic any more"}
    planned = f", {facts['num_points']} readings planned" if facts.get("num_points") else ""
    yield f"  {begun}{ends.get(status.state, 'stopped, ' + status.state)}{reason}{planned}"
    for name, stream in status.streams.items():
        announced = "" if stream["announced"] is None else f" of {stream['announced']} announced"
        newest = f", newest {_clock(stream['newest_s'])}" if stream["newest_s"] else ""
        yield f"  stream {name}: {stream['seen']} readings seen{announced}{newest}"
    if not status.analyses:
        yield "  no result run"
    for analysis in status.analyses:
        yield from _analysis_lines(analysis)
    if status.letters:
        yield f"  dead letters: {len(status.letters)} not settled (`streamproc dlq list` shows them)"


def _analysis_lines(a: AnalysisStatus) -> Iterator[str]:
    yield f"  {a.analysis} {a.version}: result run {a.result_uid}, {a.state}"
    counts = [f"done {a.done} of {a.expected}", f"failed {a.failed}"]
    counts += [] if a.dropped is None else [f"dropped {a.dropped}"]
    counts += [f"late {a.late} (in {len(a.supplements)} supplementary run(s))"] if a.supplements else []
    counts += [f"waiting {a.waiting}"] if a.state == "running" else []
    counts += [f"missing {a.missing} (`streamproc audit --run` says which)"] if a.missing else []
    yield f"    {', '.join(counts)}; in domain {a.in_domain} of {a.done + a.late}"
    if a.newest_seq_num is not None and a.newest_s is not None:
        behind = "" if a.behind_s is None else f"; {a.waiting} reading(s), {a.behind_s:.1f} s behind"
        yield f"    newest answer: seq_num {a.newest_seq_num}, taken {_clock(a.newest_s)}{behind}"
    if a.latency_p50_ms is not None and a.latency_p95_ms is not None:
        yield f"    latency: median {a.latency_p50_ms:.0f} ms, 95 % below {a.latency_p95_ms:.0f} ms"
    for model, count in a.models.items():
        yield f"    model {model}: {count} answer(s)"
    for row in a.reasons[:_MOST_REASONS]:
        numbers = ", ".join(map(str, row["first_seq_nums"]))
        more = ", ..." if row["count"] > len(row["first_seq_nums"]) else ""
        yield f"    {row['outcome']} {row['count']}: {row['reason']} (seq_num {numbers}{more})"
    if len(a.reasons) > _MOST_REASONS:
        yield f"    and {len(a.reasons) - _MOST_REASONS} more reasons (--json lists them)"


def _clock(time_s: float) -> str:
    try:
        return datetime.fromtimestamp(time_s).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{time_s:g} s"
