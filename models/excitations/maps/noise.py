"""Counts: whether a map holds them, and what their variance is where a model says how many to expect.

Errors that are the root of what was counted are small where by chance little was counted, so a weighted fit
runs below the truth, and its intervals hold it less often than they say. Where errors say that intensities
are counts, weights come from the fitted model instead (iterated, that is the Poisson likelihood's estimate).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.maps.container import SqeMap, averaged

__all__ = ["count_unit", "deviance", "expected_variance", "smoothed", "variance_per_intensity"]

Array = npt.NDArray[np.float64]

_ALIKE = 0.02
"""Variance over intensity differs by no more than this share where one count is one unit everywhere."""

_LEAST_COUNTS = 0.3
"""Fewer expected counts in a cell are taken for so many."""

_HALF = 2
"""Channels to either side over which a first guess of the expected counts is averaged."""


def count_unit(measured: SqeMap) -> float | None:
    """Return the intensity of one count; None where errors do not say that intensities are counts."""
    above = measured.measured & (measured.intensity > 0)
    if int(above.sum()) < 0.05 * int(measured.measured.sum()) or int(above.sum()) < 10:
        return None
    unit = measured.sigma[above] ** 2 / measured.intensity[above]
    middle = float(np.median(unit))
    low, high = np.quantile(unit, [0.02, 0.98])
    return middle if high - low <= _ALIKE * middle else None


def variance_per_intensity(measured: SqeMap, columns: int) -> Array | None:
    """Return what multiplies an expected intensity to give its variance, once columns are averaged.

    Parameters
    ----------
    measured : SqeMap
        As measured.
    columns : int
        Most columns that :func:`averaged` leaves.

    Returns
    -------
    ndarray or None
        Of the averaged map's shape; None where the map holds no counts.
    """
    unit = count_unit(measured)
    if unit is None:
        return None
    even = replace(measured, sigma=np.full(measured.sigma.shape, np.sqrt(unit)))
    return averaged(even, columns).sigma ** 2


def smoothed(measured: SqeMap) -> Array:
    """Return the mean over neighbouring channels: a first guess of what to expect."""
    seen = measured.measured.astype(float)
    n, m = seen.shape
    total, number = np.zeros((n, m + 2 * _HALF)), np.zeros((n, m + 2 * _HALF))
    for shift in range(2 * _HALF + 1):
        total[:, shift : shift + m] += measured.intensity * seen
        number[:, shift : shift + m] += seen
    inner = slice(_HALF, _HALF + m)
    return np.asarray(total[:, inner] / np.maximum(number[:, inner], 1.0))


def expected_variance(expected: Array, per_intensity: Array) -> Array:
    """Return the variance of counts whose expectation a model gives."""
    return np.asarray(per_intensity * np.maximum(expected, _LEAST_COUNTS * per_intensity))


def deviance(intensity: Array, expected: Array, per_intensity: Array, trust: Array | float = 1.0) -> float:
    """Return minus twice the Poisson log likelihood, less that of a model that expects what was counted.

    Parameters
    ----------
    intensity, expected : ndarray, shape (cells,)
        Counted, and expected by a model.
    per_intensity : ndarray, shape (cells,)
        Intensity of one count in each cell.
    trust : ndarray or float
        Weight of each cell.
    """
    counted = np.maximum(intensity, 0.0) / per_intensity
    mean = np.maximum(expected / per_intensity, _LEAST_COUNTS)
    ratio = np.where(counted > 0, counted, 1.0) / mean
    each = np.where(counted > 0, counted * np.log(ratio), 0.0) - (counted - mean)
    return float(2 * np.sum(trust * each))
