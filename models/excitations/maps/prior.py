"""Couplings as places in the prior: what lies beyond an end at zero, and how values change with places."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.parameters import Parameters

__all__ = ["OFF_ZERO", "folded", "off_zero", "slope_of"]

Array = npt.NDArray[np.float64]

OFF_ZERO = 0.12


def folded(parameters: Parameters, places: Array) -> Array:
    """Return places (n, p) with what lies beyond an end at zero mirrored: the order needs that sign.

    A gap goes with the root of an anisotropy, so its place there is a minimum or a maximum of any fit; a
    descent that were stopped at the end would never leave it.
    """
    ranges = parameters.ranges
    if ranges.all():
        return np.asarray(places)
    found = np.where((ranges[:, 0] == 0) & (places < 0), -places, places)
    return np.where((ranges[:, 1] == 0) & (found > 1), 2 - found, found)


def off_zero(parameters: Parameters, places: Array) -> Array:
    """Return places (n, p) no nearer to an end at zero than a descent needs to feel which way is down."""
    ranges = parameters.ranges
    found = np.where(ranges[:, 0] == 0, np.maximum(places, OFF_ZERO), places)
    return np.where(ranges[:, 1] == 0, np.minimum(found, 1 - OFF_ZERO), found)


def slope_of(parameters: Parameters, x: Array) -> Array:
    """Return how values change with their places in the prior, widths as they are, shape (f, f)."""
    n = len(parameters.free)
    step, slope = 1e-4 * np.eye(n), np.eye(len(x))
    moved = parameters.values_at(x[:n] + step) - parameters.values_at(x[:n] - step)
    slope[:n, :n] = moved.T / 2e-4
    return slope
