"""The model's own channels, and the places in its window at which trials are looked for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase

__all__ = ["BINS", "SMOOTHING", "channels_of", "smoothing_matrix"]

Array = npt.NDArray[np.float64]

BINS = 96
"""Places within the energy window that are looked at; one more stands for what lies outside."""

SMOOTHING = (0.018, 0.05)
"""Standard deviations over which channels are averaged, in parts of the window."""


def channels_of(case: MapCase) -> Array:
    """Return the middles of the model's energy channels."""
    table = case.file.energy
    step = (table.stop - table.start) / table.channels
    return np.asarray(table.start + step * (np.arange(table.channels) + 0.5))


def smoothing_matrix(channels: int, sigma: float) -> Array:
    """Return weights that average channels around every place of the window, shape (channels, BINS + 1).

    The last column, outside, is zero; the others sum to 1.
    """
    middle, place = (np.arange(channels) + 0.5) / channels, (np.arange(BINS) + 0.5) / BINS
    weights = np.exp(-0.5 * ((middle[:, None] - place) / sigma) ** 2)
    return np.concatenate([weights / weights.sum(0), np.zeros((channels, 1))], 1)
