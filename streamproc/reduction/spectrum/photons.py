"""Single photons in a camera image, placed below a pixel by their charge cloud."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, uniform_filter

from streamproc.errors import FrameFailed

__all__ = ["Photons", "find_photons"]

Array = npt.NDArray[np.float64]

_BOX = 3


@dataclass(frozen=True, slots=True, eq=False)
class Photons:
    """What was found, in order of row, then column of the brightest pixel.

    Attributes
    ----------
    row, column : ndarray, shape (n,)
        Centroid of the charge in the 3 x 3 pixels around the brightest (pixels).
    charge : ndarray, shape (n,)
        Sum over those pixels (detector units).
    number : ndarray of int, shape (n,)
        Photons in it: charge over that of one, rounded, at least 1.
    """

    row: Array
    column: Array
    charge: Array
    number: npt.NDArray[np.int64]


def find_photons(image: npt.ArrayLike, threshold: float, photon_value: float) -> Photons:
    """Find charge clouds.

    Parameters
    ----------
    image : array_like, shape (rows, columns)
        Detector units, dark taken off. Not finite: counts as zero.
    threshold : float
        The brightest pixel of a cloud is above this.
    photon_value : float
        Charge of one photon.

    Raises
    ------
    FrameFailed
        It is no image, or threshold and value make no sense.

    Notes
    -----
    A pixel is the middle of a cloud if no other of the 3 x 3 around it is brighter; of equals the first.
    Pixels below zero count as zero in a centroid. Clouds that overlap are found as one.
    """
    charge = np.nan_to_num(np.asarray(image, float), nan=0.0, posinf=0.0, neginf=0.0)
    if charge.ndim != 2 or not (threshold > 0 and photon_value > 0):
        raise FrameFailed(
            f"single photons need an image (got shape {charge.shape}), and threshold and photon_value above 0"
        )
    positive = np.maximum(charge, 0.0)
    rank = np.arange(charge.size, 0, -1, dtype=float).reshape(charge.shape) / (charge.size + 1)
    middle = (charge > threshold) & (charge == maximum_filter(charge, _BOX, mode="constant"))
    # of equal neighbours the first one is the middle
    first = np.where(middle, rank, 0.0)
    middle &= first == maximum_filter(first, _BOX, mode="constant")
    rows, columns = np.nonzero(middle)
    total = _box_sum(positive)[rows, columns]
    row_moment = _box_sum(positive * np.arange(charge.shape[0])[:, None])[rows, columns]
    column_moment = _box_sum(positive * np.arange(charge.shape[1])[None, :])[rows, columns]
    number = np.maximum(1, np.rint(total / photon_value)).astype(np.int64)
    return Photons(row_moment / total, column_moment / total, total, number)


def _box_sum(values: Array) -> Array:
    return np.asarray(uniform_filter(values, _BOX, mode="constant") * _BOX**2)
