from __future__ import annotations

import math
from pathlib import Path

import pytest

from streamproc.dashboard.state import Ledger, Point, RunView
from streamproc.demo.acquisition import write_truth
from streamproc.demo.sample import PHASES, grid_points
from streamproc.demo.summary import read_truth, summarise, summary_lines

TRUTH = {1: {"a": 0.3, "b": 0.7}, 2: {"a": 0.5, "b": 0.5}}


def _point(seq_num: int, a: float, half: float) -> Point:
    values = {"a": a, "b": 1 - a}
    intervals = {k: (v - half, v + half) for k, v in values.items()}
    return Point(seq_num, (), values, dict.fromkeys(values, 0.01), intervals, True, "", 20.0 * seq_num)


def _run(*points: Point) -> RunView:
    run = RunView("result", "raw", model="m 1", count=len(points), ledger=Ledger(2, len(points), 0, 0))
    run.points.update({p.seq_num: p for p in points})
    run.latencies_ms.extend(p.latency_ms for p in points if p.latency_ms is not None)
    return run


def test_the_summary_holds_what_json_promises() -> None:
    summary = summarise(
        _run(_point(1, 0.32, 0.03), _point(2, 0.46, 0.03)), TRUTH, elapsed_s=0.5, storage="hdf5"
    )
    assert summary["points"] == 2
    assert summary["ledger"] == {"expected": 2, "done": 2, "failed": 0, "dropped": 0}
    assert summary["latency_ms"] == pytest.approx({"p50": 30.0, "p95": 39.0, "p99": 39.8})
    assert summary["frames_per_s"] == 4.0
    assert summary["accuracy"]["fraction_mae"] == pytest.approx(0.03)
    assert summary["accuracy"]["coverage90"] == 0.5
    assert summary["accuracy"]["phases"]["a"] == {"mae": pytest.approx(0.03), "coverage90": 0.5}
    assert (summary["result_run_uids"], summary["model"], summary["storage"]) == (["result"], "m 1", "hdf5")


def test_missing_answers_and_abstentions_are_left_out_of_the_accuracy() -> None:
    abstained = Point(2, (), {"a": math.nan, "b": math.nan}, {}, {}, False, "unknown", None)
    summary = summarise(_run(_point(1, 0.3, 0.1), abstained), TRUTH, elapsed_s=1.0)
    assert summary["accuracy"]["fraction_mae"] == pytest.approx(0.0)
    empty = summarise(_run(), TRUTH, elapsed_s=0.0)
    assert empty["accuracy"]["fraction_mae"] is None
    assert empty["frames_per_s"] is None
    assert any("0 of 2 points answered" in line for line in summary_lines(empty))


def test_truth_is_read_back_as_written(tmp_path: Path) -> None:
    points = grid_points(5, seed=2)
    write_truth(tmp_path / "truth.json", points, 2)
    assert read_truth(tmp_path / "truth.json") == {
        p.index + 1: dict(zip(PHASES, p.fractions, strict=True)) for p in points
    }
