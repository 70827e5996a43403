"""Which zeros of a pattern are counts, and which were never measured."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.powder.fit import measured_points

AXIS = np.linspace(20.0, 100.0, 2000)
LONGEST = 1.0


def roots(level: float, seed: int = 0) -> np.ndarray:
    counts = np.random.default_rng(seed).poisson(level, AXIS.size)
    line = 50 * level * np.exp(-(((AXIS - 60) / 0.1) ** 2))
    return np.sqrt(counts + np.random.default_rng(seed + 1).poisson(line))


@pytest.mark.parametrize("level", [20.0, 40.0, 3000.0])
@pytest.mark.parametrize("points", [2, 6, 12])
def test_a_gap_between_modules_is_not_data(level: float, points: int) -> None:
    root = roots(level)
    root[700 : 700 + points] = 0.0
    root[1010 : 1010 + points] = 0.0  # on the flank of the line
    measured = measured_points(AXIS, root / root.max(), LONGEST)
    expected = np.ones(AXIS.size, bool)
    expected[700 : 700 + points] = expected[1010 : 1010 + points] = False
    assert np.array_equal(measured, expected)


@pytest.mark.parametrize("level", [0.02, 0.1, 0.5, 1.0, 2.0, 4.0])
def test_zeros_of_few_counts_are_data(level: float) -> None:
    for seed in range(20):
        root = roots(level, seed)
        there = np.flatnonzero(root)
        # as long as the longest run of zeros is allowed, chance makes no gap
        measured = measured_points(np.arange(AXIS.size, dtype=float), root, 1e9)
        assert measured[there[0] : there[-1] + 1].all(), seed


def test_long_runs_of_zeros_and_cut_ends_are_not_data() -> None:
    root = roots(1.0)
    root[:100] = root[1900:] = 0.0
    root[500:540] = 0.0
    measured = measured_points(AXIS, root, LONGEST)
    assert not measured[:100].any() and not measured[1900:].any() and not measured[500:540].any()
    assert measured[120:480].all()


def test_an_axis_that_falls_gives_the_same_points_reversed() -> None:
    root = roots(40.0)
    root[700:709] = 0.0
    forward = measured_points(AXIS, root, LONGEST)
    assert np.array_equal(measured_points(AXIS[::-1], root[::-1], LONGEST), forward[::-1])


def test_a_pattern_of_zeros_holds_no_data() -> None:
    assert not measured_points(AXIS, np.zeros(AXIS.size), LONGEST).any()
