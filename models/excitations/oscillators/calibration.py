"""Sigmas, intervals and ranks of modes: errors of the fit, calibrated by the card."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.fit import Fitted
from streamproc.models.excitations.oscillators.parameters import PER_MODE
from streamproc.models.networks.pulls import PullTables

from streamproc.inference.card import Calibration

__all__ = ["FEATURES", "ModeCalibration", "features_of"]

Array = npt.NDArray[np.float64]

FEATURES = ("log10_sigma_of_width_over_width", "log10_width_over_twice_energy")
"""What the pulls of a mode depend on: how well its width is told, and how damped it is."""

_RANGE = 1e-4, 1e4


def features_of(values: Array, sigmas: Array) -> Array:
    """Return :data:`FEATURES` of modes for each of their three quantities, shape (n, 3, 2).

    Parameters
    ----------
    values, sigmas : ndarray, shape (n, 3)
        Energy, width, amplitude, and their errors from the Fisher information.
    """
    pair = np.empty((len(values), len(PER_MODE), 2))
    pair[:, :, 0] = (sigmas[:, 1] / np.maximum(values[:, 1], 1e-300))[:, None]
    pair[:, :, 1] = (values[:, 1] / np.maximum(2 * values[:, 0], 1e-300))[:, None]
    return np.asarray(np.log10(np.clip(pair, *_RANGE, out=pair), out=pair))


class ModeCalibration:
    """What a card makes of the errors of a fit.

    Parameters
    ----------
    calibration : Calibration
        Of the card.
    """

    def __init__(self, calibration: Calibration) -> None:
        self.factor = np.array([calibration.q68[n] for n in PER_MODE])
        """Published sigma over the error from the Fisher information, of energy, width, amplitude."""
        self._tables = PullTables(calibration, PER_MODE)
        self._tables.ends(np.zeros((1, len(PER_MODE), 2)))  # compiled now, not at the first spectrum

    def sigma(self, fitted: Fitted) -> Array:
        """Return the published sigma of each mode's energy, width, amplitude, shape (modes, 3)."""
        return _modes_of(fitted)[1] * self.factor

    def interval(self, fitted: Fitted) -> tuple[Array, Array]:
        """Return low and high ends of the 90 % intervals, shape (modes, 3) each."""
        return self.ends(*_modes_of(fitted))

    def ends(self, values: Array, sigmas: Array) -> tuple[Array, Array]:
        """Return the same for values and their errors from the Fisher information, shape (n, 3) each."""
        low, high = self._tables.ends(features_of(values, sigmas))
        return values + low * sigmas, values + high * sigmas

    def covers(self, truth: Array, values: Array, sigmas: Array) -> npt.NDArray[np.bool_]:
        """Return which 90 % intervals hold the truth, shape (n, 3)."""
        low, high = self.ends(values, sigmas)
        return (truth >= low) & (truth <= high)

    def ranks(self, truth: Array, values: Array, sigmas: Array) -> Array:
        """Return the distribution function of each answer at the truth, shape (n, 3)."""
        pulls = (truth - values) / np.maximum(sigmas, 1e-12)
        return self._tables.ranks(features_of(values, sigmas), pulls)


def _modes_of(fitted: Fitted) -> tuple[Array, Array]:
    """Modes and their errors, shape (modes, 3) each."""
    k = 3 * fitted.composition.modes
    return fitted.vector[:k].reshape(-1, 3), fitted.sigma[:k].reshape(-1, 3)
