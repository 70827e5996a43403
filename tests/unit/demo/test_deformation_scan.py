"""The demo's tensile test: within the model's ranges, reproducible, faults where the truth says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamproc.dashboard.state import Board
from streamproc.demo.deformation.experiment import Deformation, alarms_told, summarise, tables
from streamproc.demo.deformation.scan import (
    BEAM_COUNTS,
    CHANNELS_PER_MODULE,
    SATURATION,
    Camera,
    axis_deg,
    read_truth,
    tensile_test,
    write_truth,
)
from streamproc.demo.options import DemoOptions
from streamproc.demo.run import EXPERIMENTS
from streamproc.errors import ConfigurationError


@pytest.mark.parametrize("points", [1, 2, 11, 12, 40, 200])
def test_a_test_has_exactly_the_readings_asked_for(points: int) -> None:
    truth = tensile_test(points, 3)
    assert [s.seq_num for s in truth.steps] == list(range(1, points + 1))
    assert 1 <= truth.onset_seq_num <= points
    with pytest.raises(ValueError, match="at least 1"):
        tensile_test(0, 0)


def test_defects_grow_from_the_yield_point_on_and_stay_within_what_the_model_knows() -> None:
    for seed in range(60):
        truth = tensile_test(40, seed)
        before = [s for s in truth.steps if s.seq_num < truth.onset_seq_num]
        after = [s for s in truth.steps if s.seq_num >= truth.onset_seq_num]
        assert len({s.density_per_m2 for s in before}) == 1 and all(s.deformation == 0 for s in before)
        assert (np.diff([s.density_per_m2 for s in after]) > 0).all() and after[0].deformation > 0
        assert after[0].density_per_m2 > 1.5 * before[0].density_per_m2
        assert max(s.density_per_m2 for s in after) < 2e16 and max(s.deformation for s in after) <= 0.06
        faults = [s.seq_num for s in truth.steps if s.fault]
        assert len(faults) == 3 and min(faults) > 6
        assert sum(s.fault == "module saturated" for s in truth.steps) == 1


def test_seeds_choose_other_tests_and_the_truth_is_read_back_as_written(tmp_path: Path) -> None:
    onsets = {tensile_test(40, seed).onset_seq_num for seed in range(30)}
    assert len(onsets) > 4
    write_truth(tmp_path / "truth.json", tensile_test(40, 5))
    assert read_truth(tmp_path / "truth.json") == tensile_test(40, 5)


def test_a_pattern_shows_its_fault_and_nothing_else_does() -> None:
    truth = tensile_test(40, 4)
    camera = Camera(truth)
    usual = camera.take(0)[0].sum()
    for step in truth.steps:
        counts, monitor = camera.take(step.seq_num - 1)
        assert counts.size == axis_deg().size
        full = int((counts == SATURATION).sum())
        assert full == (CHANNELS_PER_MODULE if step.fault == "module saturated" else 0)
        lost = step.fault == "beam lost"
        assert (counts.sum() < 0.05 * usual) == lost and (monitor < 0.05 * BEAM_COUNTS) == lost
    again = Camera(truth).take(7)
    np.testing.assert_array_equal(again[0], camera.take(7)[0])


def test_storage_of_frames_is_refused_for_patterns() -> None:
    assert EXPERIMENTS["deformation"] is Deformation
    with pytest.raises(ConfigurationError, match="--storage tiff"):
        Deformation(DemoOptions("deformation", storage="tiff"))
    assert "defects_copper" in tables()


def test_an_alarm_before_the_yield_point_is_told_as_false_and_one_after_it_counts_good_readings() -> None:
    truth = tensile_test(40, 4)
    onset = truth.onset_seq_num
    board = Board()
    board.feed("start", {"uid": "r", "num_points": 40, "streamproc": {"analysis": "defect-flags"}})
    keys = {k: {"dtype": "number", "shape": []} for k in ("seq_num", "onset_seq_num")}
    keys |= {k: {"dtype": "string", "shape": []} for k in ("quantity", "said")}
    board.feed("descriptor", {"uid": "d", "run_start": "r", "name": "alarms", "data_keys": keys})
    for n, seq_num in enumerate((onset - 2, onset + 1)):
        data = {"seq_num": seq_num, "onset_seq_num": seq_num - 1, "quantity": "q", "said": f"alarm {n}"}
        board.feed("event", {"descriptor": "d", "seq_num": n + 1, "data": data})
    run = board.runs["r"]
    told = alarms_told(run, truth)
    good = sum(not s.fault for s in truth.steps if onset <= s.seq_num <= onset + 1)
    assert [a["good_readings_after"] for a in told] == [None, good]
    assert [a["said"] for a in told] == ["alarm 0", "alarm 1"] == run.alarms()
    summary = summarise(run, truth, 1.0)
    assert (summary["false_alarms"], summary["first_alarm_after"]) == (1, good)
    assert (
        Deformation(DemoOptions("deformation"))
        .lines(summary)[1]
        .startswith(f"the specimen yields at reading {onset}")
    )
