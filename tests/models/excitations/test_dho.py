"""The oscillator's identities: detailed balance, sum rule, width, pole, limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from streamproc.models.excitations.oscillators.dho import (
    BOLTZMANN,
    bose_weight,
    overdamped,
    pole,
    structure_factor,
    susceptibility,
    thermal_energy,
)


@pytest.mark.parametrize(("centre", "width"), [(10.0, 0.3), (10.0, 2.0), (4.0, 8.0), (3.0, 11.0)])
@pytest.mark.parametrize("kT", [0.4, 3.0, 26.0])
def test_detailed_balance_is_exact(centre, width, kT):
    w = np.array([0.01, 0.5, 3.0, centre, 2 * centre])
    ratio = structure_factor(-w, centre, width, 2.5, kT) / structure_factor(w, centre, width, 2.5, kT)
    assert ratio == pytest.approx(np.exp(-w / kT), rel=1e-13)


@pytest.mark.parametrize(("centre", "width"), [(10.0, 0.3), (10.0, 2.0), (4.0, 8.0), (3.0, 11.0)])
def test_the_sum_rule_holds_to_1e_8(centre, width):
    """Integral of chi''/w over all w is 2 Z / W; substitution w = W tan(t) makes the range finite."""

    def integrand(t):
        w = centre * np.tan(t)
        return susceptibility(w, centre, width, 1.7) / w * centre / np.cos(t) ** 2

    breaks = [
        1e-12,
        np.arctan(1 - width / centre / 2) if width < centre else 0.3,
        np.pi / 4,
        1.0,
        np.pi / 2 - 1e-12,
    ]
    found = sum(
        quad(integrand, a, b, epsabs=0, epsrel=1e-12, limit=400)[0] for a, b in itertools.pairwise(breaks)
    )
    assert 2 * found == pytest.approx(2 * 1.7 / centre, rel=1e-8)


def test_a_sharp_oscillator_has_its_amplitude_as_area_on_the_loss_side_at_zero_temperature():
    w = np.linspace(9, 11, 400001)
    area = np.trapezoid(structure_factor(w, 10.0, 1e-3, 3.0, 0.0), w)
    assert area == pytest.approx(3.0, rel=1e-3)


def test_the_width_is_the_full_width_at_half_maximum_of_a_weakly_damped_line():
    w = np.linspace(5, 15, 1000001)
    chi = susceptibility(w, 10.0, 2.0)
    above = w[chi >= chi.max() / 2]
    assert above[-1] - above[0] == pytest.approx(1.995, abs=1e-3)


def test_the_bose_weight_is_smooth_at_zero_and_a_ramp_when_cold():
    w = np.array([-1e-3, -1e-7, 0.0, 1e-7, 1e-3])
    exact = [x / -np.expm1(-x / 2.0) if x else 2.0 for x in w]
    assert bose_weight(w, 2.0) == pytest.approx(exact, rel=1e-12)
    assert bose_weight([-3.0, 0.0, 4.0], 0.0).tolist() == [0.0, 0.0, 4.0]
    assert bose_weight([-5000.0, 5000.0], 1.0).tolist() == [0.0, 5000.0]


def test_overdamped_means_that_the_pole_has_no_real_part():
    assert not overdamped(5.0, 9.99)
    assert overdamped(5.0, 10.01)
    assert pole(5.0, 6.0) == pytest.approx(4.0)
    assert pole(5.0, 12.0) == 0.0


def test_thermal_energy_agrees_with_scipy_constants_in_every_unit():
    from scipy import constants as c

    joule = {
        "meV": c.e * 1e-3, "eV": c.e, "ueV": c.e * 1e-6, "cm-1": c.h * c.c * 100, "THz": c.h * 1e12,
    }  # fmt: skip
    assert set(joule) == set(BOLTZMANN)
    for units, one in joule.items():
        assert thermal_energy(300.0, units) == pytest.approx(300 * c.k / one, rel=1e-8)
