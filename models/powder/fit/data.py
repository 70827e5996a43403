"""A measured pattern as the fit reads it: checked, on 2theta, with bins and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed

__all__ = ["Pattern", "measured_points", "noise_of_root", "pattern_of", "smooth3", "thinned"]

Array = npt.NDArray[np.float64]

_LEAST_POINTS = 16
_LARGEST_GAIN, _FEW_COUNTS = 3.0, 5.0
_FLANK, _LEAST_FLANK, _MISSED_COUNTS = 5, 4, 20.0
"""A gap is judged by five points on each side, four of which must not be zero: so many missing counts are no
chance, which is as unlikely as exp(-20)."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Measured points.

    Attributes
    ----------
    two_theta_deg : ndarray, shape (n,)
        Rising positions.
    low_deg, high_deg : ndarray, shape (n,)
        Edges of each bin.
    intensity, variance : ndarray, shape (n,)
        Measured values and the variance of their counting noise.
    """

    two_theta_deg: Array
    low_deg: Array
    high_deg: Array
    intensity: Array
    variance: Array


def pattern_of(
    axis: npt.ArrayLike,
    intensity: npt.ArrayLike,
    variance: npt.ArrayLike | None = None,
    *,
    mask: npt.ArrayLike | None = None,
    kind: Literal["two_theta_deg", "q_invA"] = "two_theta_deg",
    wavelength_A: float | None = None,
) -> Pattern:
    """Check a measured pattern and make it ready for a fit.

    Parameters
    ----------
    axis, intensity : array_like, shape (n,)
        Strictly rising or falling positions, evenly spaced or not, with or without gaps; intensities.
    variance : array_like, shape (n,), optional
        Of each intensity. By default whole numbers that scatter like counts are taken as counts, others get a
        noise proportional to the square root of the intensity, its size read from neighbouring points.
    mask : array_like of bool, shape (n,), optional
        True for points that are not to be used.
    kind : {'two_theta_deg', 'q_invA'}
        What ``axis`` is.
    wavelength_A : float, optional
        Needed for a Q axis.

    Raises
    ------
    FrameFailed
        When shapes differ, points that are not masked are not finite, the axis is not monotonic, fewer
        than 16 points are left, or nothing is above zero.
    """
    x, y = np.asarray(axis, float), np.asarray(intensity, float)
    use = np.ones(x.shape, bool) if mask is None else ~np.asarray(mask, bool)
    var = None if variance is None else np.asarray(variance, float)
    if (
        x.ndim != 1
        or x.shape != y.shape
        or use.shape != x.shape
        or (var is not None and var.shape != x.shape)
    ):
        raise FrameFailed(f"axis {x.shape}, intensity {y.shape}, mask and variance must have one shape (n,)")
    x, y, var = x[use], y[use], None if var is None else var[use]
    _check(x, y, var)
    if x[0] > x[-1]:
        x, y, var = x[::-1], y[::-1], None if var is None else var[::-1]
    if not (np.diff(x) > 0).all():
        raise FrameFailed("the pattern's axis is not strictly rising or falling")
    low, high = _edges(x)
    if kind == "q_invA":
        if wavelength_A is None:
            raise FrameFailed("a Q axis needs the wavelength")
        low, x, high = (_two_theta(v, wavelength_A) for v in (low, x, high))
    return Pattern(x, low, high, y.copy(), _variance(y) if var is None else var)


def _check(x: Array, y: Array, var: Array | None) -> None:
    if x.size < _LEAST_POINTS:
        raise FrameFailed(f"{x.size} points are left to fit, at least {_LEAST_POINTS} are needed")
    bad = ~(np.isfinite(x) & np.isfinite(y))
    if bad.any():
        raise FrameFailed(f"{int(bad.sum())} of {x.size} points are not finite; mask or drop them first")
    if var is not None and not (np.isfinite(var) & (var > 0)).all():
        raise FrameFailed("variances must be finite and above zero; mask the points without one")
    if y.max() <= 0:
        raise FrameFailed("the pattern is empty: no intensity above zero")


def _two_theta(q: Array, wavelength_A: float) -> Array:
    sine = q * wavelength_A / (4 * np.pi)
    if sine.max() >= 1 or sine.min() <= 0:
        raise FrameFailed(
            f"Q from {q.min():.3g} to {q.max():.3g} 1/angstrom cannot be measured with {wavelength_A:g} "
            "angstrom; check the unit of the axis"
        )
    return np.asarray(np.rad2deg(2 * np.arcsin(sine)))


def _edges(x: Array) -> tuple[Array, Array]:
    """Bins reach half-way to the neighbour, but not into a gap."""
    step = np.diff(x)
    before, after = np.concatenate([step[:1], step]), np.concatenate([step, step[-1:]])
    gap = step > 2.5 * np.minimum(before[:-1], after[1:])
    middle = (x[1:] + x[:-1]) / 2
    low = np.concatenate([[x[0] - step[0] / 2], middle])
    high = np.concatenate([middle, [x[-1] + step[-1] / 2]])
    high[:-1][gap] = (x[:-1] + before[:-1] / 2)[gap]
    low[1:][gap] = (x[1:] - after[1:] / 2)[gap]
    return low, high


def _variance(y: Array) -> Array:
    """Counting variance: of whole numbers as noisy as counts their smoothed value, else a gain times it."""
    smoothed = np.maximum(smooth3(y), 0.0)
    gain = 4 * noise_of_root(np.sqrt(np.maximum(y, 0.0))) ** 2
    whole = bool((y >= 0).all()) and y.max() >= 5 and np.array_equal(y, np.rint(y))
    # whole numbers may still be scaled counts; of few counts the spread of neighbours does not say
    if whole and (gain < _LARGEST_GAIN or np.median(y) < _FEW_COUNTS):
        return np.maximum(smoothed, 1.0)
    return np.asarray(gain * np.maximum(smoothed, max(gain, 1e-6 * float(y.max()))))


def thinned(pattern: Pattern, step_deg: float) -> Pattern:
    """Return the pattern with neighbouring bins put together up to ``step_deg``, not across gaps.

    Parameters
    ----------
    pattern : Pattern
        Fine pattern.
    step_deg : float
        Widest bin; a pattern that is coarser already is returned as it is.
    """
    width = pattern.high_deg - pattern.low_deg
    together = int(step_deg / float(np.median(width)) + 1e-6)
    if together < 2:
        return pattern
    apart = np.concatenate([[True], pattern.low_deg[1:] > pattern.high_deg[:-1] + 1e-9])
    piece = np.cumsum(apart) - 1
    place = np.arange(width.size) - np.flatnonzero(apart)[piece]
    first = np.flatnonzero(apart | (place % together == 0))
    last = np.concatenate([first[1:], [width.size]]) - 1
    total = np.add.reduceat(width, first)
    return Pattern(
        np.add.reduceat(pattern.two_theta_deg * width, first) / total,
        pattern.low_deg[first],
        pattern.high_deg[last],
        np.add.reduceat(pattern.intensity * width, first) / total,
        np.add.reduceat(pattern.variance * width**2, first) / total**2,
    )


def measured_points(axis: Array, root: Array, longest: float) -> npt.NDArray[np.bool_]:
    """Return which points were measured: masks, gaps between modules and cut scans come as zeros.

    Not measured is what lies before the first and after the last point that is not zero, what lies in longer
    runs of zeros, and zeros where the points on both sides have so many counts that none is no chance.

    Parameters
    ----------
    axis : ndarray, shape (n,)
        Positions, rising or falling.
    root : ndarray, shape (n,)
        Square roots of the intensities, on any scale.
    longest : float
        Longest run of zeros, in units of ``axis``, that may be data whatever lies beside it.
    """
    there = np.flatnonzero(root)
    found = np.zeros(root.size, bool)
    if not there.size:
        return found
    found[there[0] : there[-1] + 1] = True
    two_sigma = 2 * noise_of_root(root[there[0] : there[-1] + 1])
    for k in np.flatnonzero(np.diff(there) > 1):
        first, last = there[k] + 1, there[k + 1]
        long = abs(float(axis[last] - axis[first - 1])) > longest
        if long or _missed(root, first, last, two_sigma) > _MISSED_COUNTS:
            found[first:last] = False
    return found


def _missed(root: Array, first: int, last: int, two_sigma: float) -> float:
    """Counts that a run of zeros would hold at the level of its flanks; 0 where these hold zeros too."""
    flanks = root[max(0, first - _FLANK) : first], root[last : last + _FLANK]
    if min(np.count_nonzero(flank) for flank in flanks) < _LEAST_FLANK:
        return 0.0
    level = min(float(np.median(flank)) for flank in flanks)
    return (last - first) * (level / two_sigma) ** 2


def noise_of_root(root: Array) -> float:
    """Return the standard deviation of square roots, from the median of their second differences."""
    if root.size < 8:
        return 0.5
    second = root[2:] - 2 * root[1:-1] + root[:-2]
    highest = float(root.max())
    return float(max(1e-4 * (highest or 1.0), np.median(np.abs(second)) / 0.6745 / np.sqrt(6)))


def smooth3(y: Array) -> Array:
    """Return the mean over three points, so that weights do not follow single counts."""
    padded = np.concatenate([y[:1], y, y[-1:]])
    return np.asarray((padded[:-2] + padded[1:-1] + padded[2:]) / 3)
