"""The acoustic branch through modes of which some are not its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit
from streamproc.models.excitations.oscillators.dispersion import branch_shape, fit_dispersion


def test_the_branch_agrees_with_a_general_fit_and_its_sigma_with_the_scatter():
    rng, found = np.random.default_rng(1), []
    q, sigma = np.linspace(0.1, 1.0, 12), np.linspace(0.1, 0.4, 12)
    for _ in range(200):
        e = 24 * np.sin(np.pi * q / 2) + sigma * rng.normal(size=12)
        fitted = fit_dispersion(q, e[:, None], sigma[:, None], "sine", 1.0)
        found.append((fitted.scale, fitted.sigma))
    best, covariance = curve_fit(
        lambda x, top: top * np.sin(np.pi * x / 2), q, e, p0=[20.0], sigma=sigma, absolute_sigma=True
    )
    assert fitted.scale == pytest.approx(best[0], rel=1e-6)
    assert fitted.sigma >= 0.999 * np.sqrt(covariance[0, 0])
    assert np.std([f[0] for f in found]) == pytest.approx(np.sqrt(covariance[0, 0]), rel=0.2)


def test_optical_modes_and_gaps_do_not_disturb_the_branch():
    rng = np.random.default_rng(2)
    q = np.linspace(-1.0, 1.0, 21)
    acoustic = 30 * np.abs(q) + rng.normal(0, 0.1, 21)
    optical = 22 + rng.normal(0, 0.1, 21)
    energy = np.sort(np.stack([acoustic, optical], 1), 1)
    energy[4, 0] = np.nan  # a mode that was not found
    energy[9] = np.nan
    fitted = fit_dispersion(q, energy, np.full((21, 2), 0.1), "linear")
    assert fitted.scale == pytest.approx(30.0, abs=0.1)
    beyond = np.abs(q) > 22 / 30 + 0.05  # there the acoustic mode is the upper one
    assert (fitted.chosen[beyond] == 1)[1:].all()
    assert fitted.chosen[9] == -1
    assert fitted.chosen[10] == -1  # the zone centre says nothing


def test_too_few_points_give_no_branch():
    assert fit_dispersion([0.5], [[3.0]], [[0.1]], "linear") is None
    assert fit_dispersion([0.0, 0.0], [[3.0], [4.0]], [[0.1], [0.1]], "linear") is None


def test_shapes_are_those_of_the_textbook():
    assert branch_shape([-0.3, 0.0, 0.5], "linear", 1.0).tolist() == [0.3, 0.0, 0.5]
    assert branch_shape([0.8, 1.6], "sine", 0.8) == pytest.approx([1.0, 0.0], abs=1e-12)
