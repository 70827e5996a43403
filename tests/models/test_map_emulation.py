"""Posteriors from few draws: what they foretell is the posterior, and where it is not they say nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from streamproc.models.excitations.lattice.eigen import modes_of_three
from streamproc.models.excitations.maps.emulation import emulated
from streamproc.models.excitations.maps.sampling import Guess, Sampled, interval_of, quasi, sample

DIMENSIONS = 6
BOX = (np.zeros(DIMENSIONS), np.ones(DIMENSIONS))
MINIMUM = Guess(np.full(DIMENSIONS, 0.5), 0.05**2 * np.eye(DIMENSIONS))
DRAWS = 112


def bent(places: np.ndarray) -> np.ndarray:
    """A log likelihood that is wider to one side, and whose valley is bent; -inf beyond the box."""
    z = (places - 0.5) / 0.05
    z[:, 1] -= 0.15 * (z[:, 0] ** 2 - 1)
    found = -0.5 * (z**2).sum(1) + 0.08 * np.tanh(z[:, 2] / 3) * z[:, 2] ** 2
    inside = ((places >= BOX[0]) & (places <= BOX[1])).all(1)
    return np.where(inside, found, -np.inf)


def known(log: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviations by very many draws."""
    z = np.random.default_rng(1).standard_normal((200_000, DIMENSIONS)) * 1.5
    places = 0.5 + 0.05 * z
    weights = np.exp(log(places.copy()) + 0.5 * (z**2).sum(1) / 1.5**2)
    weights /= weights.sum()
    mean = weights @ places
    return mean, np.sqrt(weights @ (places - mean) ** 2)


def first_draws(log: Callable[[np.ndarray], np.ndarray]) -> Sampled:
    return sample(lambda places: log(places.copy()), [MINIMUM], BOX, DRAWS, rounds=1)


def test_a_hundred_draws_foretell_a_bent_posterior_better_than_their_weights() -> None:
    drawn = first_draws(bent)
    found = emulated(drawn, lambda places: bent(places.copy()), MINIMUM, BOX)
    assert found is not None
    mean, sigma = known(bent)
    own = found.weights @ found.places
    spread = np.sqrt(found.weights @ (found.places - own) ** 2)
    assert np.abs((own - mean) / sigma).max() < 0.15
    assert np.abs(spread / sigma - 1).max() < 0.12
    assert np.abs((drawn.weights @ drawn.places - mean) / sigma).max() > np.abs((own - mean) / sigma).max()
    low, high = interval_of(found.places[:, 3], found.weights)
    assert (low, high) == pytest.approx((mean[3] - 1.645 * sigma[3], mean[3] + 1.645 * sigma[3]), abs=0.012)


def test_draws_that_were_compared_have_no_weight_and_only_they_a_likelihood() -> None:
    found = emulated(first_draws(bent), lambda places: bent(places.copy()), MINIMUM, BOX)
    assert found is not None
    compared = np.isfinite(found.likelihood)
    assert found.weights[compared].sum() == 0
    assert found.weights.sum() == pytest.approx(1)
    assert np.array_equal(found.likelihood[compared], bent(found.places[compared].copy()))


def test_the_same_draws_give_the_same_answer() -> None:
    one, two = (emulated(first_draws(bent), lambda p: bent(p.copy()), MINIMUM, BOX) for _ in range(2))
    assert one is not None
    assert two is not None
    assert np.array_equal(one.weights, two.weights)


def test_what_is_not_smooth_is_not_foretold() -> None:
    def rugged(places: np.ndarray) -> np.ndarray:
        return np.asarray(bent(places) + 3 * np.sin(places.sum(1) / 0.01))

    assert emulated(first_draws(rugged), lambda places: rugged(places.copy()), MINIMUM, BOX) is None


def test_a_coarser_models_draws_are_set_right_by_the_trials_of_the_finer_one() -> None:
    def coarse(places: np.ndarray) -> np.ndarray:  # another level, and a little noise
        return np.asarray(bent(places) - 7.0 + 0.2 * np.sin(places @ np.arange(1, DIMENSIONS + 1) / 0.01))

    found = emulated(first_draws(coarse), lambda places: bent(places.copy()), MINIMUM, BOX, rough=True)
    assert found is not None
    mean, sigma = known(bent)
    own = found.weights @ found.places
    assert np.abs((own - mean) / sigma).max() < 0.2


def test_there_is_no_weight_beyond_a_border_of_stability() -> None:
    def bordered(places: np.ndarray) -> np.ndarray:
        return np.where(places[:, 0] < 0.49, -np.inf, bent(places))

    found = emulated(first_draws(bordered), lambda places: bordered(places.copy()), MINIMUM, BOX)
    assert found is not None
    assert found.weights[found.places[:, 0] < 0.49].sum() < 0.15


def test_modes_of_three_are_solved_where_eigenvalues_are_alike_and_in_unfinished_blocks() -> None:
    rng = np.random.default_rng(2)
    matrix = rng.standard_normal((131, 3, 3))
    matrix += matrix.transpose(0, 2, 1)
    matrix[0], matrix[1], matrix[2] = 2 * np.eye(3), np.diag([1.0, 1.0, 2.0]), np.diag([3.0, 1.0, 1.0])
    matrix[3], matrix[4], matrix[130] = 0.0, np.diag([1.0, 1.0, 1.0 + 1e-9]), 5.0 * np.eye(3)
    values, vectors = modes_of_three(matrix)
    assert np.allclose(np.sort(values, 1), np.linalg.eigvalsh(matrix), atol=1e-12)
    assert np.allclose(np.einsum("kia,kja->kij", vectors, vectors), np.eye(3), atol=1e-12)
    assert np.allclose(np.einsum("ki,kia,kib->kab", values, vectors, vectors), matrix, atol=1e-12)


def test_a_quasi_random_sequence_goes_on_where_it_was_left() -> None:
    assert np.array_equal(quasi(10, 3)[4:], quasi(6, 3, 4))
