"""The convolved spectrum against adaptive quadrature, and its derivatives against differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from streamproc.models.excitations.oscillators.dho import pole, structure_factor
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import Composition, Mode
from streamproc.models.excitations.oscillators.resolution import Gaussian, MeasuredLine, Voigt

from streamproc.errors import ConfigurationError

UNEVEN = np.sort(np.concatenate([np.linspace(-15, 40, 23), [0.3, 0.31, 2.9, 11.7, 12.2, 29.5]]))
CASES = [
    (Mode(12.0, 0.005, 3.0), 2.0),
    (Mode(12.0, 3.0, 3.0), 0.0),
    (Mode(3.0, 9.0, 3.0), 0.02),
    (Mode(5.0, 10.0, 2.0), 25.0),
    (Mode(39.0, 0.5, 1.0), 0.4),
    (Mode(1.0, 30.0, 1.0), 3.0),
]


def by_quadrature(resolution, mode: Mode, kT: float, energy: float, reach: float) -> float:
    """Integrate S(w) R(E - w) over w, split wherever something is sharp."""
    real = pole(mode.energy, mode.width)
    breaks = {0.0, energy, *(k * kT for k in (-10, -1, 1, 10))}
    breaks |= {s * real + k * mode.width for s in (1, -1) for k in (-100, -20, -3, -0.5, 0, 0.5, 3, 20, 100)}
    breaks |= {energy + k * resolution.fwhm for k in (-3, -1, -0.3, 0.3, 1, 3)}
    breaks |= {s * mode.energy**2 / mode.width * k for s in (1, -1) for k in (0.2, 1, 5)}
    inside = sorted(b for b in breaks if -reach < b < reach)
    edges = [-reach, *inside, reach]
    total = 0.0
    for low, high in itertools.pairwise(edges):
        total += quad(
            lambda w: (
                structure_factor(w, mode.energy, mode.width, mode.amplitude, kT)
                * float(resolution(np.array(energy - w)))
            ),
            low, high, epsabs=1e-12, epsrel=1e-9, limit=100,
        )[0]  # fmt: skip
    return total


@pytest.mark.parametrize(("mode", "kT"), CASES)
@pytest.mark.parametrize("resolution", [Gaussian(1.5), Voigt(1.0, 0.4)], ids=["gaussian", "voigt"])
def test_the_convolution_agrees_with_quadrature_on_an_uneven_axis(resolution, mode, kT):
    spectrum, _ = Forward(UNEVEN, resolution, kT)(
        Composition(1, elastic=False), np.array([*_three(mode), 0.25, 0.0])
    )
    exact = np.array([by_quadrature(resolution, mode, kT, e - 0.25, 400.0) for e in UNEVEN])
    assert np.abs(spectrum - exact).max() <= 2.5e-5 * exact.max()


def test_a_measured_line_is_convolved_as_it_was_measured():
    """A lopsided triangle of known shape, against quadrature."""
    line = MeasuredLine([-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0], [0.0, 0.6, 1.0, 0.8, 0.4, 0.2, 0.0])
    mode, kT = Mode(9.0, 1.2, 4.0), 1.0
    spectrum, _ = Forward(UNEVEN, line, kT)(
        Composition(1, elastic=False), np.array([*_three(mode), 0.0, 0.0])
    )
    exact = np.array([by_quadrature(line, mode, kT, e, 60.0) for e in UNEVEN])
    assert np.abs(spectrum - exact).max() <= 1e-3 * exact.max()


def test_lines_have_unit_area_their_width_and_their_centroid_at_zero():
    x = np.linspace(-400, 400, 800001)
    lopsided = MeasuredLine([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0], [0.0, 0.6, 1.0, 0.8, 0.4, 0.2, 0.0])
    for line, tail in ((Gaussian(1.7), 1e-9), (Voigt(1.2, 0.5), 1e-3), (lopsided, 1e-6)):
        y = line(x)
        above = x[y >= y.max() / 2]
        assert np.trapezoid(y, x) == pytest.approx(1.0, abs=tail + 1e-7)
        assert above[-1] - above[0] == pytest.approx(line.fwhm, rel=3e-3)
        assert np.trapezoid(x * y, x) == pytest.approx(0.0, abs=1e-5)
    assert Gaussian(1.0).lorentzian == 0.0
    assert MeasuredLine(x[::500], Gaussian(5.0)(x[::500])).lorentzian == pytest.approx(0.0, abs=0.03)
    assert MeasuredLine(x[::500], Voigt(0.01, 5.0)(x[::500])).lorentzian == pytest.approx(1.0, abs=0.08)


def test_the_derivatives_are_those_of_the_spectrum():
    forward = Forward(UNEVEN, Voigt(1.0, 0.3), 3.0)
    composition = Composition(2, slope=True)
    vector = composition.vector([Mode(11.0, 0.8, 40.0), Mode(4.0, 9.5, 90.0)], 500.0, 0.12, 2.0, 0.7)
    _, derivatives = forward(composition, vector)
    for k, name in enumerate(composition.names):
        step = np.zeros(len(vector))
        step[k] = 1e-4 * max(abs(vector[k]), 0.1)
        ahead, behind = forward(composition, vector + step)[0], forward(composition, vector - step)[0]
        numeric = (ahead - behind) / (2 * step[k])
        assert np.abs(numeric - derivatives[k]).max() <= 1e-5 * np.abs(derivatives[k]).max(), name


def test_another_temperature_shares_the_convolution_and_nothing_else():
    cold, c = Forward(UNEVEN, Gaussian(1.5), 1.0), Composition(1)
    vector = c.vector([Mode(9.0, 1.0, 40.0)], 100.0, 0.1, 1.0)
    before, _ = cold(c, vector)
    warm, _ = cold.at(9.0)(c, vector)
    assert np.array_equal(warm, Forward(UNEVEN, Gaussian(1.5), 9.0)(c, vector)[0])
    assert np.array_equal(cold(c, vector)[0], before)
    assert cold.at(1.0) is cold


def test_elastic_line_and_background_are_where_and_as_large_as_said():
    forward = Forward(UNEVEN, Gaussian(1.5), 1.0)
    composition = Composition(0, slope=True)
    spectrum, _ = forward(composition, composition.vector([], 30.0, 0.2, 5.0, 1.0))
    ramp = (UNEVEN - UNEVEN.mean()) / ((UNEVEN[-1] - UNEVEN[0]) / 2)
    assert spectrum == pytest.approx(30 * Gaussian(1.5)(UNEVEN - 0.2) + 5 + ramp, rel=3e-5)


def test_what_cannot_be_is_refused_with_a_reason():
    with pytest.raises(ConfigurationError, match="rise strictly"):
        Forward([0.0, 1.0, 1.0, 2.0], Gaussian(1.0), 1.0)
    with pytest.raises(ConfigurationError, match="check the units"):
        Forward(np.linspace(0, 100, 50), Gaussian(1e-4), 1.0)
    with pytest.raises(ConfigurationError, match="above 0"):
        Gaussian(0.0)
    with pytest.raises(ConfigurationError, match="rise strictly"):
        MeasuredLine([0, 2, 1, 3, 4], [1, 2, 3, 2, 1])
    with pytest.raises(ConfigurationError, match="not be negative"):
        MeasuredLine([0, 1, 2, 3, 4], [1, 2, -3, 2, 1])
    with pytest.raises(ConfigurationError, match="at least"):
        MeasuredLine([0, 1], [1, 2])


def _three(mode: Mode) -> tuple[float, float, float]:
    return mode.energy, mode.width, mode.amplitude


@pytest.mark.parametrize(
    "resolution", [Gaussian(0.3), MeasuredLine([-0.6, -0.3, 0.0, 0.3, 0.6], [0.0, 1.0, 3.0, 2.0, 0.0])]
)
def test_seen_node_by_node_is_what_the_whole_product_gives(resolution):
    energy = np.unique(np.concatenate([np.linspace(-20, 0, 40), np.geomspace(0.05, 33.0, 90)]))
    forward = Forward(energy, resolution, 2.0)
    optics = forward.optics
    assert 0 < optics.band.shape[1] < 0.25 * len(optics.seen)
    for composition in (
        Composition(1),
        Composition(2, zero=False),
        Composition(4, elastic=False, slope=True),
    ):
        modes = [Mode(3.0 + 7 * k, 0.2 + k, 100.0 * (k + 1)) for k in range(composition.modes)]
        vector = composition.vector(modes, 900.0, 0.05, 2.0)
        near = forward(composition, vector)
        forward.optics = optics._replace(band=np.empty((energy.size, 0)))
        whole = forward(composition, vector)
        forward.optics = optics
        for found, expected in zip(near, whole, strict=True):
            assert np.allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
