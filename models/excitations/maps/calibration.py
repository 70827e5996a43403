"""What a card makes of the network's widths: sigmas, intervals and ranks of the places in the prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.networks.pulls import PullTables

from streamproc.inference.card import Calibration

__all__ = ["FEATURES", "PlaceCalibration", "features_of", "places_of", "widths_of", "within"]

Array = npt.NDArray[np.float64]

FEATURES = ("log10_width", "place")
"""What the pulls of a place depend on: how well it is told, and how near it is to an end of the prior."""

_BEYOND = 0.05
"""A place in the prior is not taken further than this beyond its ends."""


def within(places: npt.ArrayLike) -> Array:
    """Return places that lie in the prior, or hardly beyond its ends."""
    return np.clip(np.asarray(places, dtype=float), -_BEYOND, 1 + _BEYOND)


def places_of(outputs: Mapping[str, npt.NDArray[Any]]) -> Array:
    """Return the network's places in the prior, shape (n, p)."""
    return within(outputs["mean"])


def widths_of(outputs: Mapping[str, npt.NDArray[Any]], floor: float) -> Array:
    """Return uncalibrated standard deviations of the places, shape (n, p)."""
    own = np.diagonal(outputs["covariance"], axis1=1, axis2=2)
    between = np.diagonal(outputs["spread"], axis1=1, axis2=2)
    return np.asarray(np.sqrt(own + between) + floor, dtype=float)


def features_of(places: Array, widths: Array) -> Array:
    """Return :data:`FEATURES`, shape (n, p, 2), of places and widths of shape (n, p)."""
    return np.stack([np.log10(np.maximum(widths, 1e-9)), places], -1)


class PlaceCalibration:
    """Calibrates what the network says of p places.

    Parameters
    ----------
    calibration : Calibration
        Of the card.
    names : sequence of str
        The free parameters.
    """

    def __init__(self, calibration: Calibration, names: Sequence[str]) -> None:
        self.floor = calibration.floor
        self.factor = np.array([calibration.q68[n] for n in names])
        """Sigma of each place over its width."""
        self.wider = np.array([calibration.q90[n] for n in names]) / self.factor
        """Half a symmetric 90 % interval over sigma."""
        self._tables = PullTables(calibration, names)

    def ends(self, outputs: Mapping[str, npt.NDArray[Any]]) -> tuple[Array, Array]:
        """Return how far 90 % intervals reach below and above the places, (n, p) each: low <= 0 <= high."""
        widths = widths_of(outputs, self.floor)
        low, high = self._tables.ends(features_of(places_of(outputs), widths))
        return low * widths, high * widths

    def covers(self, truth: Array, outputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        """Return which 90 % intervals hold the true places (n, p)."""
        (low, high), away = self.ends(outputs), truth - places_of(outputs)
        return (away >= low) & (away <= high)

    def ranks(self, truth: Array, outputs: Mapping[str, npt.NDArray[Any]]) -> Array:
        """Return the distribution function of each answer at the true places (n, p)."""
        widths, places = widths_of(outputs, self.floor), places_of(outputs)
        return self._tables.ranks(features_of(places, widths), (truth - places) / widths)
