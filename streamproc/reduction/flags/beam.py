"""How far the beam has moved on the detector: from the shifts of the quadrants against the run's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.against import AGREES, between, compare, slope_reach
from streamproc.reduction.kernels import compiled

__all__ = ["beam_shift"]

Float = npt.NDArray[np.float64]

_TOWARDS = np.sqrt(0.5) * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])

_BACK = [np.linalg.pinv(_TOWARDS[[bool(n >> q & 1) for q in range(4)]]) for n in range(1, 16)]
"""From the shifts of the quadrants that say one to that of the beam, where bit ``q`` of the place plus one is
set for each quadrant ``q`` that does."""


def beam_shift(
    axis: Float,
    slope: Float,
    reference: Float,
    y: Float,
    variance: Float,
    start: tuple[float, float],
    far: bool,
    width: float,
) -> tuple[float, float, float]:
    """Read from the quadrants how far the beam has moved on the detector.

    Parameters
    ----------
    axis, slope, variance : ndarray, shape (n,)
        Radial axis, what strain does there, variance of the whole ring.
    reference, y : ndarray, shape (n, 4)
        Patterns of the quadrants, centred at azimuths -135, -45, 45 and 135 degrees; NaN where nothing is.
    start : (float, float)
        Zero shift and strain of all rings.
    far : bool
        The beam may have moved by more than part of a line's width; slower.
    width : float
        Width of a line (channels), NaN where none is known.

    Returns
    -------
    float, float, float
        Shift of the rings towards azimuth 0 and 90 degrees, and its sigma, in the unit of the axis; sigma is
        infinite where a quadrant does not say.
    """
    found = np.zeros((4, 2))
    if far:
        for q in range(4):
            found[q] = _far_shift(axis, slope, reference[:, q], y[:, q], 4 * variance, start, width)
    else:
        _quadrant_shifts(axis, slope, reference, y, variance, start[0], start[1], width, found)
    shift, sigma = found.T
    said = sigma > 0
    if not said.any() or not (far or said.all()):
        return 0.0, 0.0, float("inf")
    # a beam that moves far smears the rings across its way, so the other quadrants may have to do
    right, up = _BACK[int(said @ (1, 2, 4, 8)) - 1] @ shift[said]
    return float(right), float(up), float(np.sqrt(np.mean(sigma[said] ** 2) / 2))


def _far_shift(
    axis: Float,
    slope: Float,
    reference: Float,
    y: Float,
    variance: Float,
    start: tuple[float, float],
    width: float,
) -> tuple[float, float]:
    reference, y = np.ascontiguousarray(reference), np.ascontiguousarray(y)
    both = np.isfinite(reference) & np.isfinite(y)
    if np.count_nonzero(both) < 32:
        return 0.0, 0.0
    found = compare(axis[both], slope[both], reference[both], y[both], variance[both], start, 1.0, width)
    return (found.zero, found.zero_sigma) if found.agreement >= AGREES else (0.0, 0.0)


@compiled
def _quadrant_shifts(
    axis: Any, slope: Any, reference: Any, y: Any, variance: Any, zero: float, strain: float, width: float,
    found: Any,
) -> None:  # fmt: skip
    """Shift of each quadrant: least squares of y on its moved reference, one, and that reference's slope."""
    n, lag = axis.size, max(slope_reach(width), 1)
    gaps, weights, all_moved, k = np.empty(n), np.empty(n), np.empty((4, n)), 0
    for i in range(n):
        gaps[i] = 1.0 / (axis[min(i + lag, n - 1)] - axis[max(i - lag, 0)])
        weights[i] = 0.25 / max(variance[i], 1e-300)
        k, share = between(axis, axis[i] - zero - strain * slope[i], k)
        for q in range(4):  # all quadrants move alike
            all_moved[q, i] = reference[k, q] * (1 - share) + reference[k + 1, q] * share
    for q in range(4):
        moved = all_moved[q]
        a00, a10, a11, a20, a21, a22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        b0, b1, b2, swyy, count = 0.0, 0.0, 0.0, 0.0, 0
        for i in range(lag, n - lag):
            d, r, v = (moved[i + lag] - moved[i - lag]) * gaps[i], moved[i], y[i, q]
            if not (d == d and v == v and r == r):
                continue
            w, wr, wd = weights[i], weights[i] * r, -weights[i] * d
            a00 += wr * r
            a10 += wr
            a11 += w
            a20 += wd * r
            a21 += wd
            a22 -= wd * d
            b0 += wr * v
            b1 += w * v
            b2 += wd * v
            swyy += w * v * v
            count += 1
        if count < 16 or a00 <= 0.0 or a22 <= 0.0:
            continue
        a = np.array(((a00, a10, a20), (a10, a11, a21), (a20, a21, a22)))
        b = np.array((b0, b1, b2))
        for j in range(3):
            a[j, j] *= 1.0 + 1e-9
        inverse = np.linalg.inv(a)
        p = inverse @ b
        if p[0] <= 0.0:
            continue
        misfit = max((swyy - b @ p) / (count - 3), 1.0)
        found[q, 0], found[q, 1] = p[2] / p[0], np.sqrt(misfit * inverse[2, 2]) / p[0]
