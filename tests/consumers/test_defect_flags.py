"""Defects in the live consumer: estimates, flags with evidence, alarms; bad data and defects kept apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from streamproc.consumers.defect_flags import DefectFlags, DefectFlagsSettings

from streamproc.analysis import Estimate, Example, LoadContext
from streamproc.errors import ConfigurationError
from streamproc.settings import InferenceSettings
from streamproc.testing.conformance import check_analysis
from tests.consumers.defect_bench import SOUND, deformed, expected, frames, loaded, run, table


class CopperFlags(DefectFlags):
    """The consumer with a model, on a run whose crystal changes."""

    @classmethod
    def example(cls, folder: Path) -> Example:
        means = [expected(s) for s in (*[SOUND] * 5, *[deformed(k) for k in range(1, 5)])]
        return Example(table(cross_check_every=3), run(), frames(means))


def went(means, monitors=None, **defects):
    """Return the per-frame answers and, by stream, what is said about the run."""
    running = loaded(**defects).begin(run())
    answers = running.process(frames(means, monitors))
    said = [*running.update(answers), *running.end()]
    return answers, {s: [r.values for r in said if r.stream == s] for s in {r.stream for r in said}}


def test_with_a_model_it_passes_the_conformance_checks():
    assert {f.claim: f.fault for f in check_analysis(CopperFlags) if f.fault} == {}


def test_estimates_hold_the_truth_and_a_flag_rises_above_the_limit_only():
    answers, said = went([expected(SOUND)] * 4 + [expected(deformed(4))] * 4)
    for answer, truth in zip(answers, [2e14] * 4 + [1e15] * 4, strict=True):
        found = answer.values["defect_density_per_m2"]
        assert isinstance(found, Estimate) and answer.in_domain
        assert found.interval90[0] < truth < found.interval90[1]
        assert found.interval90[0] < found.value < found.interval90[1] and found.sigma > 0
    flags = [v["defect_flag_density_per_m2"] for v in said["defect_flags"]]
    assert flags == [False] * 4 + [True] * 4
    assert "density_per_m2 beyond 3e+14" in said["defect_flags"][-1]["reasons"]


def test_the_reflections_named_are_those_that_cannot_do_without_dislocations():
    _, said = went([expected(SOUND)] * 3 + [expected(deformed(4))])
    rows = json.loads(said["defect_flags"][-1]["defect_evidence"])["density_per_m2"]
    assert [hkl for hkl, _ in rows] and all(support > 9 for _, support in rows)
    assert said["defect_flags"][0]["defect_evidence"] == ""


def test_the_classical_plots_stand_beside_the_network_for_the_rise_and_every_nth():
    _, said = went([expected(SOUND)] * 4 + [expected(deformed(4))] * 3, cross_check_every=3, alarms=())
    checks = said["defect_checks"]
    assert [c["seq_num"] for c in checks] == [1, 4, 5, 7]
    assert checks[2]["why"] == "flag: density_per_m2"
    assert all(c["lines"] >= 5 and c["said"] == "" for c in checks)
    # breadths say the density to a factor of some two for M near 1
    assert 0.4 < checks[2]["mwh_density_per_m2"] / checks[2]["network_density_per_m2"] < 2.5
    assert checks[2]["mwh_density_per_m2"] > 2 * checks[0]["mwh_density_per_m2"]


def test_the_alarm_rises_within_three_readings_and_names_the_onset():
    means = [expected(SOUND)] * 12 + [expected(deformed(k)) for k in range(1, 6)]
    _, said = went(means)
    alarms = {a["quantity"]: a for a in said["alarms"]}
    density = alarms["density_per_m2"]
    assert 13 <= density["seq_num"] <= 15 and density["onset_seq_num"] == 13
    assert density["frames_before"] == 12 and density["before"] == pytest.approx(2e14, rel=0.4)
    assert density["value"].value > 1.5 * density["before"] and density["change_sigma"] > 3
    assert json.loads(density["evidence"])["density_per_m2"]
    assert "changing since reading 13" in density["said"] and "alarm" in said["summary"][0]["said"]
    ups = [v["defect_alarm_density_per_m2"] for v in said["defect_flags"]]
    assert ups == [k + 1 >= density["seq_num"] for k in range(len(means))]


@pytest.mark.parametrize("fault", ["beam lost", "module saturated", "stale", "empty"])
def test_a_bad_reading_raises_no_flag_and_moves_no_sum(fault):
    """The crystal is above the limit all along; the bad reading alone is not judged, and the sums stay."""
    means = [expected(deformed(3)) for _ in range(6)]
    monitors = [1e6] * 6
    if fault == "beam lost":
        means[4] = 0.01 * means[4]
        monitors[4] = 1e4
    elif fault == "module saturated":
        means[4] = means[4].copy()
        means[4][300:500] = 6.5e4
    elif fault == "empty":
        means[4] = np.zeros_like(means[4])
    running = loaded(alarms=("density_per_m2", "microstrain")).begin(run())
    given = frames(means, monitors)
    if fault == "stale":
        given[4].array[:] = given[3].array
    answers = running.process(given)
    said = running.update(answers)
    flags = [r.values for r in said if r.stream == "defect_flags"]
    data = [r.values for r in said if r.stream == "data_flags"]
    assert [v["data_bad"] for v in data] == [False] * 4 + [True, False]
    assert [v["defect_flag_density_per_m2"] for v in flags] == [True] * 4 + [False, True]
    assert [v["defect_judged"] for v in flags] == [True] * 4 + [False, True]
    assert "bad-frame" in flags[4]["reasons"]
    for name in ("density_per_m2", "microstrain"):
        assert flags[4][f"defect_cusum_{name}"] == flags[3][f"defect_cusum_{name}"]
    without = loaded(alarms=("density_per_m2", "microstrain")).begin(run())
    kept = [a for k, a in enumerate(answers) if k != 4]
    last = [r.values for r in without.update(kept) if r.stream == "defect_flags"][-1]
    assert last["defect_cusum_density_per_m2"] == flags[5]["defect_cusum_density_per_m2"]


def test_a_defect_never_marks_the_data_bad():
    means = [expected(SOUND)] * 4 + [expected(deformed(k)) for k in (2, 5, 10, 20, 30)]
    answers, said = went(means)
    assert not any(v["data_bad"] for v in said["data_flags"])
    assert not any(r.startswith("bad-frame") for a in answers for r in a.reasons)
    assert all(v["defect_flag_density_per_m2"] for v in said["defect_flags"][4:])
    assert said["summary"][0]["bad"] == 0


def test_another_metal_is_out_of_domain_and_raises_nothing():
    """Lines where copper has none: the model abstains, the data are good."""
    at = (45.0, 65.5, 82.6, 99.2, 116.9)
    x = np.arange(37.0, 146.0, 0.05)
    other = 400 + 2e4 * sum(np.exp(-0.5 * ((x - a) / 0.1) ** 2) for a in at)
    answers, said = went([other] * 5)
    assert not any(a.in_domain for a in answers)
    assert all("defects:" in "; ".join(a.reasons) for a in answers)
    assert all(np.isnan(a.values["defect_density_per_m2"].value) for a in answers)
    assert not any(v["defect_flag_density_per_m2"] or v["data_bad"] for v in
                   (a | b for a, b in zip(said["defect_flags"], said["data_flags"], strict=True)))  # fmt: skip
    assert said["summary"][0]["out_of_domain"] == 5


def test_small_crystals_are_flagged_below_the_limit():
    from dataclasses import replace

    small = expected(replace(SOUND, size_nm=25))
    _, said = went([expected(SOUND)] * 3 + [small] * 2, limits={"size_nm": 60.0})
    assert [v["defect_flag_size_nm"] for v in said["defect_flags"]] == [False] * 3 + [True] * 2


@pytest.mark.parametrize(
    ("defects", "words"),
    [
        ({"limits": {"twins": 1}}, "limits names twins"),
        ({"alarms": ("rho",)}, "alarms names rho"),
        ({"model": "phase_qpa"}, "expected 'defect-estimates'"),
        ({"model": None}, "need a model"),
        ({"model": "unobtainium"}, "no model 'unobtainium'"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused_in_words(defects, words):
    settings = DefectFlagsSettings.model_validate(table(**defects))
    with pytest.raises(ConfigurationError, match=words):
        DefectFlags.load(settings, LoadContext(InferenceSettings()))
