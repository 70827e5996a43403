"""The smooth floor under the peaks, when nothing is known of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["noise_of", "subtract_floor"]

Array = npt.NDArray[np.float64]


def subtract_floor(y: Array, width: int) -> Array:
    """Subtract what is smoother than a peak.

    Peaks are clipped with windows that shrink from ``width`` to 1 on the twice-logarithmic square root of the
    counts (SNIP: Ryan et al. 1988, NIM B 34, 396; Morhac et al. 1997, NIM A 401, 113). What the noise leaves
    below the floor is zero.

    Parameters
    ----------
    y : ndarray, shape (n,)
        Pattern, not negative.
    width : int
        Half-width of the widest feature that still counts as a peak (channels).

    Returns
    -------
    ndarray, shape (n,)
        ``max(y - floor, 0)``.
    """
    y = np.maximum(np.asarray(y, float), 0.0)
    work = np.log(np.log(np.sqrt(y + 1.0) + 1.0) + 1.0)
    work = _smoothed(work)
    for half in range(min(width, (y.size - 1) // 2), 0, -1):
        middle = (work[: -2 * half] + work[2 * half :]) / 2
        work[half:-half] = np.minimum(work[half:-half], middle)
    floor = (np.exp(np.exp(work) - 1.0) - 1.0) ** 2 - 1.0
    return np.maximum(y - floor, 0.0)


def _smoothed(y: Array) -> Array:
    """Mean of three, so that the floor does not follow single low counts."""
    padded = np.concatenate([y[:1], y, y[-1:]])
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def noise_of(y: Array) -> float:
    """Return the standard deviation of the noise, from second differences along the channels (robust)."""
    second = np.diff(y, 2)
    return 1.4826 * float(np.median(np.abs(second))) / float(np.sqrt(6.0))
