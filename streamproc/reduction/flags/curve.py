"""Floor, noise and line width of a 1-D pattern: what the other figures of a pattern are measured with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.kernels import compiled

__all__ = ["Curve", "describe_curve", "floor_of", "narrow_channels"]

Float = npt.NDArray[np.float64]

_BLOCKS = 32
_LEAST_BLOCK = 8
_LEAST_NOISE_BLOCK = 24


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
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
        return float(self.axis[-1] - self.axis[0]) / max(self.axis.size - 1, 1)


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
    floor = floor_of(y)
    if variance is None:
        per_count, low = _per_count(y)
        variance = per_count * np.maximum(np.abs(y), low)
        _raise_to_local(y, max(_LEAST_NOISE_BLOCK, -(-y.size // _BLOCKS)), variance)
    else:
        total = float(y.sum())
        per_count = float(variance.sum()) / total if total > 0 else 0.0
    return Curve(
        axis,
        y,
        variance,
        floor,
        per_count,
        float(_width(y, floor, variance, narrow_channels(y, floor, variance))),
    )


def floor_of(y: Float) -> Float:
    """Return the smooth part below the lines of a pattern, shape (n,)."""
    floor = np.empty_like(y)
    _floor(y, max(_LEAST_BLOCK, -(-y.size // _BLOCKS)), floor)
    return floor


def _per_count(y: Float) -> tuple[float, float]:
    low = max(0.05 * float(np.abs(y).mean()), 1e-300)
    second = np.abs(y[:-2] - 2 * y[1:-1] + y[2:])
    scaled = second * second / np.maximum(np.abs(y[1:-1]), low)
    middle = scaled.size // 2
    # median of a chi-square of one degree is 0.4549; a second difference of white noise has variance 6
    return float(np.partition(scaled, middle)[middle]) / (6 * 0.4549), low


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
        local = np.median(squares) / (6.0 * 0.4549)
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
            total, count = 0.0, 0
            for i in range(start, stop):
                if y[i] <= level:
                    total += y[i]
                    count += 1
            level = total / count
        levels[k] = level
    half = 0.5 * (block - 1)
    for i in range(n):
        at = (i - half) / block
        k = min(max(int(np.floor(at)), 0), blocks - 1)
        k1 = min(k + 1, blocks - 1)
        share = min(max(at - k, 0.0), 1.0)
        floor[i] = levels[k] * (1 - share) + levels[k1] * share


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
    """Width of a Gaussian line with the same sum of squares and of squared slopes, noise taken off."""
    square, slope = 0.0, 0.0
    for i in range(1, y.size - 1):
        if narrow[i - 1] or narrow[i] or narrow[i + 1]:
            continue
        p = y[i] - floor[i]
        d = 0.5 * ((y[i + 1] - floor[i + 1]) - (y[i - 1] - floor[i - 1]))
        square += p * p - variance[i]
        slope += d * d - 0.25 * (variance[i + 1] + variance[i - 1])
    if square <= 0.0 or slope <= 0.0:
        return np.nan
    return float(2.3548 * np.sqrt(0.5 * square / slope))
