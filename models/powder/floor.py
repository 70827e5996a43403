"""The smooth floor under the peaks of a powder pattern, and its noise where nobody gives a variance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import solveh_banded
from scipy.ndimage import uniform_filter1d
from scipy.special import expit

__all__ = ["estimate_noise", "noise_level", "smooth_floor", "without_spikes"]

Array = npt.NDArray[np.float64]

_ROUNDS = 25
_SETTLED = 1e-3
_BLOCKS = 24
_ALIKE = 1e-12
"""Two components with less than this left of each other's independence cannot be told apart."""
_SPIKE_SIGMA = 6.0
_SPIKE_SHARE = 0.2
_TRIM_SIGMA = 3.0
_TRIM_SHARE = 0.9733
"""Variance of a normal distribution cut at 3 sigma, over that of the whole."""


def smooth_floor(y: Array, variance: Array, length_points: float) -> Array:
    """Return the floor: a curve stiff over ``length_points`` that runs through the noise below the peaks.

    Asymmetrically reweighted penalised least squares: points that stand out above the noise lose their weight
    in a few rounds, points inside the noise keep it, so that the floor of a pattern without peaks is unbiased
    (Baek, Park, Ahn & Choo 2015, Analyst 140, 250).

    Parameters
    ----------
    y : ndarray, shape (n,)
        Pattern on an evenly spaced axis.
    variance : ndarray, shape (n,)
        Its variance, positive.
    length_points : float
        Features shorter than about this many points are not followed.

    Returns
    -------
    ndarray, shape (n,)
        The floor, in the unit of ``y``.
    """
    penalty = _penalty(y.size, (length_points / (2 * np.pi)) ** 4)
    sigma = np.sqrt(variance)
    weight = np.ones(y.size)
    floor = y
    for _ in range(_ROUNDS):
        floor = _whittaker(y, weight, penalty)
        excess = (y - floor) / sigma
        below = excess[excess < 0]
        if below.size < 3:
            break
        # the lower half of the noise tells its centre and width, whatever stands above
        width = max(float(np.sqrt(np.mean(below**2))), 1e-12)
        fresh = expit(-2 * (excess / width - 2.8))
        moved = np.linalg.norm(fresh - weight) / np.linalg.norm(weight)
        weight = np.maximum(fresh, 1e-6)
        if moved < _SETTLED:
            break
    return np.asarray(floor)


def _penalty(n: int, stiffness: float) -> Array:
    """Upper band form (3, n) of stiffness * D'D with second differences D."""
    band = np.zeros((3, n))
    for offset, factor in ((0, 1.0), (1, -2.0), (2, 1.0)):
        band[2, offset : n - 2 + offset] += factor**2
    band[1, 1 : n - 1] += -2.0
    band[1, 2:n] += -2.0
    band[0, 2:n] += 1.0
    return stiffness * band


def _whittaker(y: Array, weight: Array, penalty: Array) -> Array:
    """Minimise sum w (y - z)^2 + penalty."""
    band = penalty.copy()
    band[2] += weight
    return np.asarray(solveh_banded(band, weight * y, check_finite=False))


def estimate_noise(y: Array) -> tuple[float, float]:
    """Estimate the noise of a pattern from itself, as variance ``c + g * level``.

    Second differences of neighbours hold little of a smooth pattern and all of its noise. Their trimmed mean
    square in blocks, against the blocks' levels, gives a constant and a gain with non-negative least squares;
    so counts, scaled counts, and patterns with their background taken off are all understood.

    Parameters
    ----------
    y : ndarray, shape (n,)
        The pattern; n >= 16.

    Returns
    -------
    constant : float
        c, positive; not below what rounding the values to steps makes.
    gain : float
        g: 1 for counts; 0 where the noise does not depend on the level.
    """
    second = y[2:] - 2 * y[1:-1] + y[:-2]
    blocks = max(1, min(_BLOCKS, second.size // 12))
    levels, squares = [], []
    for part, middle in zip(np.array_split(second, blocks), np.array_split(y[1:-1], blocks), strict=True):
        levels.append(max(_trimmed_mean(middle), 0.0))
        squares.append(_trimmed_square(part) / 6)
    level, square = np.array(levels), np.array(squares)
    scale = max(float(np.median(square)), 1e-300)
    share = square / scale
    weight = 1 / np.maximum(share, 0.1)
    top = max(float(level.max()), 1e-300)
    design = np.stack([np.ones(blocks), level / top], 1) * weight[:, None]
    constant, slope = (scale * part for part in _two_non_negative(design, share * weight))
    # what is rounded to a step cannot be known better than the rounding
    least = max(_step(y) ** 2 / 12, 1e-12 * float(np.abs(y).max(initial=1.0)) ** 2)
    return max(float(constant), least), float(slope / top)


def _two_non_negative(design: Array, right: Array) -> tuple[float, float]:
    """Least squares for two coefficients not below zero: inside, or else on the better of the edges."""
    gram, onto = design.T @ design, design.T @ right
    determinant = float(gram[0, 0] * gram[1, 1] - gram[0, 1] ** 2)
    if determinant > _ALIKE * gram[0, 0] * gram[1, 1]:
        first = float(gram[1, 1] * onto[0] - gram[0, 1] * onto[1]) / determinant
        second = float(gram[0, 0] * onto[1] - gram[0, 1] * onto[0]) / determinant
        if first >= 0 and second >= 0:
            return first, second
    alone = [max(float(onto[k]), 0.0) / max(float(gram[k, k]), 1e-300) for k in (0, 1)]
    gains = [alone[k] * float(onto[k]) for k in (0, 1)]
    return (alone[0], 0.0) if gains[0] >= gains[1] else (0.0, alone[1])


def noise_level(y: Array, floor: Array, constant: float, gain: float) -> Array:
    """Return what of a pattern is not peaks, smoothed over 1 % of it: the level its noise belongs to."""
    top = floor + 3 * np.sqrt(constant + gain * np.maximum(floor, gain))
    window = max(9, y.size // 100)
    return np.maximum(uniform_filter1d(np.minimum(y, top), window, mode="nearest"), np.maximum(floor, 0.0))


def without_spikes(lines: Array, variance: Array) -> Array:
    """Return a pattern without its floor in which single points that stand out alone are levelled.

    A line of the detector's resolution lifts the neighbours of its top, too; a cosmic ray does not.
    """
    beside = np.maximum(np.roll(lines, 1), np.roll(lines, -1))
    alone = (lines > _SPIKE_SIGMA * np.sqrt(variance)) & (beside < _SPIKE_SHARE * lines)
    alone[[0, -1]] = False
    return np.where(alone, (np.roll(lines, 1) + np.roll(lines, -1)) / 2, lines)


def _trimmed_mean(values: Array) -> float:
    """Mean of the lower nine tenths and the median, whichever is larger: peaks are on the upper side."""
    low = np.sort(values)[: max(1, int(0.9 * values.size))]
    return float(max(np.median(values), low.mean()))


def _trimmed_square(values: Array) -> float:
    """Mean square with the tails beyond 3 sigma cut off, corrected for the cut."""
    kept = values
    for _ in range(6):
        square = float(np.mean(kept**2)) / (1.0 if kept.size == values.size else _TRIM_SHARE)
        inside = np.abs(values) <= _TRIM_SIGMA * np.sqrt(square)
        if inside.sum() < 6 or inside.sum() == kept.size:
            break
        kept = values[inside]
    return float(np.mean(kept**2)) / _TRIM_SHARE


def _step(y: Array) -> float:
    """Smallest difference between the values of the pattern: its rounding, 0 where there is none."""
    steps = np.diff(np.unique(y))
    return float(steps.min()) if steps.size and steps.size < 0.5 * y.size else 0.0
