"""phase-map without references: conformance, and what it says about a run whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streamproc.consumers._patterns import log_q
from streamproc.consumers._unsupervised import UnsupervisedPhaseMap
from streamproc.consumers.phase_map import PhaseMap, PhaseMapSettings
from streamproc.models.unmixing.example import example_run

from streamproc.analysis import FrameFailure, FrameResult, LoadContext
from streamproc.errors import ConfigurationError, RunRefused
from streamproc.loading import find_analysis
from streamproc.settings import InferenceSettings
from streamproc.testing.conformance import check_analysis

TABLE = {"axis_key": "two_theta", "unsupervised": True, "unmixing": {"points": 400, "strain_reach": 0.004}}


def loaded(**other):
    return PhaseMap.load(PhaseMapSettings.model_validate(TABLE | other), LoadContext(InferenceSettings()))


def said_of(analysis, run, frames):
    running = analysis.begin(run)
    said = []
    for frame in frames:
        said += running.update(running.process([frame]))
    return said, running.end()


def of(said, stream):
    return [s.values for s in said if s.stream == stream]


def test_the_mode_passes_the_conformance_checks():
    assert {f.claim: f.fault for f in check_analysis(UnsupervisedPhaseMap) if f.fault} == {}


def test_the_setting_chooses_the_mode_and_needs_no_model():
    analysis = find_analysis("phase-map").load(
        PhaseMapSettings.model_validate(TABLE | {"model": "there-is-none"}), LoadContext(InferenceSettings())
    )
    assert isinstance(analysis, UnsupervisedPhaseMap)
    assert analysis.name != PhaseMap.name
    assert analysis.provenance().model_sha256 == ""


def test_two_phases_their_change_and_their_strain_are_found():
    run, frames = example_run(32)
    said, last = said_of(loaded(), run, frames)
    (summary,) = of(last, "summary")
    assert (summary["points"], summary["components"], summary["certain"]) == (32, 2, True)
    assert (summary["regions"], summary["change_points"]) == (2, 1)
    change = of(said + last, "change_points")[-1]
    # the phases change places between the 16th and the 17th reading
    assert abs(change["position"].value - (300 + 155)) <= 5
    assert change["series_key"] == "temperature"
    shares = of(last, "map")[0]["shares"][:32, :2]
    assert np.allclose(shares.sum(axis=1), 1)
    assert np.ptp(shares[:16], axis=0).max() < 0.1
    assert (shares[:16, 0] - shares[16:, 0]).mean() > 0.6 or (shares[16:, 0] - shares[:16, 0]).mean() > 0.6
    assert of(said, "points")[-1]["residual"] < 0.05


def test_the_lattice_of_a_component_follows_the_thermal_expansion():
    run, frames = example_run(40)
    table = TABLE["unmixing"] | {"points": 2000, "strain_reach": 0.01}
    said, _ = said_of(loaded(unmixing=table), run, frames[20:])
    points = of(said, "points")[8:]
    column = max(("strain_1", "strain_2"), key=lambda k: np.isfinite([p[k] for p in points]).sum())
    strain = np.array([p[column] for p in points])
    slope = np.polyfit(10.0 * np.arange(strain.size)[np.isfinite(strain)], strain[np.isfinite(strain)], 1)[0]
    assert slope == pytest.approx(1.5e-5, rel=0.35)


def test_map_and_components_are_said_when_they_were_estimated_anew():
    run, frames = example_run(20)
    said, last = said_of(loaded(), run, frames)
    assert [s.values["points"] for s in said if s.stream == "map"] == [8, 12, 16, 21][: len(of(said, "map"))]
    final = of(last, "map")[0]
    assert np.isfinite(final["labels"]).sum() == 20
    assert final["places"][:20, 0].tolist() == [f.readings["temperature"] for f in frames]
    assert final["seq_nums"][:20].tolist() == list(range(1, 21))
    curves = of(last, "components")[0]
    assert curves["curves"].shape == (8, 400)
    assert curves["axis"][[0, -1]] == pytest.approx([20, 60], abs=0.1)


def test_a_foreign_pattern_is_pointed_out():
    run, frames = example_run(20)
    axis = frames[0].readings["two_theta"]
    foreign = 50 + 3000 * np.exp(-0.5 * ((axis - 34.5) / 0.15) ** 2)
    running = loaded().begin(run)
    for frame in frames:
        running.update(running.process([frame]))
    said = running.update(running.process([replace(frames[-1], seq_num=21, array=foreign)]))
    (point,) = of(said, "points")
    assert not point["in_domain"]
    assert "unknown-material" in point["reasons"]


def test_a_bad_reading_is_no_point_of_the_map_and_gives_no_component():
    run, frames = example_run(24)
    copies = [replace(frames[11], seq_num=25 + n) for n in range(3)]  # a detector that repeats itself
    dark = [replace(frames[0], seq_num=30 + n, array=np.full(640, 1.0) + n % 2) for n in range(3)]
    running = loaded().begin(run)
    said = []
    for frame in [*frames[:12], *copies, *dark, *frames[12:]]:
        said += running.update(running.process([frame]))
    (summary,) = of(running.end(), "summary")
    assert (summary["points"], summary["points_used"], summary["components"]) == (30, 24, 2)
    points = {p["seq_num"]: p for p in of(said, "points")}
    assert all(points[25 + n]["reasons"].startswith("bad-frame: stale") for n in range(3))
    assert not any(points[25 + n]["in_domain"] for n in range(3))
    assert {f["seq_num"] for f in of(said, "data_flags")} >= {25, 26, 27}


def test_patterns_of_noise_alone_are_not_crystalline():
    run, frames = example_run(2)
    analysis, rng = loaded(), np.random.default_rng(3)
    for y in (rng.poisson(3.0, 640), rng.normal(1000.0, 1.0, 640)):
        (answer,) = analysis.begin(run).process([replace(frames[0], array=y.astype(float))])
        assert not answer.in_domain
        assert answer.reasons[-1].startswith("no-crystalline")


def test_frames_without_peaks_and_failed_ones_do_not_count():
    run, frames = example_run(10)
    running = loaded().begin(run)
    flat = replace(
        frames[0], seq_num=11, array=np.random.default_rng(0).poisson(np.full(640, 200.0)).astype(float)
    )
    (answer,) = running.process([flat])
    assert isinstance(answer, FrameResult)
    assert not answer.in_domain
    assert "no-crystalline" in answer.reasons[0]
    (failed,) = running.process([replace(frames[0], readings={})])
    assert isinstance(failed, FrameFailure)
    assert "two_theta" in failed.reason
    assert running.update([answer, failed]) == []
    assert of(running.end(), "summary")[0]["points_used"] == 0


def test_a_pattern_that_covers_half_of_the_axis_is_left_out():
    run, frames = example_run(10)
    half = frames[5].readings["two_theta"][:320]
    short = replace(frames[5], array=frames[5].array[:320], readings=frames[5].readings | {"two_theta": half})
    running = loaded().begin(run)
    running.update(running.process(frames[:5]))
    (point,) = of(running.update(running.process([short])), "points")
    assert "bad-frame" in point["reasons"]


def test_a_map_key_that_is_not_in_the_stream_refuses_the_run_and_says_what_there_is():
    run, _ = example_run()
    with pytest.raises(RunRefused, match="temperature"):
        loaded(map_keys=("pressure",)).begin(run)


def test_missing_geometry_is_said_at_the_start():
    with pytest.raises(ConfigurationError, match="no geometry"):
        loaded(axis_key=None)


def test_a_lattice_that_expands_moves_all_peaks_alike_in_ln_q():
    d = np.array([3.5, 2.1, 1.3])
    two_theta = [2 * np.rad2deg(np.arcsin(1.5406 / (2 * d * s))) for s in (1.0, 1.004)]
    moved = log_q(two_theta[1], "two_theta_deg") - log_q(two_theta[0], "two_theta_deg")
    assert moved == pytest.approx(-np.log(1.004))
    q = [2 * np.pi / (d * s) for s in (1.0, 1.004)]
    assert log_q(q[1], "q_invA") - log_q(q[0], "q_invA") == pytest.approx(moved)
    assert np.isnan(log_q(np.array([0.0, -1.0]), "q_invA")).all()
