"""Kernels that flags are made of, against numpy and against loops over every range."""

import numpy as np
import pytest

from streamproc.reduction.flags.beam import beam_of, far_shifts, quadrant_shifts
from streamproc.reduction.flags.changes import take_pattern, take_tiles
from streamproc.reduction.flags.fit import fitted, gaps_of, inverted, slope_reach, smoothed, warp, weights_of
from streamproc.reduction.flags.suspects import _is_suspect, _range_maxima, bound, ranges_of

AXIS = np.linspace(4.0, 30.0, 700)
SLOPE = -2 * np.rad2deg(np.tan(np.deg2rad(AXIS) / 2))


def pattern(moved=0.0, scale=1.0):
    y = 40.0 + 60 * np.exp(-AXIS / 9)
    for at in (7.0, 11.3, 14.0, 19.6, 25.0):
        y = y + 500 * np.exp(-0.5 * ((AXIS - moved - at) / 0.12) ** 2)
    return scale * y


@pytest.mark.parametrize("n", [1, 3, 5])
def test_a_matrix_is_inverted_as_numpy_does(n):
    root = np.random.default_rng(n).normal(size=(n, n + 3)) * np.logspace(0, 2, n)[:, None]
    a = root @ root.T
    inverse = a.copy()
    inverted(inverse)
    np.testing.assert_allclose(inverse, np.linalg.inv(a), rtol=1e-9)


def test_a_fit_finds_scale_shift_and_strain():
    random = np.random.default_rng(4)
    y = random.poisson(pattern(0.02, 1.3) + 15).astype(float)
    half, out = slope_reach(9.0), np.empty(6)
    weights, gaps = weights_of(y), gaps_of(AXIS, max(half, 1))
    fitted(AXIS, SLOPE, pattern(), y, weights, gaps, 0.0, 0.0, 0.0, half, np.empty(y.size), out)
    scale, offset, zero, sigma, strain, agreement = out
    assert scale == pytest.approx(1.3, rel=0.02) and offset == pytest.approx(15, abs=4)
    assert zero == pytest.approx(0.02, abs=5 * sigma) and 0 < sigma < 0.005
    assert abs(strain) < 5e-3 and agreement > 0.98


def test_the_highest_of_any_range_of_rings_decides_whether_a_value_is_explained():
    random = np.random.default_rng(2)
    rings = random.uniform(5, 400, 90)
    first = random.integers(0, 60, (7, 5))
    last = first + random.integers(-1, 30, first.shape)
    ranges, levels = ranges_of(first, last, rings.size)
    highest = _range_maxima(rings, levels)
    for a, b, pair in zip(first.ravel(), last.ravel(), ranges.reshape(-1, 2), strict=True):
        if b < a:
            assert pair[0] < 0
            continue
        least = 2.0 + bound(1.1 * rings[a : b + 1].max(), 1.5, 2.0)
        brightest = 1.1 * highest[pair].max()
        said = [_is_suspect(least + off - 2.0, brightest, 1.5, 2.0) for off in (-0.01, 0.01)]
        assert said == [False, True]


@pytest.mark.parametrize("holes", [False, True])
def test_quadrants_that_move_apart_show_a_moved_beam(holes):
    random = np.random.default_rng(5)
    before = np.stack([pattern()] * 4, axis=1)
    now = np.stack([pattern(s) for s in (0.014, 0.014, -0.014, -0.014)], axis=1)
    y = random.poisson(now).astype(float)
    if holes:
        y[300:330, 1], before[100:104, 2] = np.nan, np.nan
    weights, gaps, shifts = weights_of(now[:, 0] / 4), gaps_of(AXIS, 1), np.zeros((4, 2))
    quadrant_shifts(AXIS, SLOPE, before, y, weights, gaps, 0.0, 0.0, 1, shifts)
    assert shifts[:, 0] == pytest.approx([0.014, 0.014, -0.014, -0.014], abs=0.004)
    right, up, sigma = beam_of(shifts, False)
    assert right == pytest.approx(0.0, abs=5 * sigma) and up == pytest.approx(-0.0198, abs=5 * sigma)
    far = far_shifts(AXIS, SLOPE, before, y, now[:, 0] / 4, (0.0, 0.0), 9.0)
    assert far[:, 0] == pytest.approx(shifts[:, 0], abs=0.004)


def test_a_beam_is_told_from_all_quadrants_or_where_it_has_moved_far_from_some():
    shifts = np.array([[0.1, 0.01], [0.1, 0.01], [-0.1, 0.01], [0.0, 0.0]])
    assert beam_of(shifts, False)[2] == np.inf
    right, up, sigma = beam_of(shifts, True)
    assert [right, up] == pytest.approx([0.0, -0.1414], abs=1e-4) and sigma == pytest.approx(
        0.00707, abs=1e-5
    )


def test_what_a_run_takes_in_is_rounded_as_it_is_stored():
    random = np.random.default_rng(6)
    old = random.random(50).astype(np.float32).astype(float)
    new = random.random(50)
    wanted = (old + 0.2 * (new - old)).astype(np.float32)
    take_pattern(old, new, 0.2)
    assert np.array_equal(old, wanted.astype(float))
    tiles, ratio = np.array([[1.0, np.nan, 2.0, np.nan]]), np.array([[2.0, 3.0, np.nan, np.nan]])
    take_tiles(tiles, ratio)
    wanted = np.array([[1.2, 3.0, 2.0, np.nan]], np.float32)
    assert np.array_equal(tiles, wanted.astype(float), equal_nan=True)


def test_a_pattern_moves_alike_on_an_even_axis_and_on_one_that_is_not_quite():
    uneven = AXIS + 1e-7 * np.cos(np.arange(AXIS.size))  # is searched channel by channel
    y = pattern()
    for zero, strain in ((0.0, 0.0), (0.013, 1e-3), (-0.4, 0.0), (60.0, 0.0), (-60.0, 0.0)):
        even, other = np.empty(y.size), np.empty(y.size)
        warp(AXIS, SLOPE, y, zero, strain, even)
        warp(uneven, SLOPE, y, zero, strain, other)
        wanted = np.interp(AXIS - zero - strain * SLOPE, AXIS, y)
        np.testing.assert_allclose(even, wanted, rtol=1e-11)
        np.testing.assert_allclose(other, wanted, rtol=1e-4)


@pytest.mark.parametrize("half", [0, 1, 4, 16])
def test_means_over_channels_are_over_fewer_at_the_ends(half):
    y = np.random.default_rng(half).random(60)
    reach = [min(i, y.size - 1 - i, half) for i in range(y.size)]
    wanted = [y[i - r : i + r + 1].mean() for i, r in enumerate(reach)]
    np.testing.assert_allclose(smoothed(y, half), wanted, rtol=1e-12)
