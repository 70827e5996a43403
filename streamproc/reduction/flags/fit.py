"""One fit of a reference to a pattern, in compiled code: scale, offset, zero shift, strain, broadening."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.reduction.kernels import compiled, compiled_sums

__all__ = [
    "fitted", "gaps_of", "inverted", "origins", "slope_reach", "smoothed", "warp", "weights_of",
]  # fmt: skip

_LAGS = 12
"""Channels that a pattern may jump by between two readings and still be found."""

_CLOSE = 0.98
_ROUNDS = 6
_MOST_REACH = 16
_STILL = 0.3
"""Part of a channel below which a straight line through the fit is good enough."""

_EVEN = 1e-9
"""An axis is even if no channel is further from where it would be than this part of a channel."""


@compiled
def slope_reach(width: float) -> int:
    """Return over how many channels to each side means and slopes are taken, for lines of a width
    (channels)."""
    return int(min(0.25 * width, _MOST_REACH)) if width == width else 0


@compiled
def weights_of(variance: Any) -> Any:
    """One over the variance, which is nowhere taken for less than 1e-12 of its highest, shape (n,)."""
    weights, least = np.empty(variance.size), 1e-12 * max(_highest(variance), 1e-300)
    for i in range(variance.size):
        weights[i] = 1.0 / max(variance[i], least)
    return weights


@compiled
def _highest(y: Any) -> float:
    """Highest value, at least zero. Four at a time: one maximum waits for the one before."""
    a, b, c, d, whole = 0.0, 0.0, 0.0, 0.0, y.size // 4 * 4
    for i in range(0, whole, 4):
        a, b, c, d = max(a, y[i]), max(b, y[i + 1]), max(c, y[i + 2]), max(d, y[i + 3])
    for i in range(whole, y.size):
        a = max(a, y[i])
    return max(max(a, b), max(c, d))


@compiled
def gaps_of(axis: Any, lag: int) -> Any:
    """One over the distance of the channels ``lag`` to each side, from channel ``lag`` on, shape (n - 2
    lag,)."""
    n = max(axis.size - 2 * lag, 0)
    low, high, gaps = axis[:n], axis[axis.size - n :], np.empty(n)
    for i in range(n):
        gaps[i] = 1.0 / (high[i] - low[i])
    return gaps


@compiled
def fitted(
    axis: Any, slope: Any, reference: Any, y: Any, weights: Any, gaps: Any, zero: float, strain: float,
    reference_noise: float, half: int, warped: Any, out: Any,
) -> None:  # fmt: skip
    """Fit a reference to a pattern, starting from a zero shift and a strain.

    Parameters
    ----------
    axis, slope, reference, y
        As :func:`~streamproc.reduction.flags.against.compare` takes them, and ``reference_noise``.
    weights, gaps : ndarray of float64
        As :func:`weights_of` gives them, and :func:`gaps_of` at ``max(half, 1)``: what fits share.
    half : int
        As :func:`slope_reach` gives it.
    warped : ndarray, shape (n,)
        To work in.
    out : ndarray, shape (6,)
        Written: scale, offset, zero, its sigma, strain, agreement.
    """
    n, lag, found = y.size, max(half, 1), np.zeros(6)
    sturdy, noise = smoothed(reference, half), reference_noise / (2 * half + 1)
    step = (axis[-1] - axis[0]) / (n - 1)
    for turn in range(_ROUNDS):
        warp(axis, slope, sturdy, zero, strain, warped)
        _fit(slope, warped, y, weights, gaps, lag, noise, found)
        moves = abs(found[2]) + abs(found[3] * slope[slope.size // 2])
        if (found[5] > _CLOSE and moves < _STILL * step) or turn == _ROUNDS - 1:
            break  # mostly at once: little has changed since the reading before
        if turn == 0 and found[5] <= _CLOSE:
            jump = _best_lag(smoothed(y, half), warped, min(_LAGS, max(n // 8, 1)), lag)
            zero += jump * step
            if jump != 0:
                continue
        zero, strain = zero + found[2], strain + found[3]
    out[0], out[1] = found[0] / _attenuation(warped, weights, noise), found[1]
    out[2], out[3], out[4], out[5] = zero + found[2], found[4], strain + found[3], found[5]


@compiled_sums
def _weighted(reference: Any, weights: Any) -> Any:
    sw, sr, srr = 0.0, 0.0, 0.0
    for i in range(reference.size):
        wr = weights[i] * reference[i]
        sw += weights[i]
        sr += wr
        srr += wr * reference[i]
    return sw, sr, srr


@compiled
def _attenuation(reference: Any, weights: Any, noise: float) -> float:
    """By how much the noise of the reference makes a fitted scale too small; at least 0.5."""
    sw, sr, srr = _weighted(reference, weights)
    varies = srr - sr * sr / sw
    return max(1.0 - noise * reference.size / varies, 0.5) if varies > 0.0 else 1.0


@compiled
def warp(axis: Any, slope: Any, reference: Any, zero: float, strain: float, out: Any) -> None:
    """Reference moved by ``zero + strain * slope``, by straight lines between channels."""
    below, share = origins(axis, slope, zero, strain)
    for i in range(below.size):
        k = below[i]
        out[i] = reference[k] * (1 - share[i]) + reference[k + 1] * share[i]


@compiled
def origins(axis: Any, slope: Any, zero: float, strain: float) -> Any:
    """Where each channel comes from if all is moved by ``zero + strain * slope``: the channel below, and how
    far the place lies towards the next, 0 to 1; shapes (n,)."""
    n = axis.size
    below, share = np.empty(n, np.uint32), np.empty(n)
    step, last, first = (axis[n - 1] - axis[0]) / (n - 1), np.float64(n - 2), axis[0]
    if _is_even(axis, step):  # mostly; and then it is vector code
        per_channel = 1.0 / step
        for i in range(n):
            at = (axis[i] - zero - strain * slope[i] - first) * per_channel
            at = 0.0 if at < 0.0 else at  # what is not a number stays so
            at = last + 1.0 if at > last + 1.0 else at
            k = np.floor(at)
            k = k if k < last else last
            below[i], share[i] = np.uint32(k), at - k
        return below, share
    j = 0
    for i in range(n):
        j, share[i] = _between(axis, axis[i] - zero - strain * slope[i], j)
        below[i] = j
    return below, share


@compiled
def _is_even(axis: Any, step: float) -> bool:
    off, first = 0, axis[0]
    for i in range(axis.size):  # to the end: no branch, so it is vector code
        off += abs(axis[i] - (first + i * step)) > _EVEN * step
    return off == 0


@compiled
def _between(axis: Any, x: float, k: int) -> Any:
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
def smoothed(y: Any, half: int) -> Any:
    """Means over ``2 * half + 1`` channels, shape (n,); over fewer at the ends."""
    n, out = y.size, np.zeros(y.size)
    inside, count = max(n - 2 * half, 0), 2 * half + 1
    middle = out[half : half + inside]
    for k in range(count):  # in vector code, which running sums are not
        part = y[k : k + inside]
        for i in range(inside):
            middle[i] += part[i]
    for i in range(inside):
        middle[i] /= count
    for k in range(min(half, n)):
        for i in (k, n - 1 - k):
            reach = min(i, n - 1 - i, half)
            out[i] = y[i - reach : i + reach + 1].sum() / (2 * reach + 1)
    return out


@compiled
def inverted(a: Any) -> None:
    """Invert a small symmetric matrix with positive eigenvalues, in place (Gauss-Jordan).

    The library's own inverse is not called: it is so large that after a frame none of it is in the nearest
    caches, and takes ten times as long.
    """
    for k in range(a.shape[0]):
        pivot = a[k, k]
        a[k, k] = 1.0
        for j in range(a.shape[0]):
            a[k, j] /= pivot
        for i in range(a.shape[0]):
            if i != k:
                factor = a[i, k]
                a[i, k] = 0.0
                for j in range(a.shape[0]):
                    a[i, j] -= factor * a[k, j]


@compiled_sums
def _sums(below: Any, r: Any, above: Any, slope: Any, y: Any, w: Any, gaps: Any, out: Any) -> None:
    """Write the sums of the normal equations, in vector code: rows of their lower half, right side, w y y,
    squared gaps."""
    a00, a10, a20, a21, a22, a30, a31, a32, a33 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    a40, a41, a42, a43, a44, b0, b2, b3, b4 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    sw, swy, swyy, squares = 0.0, 0.0, 0.0, 0.0
    for i in range(gaps.size):  # written out: the sums stay in registers
        gap, wi, v, r0 = gaps[i], w[i], y[i], r[i]
        r2 = (below[i] - above[i]) * gap
        r3, r4 = r2 * slope[i], above[i] - 2.0 * r0 + below[i]
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
        squares += gap * gap
    out[0], out[1], out[2], out[3], out[4], out[5] = a00, a10, sw, a20, a21, a22
    out[6], out[7], out[8], out[9] = a30, a31, a32, a33
    out[10], out[11], out[12], out[13], out[14] = a40, a41, a42, a43, a44
    out[15], out[16], out[17], out[18], out[19], out[20], out[21] = b0, swy, b2, b3, b4, swyy, squares


@compiled
def _fit(slope: Any, r: Any, y: Any, w: Any, gaps: Any, lag: int, reference_noise: float, found: Any) -> None:
    """Least squares of y on (r, 1, -r', -slope r', r''): see ``found`` at the end."""
    n, m, used = y.size, 5, gaps.size
    sums = np.zeros(22)
    if used > 0:
        _sums(
            r[:used], r[lag : n - lag], r[n - used :], slope[lag : n - lag], y[lag : n - lag],
            w[lag : n - lag], gaps, sums,
        )  # fmt: skip
    sw, swy, swyy = sums[2], sums[16], sums[20]
    difference = 2.0 if lag == 1 else 4.0 * lag / (2.0 * lag + 1.0)  # two means that share one channel
    a, b, size, k = np.empty((m, m)), sums[15:20].copy(), np.empty(m), 0
    for i in range(m):
        for j in range(i + 1):
            a[i, j] = sums[k]
            k += 1
    # Share of the squared slopes that is not the reference's noise, which says nothing of a shift: a step is
    # too short by it, which is why steps are repeated, and the place where they end less sure.
    of_noise = difference * reference_noise * sums[21]
    signal = max(1.0 - of_noise / a[2, 2], 0.1) if a[2, 2] > 0.0 else 1.0
    for j in range(m):
        size[j] = np.sqrt(a[j, j]) if a[j, j] > 0.0 else 1.0
    for j in range(m):
        for k in range(j + 1):
            a[j, k] /= size[j] * size[k]
            a[k, j] = a[j, k]
        a[j, j] += 1e-9
        b[j] /= size[j]
    inverted(a)
    p, explained = np.zeros(m), 0.0
    for j in range(m):
        for k in range(m):
            p[j] += a[j, k] * b[k]
        explained += b[j] * p[j]
    left = max(swyy - explained, 0.0)
    spread = swyy - swy * swy / sw
    found[0], found[1] = p[0] / size[0], p[1] / size[1]  # scale, offset
    scale = found[0] if abs(found[0]) > 1e-12 else 1e-12
    found[2], found[3] = p[2] / size[2] / scale, p[3] / size[3] / scale  # zero, strain
    expected = 1.0 + reference_noise * scale * scale  # of both, per channel
    misfit = max(left / max(used - m, 1), expected)
    found[4] = np.sqrt(misfit * a[2, 2]) / size[2] / abs(scale) / signal  # sigma of zero
    variation = spread - used  # what is more than noise
    # of a chi-square, two sigma taken off
    noise = expected * (used - m + 2.0 * np.sqrt(2.0 * max(used - m, 1)))
    found[5] = 1.0 - max(left - noise, 0.0) / variation if variation > 0.0 else 0.0  # agreement
