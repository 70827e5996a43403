"""The posterior of couplings: draws that know bent valleys and ends, weights of counts, minima that rival each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from streamproc.models.excitations.maps.container import SqeMap, averaged
from streamproc.models.excitations.maps.example import example_case, simulated_counts
from streamproc.models.excitations.maps.fit import MapFitter
from streamproc.models.excitations.maps.fitted import FitSettings
from streamproc.models.excitations.maps.noise import (
    count_units,
    deviance,
    expected_variance,
    variance_per_intensity,
)
from streamproc.models.excitations.maps.posterior_draws import _normal_posterior
from streamproc.models.excitations.maps.prior import folded, slope_of
from streamproc.models.excitations.maps.refine import refine_map
from streamproc.models.excitations.maps.render import Renderer
from streamproc.models.excitations.maps.sampling import Guess, interval_of, sample
from streamproc.models.excitations.maps.widths import Widths

BOX = (np.zeros(3), np.ones(3))
TRUTH = {"J": 32.0, "J2": 1.8, "D": -0.2}


# -- draws ------------------------------------------------------------------------------------------------


def test_draws_of_a_normal_posterior_have_its_mean_covariance_and_interval() -> None:
    centre = np.array([0.5, 0.4, 0.6])
    root = 0.02 * np.array([[1.0, 0, 0], [0.8, 0.5, 0], [-0.3, 0.4, 0.6]])
    target = multivariate_normal(centre, root @ root.T)
    found = sample(target.logpdf, [Guess(centre + 0.01, 2 * root @ root.T)], BOX, 400)
    mean = found.weights @ found.places
    away = found.places - mean
    covariance = (found.weights[:, None] * away).T @ away
    sigma = np.sqrt(np.diag(root @ root.T))
    assert found.effective > 100
    assert np.abs((mean - centre) / sigma).max() < 0.1
    assert np.abs(np.sqrt(np.diag(covariance)) / sigma - 1).max() < 0.12
    low, high = interval_of(found.places[:, 0], found.weights)
    assert (low, high) == pytest.approx(
        (centre[0] - 1.645 * sigma[0], centre[0] + 1.645 * sigma[0]), abs=0.2 * sigma[0]
    )


def test_two_minima_are_weighed_by_what_fits_not_by_where_draws_began() -> None:
    first, second = np.full(3, 0.3), np.full(3, 0.7)
    c = 0.03**2 * np.eye(3)

    def log(places: np.ndarray) -> np.ndarray:
        a, b = multivariate_normal(first, c), multivariate_normal(second, c)
        return np.log(0.8 * a.pdf(places) + 0.2 * b.pdf(places) + 1e-300)

    found = sample(log, [Guess(first, c), Guess(second, c)], BOX, 500)
    share = found.weights[found.places[:, 0] > 0.5].sum()
    assert share == pytest.approx(0.2, abs=0.04)


def test_a_bent_valley_is_filled_though_the_guess_knows_its_bottom_only() -> None:
    def log(places: np.ndarray) -> np.ndarray:
        u, v, w = (places - 0.5).T
        return -0.5 * ((u / 0.15) ** 2 + ((v - u**2) / 0.02) ** 2 + (w / 0.05) ** 2)

    line = np.linspace(-0.499, 0.499, 500)
    u, v = np.meshgrid(line, line, indexing="ij")
    density = np.exp(-0.5 * ((u / 0.15) ** 2 + ((v - u**2) / 0.02) ** 2)).sum(0)
    wanted = 0.5 + np.interp([0.05, 0.95], np.cumsum(density) / density.sum(), line)
    bottom = Guess(np.full(3, 0.5), np.diag([0.15**2, 0.02**2, 0.05**2]))

    def curvature(place: np.ndarray) -> np.ndarray:
        slope = np.array([[1 / 0.15, 0, 0], [-2 * (place[0] - 0.5) / 0.02, 1 / 0.02, 0], [0, 0, 1 / 0.05]])
        return np.linalg.inv(slope.T @ slope)

    found = sample(log, [bottom], BOX, 450, curvature)
    low, high = interval_of(found.places[:, 1], found.weights)
    assert low == pytest.approx(wanted[0], abs=0.012)
    assert high == pytest.approx(wanted[1], abs=0.02)


def test_draws_stop_at_the_ends_of_the_prior_and_repeat_bit_for_bit() -> None:
    def log(places: np.ndarray) -> np.ndarray:
        return -0.5 * (((places - [0.98, 0.5, 0.5]) / 0.05) ** 2).sum(1)

    guess = Guess(np.array([0.98, 0.5, 0.5]), 0.05**2 * np.eye(3))
    found, again = (sample(log, [guess], BOX, 300) for _ in range(2))
    assert found.places.tobytes() == again.places.tobytes()
    outside = (found.places > 1).any(1)
    assert outside.any() and found.weights[outside].sum() == 0
    # a normal distribution cut at 0.4 sigma above its mode
    cut = norm.cdf(0.4)
    mean = 0.98 - 0.05 * norm.pdf(0.4) / cut
    assert found.weights @ found.places[:, 0] == pytest.approx(mean, abs=0.006)


# -- counts -----------------------------------------------------------------------------------------------


def columns(n: int = 12) -> np.ndarray:
    s = np.linspace(0, 1, n)[:, None]
    return np.array([0.55, 0.45, 0.0]) + s * [0.4, -0.2, 0.0]


def counted(strength: float, seed: int, unit: float = 1.0) -> SqeMap:
    energy = np.arange(10.0, 140.0, 2.0)
    y = simulated_counts(example_case(), columns(), energy, TRUTH, strength, seed, 140.0)
    return SqeMap.of(columns(), energy, unit * y, unit * np.sqrt(np.maximum(y, 1)))


@pytest.mark.parametrize("unit", [1.0, 0.02, 350.0])
def test_counts_are_known_by_their_errors_whatever_their_unit(unit: float) -> None:
    found = count_units(counted(20.0, 1, unit))
    assert found is not None and found == pytest.approx(np.full(found.shape, unit), rel=1e-9)
    other = counted(20.0, 1)
    even = SqeMap.of(other.q_rlu, other.energy_meV, other.intensity, np.full(other.sigma.shape, 2.0))
    assert count_units(even) is None and variance_per_intensity(even, 220) is None
    rng = np.random.default_rng(1)
    rough = np.sqrt(np.maximum(other.intensity, 1)) * rng.uniform(0.8, 1.2, other.sigma.shape)
    assert count_units(SqeMap.of(other.q_rlu, other.energy_meV, other.intensity, rough)) is None


def test_counts_of_unlike_monitors_are_known_column_by_column() -> None:
    whole = counted(20.0, 1)
    monitor = np.linspace(0.5, 2.0, len(whole.q_rlu))[:, None]
    scaled = SqeMap.of(whole.q_rlu, whole.energy_meV, whole.intensity / monitor, whole.sigma / monitor)
    found = count_units(scaled)
    assert found is not None and found == pytest.approx(np.broadcast_to(1 / monitor, found.shape), rel=1e-9)


def test_variance_of_averaged_counts_is_that_of_their_mean() -> None:
    whole = counted(20.0, 2, 0.5)
    per = variance_per_intensity(whole, 4)
    joined = averaged(whole, 4)
    assert per is not None
    # three columns of counts of 0.5 each: variance of the mean is 0.5 / 3 of the expectation
    assert per == pytest.approx(np.full(joined.intensity.shape, 0.5 / 3))
    assert expected_variance(np.array([6.0]), np.array([0.5])) == pytest.approx(3.0)


def test_the_deviance_is_twice_the_poisson_log_likelihood_ratio() -> None:
    from scipy.stats import poisson

    rng = np.random.default_rng(0)
    mean = rng.uniform(0.5, 30, 200)
    n = rng.poisson(mean)
    saturated = np.where(n > 0, poisson.logpmf(n, np.maximum(n, 1e-9)), 0.0)
    wanted = 2 * (saturated - poisson.logpmf(n, mean)).sum()
    assert deviance(2.0 * n, 2.0 * mean, np.full(200, 2.0)) == pytest.approx(wanted, rel=1e-9)


def test_few_counts_do_not_pull_the_fitted_level_down() -> None:
    """Weights of 1 / counts lose about a count of background in every cell; those of the model do not."""
    below, right = [], []
    for seed in range(6):
        scaled = counted(3.0, seed).scaled(1 / 140)
        total = scaled.intensity.sum()
        start, widths = [[32 / 140, 1.8 / 140, -0.2 / 140]], Widths(0.06, 0.03, 1.0, 0.0, 0.03)
        plain = MapFitter(example_case(), scaled, FitSettings(widths=())).fit(start, widths)
        per = variance_per_intensity(scaled, 220)
        known = MapFitter(example_case(), scaled, FitSettings(widths=()), 24, per).fit(start, widths)
        below.append(plain.model.sum() / total)
        right.append(known.model.sum() / total)
        assert known.chi2_reduced == pytest.approx(1.0, abs=0.2)
    assert np.mean(below) < 0.9
    assert np.mean(right) == pytest.approx(1.0, abs=0.02)


# -- the surface that is descended ----------------------------------------------------------------------------


def test_what_is_drawn_changes_smoothly_with_the_resolution() -> None:
    """A fit's derivatives are differences: a grid that moved with the widths made them noise."""
    case, energy = example_case(), np.linspace(0.05, 1.0, 60)
    renderer = Renderer(case, columns(), energy, 16)
    values = {n: v / 140 for n, v in TRUTH.items()}
    sizes = 0.05 + 2e-5 * np.arange(40)
    drawn = np.stack([renderer.map(values, Widths(w, 0.03, 1.0, 0.0, 0.03)) for w in sizes])
    first = np.diff(drawn, axis=0)
    jumps = np.abs(np.diff(first, axis=0)).max()
    # the ladder of grids has at most one step in so small a range
    usual = np.median(np.abs(np.diff(first, axis=0)).max((1, 2)))
    assert usual < 0.01 * np.abs(first).max()
    assert jumps < 0.02 * drawn.max()


def test_a_descent_that_starts_without_anisotropy_finds_the_gap() -> None:
    """The gap goes with the root of D: at D = 0 its derivative by the place in the prior vanishes."""
    case, energy = example_case(), np.arange(3.0, 140.0, 2.0)
    truth = {"J": 32.0, "J2": 1.8, "D": -1.2}
    q = np.array([0.5, 0.5, 0.0]) + np.linspace(0, 0.4, 16)[:, None] * [1.0, -0.4, 0]
    y = simulated_counts(case, q, energy, truth, 60.0, 4, 140.0)
    scaled = SqeMap.of(q, energy, y, np.sqrt(np.maximum(y, 1))).scaled(1 / 140)
    start = np.array([32.0, 1.8, -1e-5]) / 140
    fit = MapFitter(case, scaled, FitSettings(), 24, variance_per_intensity(scaled, 220)).fit(
        [start], Widths(0.06, 0.03, 1.0, 0.0, 0.03)
    )
    assert 140 * fit.values["D"] == pytest.approx(-1.2, abs=4 * 140 * fit.sigma["D"])


def test_places_and_values_of_couplings_undo_each_other_and_fold_at_zero() -> None:
    parameters = example_case().parameters
    places = np.random.default_rng(1).uniform(-0.1, 0.99, (50, 3))
    assert parameters.places_of(parameters.values_at(places)) == pytest.approx(places, abs=1e-9)
    beyond = np.array([[0.5, 0.5, 1.1]])
    assert folded(parameters, beyond) == pytest.approx(np.array([[0.5, 0.5, 0.9]]))
    kept = np.array([[1.1, -0.1, 0.5]])
    assert folded(parameters, kept) == pytest.approx(kept)


def test_drawing_ends_once_enough_draws_count() -> None:
    rng = np.random.default_rng(8)
    root = np.tril(rng.normal(size=(5, 5)) * 0.02) + 0.04 * np.eye(5)
    covariance = root @ root.T
    box = (np.full(5, -1.0), np.full(5, 2.0))
    target = multivariate_normal(np.full(5, 0.5), covariance)
    guess = Guess(np.full(5, 0.51), 1.3 * covariance)
    whole, short = (sample(target.logpdf, [guess], box, 480, enough=e) for e in (np.inf, 60.0))
    assert short.effective > 60 and len(short.places) < 0.8 * len(whole.places)
    away = short.places - short.weights @ short.places
    spread = np.sqrt(short.weights @ away**2 / np.diag(covariance))
    assert (np.abs(spread - 1) < 0.2).all()


def test_beside_a_coupling_of_zero_draws_follow_the_valley() -> None:
    """At D = 0 the place of D has no slope: the curvature there does not say that J goes along with D."""
    case, window = example_case("magnon-chain"), 140.0
    along = np.linspace(0.3, 0.75, 46)
    q, energy = np.stack([0 * along, 0 * along, along], 1), np.arange(40.0, 140.5, 2.0)
    y = simulated_counts(case, q, energy, {"J": 42.0, "D": 0.0}, 200.0, 2, window)
    measured = SqeMap.of(q, energy, y, np.sqrt(np.maximum(y, 1)), np.ones(y.shape, bool)).scaled(1 / window)
    found = refine_map(case, measured, Widths(0.06, 0.03, 1.0, 0.01, 0.03), np.array([40.0, -0.3]) / window)
    assert found.fit.places[1] > 0.99
    assert found.posterior.sampled.effective > 100
    (low, high), (lowest, highest) = window * found.posterior.interval90
    assert (low, high) == pytest.approx((41.94, 42.0), abs=0.02)
    assert highest == 0.0 and -0.02 < lowest < -0.002


def test_a_valley_that_is_not_told_is_no_wider_than_the_prior() -> None:
    case, window = example_case(), 140.0
    start = case.parameters.values_at(case.parameters.places_of(np.array([[32.0, 1.8, -0.2]]) / window))[0]
    measured = counted(60.0, 1).scaled(1 / window)
    found = refine_map(case, measured, Widths(0.06, 0.03, 1.0, 0.01, 0.03), start)
    fit, p = found.fit, len(case.parameters.free)
    slope, n = slope_of(case.parameters, fit.places), len(fit.places)
    along = np.where(np.arange(n) < 2, 1.0, 0.0)
    sigmas = []
    for width in (0.0, 20.0):
        places = fit.place_covariance + width**2 * np.outer(along, along)
        flat = replace(fit, place_covariance=places, covariance=slope @ places @ slope.T)
        said = _normal_posterior(found.fitter, flat, 1, found.posterior.sampled, (np.zeros(n), np.ones(n)))
        back = np.linalg.inv(slope[:p, :p])
        sigmas.append(np.sqrt(np.diag(back @ said.covariance @ back.T)))
    told, untold = sigmas
    assert told == pytest.approx(np.sqrt(np.diag(fit.place_covariance)[:p]), rel=1e-6)
    # a uniform prior is 0.29 wide, seen from one of its ends 0.58
    assert (untold[:2] > 0.28).all() and (untold[:2] < 0.6).all()
    assert untold[2] == pytest.approx(told[2], rel=1e-6)
