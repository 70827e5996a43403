"""The curvature of a spectrometer's lines, measured from the elastic line of an image."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed

__all__ = ["Curvature", "centroids", "measure_curvature"]

Array = npt.NDArray[np.float64]

_GROUPS = (64, 32, 16, 8)
"""Groups of columns, each with one centroid; fewer where the line is faint."""

_LEAST_SIGNIFICANCE = 5.0
_TUKEY = 4.685
"""Sigmas from which a centroid does not count at all (Tukey's biweight)."""

_FINEST = 0.02
"""No centroid is better than this (pixels): a hot pixel has a very sharp one."""

_ROUNDS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Curvature:
    """Where a line of one energy lies: row = polynomial of the column.

    Attributes
    ----------
    coefficients : ndarray, shape (degree + 1,)
        Pixels, lowest power first; the column is scaled to -1 to 1 over the image.
    covariance : ndarray, shape (degree + 1, degree + 1)
        Of the coefficients (pixels squared), scaled by the reduced chi-square where that is above 1.
    columns : int
        Columns of the image.
    used : int
        Centroids that went in with more than half their weight.
    rms : float
        Weighted root mean square of what is left (pixels).
    """

    coefficients: Array
    covariance: Array
    columns: int
    used: int
    rms: float

    def row(self, column: npt.ArrayLike) -> Array:
        """Return the row of the line at these columns."""
        return np.asarray(self._powers(column) @ self.coefficients)

    def sigma(self, column: npt.ArrayLike) -> Array:
        """Return the standard deviation of :meth:`row` (pixels)."""
        powers = self._powers(column)
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", powers, self.covariance, powers)))

    def _powers(self, column: npt.ArrayLike) -> Array:
        return _powers(np.atleast_1d(np.asarray(column, float)), self.columns, len(self.coefficients) - 1)


def centroids(image: npt.ArrayLike, half_width: int = 8, groups: int = 64) -> tuple[Array, Array, Array]:
    """Return the brightest line's centroid in groups of columns.

    Parameters
    ----------
    image : array_like, shape (rows, columns)
        Counts; energy runs along the rows.
    half_width : int
        Pixels on either side of the brightest that belong to the line.
    groups : int
        Groups of columns at most.

    Returns
    -------
    column, row, sigma : ndarray, shape (groups,)
        Mean column of each group, centroid, and its standard deviation from the counts; groups without a line
        are left out.
    """
    counts = np.asarray(image, float)
    columns = counts.shape[1]
    edges = np.unique(np.linspace(0, columns, min(groups, columns) + 1).astype(int))
    found = []
    for left, right in pairwise(edges):
        place = _centroid(np.nan_to_num(counts[:, left:right]).sum(1), half_width)
        if place is not None:
            found.append(((left + right - 1) / 2, *place))
    table = np.array(found, float).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def _centroid(profile: Array, half_width: int) -> tuple[float, float] | None:
    smooth = np.convolve(profile, [1, 2, 3, 2, 1], "same")
    row = float(np.argmax(smooth))
    floor = float(np.median(profile))
    for _ in range(5):  # the window follows the centroid, so that its edges do not pull
        low = max(0, round(row) - half_width)
        part = profile[low : round(row) + half_width + 1]
        place = low + np.arange(part.size)
        signal = part - floor
        total = float(signal.sum())
        noise = float(np.sqrt(np.maximum(part, 0).sum() + part.size))
        if total < _LEAST_SIGNIFICANCE * noise:
            return None
        moved = float((place * signal).sum() / total)
        done, row = abs(moved - row) < 1e-3, min(max(moved, 0.0), profile.size - 1.0)
        if done:
            break
    sigma = float(np.sqrt(((place - row) ** 2 * np.maximum(part, 0)).sum()) / total)
    return row, float(np.hypot(sigma, _FINEST))


def measure_curvature(image: npt.ArrayLike, degree: int = 2, half_width: int = 8) -> Curvature:
    """Fit a polynomial through the centroids; outliers (hot pixels, other lines) count less.

    Parameters
    ----------
    image : array_like, shape (rows, columns)
        Counts; energy runs along the rows.
    degree : int
        Of the polynomial.
    half_width : int
        Pixels on either side of the line's middle.

    Raises
    ------
    FrameFailed
        The line is seen in too few places.
    """
    counts = np.asarray(image, float)
    if counts.ndim != 2 or min(counts.shape) < 2:
        raise FrameFailed(f"a camera image of shape {counts.shape}; expected rows and columns")
    for groups in _GROUPS:
        column, row, sigma = centroids(counts, half_width, groups)
        if column.size >= max(degree + 2, min(groups, counts.shape[1]) // 2):
            break
    if column.size < degree + 2:
        raise FrameFailed(
            f"the elastic line is seen in {column.size} groups of columns, a curvature of degree {degree} "
            f"needs {degree + 2}; set camera.curvature, or sum more images"
        )
    powers = _powers(column, counts.shape[1], degree)
    coefficients, scale = _median_start(powers, row), 1.0
    for _ in range(_ROUNDS):
        off = np.abs(row - powers @ coefficients) / sigma
        scale = max(1.0, 1.4826 * float(np.median(off)))
        weight = np.maximum(1 - (off / (_TUKEY * scale)) ** 2, 0.0) ** 2
        root = np.sqrt(weight) / sigma
        coefficients = np.linalg.lstsq(powers * root[:, None], row * root, rcond=None)[0]
    rest = row - powers @ coefficients
    information = (powers * (weight / sigma**2)[:, None]).T @ powers
    used = weight > 0.5
    rms = float(np.sqrt(np.average(rest**2, weights=weight / sigma**2)))
    covariance = np.asarray(np.linalg.inv(information) * scale**2, np.float64)
    return Curvature(coefficients, covariance, counts.shape[1], int(used.sum()), rms)


def _powers(column: Array, columns: int, degree: int) -> Array:
    scaled = 2 * column / max(columns - 1, 1) - 1
    return np.asarray(np.vander(scaled, degree + 1, increasing=True))


def _median_start(powers: Array, row: Array) -> Array:
    """Least absolute deviations by reweighting: a start that a third of outliers cannot move far."""
    coefficients: Array = np.zeros(powers.shape[1], np.float64)
    coefficients[0] = np.median(row)
    for _ in range(30):
        root = 1 / np.sqrt(np.maximum(np.abs(row - powers @ coefficients), 1e-3))
        coefficients = np.asarray(np.linalg.lstsq(powers * root[:, None], row * root, rcond=None)[0])
    return coefficients
