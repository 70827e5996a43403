"""``streamproc audit``: raw and result documents compared, one by one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from streamproc.audit import Audit, AuditReport, Finding, ResultIndex, RunAudit
    from streamproc.cli.reading import Found, Topics

__all__ = ["audit_command", "report_lines"]

_COLUMNS = ("expected", "done", "failed", "dropped", "late", "lost", "doubled", "waiting")
_MOST_RUNS = 100
_MOST_FINDINGS = 40


@click.command("audit")
@click.option(
    "--run", "run_uid", metavar="UID", help="This run: uid, or its beginning, of raw or result run."
)
@click.option("--all", "every", is_flag=True, help="Every run in the topics.")
@click.option("--analysis", metavar="NAME", help="Only this analysis: each run with frames must have it.")
@click.option(
    "--since", metavar="WHEN", help="With --all: what came since: 30m, 2h, 3d, or 2026-01-31[T12:00[+01:00]]."
)
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long after a raw run's stop its answers may be missing.",
)
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with everything.")
def audit_command(
    run_uid: str | None,
    every: bool,
    analysis: str | None,
    since: str | None,
    grace_s: float,
    config: Path | None,
    bootstrap: str | None,
    beamline: str | None,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Compare the raw topic and the results topic, document by document; no service need run.

    Every reading of a raw run must have one result event, or a place in the ledger of the result run's stop.
    Times, motor readings, uids, counts and event-model's schema are compared as well. A reading that failed
    and that the ledger names is counted and no difference; an open run is reported as open.

    \b
    Examples:
      streamproc audit --run 3f2a91c4 --config beamline.toml
      streamproc audit --all --since 86400 --json

    Exit codes: 0 no difference, 1 a difference, 2 no such run, no broker or no topic.
    """
    from streamproc.cli.reading import Topics, parse_since
    from streamproc.cli.wiring import settings_of
    from streamproc.errors import ConfigurationError

    if every == bool(run_uid):
        raise ConfigurationError("give either --run UID or --all")
    since_s = parse_since(since)
    topics = Topics(settings_of(config, bootstrap, beamline), timeout_s)
    if run_uid:
        report = _audit_one(topics, run_uid, analysis, grace_s)
    else:
        report = _audit_all(topics, analysis, grace_s, since_s)
    if as_json:
        click.echo(json.dumps(report.to_json(), default=str, indent=2))
    else:
        click.echo("\n".join(report_lines(report)))
    return 1 if report.differs else 0


def _audit_all(topics: Topics, analysis: str | None, grace_s: float, since_s: float | None) -> AuditReport:
    from streamproc.audit import Audit

    now_s = time.time()
    with topics.reader("results", since_s) as results:
        audit = Audit(
            analysis=analysis,
            now_s=now_s,
            grace_s=grace_s,
            repeats_allowed=topics.at_least_once,
            whole_results=results.whole,
        )
        audit.results(results.documents())
    with topics.reader("raw", since_s) as raw:
        audit.raw(raw.documents(), whole=raw.whole)
    audit.letters(topics.letters())
    return audit.report()


def _audit_one(topics: Topics, uid: str, analysis: str | None, grace_s: float) -> AuditReport:
    from streamproc.audit import ResultIndex
    from streamproc.errors import ConfigurationError

    index = ResultIndex()
    found = topics.find(uid, index)
    # By the clock of the acquisition first; the whole topic only where that does not lead to the start.
    for since_s in dict.fromkeys((found.raw_since_s, None)):
        audit = _compare(topics, found, since_s, index, analysis, grace_s)
        if audit.has_start(found.run_uid):
            break
    audit.letters(topics.letters())
    report = audit.report()
    if not report.differs and not audit.has_start(found.run_uid):
        raise ConfigurationError(
            f"run {found.run_uid}: its start is not in {topics.settings.topic('raw')} any more, "
            "so there is nothing to compare its results with"
        )
    return report


def _compare(
    topics: Topics,
    found: Found,
    since_s: float | None,
    index: ResultIndex,
    analysis: str | None,
    grace_s: float,
) -> Audit:
    from streamproc.audit import Audit

    audit = Audit(
        analysis=analysis,
        only={found.run_uid},
        now_s=time.time(),
        grace_s=grace_s,
        repeats_allowed=topics.at_least_once,
        index=index,
    )
    if found.results_since_s is not None:
        with topics.reader("results", found.results_since_s) as results:
            audit.results(results.documents())
    with topics.reader("raw", since_s) as raw:
        audit.raw(raw.documents(), whole=raw.whole)
    return audit


# -- for people -------------------------------------------------------------------------------------------


def report_lines(report: AuditReport) -> Iterator[str]:
    """Yield the lines that people read: a table of runs, the differences, the verdict."""
    if not report.runs:
        yield "no run with frames and no result run"
    else:
        yield from _table(report)
    kept = sorted(report.findings.kept, key=lambda f: f.severity != "fault")
    if kept:
        yield ""
    yield from (_line(finding) for finding in kept[:_MOST_FINDINGS])
    more = len(kept) + report.findings.more - _MOST_FINDINGS
    if more > 0:
        yield f"and {more} more (--json lists them)"
    yield ""
    yield _verdict(report)


def _table(report: AuditReport) -> Iterator[str]:
    runs = sorted(report.runs, key=lambda run: run.verdict != "differs")
    shown = _uid_chars([run.run_uid for run in runs])
    rows = [_row(run, shown) for run in runs[:_MOST_RUNS]]
    head = ["run", "scan", "analysis", *_COLUMNS, "verdict"]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [
            cell.rjust(width) if name in _COLUMNS else cell.ljust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()
    if len(runs) > _MOST_RUNS:
        yield f"and {len(runs) - _MOST_RUNS} more runs (--json lists them)"


def _uid_chars(uids: list[str]) -> int:
    """Return how many characters of the uids tell the runs apart, at least 8."""
    longest = max(map(len, uids))
    return next((n for n in range(8, longest) if len({u[:n] for u in uids}) == len(set(uids))), longest)


def _row(run: RunAudit, shown: int) -> list[str]:
    uid = run.run_uid[:shown]
    scan = "" if run.scan_id is None else str(run.scan_id)[:12]
    return [uid, scan, run.analysis or "-", *(str(getattr(run, name)) for name in _COLUMNS), run.verdict]


def _line(finding: Finding) -> str:
    mark = click.style("fault", fg="red") if finding.severity == "fault" else "info "
    return f"{mark}  {finding}"


def _verdict(report: AuditReport) -> str:
    totals = report.totals()
    differ = sum(run.verdict == "differs" for run in report.runs)
    named = f"{totals['failed']} failed and {totals['dropped']} dropped with a reason in the ledger"
    read = f"{report.counts['raw_messages']} raw and {report.counts['result_messages']} result messages read"
    if report.differs:
        faults = sum(report.findings.faults.values())
        return f"{faults} difference(s), in {differ} of {len(report.runs)} run(s); {named}; {read}"
    return f"no difference in {len(report.runs)} run(s), {totals['expected']} reading(s): {named}; {read}"
