"""The compiled parts of a spectrum's fit, each against the same written with numpy or scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import nnls
from streamproc.models.excitations.oscillators.descent import inverse
from streamproc.models.excitations.oscillators.dho import bose_weight
from streamproc.models.excitations.oscillators.fit import bounds_for, fit
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.kernels import cells_of, thermal_weights
from streamproc.models.excitations.oscillators.parameters import Composition, Mode
from streamproc.models.excitations.oscillators.prepare import resample
from streamproc.models.excitations.oscillators.residuals import smoothed, strongest
from streamproc.models.excitations.oscillators.resolution import Gaussian
from streamproc.models.excitations.oscillators.spectrum import Spectrum

ENERGY = np.linspace(-15.0, 45.0, 130)
MODES = [Mode(11.0, 0.9, 250.0), Mode(27.0, 4.0, 600.0)]


@pytest.fixture
def forward() -> Forward:
    return Forward(ENERGY, Gaussian(1.2), 2.0)


@pytest.mark.parametrize("errors", [False, True])
@pytest.mark.parametrize("slope", [False, True])
def test_a_start_has_the_amplitudes_of_non_negative_least_squares(forward, errors, slope):
    c = Composition(3, slope=slope)
    counts = np.random.default_rng(3).poisson(
        forward(Composition(2), Composition(2).vector(MODES, 900.0, 0.0, 2.0))[0]
    )
    data = Spectrum(ENERGY, counts.astype(float), 2.0 + counts if errors else None)
    nowhere = Mode(19.0, 1.0, 7.0)  # where nothing is: its amplitude would be below zero
    start = c.vector([MODES[0], nowhere, MODES[1]])
    found = fit(forward, data, c, start, bounds_for(forward, c, 0.1, counts.max()), 0, solve=True)
    linear = [2, 5, 8, 9, 11]
    unit = np.where(np.isin(np.arange(len(c)), [2, 5, 8]), 1.0, start)
    weight = 1 / np.sqrt(data.variance if errors else np.maximum(counts, 1.0))
    expected = nnls((forward(c, unit)[1][linear] * weight).T, counts * weight)[0]
    assert expected.min() == 0.0
    assert found.vector[linear] == pytest.approx(expected, rel=1e-7, abs=1e-7)
    others = np.delete(np.arange(len(c)), linear)
    assert np.array_equal(found.vector[others], start[others])
    assert found.iterations == 0


def test_modes_come_in_rising_energy_with_their_errors(forward):
    counts = np.random.default_rng(4).poisson(
        forward(Composition(2), Composition(2).vector(MODES, 900.0, 0.0, 2.0))[0]
    )
    data, c = Spectrum(ENERGY, counts.astype(float)), Composition(2)
    bounds = bounds_for(forward, c, 0.1, counts.max())
    one, other = (fit(forward, data, c, c.vector(m), bounds, solve=True) for m in (MODES, MODES[::-1]))
    assert other.vector == pytest.approx(one.vector, rel=1e-9)
    assert other.covariance == pytest.approx(one.covariance, rel=1e-6, abs=1e-12)
    assert [m.energy for m in other.modes] == sorted(m.energy for m in other.modes)


def test_the_inverse_is_trusted_only_where_the_data_tell_every_parameter():
    rng = np.random.default_rng(7)
    unit = np.geomspace(1e-6, 1e6, 8)[:, None]
    rows, found = rng.normal(size=(8, 40)) * unit, np.empty((8, 8))
    assert inverse(rows @ rows.T, found)
    expected = np.linalg.inv((rows / unit) @ (rows / unit).T)
    assert found * unit * unit.T == pytest.approx(expected, rel=1e-9, abs=1e-12)
    rows[3] = 2 * rows[5]
    assert not inverse(rows @ rows.T, found)
    rows[3] = 0.0
    assert not inverse(rows @ rows.T, found)


@pytest.mark.parametrize("kT", [0.0, 1e-4, 0.02, 2.0, 500.0])
def test_thermal_weights_are_those_of_the_bose_factor(kT):
    first, step, shift = -37.5, 0.3, 0.05
    weights = np.empty((5, cells_of(285)))
    thermal_weights(first, step, shift, kT, weights)
    nodes = (1 + np.polynomial.legendre.leggauss(5)[0]) / 2
    at = first + 3 * step - shift + 3 * step * (np.arange(weights.shape[1]) + nodes[:, None])
    assert at.max() < first + 281 * step
    assert weights == pytest.approx(bose_weight(at, kT), rel=1e-12, abs=1e-300)


def test_channels_hold_what_the_points_count():
    rng = np.random.default_rng(8)
    energy = np.sort(rng.uniform(-20, 50, 77))
    counts = rng.poisson(30.0, 77).astype(float)
    edges = np.concatenate([energy[:1], (energy[1:] + energy[:-1]) / 2, energy[-1:]])
    summed = np.append(0.0, np.cumsum(counts * np.diff(edges)))
    for channels in (5, 77, 192):
        wanted = np.linspace(energy[0], energy[-1], channels + 1)
        expected = np.diff(np.interp(wanted, edges, summed)) / np.diff(wanted)
        assert resample(energy, counts, channels) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_strongest_residual_is_the_largest_of_the_smoothed(forward):
    rng = np.random.default_rng(9)
    spectrum = np.full(ENERGY.size, 25.0)
    counts = spectrum + rng.normal(0, 5, ENERGY.size)
    counts[40:44] -= 40
    smooth = forward.smoother(1.0) @ ((counts - spectrum) / 5)
    assert smoothed(forward.smoother(1.0), counts, spectrum, spectrum) == pytest.approx(smooth, abs=1e-12)
    place, height = strongest(forward.smoother(1.0), counts, spectrum, spectrum, True)
    assert place == np.abs(smooth).argmax()
    assert 40 <= place < 44
    assert height == pytest.approx(np.abs(smooth).max())
    place, height = strongest(forward.smoother(1.0), counts, spectrum, spectrum, False)
    assert (place, height) == (smooth.argmax(), pytest.approx(smooth.max()))
