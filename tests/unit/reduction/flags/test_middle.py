from __future__ import annotations

import numpy as np
import pytest

from streamproc.reduction.flags.middle import median_of, ranked


def few_values(random, n):
    return random.integers(0, 4, n).astype(float)


def many_magnitudes(random, n):
    return np.exp(random.uniform(-700, 700, n))


def smallest(random, n):
    return random.poisson(3, n) * 5e-324


@pytest.mark.parametrize(
    "drawn", [few_values, many_magnitudes, smallest, lambda random, n: random.normal(size=n) ** 2]
)
def test_values_are_ranked_as_sorting_ranks_them(drawn):
    random = np.random.default_rng(7)
    for n in [*range(1, 30), 64, 250, 997, 1000]:
        values = drawn(random, n)
        assert median_of(values) == np.median(values)
        for rank in {0, n // 3, n // 2, n - 1}:
            assert ranked(values, rank) == np.sort(values)[rank]


def test_infinity_is_the_highest():
    values = np.array([np.inf, 1.0, np.inf, 0.0])
    assert [ranked(values, k) for k in range(4)] == [0.0, 1.0, np.inf, np.inf]
    assert median_of(values) == np.inf
