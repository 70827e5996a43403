from __future__ import annotations

from streamproc.torture.table import table


def report(**changed):
    sound = {
        "passed": True,
        "problems": [],
        "seed": 7,
        "duration_s": 61.4,
        "faults": {"count": 3, "by_kind": {"kill": 2, "cut": 1}},
        "restarts": {"count": 2, "answered": 2, "interrupted": 0, "median_s": 3.94, "slowest_s": 4.06},
        "exits": {"-9": 2, "3": 1, "0": 2},
        "log_events": {"partition taken over": 9},
        "frames": {
            "runs": 8, "runs_by_storage": {"inline": 5, "hdf5": 3}, "raw_documents": 199, "raw_repeated": 1,
            "answered": 100, "produced": 100, "lost": 0, "doubled": 0, "failed": 0,
        },
        "audit": {"totals": {"lost": 0, "doubled": 0}},
        "dead_letters": 0,
        "latency_ms": {"p50": 21.6, "max": 6200.0},
        "longest_waits": [{"latency_ms": 6200.0, "run_uid": "0a1b2c3d4e5f", "seq_num": 3, "published_s": 12.04}],
        "longest_silence_s": 2.5,
        "memory": {"a": {"first_mb": 260.2, "last_mb": 261.4, "flat": True, "samples": 100}},
        "machine": {"cores": 2, "load_median": 1.25},
    }  # fmt: skip
    return sound | changed


def row(lines, name):
    return next(line.removeprefix(name).strip() for line in lines if line.startswith(name))


def test_a_report_is_one_line_per_matter():
    lines = table(report())
    assert row(lines, "faults") == "3 in 61 s: 2 kill, 1 cut"
    assert row(lines, "restarts") == "2, answering after 3.9 s (median), 4.1 s (slowest)"
    assert row(lines, "exits") == "2 SIGKILL, 1 with code 3, 2 clean"
    assert row(lines, "latency") == "p50 22 ms, max 6.2 s"
    assert row(lines, "longest") == "6.2 s from 12.0 s on (run 0a1b2c3d, reading 3)"
    assert row(lines, "memory") == "a: 260 to 261 MiB"
    assert row(lines, "verdict") == "passed"


def test_what_speaks_against_it_stands_below_the_verdict():
    lines = table(report(passed=False, problems=["2 readings have no event", "one restart beyond the limit"]))
    assert row(lines, "verdict") == "FAILED"
    assert [line.strip() for line in lines[-2:]] == [
        "2 readings have no event",
        "one restart beyond the limit",
    ]


def test_what_could_not_be_measured_is_not_made_up():
    nothing = {"count": 0, "answered": 0, "interrupted": 0, "median_s": None, "slowest_s": None}
    lines = table(
        report(
            restarts=nothing,
            exits={},
            latency_ms={"p50": None},
            longest_waits=[],
            memory={"a": {"first_mb": None, "last_mb": None, "flat": None, "samples": 0}},
            machine={"cores": 2, "load_median": None},
        )
    )
    assert row(lines, "restarts") == "0"
    assert row(lines, "exits") == "none"
    assert row(lines, "latency") == "p50 -"
    assert row(lines, "longest") == "-"
    assert row(lines, "memory") == "a: not measured"
    assert row(lines, "machine") == "2 cores"
