"""Fits against a general-purpose optimiser and against the statistics of many simulated spectra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from streamproc.models.excitations.oscillators.fit import bounds_for, fit
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import Composition, Mode
from streamproc.models.excitations.oscillators.resolution import Gaussian, MeasuredLine, Voigt
from streamproc.models.excitations.oscillators.search import composition_for, search
from streamproc.models.excitations.oscillators.spectrum import spectrum_of

from streamproc.errors import FrameFailed
from streamproc.reduction.spectrum.channels import straighten

ENERGY = np.linspace(-15.0, 45.0, 130)
TRUTH = [Mode(11.0, 0.9, 250.0), Mode(27.0, 4.0, 600.0)]
ZERO = 0.15


@pytest.fixture(scope="module")
def forward() -> Forward:
    return Forward(ENERGY, Voigt(1.2, 0.3), 2.0)


def expected(forward: Forward, modes=TRUTH) -> np.ndarray:
    c = Composition(len(modes))
    return forward(c, c.vector(modes, 2000.0, 0.1, 1.5))[0]


def test_the_maximum_is_the_one_a_general_optimiser_finds(forward):
    counts = np.random.default_rng(5).poisson(expected(forward)).astype(float)
    c = Composition(2)
    start = c.vector([Mode(10.0, 2.0, 100.0), Mode(30.0, 2.0, 300.0)], 1500.0, 0.0, 3.0)
    found = fit(forward, spectrum_of(ENERGY, counts), c, start, bounds_for(forward, c, ZERO, counts.max()))

    def negative_log_posterior(x):
        mu = forward(c, x * found.vector)[0]
        if mu.min() <= 0:
            return 1e12
        return float((mu - counts * np.log(mu)).sum() + 0.5 * (x[7] * found.vector[7] / ZERO) ** 2)

    other = minimize(
        negative_log_posterior, np.full(len(c), 1.02), method="Nelder-Mead",
        options={"maxiter": 40000, "maxfev": 40000, "xatol": 1e-7, "fatol": 1e-8, "adaptive": True},
    )  # fmt: skip
    assert found.converged
    assert negative_log_posterior(np.ones(len(c))) <= other.fun + 1e-3
    assert np.abs(other.x * found.vector - found.vector).max() <= 0.1 * found.sigma.max()


def test_errors_are_those_of_repeated_measurements(forward):
    rng, c, pulls = np.random.default_rng(6), Composition(2), []
    truth = c.vector(TRUTH, 2000.0, 0.1, 1.5)
    mu = expected(forward)
    for _ in range(300):
        data = spectrum_of(ENERGY, rng.poisson(mu))
        found = fit(forward, data, c, truth, bounds_for(forward, c, ZERO, mu.max()))
        pulls.append((found.vector - truth) / found.sigma)
    spread, centre = np.std(pulls, 0), np.mean(pulls, 0)
    assert spread == pytest.approx(np.ones(len(c)), abs=0.16)
    # Poisson likelihood: no bias beyond what 300 spectra and curvature of the model allow
    assert np.abs(centre).max() < 0.3


def test_scaled_counts_with_errors_give_the_answer_of_the_counts(forward):
    counts = np.random.default_rng(7).poisson(expected(forward) + 3).astype(float)
    one = 3.7e-4
    given = spectrum_of(ENERGY, counts * one, np.sqrt(counts) * one)
    assert given.poisson
    assert given.scale == pytest.approx(one)
    assert given.counts == pytest.approx(counts)


def test_intensities_with_their_own_errors_are_fitted_as_gaussian(forward):
    rng, mu = np.random.default_rng(8), expected(forward) / 50
    sigma = 0.02 + 0.03 * np.abs(rng.normal(size=mu.size)) * mu
    data = spectrum_of(ENERGY, mu + sigma * rng.normal(size=mu.size), sigma)
    assert not data.poisson
    c = Composition(2)
    truth = c.vector([Mode(m.energy, m.width, m.amplitude / 50) for m in TRUTH], 40.0, 0.1, 0.03)
    found = fit(forward, data, c, truth * 1.05, bounds_for(forward, c, ZERO, float(mu.max())))
    assert np.abs((found.vector - truth) / found.sigma).max() < 4
    assert found.chi2_reduced == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize("modes", [0, 1, 2, 3])
def test_evidence_finds_the_number_of_modes_without_a_start(forward, modes):
    three = [Mode(7.0, 0.5, 200.0), Mode(18.0, 2.0, 500.0), Mode(33.0, 1.0, 300.0)]
    rng, right = np.random.default_rng(9 + modes), 0
    for _ in range(6):
        data = spectrum_of(ENERGY, rng.poisson(expected(forward, three[:modes])))
        best = min(search(forward, data, ZERO), key=lambda f: f.bic)
        right += best.composition.modes == modes and all(
            abs(m.energy - t.energy) < 0.5 for m, t in zip(best.modes, three, strict=False)
        )
    assert right >= 5


@pytest.mark.parametrize(
    ("first", "resolution"),
    [
        (2.0, Gaussian(1.2)),
        (2.2, Gaussian(1.2)),
        (3.5, Voigt(0.85, 0.58)),
        (9.0, Voigt(0.85, 0.58)),
        (5.0, Voigt(1.15, 0.06)),
    ],
)
def test_the_tail_of_an_elastic_line_beside_the_axis_is_no_mode(first, resolution):
    """Of a strong elastic line beside the axis more counts are left in a channel than of some modes."""
    energy = np.linspace(first, first + 30.0, 120)
    forward, truth = Forward(energy, resolution, 20.0), [Mode(14.0, 0.3, 50.0), Mode(19.0, 2.0, 200.0)]
    c = Composition(2)
    assert composition_for(forward, 2, ZERO, False) == c
    mu, without = (forward(c, c.vector(truth, area, 0.1, 2.0))[0] for area in (1e5, 0.0))
    assert mu - without == pytest.approx(1e5 * resolution(energy - 0.1), rel=2e-3, abs=1e-3)
    assert mu[0] - without[0] > 10
    rng, right = np.random.default_rng(12), 0
    for _ in range(6):
        found = min(search(forward, spectrum_of(energy, rng.poisson(mu)), ZERO), key=lambda f: f.bic)
        right += found.composition.modes == 2 and all(
            abs(m.energy - t.energy) < 4 * s and m.width < 6.0
            for m, t, s in zip(found.modes, truth, found.sigma[0:6:3], strict=True)
        )
    assert right >= 5


@pytest.mark.parametrize(
    "resolution",
    [Gaussian(1.2), MeasuredLine(np.linspace(-2, 2, 41), np.exp(-3 * np.linspace(-2, 2, 41) ** 2))],
)
def test_an_elastic_line_that_cannot_reach_the_axis_is_left_out(resolution):
    forward = Forward(np.linspace(3.0, 33.0, 120), resolution, 20.0)
    assert not composition_for(forward, 1, ZERO, False).elastic


def test_an_overdamped_mode_is_found_as_one():
    forward = Forward(ENERGY, Gaussian(1.5), 6.0)
    c = Composition(1)
    mu = forward(c, c.vector([Mode(6.0, 20.0, 3000.0)], 500.0, 0.0, 2.0))[0]
    data = spectrum_of(ENERGY, np.random.default_rng(3).poisson(mu))
    best = min(search(forward, data, ZERO), key=lambda f: f.bic)
    assert [m.overdamped for m in best.modes] == [True]


def test_energies_from_straightened_images_scatter_as_stated():
    """A pixel's counts are shared by two channels; the errors leave that correlation out."""
    rng, rows, columns, pulls = np.random.default_rng(4), 160, 120, []
    x = 2 * np.arange(columns) / (columns - 1) - 1
    shift = 2 * x + 5 * x**2
    fine = Forward(np.arange(-90.0, 120.0, 0.1), Gaussian(2.5), 1.0)
    c = Composition(1)
    line = fine(c, c.vector([Mode(24.0, 1.2, 6.0)], 10.0, 0.0, 0.02))[0]
    expected_image = np.interp(np.arange(rows)[:, None] - 60 - shift[None], fine.energy, line)
    seen = Gaussian(float(np.hypot(2.5, 2.355 * 6**-0.5)))  # sharing widens a line by a variance of 1/6 pixel
    for _ in range(80):
        channels = straighten(rng.poisson(expected_image).astype(float), shift)
        energy = channels.pixel - 60
        kept = (energy > -45) & (energy < 85)
        data = spectrum_of(energy[kept], channels.counts[kept])
        model = Forward(data.energy, seen, 1.0)
        start = c.vector([Mode(24.0, 1.2, 700.0)], 1200.0, 0.0, 2.4)
        found = fit(model, data, c, start, bounds_for(model, c, 0.2, float(data.counts.max())))
        pulls.append((found.vector[0] - 24.0) / found.sigma[0])
    assert np.std(pulls) == pytest.approx(0.95, abs=0.2)
    assert abs(np.mean(pulls)) < 0.35


def test_limits_hold_even_where_the_data_push_beyond_them():
    forward = Forward(ENERGY, Gaussian(1.5), 2.0)
    c = Composition(1)
    mu = forward(c, c.vector([Mode(20.0, 0.015, 200.0)], 500.0, 0.0, 1.0))[0]
    rng = np.random.default_rng(11)
    for _ in range(10):
        bounds = bounds_for(forward, c, ZERO, mu.max())
        start = c.vector([Mode(20.5, 1.0, 150.0)], 400.0, 0.0, 2.0)
        found = fit(forward, spectrum_of(ENERGY, rng.poisson(mu)), c, start, bounds)
        assert (found.vector >= bounds.low).all()
        assert (found.vector <= bounds.high).all()
        assert np.isfinite(found.sigma).all()


@pytest.mark.parametrize(
    ("energy", "intensity", "error", "said"),
    [
        (ENERGY, np.ones(20), None, "shape"),
        (ENERGY[:5], np.ones(5), None, "at least"),
        (np.r_[ENERGY[:20], ENERGY[0]], np.ones(21), None, "twice"),
        (ENERGY, np.full(130, -1.0), None, "mostly negative"),
        (ENERGY, np.zeros(130), None, "empty"),
        (ENERGY, np.full(130, 1e308), None, "saturated"),
        (ENERGY, np.r_[-1.0, np.ones(129)], None, "give the errors"),
        (ENERGY, ["x"] * 130, None, "not numeric"),
        (ENERGY, np.r_[-1.0, np.ones(129)], np.zeros(130), "error above 0"),
    ],
)
def test_what_is_no_spectrum_is_refused_with_the_reason(energy, intensity, error, said):
    with pytest.raises(FrameFailed, match=said):
        spectrum_of(energy, intensity, error)


def test_order_and_unusable_points_do_not_matter():
    counts = np.arange(1.0, 131.0)
    shuffled = np.random.default_rng(1).permutation(130)
    given = spectrum_of(np.r_[ENERGY[shuffled], np.nan], np.r_[counts[shuffled], 5.0])
    assert given.energy.tolist() == ENERGY.tolist()
    assert given.counts.tolist() == counts.tolist()
