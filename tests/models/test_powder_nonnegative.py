"""Least squares with coefficients that are not negative, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from streamproc.models.powder.fit.nonnegative import non_negative
from streamproc.models.powder.floor import estimate_noise


def normal_equations(seed: int, m: int, alike: bool, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    """Columns of lines (all positive) or of anything, some nearly the same; data with noise, or without."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(m + int(rng.integers(1, 80)), m))
    if seed % 2:
        columns = np.abs(columns)
    if alike and m > 2:
        columns[:, 1] = columns[:, 0] + 1e-5 * columns[:, 2]
    data = columns @ np.maximum(rng.normal(size=m), 0.0)
    if not exact:
        data += rng.normal(size=len(data))
    gram = columns.T @ columns
    norm = np.sqrt(np.diag(gram))
    return gram / np.outer(norm, norm) + 1e-9 * np.eye(m), columns.T @ data / norm


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.booleans(), st.booleans())
def test_it_is_scipys_minimum(seed: int, m: int, alike: bool, exact: bool) -> None:
    gram, right = normal_equations(seed, m, alike, exact)
    factor = np.linalg.cholesky(gram).T
    known, _ = nnls(factor, np.linalg.solve(factor.T, right), maxiter=100 * m)

    found = non_negative(gram, right)

    def cost(x: np.ndarray) -> float:
        return float(x @ gram @ x / 2 - right @ x)

    assert (found >= 0).all()
    assert cost(found) <= cost(known) + 1e-12 * max(abs(cost(known)), 1e-12)
    if not alike:
        np.testing.assert_allclose(found, known, rtol=1e-5, atol=1e-8)


def test_nothing_to_explain_is_zero() -> None:
    gram = np.eye(4)
    np.testing.assert_array_equal(non_negative(gram, np.zeros(4)), np.zeros(4))
    np.testing.assert_array_equal(non_negative(gram, -np.ones(4)), np.zeros(4))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_gives_none(bad: float) -> None:
    gram, right = normal_equations(1, 12, False, False)
    right[3] = bad
    assert np.isnan(non_negative(gram, right)).all()


@pytest.mark.parametrize(("constant", "gain"), [(0.0, 1.0), (50.0, 0.0), (30.0, 0.5)])
def test_the_noise_of_a_pattern_is_told_apart(constant: float, gain: float) -> None:
    rng = np.random.default_rng(3)
    level = np.linspace(20.0, 2000.0, 20_000)
    y = level + rng.normal(size=level.size) * np.sqrt(constant + gain * level)
    found_constant, found_gain = estimate_noise(y)
    assert found_gain == pytest.approx(gain, rel=0.05, abs=0.002)
    assert found_constant == pytest.approx(constant, rel=0.6, abs=20.0)
