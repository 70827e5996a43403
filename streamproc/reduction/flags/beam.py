"""How far the beam has moved on the detector: from the shifts of the quadrants against the run's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.against import AGREES, compare, slope_reach, warp
from streamproc.reduction.kernels import compiled

__all__ = ["beam_shift"]

Float = npt.NDArray[np.float64]

_TOWARDS = np.sqrt(0.5) * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


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
        moved = np.empty((4, axis.size))
        for q in range(4):
            warp(axis, slope, reference[:, q], start[0], start[1], moved[q])
        _quadrant_shifts(axis, moved, y, variance, max(slope_reach(width), 1), found)
    shift, sigma = found.T
    said = sigma > 0
    if not said.any() or not (far or said.all()):
        return 0.0, 0.0, float("inf")
    # a beam that moves far smears the rings across its way, so the other quadrants may have to do
    right, up = np.linalg.pinv(_TOWARDS[said]) @ shift[said]
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
    both = np.isfinite(reference) & np.isfinite(y)
    if np.count_nonzero(both) < 32:
        return 0.0, 0.0
    found = compare(axis[both], slope[both], reference[both], y[both], variance[both], start, 1.0, width)
    return (found.zero, found.zero_sigma) if found.agreement >= AGREES else (0.0, 0.0)


@compiled
def _quadrant_shifts(axis: Any, reference: Any, y: Any, variance: Any, lag: int, found: Any) -> None:
    """Shift of each quadrant: least squares of y on its reference, one, and the reference's slope."""
    n = axis.size
    for q in range(4):
        a, b, row = np.zeros((3, 3)), np.zeros(3), np.zeros(3)
        swyy, count = 0.0, 0
        for i in range(lag, n - lag):
            d = (reference[q, i + lag] - reference[q, i - lag]) / (axis[i + lag] - axis[i - lag])
            v, w = y[i, q], 0.25 / max(variance[i], 1e-300)
            if not (d == d and v == v and reference[q, i] == reference[q, i]):
                continue
            row[0], row[1], row[2] = reference[q, i], 1.0, -d
            for j in range(3):
                for k in range(3):
                    a[j, k] += w * row[j] * row[k]
                b[j] += w * row[j] * v
            swyy += w * v * v
            count += 1
        if count < 16 or a[0, 0] <= 0.0 or a[2, 2] <= 0.0:
            continue
        for j in range(3):
            a[j, j] *= 1.0 + 1e-9
        inverse = np.linalg.inv(a)
        p = inverse @ b
        if p[0] <= 0.0:
            continue
        misfit = max((swyy - b @ p) / (count - 3), 1.0)
        found[q, 0], found[q, 1] = p[2] / p[0], np.sqrt(misfit * inverse[2, 2]) / p[0]
