"""The excitation fit of maps: points, spectra and maps give couplings that converge, with what is needed to trust them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streamproc.consumers._excitation_columns import MapKeys, MapSoFar, piece_of
from streamproc.consumers._excitation_settings import ExcitationFitSettings
from streamproc.consumers.excitation_fit import ExcitationFit
from streamproc.models.excitations.maps.example import example_case, example_run, simulated_counts

from streamproc.analysis import Example, Frame, FrameFailure, LoadContext
from streamproc.errors import ConfigurationError, FrameFailed, RunRefused
from streamproc.settings import InferenceSettings
from streamproc.testing.conformance import check_analysis

TRUTH = {"J": 32.0, "J2": 1.8, "D": -0.2}
ENERGY = np.arange(20.0, 140.5, 2.0)


def load(**table):
    settings = ExcitationFitSettings.model_validate({"model": "magnon-square", "map": table})
    return ExcitationFit.load(settings, LoadContext(InferenceSettings()))


class MapFit(ExcitationFit):
    """The same analysis with another example: a scan for a spin model."""

    @classmethod
    def example(cls, folder):
        run, frames = example_run()
        return Example({"model": "magnon-square", "map": {"refine_every": 5}}, run, frames)


def test_the_analysis_passes_the_conformance_checks_with_a_spin_model_too() -> None:
    assert {f.claim: f.fault for f in check_analysis(MapFit) if f.fault} == {}


def columns(n: int = 24) -> np.ndarray:
    s = np.linspace(0, 1, n)[:, None]
    return np.concatenate([[0.5, 0.5, 0] + s * [0.25, -0.25, 0], [0.5, 0.0, 0] + s * [0.0, 0.5, 0]])


def counts(values=TRUTH, strength=40.0, seed=1, q=None) -> np.ndarray:
    return simulated_counts(
        example_case(), columns() if q is None else q, ENERGY, values, strength, seed, 140.0
    )


def frame(number: int, y, q, **readings) -> Frame:
    places = dict(zip("hkl", np.asarray(q, float).T, strict=True))
    return Frame(
        "run", "primary", number, "counts", np.asarray(y), 1.7e9, places | {"energy": ENERGY} | readings
    )


def said(analysis, frames):
    running = analysis.begin(example_run()[0])
    return [*running.update(running.process(frames)), *running.end()]


@pytest.fixture(scope="module")
def analysis():
    return load(targets={"J": 0.05})


@pytest.fixture(scope="module")
def whole_map(analysis):
    return said(analysis, [frame(1, counts(), columns())])


def test_a_whole_map_gives_the_couplings_within_three_sigma(whole_map) -> None:
    fit = next(s.values for s in whole_map if s.stream == "fit")
    for name in ("J", "J2"):
        found = fit[f"Zc*{name}"]
        assert found.in_domain, fit["reasons"]
        assert abs(found.value - TRUTH[name]) < 3.5 * found.sigma, (name, found)
    assert fit["Zc*J"].sigma < 0.5
    assert fit["chi2_reduced"] < 1.4 and fit["explained"] > 0.8


def test_the_network_alone_holds_the_truth_in_its_interval_and_says_how_it_was_counted(
    whole_map, analysis
) -> None:
    network = next(s.values for s in whole_map if s.stream == "map")
    low, high = network["Zc*J"].interval90
    assert low - 1 < 32.0 < high + 1
    key = next(o for o in analysis.outputs() if o.name == "Zc*J")
    assert "each bond once" in key.description and "S(M) = 1" in key.description
    assert not any(o.name == "J" for o in analysis.outputs())


def test_covariance_and_sigmas_say_the_same_and_j_and_j2_go_together(whole_map) -> None:
    fit = next(s.values for s in whole_map if s.stream == "fit")
    assert np.sqrt(fit["covariance"][0, 0]) == pytest.approx(fit["Zc*J"].sigma, rel=1e-9)
    correlation = fit["covariance"][0, 1] / np.sqrt(fit["covariance"][0, 0] * fit["covariance"][1, 1])
    assert correlation > 0.5


def test_how_much_longer_to_count_is_said_and_where_next(whole_map) -> None:
    fit = next(s.values for s in whole_map if s.stream == "fit")
    assert fit["time_factor"] == pytest.approx((fit["Zc*J"].sigma / 0.05) ** 2, rel=1e-6)
    assert fit["counts_to_target"] == pytest.approx((fit["time_factor"] - 1) * counts().sum(), rel=1e-6)
    assert np.isfinite(fit["next_q"]).all() and fit["next_gain"] > 0
    assert 20 - 1e-6 <= fit["next_energy"] <= 141


def test_spectra_that_arrive_one_by_one_end_at_the_answer_of_the_whole_map() -> None:
    one_by_one = load(refine_every=12)
    q, y = columns(12), counts(q=columns(12))
    found = [
        s for s in said(one_by_one, [frame(n + 1, y[n], q[n]) for n in range(len(q))]) if s.stream == "fit"
    ]
    assert len(found) == 2
    last = found[-1].values
    assert last["columns"] == 23  # (1/2, 1/2) was measured twice and is one column
    assert abs(last["Zc*J"].value - 32.0) < 3.5 * last["Zc*J"].sigma
    whole = next(s.values for s in said(load(), [frame(1, y, q)]) if s.stream == "fit")
    # the same data, but for the column that is joined and the noise that is then lower there
    assert last["Zc*J"].value == pytest.approx(whole["Zc*J"].value, abs=0.5 * whole["Zc*J"].sigma)


def test_triple_axis_points_make_a_map() -> None:
    q, y = columns(6), counts(q=columns(6))
    frames = []
    for n, place in enumerate(q):
        for e, c in zip(ENERGY[::4], y[n, ::4], strict=True):
            readings = dict(zip("hkl", map(float, place), strict=True)) | {"energy": float(e)}
            frames.append(Frame("run", "primary", len(frames) + 1, "counts", np.array(c), 1.7e9, readings))
    points = load(refine_every=10**6, fit_every=len(frames))
    running = points.begin(example_run()[0])
    answers = running.process(frames)
    assert not any(isinstance(a, FrameFailure) for a in answers)
    found = running.update(answers)
    assert [s.stream for s in found] == ["map"]
    assert found[0].values["columns"] == len(np.unique(q, axis=0))


def test_background_alone_is_no_answer_with_a_small_sigma(analysis) -> None:
    y = np.random.default_rng(3).poisson(np.tile(10 + 60 * np.exp(-ENERGY / 30), (48, 1))).astype(float)
    network = next(s.values for s in said(analysis, [frame(1, y, columns())]) if s.stream == "map")
    found = network["Zc*J"]
    assert not found.in_domain or found.sigma > 1.0


def test_columns_elsewhere_are_out_of_domain_and_values_are_nan(analysis) -> None:
    y = counts(strength=100.0)
    wrong = y[np.random.default_rng(1).permutation(len(y))]
    fit = next(s.values for s in said(analysis, [frame(1, wrong, columns())]) if s.stream == "fit")
    assert not fit["in_domain"] and fit["reasons"]
    assert np.isnan(fit["Zc*J"].value) and np.isnan(fit["covariance"]).all()


def test_errors_of_events_say_the_key() -> None:
    good = frame(1, counts()[0], columns()[0])
    with pytest.raises(FrameFailed, match="no 'h'"):
        piece_of(replace(good, readings={"energy": ENERGY}), MapKeys())
    with pytest.raises(FrameFailed, match="no 'energy'"):
        piece_of(replace(good, readings={"h": 0.0, "k": 0.0, "l": 0.0}), MapKeys())
    with pytest.raises(FrameFailed, match="expected 1 x 61"):
        piece_of(replace(good, array=np.ones(7)), MapKeys())
    with pytest.raises(FrameFailed, match="every value of this reading is 3"):
        piece_of(replace(good, array=np.full(61, 3.0)), MapKeys())


def test_two_names_for_h_k_and_l_are_refused_before_the_run() -> None:
    with pytest.raises(ValueError, match="names of h, k and l, or one name, got 2"):
        load(keys={"q_keys": ["h", "k"]})


def test_masks_errors_and_falling_energies_are_taken_as_they_are() -> None:
    y, mask = counts()[0], np.ones(61)
    mask[5] = 0
    keys = MapKeys(error_key="error", mask_key="mask")
    turned = frame(
        1, y[::-1].copy(), columns()[0], error=np.full(61, 2.0), mask=mask[::-1], energy=ENERGY[::-1]
    )
    found = piece_of(turned, keys)
    assert np.isnan(found.intensity[0, 5]) and np.nansum(found.intensity) == y.sum() - y[5]
    assert (found.sigma == 2.0).all()


def test_what_is_measured_twice_is_averaged_and_a_map_replaces_what_came_before() -> None:
    so_far, place = MapSoFar(), np.array([[0.5, 0.5, 0.0]])
    for value in (10.0, 30.0):
        y = np.arange(61.0) + value
        so_far.add(piece_of(frame(1, y, place[0]), MapKeys(error_key=None)))
    found = so_far.map()
    assert found is not None and found.intensity.shape == (1, 61)
    # counts add up; weights of one over the counts would say 15
    assert found.intensity[0, 0] == pytest.approx(20.0)
    assert found.sigma[0, 0] == pytest.approx(np.sqrt(40) / 2)
    so_far.add(piece_of(frame(3, counts(), columns()), MapKeys()))
    assert so_far.events == 1 and so_far.cells == counts().size


def test_the_state_of_a_measured_map_fits_into_a_message_and_comes_back_bit_for_bit() -> None:
    so_far, q = MapSoFar(), columns(110)
    so_far.add(piece_of(frame(1, counts(q=q), q), MapKeys()))
    state = so_far.snapshot()
    assert len(state["rows"]) < 200_000
    again = MapSoFar()
    again.restore(state)
    assert again.map().intensity.tobytes() == so_far.map().intensity.tobytes()


def test_targets_of_unknown_couplings_and_doubtful_keys_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"targets names K.*J, J2, D"):
        load(targets={"K": 0.1})
    run, _ = example_run()
    keys = run.stream_descriptors("primary")[-1]["data_keys"]
    keys["monitor"] = keys["counts"]
    with pytest.raises(RunRefused, match="counts, monitor"):
        load().frame_key(run)
