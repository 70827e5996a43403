"""Spin-model files, maps, line shapes, fits and inputs of spin-wave analyses."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from streamproc.models.excitations.lswt.waves import SpinWaves
from streamproc.models.excitations.maps.bank import Bank
from streamproc.models.excitations.maps.channels import channels_of
from streamproc.models.excitations.maps.container import SqeMap, averaged, estimated_sigma
from streamproc.models.excitations.maps.example import example_case, simulated_counts
from streamproc.models.excitations.maps.fit import MapFitter
from streamproc.models.excitations.maps.fitted import FitSettings
from streamproc.models.excitations.maps.inputs import Preparer, rebinned
from streamproc.models.excitations.maps.library import build_library
from streamproc.models.excitations.maps.plan import candidates_of, factor_to_target, where_next
from streamproc.models.excitations.maps.render import Renderer, deposit
from streamproc.models.excitations.maps.ridge import fit_ridge, ridge_of
from streamproc.models.excitations.maps.widths import Widths, bose, directions_of, kernel, sub_points
from streamproc.models.excitations.spinmodel.case import case_of, read_case

from streamproc.errors import ConfigurationError, FrameFailed

MODELS = Path(__file__).parents[2] / "models"
SHIPPED = ("magnon-square", "magnon-chain", "magnon-honeycomb")
RNG = np.random.default_rng(11)


def content(name: str = "magnon-square") -> dict:
    return tomllib.loads((MODELS / name / "model.toml").read_text())


def path(*corners, n: int = 40) -> np.ndarray:
    """Columns along a path."""
    corners = np.array(corners, float)
    s = np.linspace(0, len(corners) - 1, n)
    return np.stack([np.interp(s, np.arange(len(corners)), corners[:, k]) for k in range(3)], 1)


PATH = path((0.75, 0.25, 0), (0.5, 0.5, 0), (0.5, 0, 0), (0.75, 0.25, 0), (1, 0, 0), n=60)
TRUTH = {"J": 32.0, "J2": 1.8, "D": -0.3}


def measured(values=TRUTH, counts=60.0, seed=3, window=140.0, q=PATH) -> SqeMap:
    energy = np.arange(20.0, 140.0, 2.0) * window / 140.0
    y = simulated_counts(example_case(), q, energy, values, counts, seed, window)
    return SqeMap.of(q, energy, y, np.sqrt(np.maximum(y, 1)))


# -- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_file_is_read_and_its_order_is_a_minimum_in_the_middle_of_the_prior(name: str) -> None:
    case = read_case(MODELS / name / "model.toml")
    middle = case.parameters.values_at(np.full((1, len(case.parameters.free)), 0.5))[0]
    SpinWaves(case.model, RNG.random((50, 3))).check(case.parameters.values(middle))


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda c: c["site"][0].pop("spin"), r"site\[1\]\.spin"),
        (lambda c: c["site"][0].update(spin=-1), r"site\[1\]\.spin"),
        (
            lambda c: c["exchange"][1].update(bonds=[["M", "X", [1, 1, 0]]]),
            r"exchange\[2\]\.bonds\[1\].*no site 'X'",
        ),
        (lambda c: c["exchange"][0]["bonds"].append(["M", "M", [-1, 0, 0]]), r"is bonds\[1\] again"),
        (lambda c: c["exchange"][0].update(colour=1), r"exchange\[1\]\.colour: is not known"),
        (lambda c: c["parameters"].pop("J2"), r"parameters\.J2 is missing"),
        (lambda c: c["parameters"].update(K={"value": 1.0}), r"parameters\.K: no coupling has this name"),
        (lambda c: c["parameters"].update(J={"value": 1.0, "range": [0, 1]}), "exactly one of range"),
        (lambda c: c["parameters"]["J"].update(range=[2, 1]), "expected low < high"),
        (lambda c: c["q"].update(powder=[0.5, 3.0]), "exactly one of path, box and powder"),
        (lambda c: c["measurement"].update(q_fwhm=[0.1, 0.0]), "q_fwhm"),
        (lambda c: c["order"].update(propagation=[0.123, 0, 0]), r"order: propagation vector"),
        (lambda c: c.update(kind="spectrum"), "kind"),
    ],
)
def test_a_wrong_file_is_refused_with_its_key(change, message: str) -> None:
    wrong = copy.deepcopy(content())
    change(wrong)
    with pytest.raises(ConfigurationError, match=message) as caught:
        case_of(wrong, Path("my.toml"))
    assert "my.toml" in str(caught.value)


def test_a_file_that_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "model.toml"
    file.write_text('name = "x"\nkind = spin')
    with pytest.raises(ConfigurationError, match="line 2"):
        read_case(file)


def test_fixed_and_tied_parameters_follow_the_free_ones() -> None:
    changed = content()
    changed["parameters"]["J2"] = {"of": "J", "factor": 0.1}
    changed["parameters"]["D"] = {"value": -0.01}
    case = case_of(changed, Path("my.toml"))
    assert case.parameters.free == ("J",)
    assert case.parameters.values([0.2]) == pytest.approx({"J": 0.2, "D": -0.01, "J2": 0.02})


def test_draws_stay_in_their_ranges_and_places_give_their_values() -> None:
    case = read_case(MODELS / "magnon-square" / "model.toml")
    drawn = case.parameters.draw(np.random.default_rng(1), 500)
    assert (drawn[:, 0] >= 0.1).all() and (drawn[:, 0] <= 0.32).all()
    ratio = drawn[:, 1:] / drawn[:, :1]
    assert (ratio >= [-0.2, -0.1]).all() and (ratio <= [0.3, 0.0]).all()
    low, high = case.parameters.values_at(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    assert np.allclose(low, [0.1, -0.02, -0.01]) and np.allclose(high, [0.32, 0.096, 0.0])


# -- line shapes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damping,kT", [(0.0, 0.0), (3.0, 0.0), (5.0, 8.0)])
def test_a_damped_line_agrees_with_the_convolution_done_by_quadrature(damping: float, kT: float) -> None:
    energy = np.array([14.0, 17.0, 20.0, 23.0, 30.0])
    line, widths = 20.0, Widths(2.5, 2.5, 40.0, damping, 0.0, kT)
    found = kernel(np.array([line]), energy, widths)[0]
    channel = float(np.median(np.diff(energy))) / np.sqrt(12)
    sigma = np.hypot(2.5 / np.sqrt(8 * np.log(2)), channel)

    def chi(w: float) -> float:
        shift = np.sqrt(line**2 - damping**2 / 4)
        return 2 * shift / np.pi * damping * w / ((w**2 - line**2) ** 2 + damping**2 * w**2)

    def seen(e: float) -> float:
        gauss = lambda w: np.exp(-0.5 * ((e - w) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))  # noqa: E731
        if damping == 0:
            return gauss(line) - gauss(-line)
        return quad(lambda w: chi(w) * gauss(w), e - 9 * sigma, e + 9 * sigma, points=[line], epsabs=1e-11)[0]

    expected = np.array([seen(e) for e in energy]) * bose(energy, kT)
    assert np.abs(found - expected).max() < 1e-7


def test_detailed_balance_holds() -> None:
    energy, kT = np.linspace(-20, 20, 41)[[3, 37]], 6.0
    ratio = (1 / -np.expm1(-energy[0] / kT)) / (1 / -np.expm1(-energy[1] / kT))
    assert -ratio == pytest.approx(np.exp(-energy[1] / kT), rel=1e-12)
    assert bose(energy[1:], kT)[0] == pytest.approx(1 / -np.expm1(-energy[1] / kT), rel=1e-12)


def test_lines_laid_on_a_grid_keep_intensity_and_centre() -> None:
    lines = np.linspace(0, 10, 101)
    energy, intensity = RNG.uniform(0, 9.9, (5, 7)), RNG.random((5, 7))
    laid = deposit(energy, intensity, lines)
    assert np.allclose(laid.sum(1), intensity.sum(1))
    assert np.allclose(laid @ lines, (energy * intensity).sum(1))
    assert deposit(np.array([[10.5]]), np.ones((1, 1)), lines).sum() == 0


def test_q_offsets_have_the_variance_of_their_boxes_and_no_mean() -> None:
    directions = np.repeat(np.eye(3)[None, :2], 400, 0)
    offsets = sub_points(directions, np.array([0.12, 0.03]), 24).reshape(-1, 3)
    assert np.abs(offsets.mean(0)).max() < 1e-12
    assert np.allclose(offsets.std(0), [0.12 / np.sqrt(12), 0.03 / np.sqrt(12), 0], rtol=5e-3)
    assert (np.abs(offsets).max(0) <= [0.06, 0.015, 0.0]).all()


def test_along_and_across_follow_the_path_and_are_at_right_angles_in_space() -> None:
    case = read_case(MODELS / "magnon-honeycomb" / "model.toml")
    reciprocal = case.model.lattice.reciprocal()
    q = np.concatenate([path((0, 0, 0), (0.5, 0, 0), n=6), path((3, 1, 0), (3, 1.5, 0), n=6)])
    found = directions_of(q, np.eye(3)[:2], reciprocal)
    assert np.allclose(found[:6, 0], [1, 0, 0]) and np.allclose(found[6:, 0], [0, 1, 0])
    space = found @ reciprocal
    assert np.abs((space[:, 0] * space[:, 1]).sum(1)).max() < 1e-12
    assert np.allclose(directions_of(q[:1], np.eye(3)[:2], reciprocal)[0, 0], [1, 0, 0])
    assert directions_of(q, np.eye(3)[2:], reciprocal).shape == (12, 1, 3)


def test_a_drawn_map_has_the_intensity_of_its_spin_waves_at_their_energies() -> None:
    case = example_case()
    energy = np.linspace(0, 1.2, 601)
    values = {"J": 0.2, "J2": 0.01, "D": -0.01}
    drawn = Renderer(case, PATH, energy).map(values, Widths(0.03, 0.03, 1.0))
    found, intensity = SpinWaves(case.model, PATH).neutron(values)
    step = energy[1] - energy[0]
    high = found[:, 0] > 0.1  # where the line does not reach below zero
    assert np.allclose((drawn.sum(1) * step)[high], intensity.sum(1)[high], rtol=2e-3)
    assert np.allclose(((drawn * energy).sum(1) / drawn.sum(1))[high], found[high, 0], rtol=2e-3)


# -- maps ---------------------------------------------------------------------------------------------------


def test_noise_is_estimated_from_neighbours_within_a_fifth_also_under_a_strong_peak() -> None:
    truth = 1 + np.linspace(0, 3, 80)
    clean = 50 * np.exp(-0.5 * ((np.arange(80) - 40) / 6.0) ** 2)
    y = clean + truth * RNG.standard_normal((60, 80))
    found = estimated_sigma(y, np.ones(y.shape, bool))
    assert np.abs(np.median(found / truth, axis=0)[5:-5] - 1).max() < 0.2


def test_bad_values_are_masked_and_wrong_shapes_refused() -> None:
    y = np.ones((3, 6))
    y[0, 0], y[1, 1] = -1e20, np.nan
    found = SqeMap.of(np.zeros((3, 3)), np.arange(6.0), y, np.ones((3, 6)))
    assert found.measured.sum() == 16
    with pytest.raises(FrameFailed, match="shape"):
        SqeMap.of(np.zeros((2, 3)), np.arange(6.0), y)
    with pytest.raises(FrameFailed, match="rise"):
        SqeMap.of(np.zeros((3, 3)), np.arange(6.0)[::-1], y)
    with pytest.raises(FrameFailed, match="nothing"):
        SqeMap.of(np.zeros((3, 3)), np.arange(6.0), np.full((3, 6), np.nan))


def test_averaging_keeps_means_lowers_noise_and_does_not_bridge_jumps() -> None:
    q = np.concatenate([path((0, 0, 0), (1, 0, 0), n=30), path((5, 0, 0), (6, 0, 0), n=30)])
    y = np.tile(np.arange(8.0), (60, 1))
    found = averaged(SqeMap.of(q, np.arange(8.0), y, np.ones(y.shape)), 20)
    assert len(found.q_rlu) <= 20 and np.allclose(found.intensity, np.arange(8.0))
    assert np.allclose(found.sigma, 1 / np.sqrt(3))
    assert not ((found.q_rlu[:, 0] > 1.0) & (found.q_rlu[:, 0] < 5.0)).any()


def test_rebinning_keeps_means_whether_channels_become_coarser_or_finer() -> None:
    fine = SqeMap.of(np.zeros((1, 3)), np.arange(0.05, 10, 0.1), np.full((1, 100), 3.0), np.ones((1, 100)))
    coarse = rebinned(fine, np.arange(0.5, 10, 1.0))
    assert np.allclose(coarse.intensity, 3.0) and np.allclose(coarse.sigma, 1 / np.sqrt(10))
    back = rebinned(coarse, np.arange(0.05, 10, 0.1))
    assert np.allclose(back.intensity, 3.0) and np.allclose(back.sigma, coarse.sigma[0, 0])


def test_a_maps_energy_unit_is_its_window_and_masked_columns_are_left_out() -> None:
    whole = measured({n: v / 20 for n, v in TRUTH.items()}, window=7.0)
    y = whole.intensity.copy()
    y[5] = np.nan
    found = Preparer(example_case()).prepare(SqeMap.of(whole.q_rlu, whole.energy_meV, y))
    assert found.unit_meV == pytest.approx(6.95, abs=0.01)
    assert len(found.coarse.q_rlu) <= 32 and np.isfinite(found.x).all()


# -- fits ---------------------------------------------------------------------------------------------------


def test_a_fit_of_the_whole_map_finds_the_couplings_within_three_sigma() -> None:
    pulls = []
    for seed in range(4):
        fit = MapFitter(example_case(), measured(seed=seed).scaled(1 / 140), FitSettings()).fit(
            [[30 / 140, 1.0 / 140, -0.2 / 140]], Widths(0.05, 0.04, 1.0, 0.0, 0.03)
        )
        truth = np.array([TRUTH[n] for n in ("J", "J2")]) / 140
        pulls.append((fit.best[:2] - truth) / np.sqrt(np.diag(fit.covariance)[:2]))
        assert fit.chi2_reduced < 1.3 and fit.explained > 0.9
    assert np.abs(pulls).max() < 3.5, pulls
    assert np.sqrt(np.mean(np.square(pulls))) < 2.0, pulls


def test_j_and_its_neighbours_coupling_are_strongly_correlated_in_the_covariance() -> None:
    fit = MapFitter(example_case(), measured().scaled(1 / 140), FitSettings()).fit(
        [[32 / 140, 1.8 / 140, -0.3 / 140]], Widths(0.05, 0.04, 1.0, 0.0, 0.03)
    )
    c = fit.covariance[:2, :2]
    assert c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]) > 0.7


def test_background_alone_has_no_significant_magnons() -> None:
    energy = np.arange(20.0, 140.0, 2.0) / 140
    y = np.random.default_rng(2).poisson(np.tile(20 + 80 * np.exp(-energy / 0.2), (60, 1))).astype(float)
    fit = MapFitter(example_case(), SqeMap.of(PATH, energy, y, np.sqrt(np.maximum(y, 1)))).fit(
        [[0.22, 0.01, -0.001]], Widths(0.05, 0.04, 1.0, 0.0, 0.03)
    )
    assert fit.significance < 8


def test_a_map_with_hardly_a_cell_is_refused() -> None:
    whole = measured().scaled(1 / 140)
    few = SqeMap.of(whole.q_rlu[:1], whole.energy_meV[:10], whole.intensity[:1, :10])
    with pytest.raises(FrameFailed, match="10 measured cells"):
        MapFitter(example_case(), few)


# -- how long, and where next ---------------------------------------------------------------------------------


def test_time_to_a_target_goes_with_the_square_of_sigma() -> None:
    assert factor_to_target({"J": 0.4, "J2": 0.1}, {"J": 0.2, "J2": 0.1}) == pytest.approx(4.0)
    assert np.isnan(factor_to_target({"J": 0.4}, {}))


def test_the_column_said_to_tell_most_lowers_sigma_more_than_the_one_said_to_tell_least() -> None:
    case, few = example_case(), path((0.6, 0.5, 0), (0.75, 0.5, 0), n=8)
    now = measured(q=few, seed=5).scaled(1 / 140)
    start, widths = [[32 / 140, 1.8 / 140, -0.3 / 140]], Widths(0.06, 0.03, 1.0, 0.0, 0.03)
    settings = FitSettings(widths=())
    fit = MapFitter(case, now, settings).fit(start, widths)
    found = where_next(case, now, fit, candidates_of(case, now))
    assert found is not None and found.gain > 0

    def volume(q: np.ndarray) -> float:
        more = measured(q=np.concatenate([few, q[None]]), seed=5).scaled(1 / 140)
        c = MapFitter(case, more, settings).fit(start, widths).covariance[:3, :3]
        return float(np.linalg.slogdet(c)[1])

    least = found.candidates[int(np.argmin(found.gains))]
    assert volume(found.q_rlu) < volume(least)


def test_the_ridge_and_the_dispersion_through_it_agree_with_the_truth() -> None:
    case = example_case()
    whole = measured(
        counts=200.0, q=path((0.75, 0.25, 0), (0.5, 0.5, 0), (0.5, 0, 0), (0.75, 0.25, 0), n=160)
    )
    found = whole.scaled(1 / 140)
    truth = np.array([TRUTH[n] for n in ("J", "J2", "D")]) / 140
    ridge = ridge_of(case, found, case.parameters.values(truth), 0.05)
    fit = fit_ridge(case, ridge, truth * [1.03, 0.7, 1.0], [True, True, False])
    assert len(ridge.energy) > 80
    # the box of Q lowers a ridge a little: no closer than a hundredth is to be had from it
    assert fit.values["J"] == pytest.approx(truth[0], rel=0.015)
    assert fit.values["J2"] == pytest.approx(truth[1], abs=0.4 / 140)
    assert fit.values["D"] == truth[2]


# -- powders, paths, absolute energies ------------------------------------------------------------------------


def powder_case():
    changed = content("magnon-chain")
    changed["q"] = {"powder": [0.3, 3.0], "columns": 16}
    changed["measurement"]["q_axes"] = [[1, 0, 0]]
    return case_of(changed, Path("powder.toml"))


def test_a_powder_map_is_the_average_over_directions() -> None:
    case, values = powder_case(), {"J": 0.25, "D": -0.02}
    energy, widths = np.linspace(0.02, 1.0, 60), Widths(0.08, 0.08, 1.0)
    q = np.array([[0.9, 0, 0], [2.1, 0, 0]])
    drawn = Renderer(case, q, energy).map(values, widths)
    directions = RNG.standard_normal((6000, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    for k, length in enumerate(q[:, 0]):
        rlu = length * directions @ np.linalg.inv(case.model.lattice.reciprocal())
        found, intensity = SpinWaves(case.model, rlu).neutron(values)
        lines = np.linspace(0, 1.3, 700)
        expected = deposit(found.reshape(1, -1), intensity.reshape(1, -1) / 6000, lines)[0] @ kernel(
            lines, energy, widths
        )
        assert np.abs(drawn[k] - expected).max() < 0.06 * expected.max()


def test_a_powder_and_a_path_in_mev_can_be_prepared_and_simulated() -> None:
    path_content = content()
    path_content["energy"] = {"start": 10.0, "stop": 140.0, "channels": 32}
    path_content["q"] = {"path": [[0.5, 0.5, 0], [1, 0, 0], [0.5, 0, 0]], "columns": 16}
    path_content["parameters"]["J"]["range"] = [15.0, 40.0]
    path_content["measurement"] |= {
        "energy_fwhm": [3, 12],
        "end_fwhm": [1, 6],
        "damping": 1.0,
        "temperature": 0.5,
    }
    for case in (powder_case(), case_of(path_content, Path("path.toml"))):
        library = build_library(case, 4, 1)
        assert np.isfinite(library.signal).all() and library.signal.max() > 0.5
        columns = library.q_rlu[0].astype(float)
        whole = SqeMap.of(
            columns, channels_of(case), library.signal[0] + 0.1, np.full(library.signal[0].shape, 0.1)
        )
        prepared = Preparer(case).prepare(whole)
        assert np.isfinite(prepared.x).all() and prepared.x.size == Preparer(case).layout.width
        if case.file.energy.scale_free:
            assert prepared.unit_meV == pytest.approx(1.0, abs=0.02)
        else:
            assert prepared.unit_meV == 1.0


def test_trials_of_the_bank_see_a_map_of_their_own_couplings_best() -> None:
    case = example_case()
    bank, preparer = Bank(case), Preparer(case)
    for trial in (10, 77, 150):
        free = case.parameters.values_at(bank.units[trial][None])[0]
        drawn = Renderer(case, PATH, channels_of(case)).map(
            case.parameters.values(free), Widths(0.05, 0.04, 1.0)
        )
        whole = SqeMap.of(PATH, channels_of(case), np.minimum(drawn, 6.0), np.full(drawn.shape, 0.1))
        x = preparer.prepare(whole).x
        guess = x[preparer.layout.guess : preparer.layout.guess + 3]
        assert abs(guess[0] - bank.units[trial][0]) < 0.08, trial
