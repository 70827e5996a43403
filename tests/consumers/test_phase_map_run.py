"""What the phase map says about a run: refinements, map, kinds of unexplained patterns, summary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamproc.consumers.phase_map import PhaseMap, PhaseMapSettings

from streamproc.analysis import Estimate, FrameResult, LoadContext
from streamproc.settings import InferenceSettings


def loaded(**changes: Any) -> tuple[PhaseMap, Any]:
    example = PhaseMap.example(Path())
    settings = PhaseMapSettings(**{**example.settings, **changes})
    analysis = PhaseMap.load(settings, LoadContext(InferenceSettings()))
    assert isinstance(analysis, PhaseMap)
    return analysis, example


def said(frames, **changes: Any) -> tuple[list[Any], list[Any]]:
    analysis, example = loaded(**changes)
    run = analysis.begin(example.run)
    answers = run.process(frames if frames is not None else example.frames)
    return list(answers), [*run.update(answers), *run.end()]


def test_every_second_reading_is_refined_in_order_and_agrees_with_the_fast_answer() -> None:
    answers, results = said(None, refine_every=2)
    refined = [r.values for r in results if r.stream == "refined"]
    assert [v["seq_num"] for v in refined] == [1, 3, 5]
    labels = ("corundum", "zincite", "fluorite", "brucite")
    for values in refined:
        fast = answers[int(values["seq_num"]) - 1]
        assert isinstance(fast, FrameResult)
        assert sum(values[p].value for p in labels) == pytest.approx(1.0)
        assert values["chi2_reduced"] > 0
        assert not fast.in_domain or values["rwp"] < 0.2
        if fast.in_domain and not values["differs"]:
            for p in labels:
                share = fast.values[p]
                assert isinstance(share, Estimate)
                joint = np.hypot(share.sigma, values[p].sigma) + 0.003
                assert abs(values[p].value - share.value) < 3.1 * joint
    assert results[-1].values["points_refined"] == 3


def test_patterns_with_masked_gaps_are_refined_to_their_noise() -> None:
    # the first two examples hold gaps of half a degree, which came as zeros
    _, example = loaded()
    gaps = [np.flatnonzero(np.asarray(f.array) == 0).size for f in example.frames]
    assert min(gaps[:2]) > 0
    _, results = said(None, refine_every=1)
    refined = [r.values for r in results if r.stream == "refined"]
    assert len(refined) == len(example.frames)
    assert max(values["rwp"] for values in refined) < 0.05


def test_a_reading_that_asks_for_it_is_refined() -> None:
    _, example = loaded()
    frames = [replace(f, readings={**f.readings, "wanted": f.seq_num == 4}) for f in example.frames]
    _, results = said(frames, refine_every=0, refine_key="wanted")
    assert [r.values["seq_num"] for r in results if r.stream == "refined"] == [4]


def test_without_being_asked_nothing_is_refined() -> None:
    _, results = said(None, refine_every=0)
    assert {r.stream for r in results} <= {"map", "summary", "unexplained", "change_points"}


def test_foreign_patterns_of_one_kind_are_gathered_with_their_lines() -> None:
    _, example = loaded()
    axis = np.linspace(20.0, 100.0, 2000)
    places, rng = np.array([24.3, 33.7, 48.9, 55.5, 71.1]), np.random.default_rng(1)
    frames = []
    for k, frame in enumerate(example.frames):
        foreign = sum(900 * np.exp(-(((axis - p) / 0.09) ** 2)) for p in places)
        counts = rng.poisson(30 + foreign + np.asarray(frame.array) * 0.0).astype(float)
        frames.append(replace(frame, array=counts, seq_num=k + 1))
    answers, results = said(frames, refine_every=0)
    assert all(isinstance(a, FrameResult) and not a.in_domain for a in answers)
    kinds = [r.values for r in results if r.stream == "unexplained"]
    assert len(kinds) == 1 and kinds[0]["points"] == len(frames)
    expected = 1.5405929 / 2 / np.sin(np.deg2rad(places) / 2)
    found = np.sort(kinds[0]["lines_A"][np.isfinite(kinds[0]["lines_A"])])[::-1]
    # the fit gives some of the lines to known phases; what is left over are lines that were put in
    assert found.size >= 3
    for d in found:
        assert np.abs(d / expected - 1).min() < 2e-3


def test_states_are_not_said_of_phases_that_are_not_there() -> None:
    answers, _ = said(None)
    seen = 0
    for answer in answers:
        assert isinstance(answer, FrameResult)
        for p in ("corundum", "zincite", "fluorite", "brucite"):
            strain = answer.values[f"{p}_strain"]
            assert isinstance(strain, Estimate)
            if answer.values[f"{p}_presence"] < 0.5 or not answer.in_domain:
                assert np.isnan(strain.value)
            elif np.isfinite(strain.value):
                assert abs(strain.value) < 0.01 and strain.sigma > 0
                seen += 1
    assert seen > 0


def test_a_texture_is_flagged_beyond_ten_per_cent_with_confidence_only():
    from streamproc.consumers._phase_said import textured
    from streamproc.models.powder.fit import Value

    assert textured(Value(0.65, 0.002)) and textured(Value(1.3, 0.05))
    assert not textured(Value(0.95, 0.002)) and not textured(Value(0.7, 0.3))
    assert not textured(Value(float("nan"), 0.1)) and not textured(Value(1.0, 0.0))


def _bright(frames: Any) -> list[Any]:
    """Counts enough for a flat top to be one, and no monitor."""
    return [replace(f, array=np.asarray(f.array, float) * 1.0) for f in frames]


def test_a_bad_reading_is_out_of_domain_by_the_name_of_its_flag_and_is_not_mapped() -> None:
    _, example = loaded()
    frames = _bright(example.frames)
    top = float(np.quantile(frames[2].array, 0.99))
    frames[2] = replace(frames[2], array=np.minimum(frames[2].array, top))
    answers, results = said(frames, refine_every=0)
    before, _ = said(_bright(example.frames), refine_every=0)
    bad = answers[2]
    assert isinstance(bad, FrameResult) and not bad.in_domain
    assert any(r.startswith("bad-frame: saturated") for r in bad.reasons)
    for k, (answer, sound) in enumerate(zip(answers, before, strict=True)):
        assert isinstance(answer, FrameResult) and isinstance(sound, FrameResult)
        if k != 2:
            assert answer.reasons == sound.reasons and answer.in_domain == sound.in_domain
            assert not any(r.startswith("bad-frame") for r in answer.reasons)
    summary = results[-1].values
    assert summary["points_bad"] == 1 and summary["points"] == len(frames)
    flags = [r.values for r in results if r.stream == "data_flags"]
    assert [v["seq_num"] for v in flags if v["data_bad"]] == [3]
    assert [v["data_flag_saturated"] for v in flags if v["data_bad"]] == [True]


def test_a_reading_that_only_its_run_shows_to_be_bad_counts_for_nothing() -> None:
    """A copy of the reading before is a sound pattern by itself: it is in domain, but not on the map."""
    _, example = loaded()
    frames = _bright(example.frames)
    frames[3] = replace(frames[3], array=frames[2].array.copy())
    answers, results = said(frames, refine_every=0)
    copied = answers[3]
    assert isinstance(copied, FrameResult)
    assert not any(r.startswith("bad-frame") for r in copied.reasons)
    summary = results[-1].values
    in_domain = sum(isinstance(a, FrameResult) and a.in_domain for a in answers)
    assert summary["points_bad"] == 1 and summary["points_in_domain"] == in_domain - copied.in_domain
    (flags,) = [r.values for r in results if r.stream == "data_flags" and r.values["data_bad"]]
    assert flags["seq_num"] == 4 and flags["data_flag_stale"] and "bad-frame: stale" in flags["reasons"]


def test_flags_that_are_off_make_nothing_bad() -> None:
    _, example = loaded()
    frames = _bright(example.frames)
    frames[3] = replace(frames[3], array=frames[2].array.copy())
    _, results = said(frames, refine_every=0, data_flags={"off": ("stale",)})
    assert results[-1].values["points_bad"] == 0
