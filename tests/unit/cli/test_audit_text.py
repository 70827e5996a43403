"""What people read of an audit, and how its options are taken."""

from __future__ import annotations

import time

import click
import pytest

from streamproc.audit import AuditReport, Finding, Findings, RunAudit
from streamproc.cli import main
from streamproc.cli.audit import report_lines
from streamproc.cli.reading import parse_since
from streamproc.errors import ConfigurationError


def report(runs, findings=()):
    kept = Findings()
    for finding in findings:
        kept.add(finding)
    for run in runs:
        run.faults = kept.faults[run.run_uid]
    return AuditReport(tuple(runs), kept, (), {"raw_messages": 5, "result_messages": 4})


def text(*arguments):
    return click.unstyle("\n".join(report_lines(report(*arguments))))


def test_the_table_has_a_line_for_each_run_and_the_verdict_comes_last():
    runs = [
        RunAudit("0a1b2c3d-4e5f-0000", "r", "toy", scan_id=7, expected=4, done=4),
        RunAudit("short", "s", "toy", expected=5, done=3, failed=2),
    ]
    lines = text(runs).splitlines()
    assert lines[0].split()[:4] == ["run", "scan", "analysis", "expected"]
    assert lines[1].split() == ["0a1b2c3d", "7", "toy", "4", "4", "0", "0", "0", "0", "0", "0", "complete"]
    assert lines[2].endswith("accounted for")
    assert lines[-1].startswith("no difference in 2 run(s), 9 reading(s): 2 failed and 0 dropped")


def test_uids_are_shown_as_far_as_it_takes_to_tell_the_runs_apart():
    said = text([RunAudit("0a1b2c3d-4e5f-1", "", "toy"), RunAudit("0a1b2c3d-4e5f-2", "", "toy")])
    assert "0a1b2c3d-4e5f-1 " in said
    assert "0a1b2c3d-4e5f-2 " in said


def test_runs_that_differ_and_faults_come_first():
    runs = [RunAudit("good", "", "toy"), RunAudit("bad", "", "toy", lost=1)]
    findings = [
        Finding("order", "a", "b", "info", run_uid="good"),
        Finding("lost", "an event", "neither", run_uid="bad", seq_num=3, last_seq_num=5),
    ]
    said = text(runs, findings)
    assert said.index("bad") < said.index("good")
    assert said.index("fault  lost: expected an event, got neither [run bad, seq_num 3-5]") < said.index(
        "order"
    )
    assert "1 difference(s), in 1 of 2 run(s)" in said


def test_long_lists_are_cut_and_say_how_many_more_there_are():
    runs = [RunAudit(f"run{n}", "", "toy") for n in range(130)]
    findings = [Finding("lost", "x", "y", run_uid="run3", seq_num=n) for n in range(100)]
    said = text(runs, findings)
    assert "and 30 more runs" in said
    assert "and 60 more (--json lists them)" in said
    assert len(said.splitlines()) < 150


def test_nothing_to_compare_is_said():
    assert "no run with frames and no result run" in text([])


def test_since_takes_seconds_ago_or_a_time():
    assert parse_since(None) is None
    assert parse_since("3600") == pytest.approx(time.time() - 3600, abs=5)
    assert parse_since("2026-01-31T18:00:00+00:00") == 1769882400.0
    with pytest.raises(ConfigurationError, match="expected an age"):
        parse_since("yesterday")


@pytest.mark.parametrize("arguments", [[], ["--all", "--run", "abcdef12"]])
def test_either_one_run_or_all_must_be_asked_for(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["audit", *arguments])
    assert ended.value.code == 2
    assert "--run UID or --all" in capsys.readouterr().err
