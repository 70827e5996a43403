"""A pattern against the reference of its run: scale, offset, zero shift and strain in one fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.kernels import compiled

__all__ = ["AGREES", "Comparison", "between", "compare", "slope_reach", "strain_slope", "warp"]

Float = npt.NDArray[np.float64]

_LAGS = 12
"""Channels that a pattern may jump by between two readings and still be found."""

AGREES = 0.9
"""Agreement from which on the fit describes the pattern."""

_CLOSE = 0.98
_ROUNDS = 6
_MOST_REACH = 16
_STILL = 0.3
"""Part of a channel below which a straight line through the fit is good enough."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What turns the reference into the pattern: ``y(x) = scale * r(x - zero - strain * slope(x)) + offset``.

    Lines may also have become broader or narrower, which is no concern here.

    Attributes
    ----------
    scale, offset : float
        Unit 1, and the unit of the pattern.
    zero, zero_sigma : float
        Shift of all lines alike (unit of the axis), its sigma inflated by the misfit.
    strain : float
        Relative change of the lattice.
    agreement : float
        Share of the pattern's variation above noise that this describes: 1 when nothing else has changed.
    moved : ndarray, shape (n,)
        The reference so moved, neither scaled nor offset.
    """

    scale: float
    offset: float
    zero: float
    zero_sigma: float
    strain: float
    agreement: float
    moved: Float


def strain_slope(axis: Float, kind: str) -> Float:
    """Return how far a line at each place moves per unit strain: -2 tan(theta) (degrees), or -q."""
    if kind == "q_invA":
        return -axis
    return -2 * np.rad2deg(np.tan(np.deg2rad(axis) / 2))


def compare(
    axis: Float,
    slope: Float,
    reference: Float,
    y: Float,
    variance: Float,
    start: tuple[float, float],
    reference_noise: float,
    width: float,
) -> Comparison:
    """Fit the reference to a pattern.

    Parameters
    ----------
    axis, slope, reference, y, variance : ndarray of float64, shape (n,)
        Rising axis, what strain does there, reference, pattern, its variance.
    start : (float, float)
        Zero shift and strain to begin with: those of the reading before. A jump of all lines alike of up to
        12 channels beyond is found.
    reference_noise : float
        Variance of the reference over that of the pattern; it makes a fitted scale and shift too small, which
        is put right for the scale, and both less sure.
    width : float
        Width of a line (channels), NaN where none is known: the reference is taken as means over half of it,
        so that its slopes are not those of its noise. (A line so becomes broader, which is fitted.)
    """
    moved, found = np.empty_like(y), np.empty(6)
    _compare(axis, slope, reference, y, variance, start[0], start[1], reference_noise, width, moved, found)
    scale, offset, zero, zero_sigma, strain, agreement = found.tolist()
    return Comparison(scale, offset, zero, zero_sigma, strain, agreement, moved)


@compiled
def _compare(
    axis: Any, slope: Any, reference: Any, y: Any, variance: Any, zero: float, strain: float,
    reference_noise: float, width: float, moved: Any, out: Any,
) -> None:  # fmt: skip
    """Write what :func:`compare` finds: the reference as moved, and scale, offset, zero, its sigma, strain,
    agreement."""
    n, half = y.size, slope_reach(width)
    sturdy, noise = smoothed(reference, half), reference_noise / (2 * half + 1)
    weights, found, warped = np.empty(n), np.zeros(6), moved
    least = 1e-12 * max(variance.max(), 1e-300)
    for i in range(n):
        weights[i] = 1.0 / max(variance[i], least)
    step = (axis[-1] - axis[0]) / (n - 1)
    for turn in range(_ROUNDS):
        warp(axis, slope, sturdy, zero, strain, warped)
        _fit(axis, slope, warped, y, weights, max(half, 1), noise, found)
        moves = abs(found[2]) + abs(found[3] * slope[slope.size // 2])
        if (found[5] > _CLOSE and moves < _STILL * step) or turn == _ROUNDS - 1:
            break  # mostly at once: little has changed since the reading before
        if turn == 0 and found[5] <= _CLOSE:
            jump = _best_lag(smoothed(y, half), warped, min(_LAGS, max(n // 8, 1)), max(half, 1))
            zero += jump * step
            if jump != 0:
                continue
        zero, strain = zero + found[2], strain + found[3]
    out[0], out[1] = found[0] / _attenuation(warped, weights, noise), found[1]
    out[2], out[3], out[4], out[5] = zero + found[2], found[4], strain + found[3], found[5]
    warp(axis, slope, reference, out[2], out[4], moved)


@compiled
def _attenuation(reference: Any, weights: Any, noise: float) -> float:
    """By how much the noise of the reference makes a fitted scale too small; at least 0.5."""
    n, sw, sr, srr = reference.size, 0.0, 0.0, 0.0
    for i in range(n):
        sw += weights[i]
        sr += weights[i] * reference[i]
        srr += weights[i] * reference[i] * reference[i]
    varies = srr - sr * sr / sw
    return max(1.0 - noise * n / varies, 0.5) if varies > 0.0 else 1.0


@compiled
def warp(axis: Any, slope: Any, reference: Any, zero: float, strain: float, out: Any) -> None:
    """Reference moved by ``zero + strain * slope``, by straight lines between channels."""
    k = 0
    for i in range(axis.size):
        k, share = between(axis, axis[i] - zero - strain * slope[i], k)
        out[i] = reference[k] * (1 - share) + reference[k + 1] * share


@compiled
def between(axis: Any, x: float, k: int) -> Any:
    """Return the channel below a place, sought from channel ``k`` on, and how far the place lies towards the
    next: 0 to 1."""
    while k < axis.size - 2 and axis[k + 1] < x:
        k += 1
    while k > 0 and axis[k] > x:
        k -= 1
    return k, min(max((x - axis[k]) / (axis[k + 1] - axis[k]), 0.0), 1.0)


@compiled
def _best_lag(y: Any, reference: Any, most: int, reach: int) -> int:
    """Lag (channels) at which the slopes of both agree best; 0 unless another is better by a tenth."""
    n = y.size
    best, at, none = 0.0, 0, 0.0
    for lag in range(-most, most + 1):
        total = 0.0
        for i in range(max(reach, reach + lag), min(n - reach, n - reach + lag)):
            slope = reference[i - lag + reach] - reference[i - lag - reach]
            total += (y[i + reach] - y[i - reach]) * slope
        if lag == 0:
            none = total
        if total > best:
            best, at = total, lag
    return at if best > 1.1 * none else 0


@compiled
def slope_reach(width: float) -> int:
    """Return over how many channels to each side means and slopes are taken, for lines of a width
    (channels)."""
    return int(min(0.25 * width, _MOST_REACH)) if width == width else 0


@compiled
def smoothed(y: Any, half: int) -> Any:
    """Means over ``2 * half + 1`` channels, shape (n,); over fewer at the ends."""
    n, total = y.size, 0.0
    out, sums = np.empty(n), np.empty(n + 1)
    sums[0] = 0.0
    for i in range(n):
        total += y[i]
        sums[i + 1] = total
    for i in range(n):
        reach = min(half, i, n - 1 - i)
        out[i] = (sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1)
    return out


@compiled
def _fit(axis: Any, slope: Any, r: Any, y: Any, w: Any, lag: int, reference_noise: float, found: Any) -> None:
    """Least squares of y on (r, 1, -r', -slope r', r''): see ``found`` at the end."""
    n, m = y.size, 5
    sw, swy, swyy, of_noise = 0.0, 0.0, 0.0, 0.0
    a00, a10, a20, a21, a22, a30, a31, a32, a33 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    a40, a41, a42, a43, a44, b0, b2, b3, b4 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    difference = 2.0 if lag == 1 else 4.0 * lag / (2.0 * lag + 1.0)  # two means that share one channel
    for i in range(lag, n - lag):  # written out: the sums stay in registers
        gap = 1.0 / (axis[i + lag] - axis[i - lag])
        d = (r[i + lag] - r[i - lag]) * gap
        r0, r2, r3, r4 = r[i], -d, -d * slope[i], r[i + lag] - 2.0 * r[i] + r[i - lag]
        wi, v = w[i], y[i]
        w0, w2, w3, w4, wv = wi * r0, wi * r2, wi * r3, wi * r4, wi * v
        a00 += w0 * r0
        a10 += w0
        a20 += w2 * r0
        a21 += w2
        a22 += w2 * r2
        a30 += w3 * r0
        a31 += w3
        a32 += w3 * r2
        a33 += w3 * r3
        a40 += w4 * r0
        a41 += w4
        a42 += w4 * r2
        a43 += w4 * r3
        a44 += w4 * r4
        b0 += w0 * v
        b2 += w2 * v
        b3 += w3 * v
        b4 += w4 * v
        sw += wi
        swy += wv
        swyy += wv * v
        of_noise += difference * reference_noise * gap * gap
    a = np.array((
        (a00, 0.0, 0.0, 0.0, 0.0), (a10, sw, 0.0, 0.0, 0.0), (a20, a21, a22, 0.0, 0.0),
        (a30, a31, a32, a33, 0.0), (a40, a41, a42, a43, a44),
    ))  # fmt: skip
    b = np.array((b0, swy, b2, b3, b4))
    # Share of the squared slopes that is not the reference's noise, which says nothing of a shift: a step is
    # too short by it, which is why steps are repeated, and the place where they end less sure.
    signal = max(1.0 - of_noise / a[2, 2], 0.1) if a[2, 2] > 0.0 else 1.0
    size = np.zeros(m)
    for j in range(m):
        size[j] = np.sqrt(a[j, j]) if a[j, j] > 0.0 else 1.0
    for j in range(m):
        for k in range(j + 1):
            a[j, k] /= size[j] * size[k]
            a[k, j] = a[j, k]
        a[j, j] += 1e-9
        b[j] /= size[j]
    inverse = np.linalg.inv(a)
    p = inverse @ b
    left = max(float(swyy - b @ p), 0.0)
    spread = swyy - swy * swy / sw
    found[0], found[1] = p[0] / size[0], p[1] / size[1]  # scale, offset
    scale = float(found[0]) if abs(found[0]) > 1e-12 else 1e-12
    found[2], found[3] = p[2] / size[2] / scale, p[3] / size[3] / scale  # zero, strain
    used = n - 2 * lag
    expected = 1.0 + reference_noise * scale * scale  # of both, per channel
    misfit = max(float(left) / max(used - m, 1), expected)
    found[4] = np.sqrt(misfit * inverse[2, 2]) / size[2] / abs(scale) / signal  # sigma of zero
    variation = spread - used  # what is more than noise
    # of a chi-square, two sigma taken off
    noise = expected * (used - m + 2.0 * np.sqrt(2.0 * max(used - m, 1)))
    found[5] = 1.0 - max(left - noise, 0.0) / variation if variation > 0.0 else 0.0  # agreement
