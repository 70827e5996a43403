"""The background of a powder's fit: what falls off is no force constant's, and what is fitted moves nothing."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.example_powder import ALUMINIUM, powder_case
from streamproc.models.excitations.maps.fit import MapFitter
from streamproc.models.excitations.maps.kinds import physics_of
from streamproc.models.excitations.maps.linear import background_basis, falling_basis, spline_basis
from streamproc.models.excitations.maps.widths import Widths

ENERGY, Q = np.arange(8.5, 48.0, 1.0), np.arange(2.0, 8.1, 0.4)
COLUMNS = np.stack([Q, 0 * Q, 0 * Q], 1)
WIDE = Widths(3.2, 1.6, 52.0, kT=0.4)


def missed(basis: np.ndarray, curve: np.ndarray) -> float:
    """How far the nearest sum of the functions is off, over the curve's height at the first energy."""
    found = np.linalg.lstsq(basis.T, curve, rcond=None)[0]
    return float(np.abs(found @ basis - curve).max() / curve[0])


@pytest.mark.parametrize("decay_meV", [2.5, 4.0, 8.0, 12.0, 30.0, 200.0, np.inf])
def test_what_falls_off_is_a_sum_of_the_functions(decay_meV: float) -> None:
    curve = np.exp(-(ENERGY - ENERGY[0]) / decay_meV)
    assert missed(falling_basis(ENERGY, 5), curve) < 0.01
    if 2.5 <= decay_meV <= 12.0:  # as many polynomials cannot
        assert missed(spline_basis(ENERGY, 3), curve) > 0.05


def test_five_functions_leave_a_band_to_the_phonons() -> None:
    band = np.exp(-0.5 * ((ENERGY - 30.0) / 3.0) ** 2) + 0.01
    assert missed(falling_basis(ENERGY, 5), band) * band[0] > 0.3


def test_only_the_flat_part_of_what_falls_grows_with_q() -> None:
    basis = background_basis(ENERGY, Q, 5, True, falling=True)
    assert basis.shape == (6, len(Q), len(ENERGY))
    assert np.allclose(basis[:5].std(1), 0) and np.allclose(basis[5].std(1), 0)
    assert np.corrcoef(basis[5, :, 0], Q**2)[0, 1] == pytest.approx(1.0)


@pytest.mark.parametrize("decay_meV", [4.0, 12.0, 25.0])
def test_a_background_that_falls_moves_no_force_constant(decay_meV: float) -> None:
    # no noise: what the fit ends away from the truth is the background's doing (a parabola: by 0.6 to 6 sigma)
    case = powder_case()
    drawn = physics_of(case).renderer(COLUMNS, ENERGY, 16).map(ALUMINIUM, WIDE)
    flat = 0.1 + 0.4 * np.exp(-(ENERGY - 8.0) / decay_meV)
    expected = 1000.0 * (drawn / np.quantile(drawn, 0.98) + flat)
    fitter = MapFitter(case, SqeMap.of(COLUMNS, ENERGY, expected, np.sqrt(expected)), points=16)
    truth = np.array([[ALUMINIUM[n] for n in case.parameters.free]])
    fit = fitter.fit(truth, WIDE)
    sigma = np.sqrt(np.diag(fit.covariance)[:6])
    assert (np.abs(fit.best[:6] - truth[0]) < 0.3 * sigma).all(), (fit.best[:6] - truth[0]) / sigma
