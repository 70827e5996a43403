"""Floor, noise and line width of a 1-D pattern: what the other figures of a pattern are measured with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.middle import median_of, ranked
from streamproc.reduction.kernels import compiled, compiled_sums

__all__ = ["Curve", "blocks_of", "describe_curve", "described", "floor_of", "narrow_channels"]

Float = npt.NDArray[np.float64]

_BLOCKS = 32
_LEAST_BLOCK = 8
_LEAST_NOISE_BLOCK = 24
_MOST_LAG = 32
_ROUNDING, _TINY = 1e-7, 1e-100
"""A pattern without noise (calculated, or a ramp of a test) is still rounded: to this part of its highest."""

_BELOW = 1.37
"""Sigmas that the floor lies below the mean of noise: E(x | x < E(x | x < 0)) of a normal variable."""


class Curve(NamedTuple):
    """A pattern with what is known of its parts.

    Attributes
    ----------
    axis, y, variance, floor : ndarray of float64, shape (n,)
        Pattern, its variance (counting, or estimated), and the smooth part below the lines.
    per_count : float
        What one count is worth in units of ``y``: variance over value where counting noise rules.
    width : float
        Full width at half maximum of the typical line (channels), NaN without lines.
    """

    axis: Float
    y: Float
    variance: Float
    floor: Float
    per_count: float
    width: float

    @property
    def step(self) -> float:
        """Mean width of a channel, in the axis's unit."""
        return float(self.axis.item(-1) - self.axis.item(0)) / max(self.axis.size - 1, 1)


def describe_curve(axis: Float, y: Float, variance: Float | None = None) -> Curve:
    """Measure a pattern.

    Parameters
    ----------
    axis, y : ndarray of float64, shape (n,)
        Rising axis; intensity.
    variance : ndarray of float64, shape (n,), optional
        Of ``y``. Without it, it is estimated: from the median second difference over the root of the value,
        as if it were counting noise of an unknown scale, but nowhere below that of the neighbourhood
        (patterns that were corrected or subtracted are noisier in places).
    """
    per_count = None
    if variance is None:
        variance = np.empty_like(y)
        per_count = _estimate(y, max(_LEAST_NOISE_BLOCK, -(-y.size // _BLOCKS)), variance)
    floor = np.empty_like(y)
    mean, width = described(y, variance, blocks_of(y.size), floor)
    return Curve(axis, y, variance, floor, mean if per_count is None else per_count, width)


@compiled
def blocks_of(n: int) -> int:
    """Return over how many channels of ``n`` a level of the floor is taken."""
    return int(max(_LEAST_BLOCK, -(-n // _BLOCKS)))


@compiled
def described(y: Any, variance: Any, block: int, floor: Any) -> Any:
    """Write the floor; return variance over value of all, and the width of the lines."""
    _floor(y, block, floor)
    total, noise = y.sum(), variance.sum()
    width = _width(y, floor, variance, narrow_channels(y, floor, variance))
    return (noise / total if total > 0.0 else 0.0), width


def floor_of(y: Float) -> Float:
    """Return the smooth part below the lines of a pattern, shape (n,)."""
    floor = np.empty_like(y)
    _floor(y, blocks_of(y.size), floor)
    return floor


@compiled
def _estimate(y: Any, block: int, variance: Any) -> float:
    """Write the variance that :func:`describe_curve` estimates; return what one count is worth."""
    n, total, highest = y.size, 0.0, 0.0
    for i in range(n):
        total += abs(y[i])
        highest = max(highest, abs(y[i]))
    low, scaled = max(0.05 * total / n, 1e-300), np.empty(n - 2)
    for i in range(n - 2):
        second = y[i] - 2.0 * y[i + 1] + y[i + 2]
        scaled[i] = second * second / max(abs(y[i + 1]), low)
    # median of a chi-square of one degree is 0.4549; a second difference of white noise has variance 6
    per_count = ranked(scaled, scaled.size // 2) / (6.0 * 0.4549)
    for i in range(n):
        variance[i] = per_count * max(abs(y[i]), low)
    _raise_to_local(y, block, variance)
    rounding = (_ROUNDING * max(highest, _TINY)) ** 2
    for i in range(n):
        variance[i] = max(variance[i], rounding)
    return float(per_count)


@compiled
def _raise_to_local(y: Any, block: int, variance: Any) -> None:
    """Raise the variance of each block to what the median of its second differences says."""
    n = y.size
    for start in range(0, n, block):
        first, last = max(start - block // 2, 1), min(start + block + block // 2, n - 1)
        squares = np.empty(max(last - first, 1))
        squares[:] = 0.0
        for i in range(first, last):
            d = y[i - 1] - 2.0 * y[i] + y[i + 1]
            squares[i - first] = d * d
        local = median_of(squares) / (6.0 * 0.4549)
        for i in range(start, min(start + block, n)):
            variance[i] = max(variance[i], local)


@compiled
def _floor(y: Any, block: int, floor: Any) -> None:
    """Mean of what lies below the mean (twice) of each block, joined by straight lines."""
    n = y.size
    blocks = (n + block - 1) // block
    levels = np.empty(blocks)
    for k in range(blocks):
        start, stop = min(k * block, max(n - block, 0)), min((k + 1) * block, n)
        level = np.inf
        for _ in range(3):
            level = _mean_below(y[start:stop], level)
        levels[k] = level
    half, i = 0.5 * (block - 1), 0
    while i < n and i <= half:
        floor[i] = levels[0]
        i += 1
    for k in range(blocks - 1):
        step = (levels[k + 1] - levels[k]) / block
        while i < n and i - half < (k + 1) * block:
            floor[i] = levels[k] + step * (i - half - k * block)
            i += 1
    while i < n:
        floor[i] = levels[blocks - 1]
        i += 1


@compiled_sums
def _mean_below(y: Any, level: float) -> float:
    total, count = 0.0, 0
    for i in range(y.size):  # no branch: chance would decide it
        below = y[i] <= level
        total += y[i] if below else 0.0
        count += below
    return total / count


@compiled
def narrow_channels(y: Any, floor: Any, variance: Any) -> Any:
    """Mark channels that stand alone: ten sigma and 70 % of their height above both neighbours, bool (n,)."""
    narrow = np.zeros(y.size, np.bool_)
    for i in range(1, y.size - 1):
        over = y[i] - max(y[i - 1], y[i + 1])
        if over > 0.7 * (y[i] - floor[i]):
            narrow[i] = over > 10.0 * np.sqrt(variance[i] + max(variance[i - 1], variance[i + 1]))
    return narrow


@compiled
def _width(y: Any, floor: Any, variance: Any, narrow: Any) -> float:
    """Width of Gaussian lines with the same sum of squares and of squared differences, noise taken off.

    Of a Gaussian of standard deviation s, the squared differences over 2 h channels sum up to 2 S (1 -
    exp(-h^2
    / s^2)), with S the sum of the squares (its autocorrelation). The distance grows until they are a fifth of
    that: over less than a line's width they are small beside the noise.
    """
    n, lag = y.size, 1
    over, squares = np.empty(n), np.empty(n)
    for i in range(n):  # once for all distances, and in vector code
        over[i] = y[i] - floor[i]
        beside = variance[i] * max(floor[i], 0.0) / max(max(y[i], floor[i]), 1e-300)
        p = over[i] - _BELOW * np.sqrt(beside)
        squares[i] = p * p - variance[i]
    while True:
        square, difference = _squares(over, squares, variance, narrow, lag, max(n - 2 * lag, 0))
        if square <= 0.0:
            return np.nan
        share = difference / (2.0 * square)
        if share > 0.2 or 2 * lag > _MOST_LAG or 8 * lag > y.size:
            break
        lag *= 2
    if share <= 0.0 or share >= 1.0:
        return np.nan
    return float(2.3548 * lag / np.sqrt(-np.log(1.0 - share)))


@compiled_sums
def _squares(over: Any, squares: Any, variance: Any, narrow: Any, lag: int, n: int) -> Any:
    """Sums of the squares and of the squared differences, where no channel concerned stands alone."""
    below, above, noise, noises = over[:n], over[2 * lag :], variance[:n], variance[2 * lag :]
    alone, here, there, middle = narrow[:n], narrow[lag : lag + n], narrow[2 * lag :], squares[lag : lag + n]
    square, difference = 0.0, 0.0
    for i in range(n):
        left_out, d = alone[i] | here[i] | there[i], above[i] - below[i]
        square += 0.0 if left_out else middle[i]
        difference += 0.0 if left_out else d * d - (noises[i] + noise[i])
    return square, difference
