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

__all__ = ["count_units", "deviance", "expected_variance", "smoothed", "variance_per_intensity"]

Array = npt.NDArray[np.float64]

_TELLING, _WHOLE, _MOSTLY = 300.0, 0.02, 0.9
"""Up to so many counts it can be told whether a number is whole, to this accuracy; and of how many cells it
must be."""

_LEAST_COUNTS = 0.3
"""Fewer expected counts in a cell are taken for so many."""

_HALF = 2
"""Channels to either side over which a first guess of the expected counts is averaged."""


def count_units(measured: SqeMap) -> Array | None:
    """Return the intensity of one count in every cell; None where errors do not say that there are counts.

    They do where (intensity / error)^2 is a whole number: counts, also divided by a monitor or averaged over
    repeated points. A cell without a count has the error of one.
    """
    y, sigma = measured.intensity, measured.sigma
    above = measured.measured & (y > 0)
    counts = (y[above] / sigma[above]) ** 2
    few = counts[counts < _TELLING]
    if len(few) < max(10, 0.02 * int(measured.measured.sum())):
        return None
    if np.mean(np.abs(few - np.round(few)) < _WHOLE) < _MOSTLY:
        return None
    return np.where(above, sigma**2 / np.where(above, y, 1.0), sigma)


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
    units = count_units(measured)
    if units is None:
        return None
    return averaged(replace(measured, sigma=np.sqrt(units)), columns).sigma ** 2


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
    # numpy's logarithm takes several numbers at once; where nothing was counted its factor is zero
    each = mean - counted + counted * np.log(np.where(counted > 0.0, counted, mean) / mean)
    return 2.0 * float(each @ trust if isinstance(trust, np.ndarray) else each.sum() * trust)
