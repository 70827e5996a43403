"""One step of a spectrum's fit against the same step written with numpy."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import Composition, Mode
from streamproc.models.excitations.oscillators.resolution import Gaussian
from streamproc.models.excitations.oscillators.scoring import propose, score_counts, score_errors

ENERGY = np.linspace(-15.0, 45.0, 130)
MODES = [Mode(11.0, 0.9, 250.0), Mode(27.0, 4.0, 600.0)]


@pytest.fixture
def drawn():
    forward, c = Forward(ENERGY, Gaussian(1.2), 2.0), Composition(2)
    vector = c.vector(MODES, 2000.0, 0.1, 0.4)
    spectrum, derivatives = forward(c, vector)
    counts = np.random.default_rng(4).poisson(0.8 * spectrum).astype(float)
    assert (counts == 0).any()
    return vector, spectrum, derivatives, counts


def test_score_and_information_of_counts_are_those_of_the_poisson_likelihood(drawn):
    _, spectrum, derivatives, counts = drawn
    floor = float(np.quantile(spectrum, 0.2))
    mu = np.maximum(spectrum, floor)
    gradient, fisher = np.empty(len(derivatives)), np.empty((len(derivatives),) * 2)
    deviance = score_counts(spectrum, derivatives, counts, floor, gradient, fisher)
    logs = np.log(np.where(counts > 0, counts, 1.0) / mu)
    assert deviance == pytest.approx(2 * (mu - counts + counts * logs).sum(), rel=1e-12)
    assert spectrum == pytest.approx(mu, abs=0)
    assert gradient == pytest.approx((derivatives / mu) @ (counts - mu), rel=1e-9, abs=1e-9)
    assert fisher == pytest.approx((derivatives / mu) @ derivatives.T, rel=1e-11)


def test_score_and_information_of_intensities_are_those_of_chi_square(drawn):
    _, spectrum, derivatives, counts = drawn
    variance = 2.0 + counts
    gradient, fisher = np.empty(len(derivatives)), np.empty((len(derivatives),) * 2)
    chi2 = score_errors(spectrum, derivatives, counts, variance, gradient, fisher)
    assert chi2 == pytest.approx(((counts - spectrum) ** 2 / variance).sum(), rel=1e-12)
    assert gradient == pytest.approx((derivatives / variance) @ (counts - spectrum), rel=1e-9, abs=1e-9)
    assert fisher == pytest.approx((derivatives / variance) @ derivatives.T, rel=1e-11)


@pytest.mark.parametrize("damping", [1e-9, 1e-3, 10.0])
def test_a_step_solves_the_damped_equations_for_what_is_free_and_stays_within_limits(drawn, damping):
    vector, spectrum, derivatives, counts = drawn
    p = len(vector)
    gradient, fisher, proposed = np.empty(p), np.empty((p, p)), np.empty(p)
    score_counts(spectrum, derivatives, counts, 1e-3, gradient, fisher)
    low, high = np.full(p, -1e6), np.full(p, 1e6)
    held = int(np.argmax(np.abs(gradient[:3])))  # on a limit and pushed against it
    (high if gradient[held] > 0 else low)[held] = vector[held]
    free = np.arange(p) != held
    scale = np.sqrt(np.diag(fisher)[free])
    unit = fisher[np.ix_(free, free)] / np.outer(scale, scale) + (damping + 1e-12) * np.eye(p - 1)
    moved = np.linalg.solve(unit, gradient[free] / scale)
    promise = propose(fisher, gradient, vector, low, high, damping, proposed)
    assert promise == pytest.approx(moved @ (gradient[free] / scale), rel=1e-7)
    assert proposed[held] == vector[held]
    assert proposed[free] == pytest.approx(vector[free] + moved / scale, rel=1e-7)
    k = int(np.argmax(np.abs(proposed - vector)))
    (high if proposed[k] > vector[k] else low)[k] = (proposed[k] + vector[k]) / 2
    limit = (proposed[k] + vector[k]) / 2
    propose(fisher, gradient, vector, low, high, damping, proposed)
    assert proposed[k] == pytest.approx(limit)
    everything = vector.copy()
    assert propose(fisher, gradient, vector, everything, everything, damping, proposed) == 0.0
    assert (proposed == vector).all()
