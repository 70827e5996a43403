"""The dispersion that a fit has found, along the columns that were measured, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.lswt.waves import SpinWaves
from streamproc.models.excitations.spinmodel.case import SpinCase

__all__ = ["BAND_POINTS", "Band", "band_along", "modes_of"]

Array = npt.NDArray[np.float64]

BAND_POINTS = 48
"""Places along the path at which a dispersion is said."""

_STEP = 0.3
"""Steps of the derivative, in standard deviations."""


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """A dispersion.

    Attributes
    ----------
    q_rlu : ndarray, shape (BAND_POINTS, 3)
        Places, evenly along the columns in their order.
    energy, sigma : ndarray, shape (BAND_POINTS, modes)
        Energies and their standard uncertainties, in the unit of the couplings; NaN for a powder, or where
        the order is unstable.
    """

    q_rlu: Array = field(repr=False)
    energy: Array = field(repr=False)
    sigma: Array = field(repr=False)


def modes_of(case: SpinCase) -> int:
    """Return how many modes the model has."""
    return len(case.model.sites)


def band_along(case: SpinCase, q_rlu: Array, free: Array, covariance: Array) -> Band:
    """Return the dispersion along measured columns.

    Parameters
    ----------
    case : SpinCase
        Model.
    q_rlu : ndarray, shape (n, 3)
        Columns in the order of the path.
    free : ndarray, shape (p,)
        Free couplings.
    covariance : ndarray, shape (p, p)
        Of them.
    """
    index = np.linspace(0, len(q_rlu) - 1, BAND_POINTS)
    own = np.arange(len(q_rlu))
    places = np.stack([np.interp(index, own, q_rlu[:, k]) for k in range(3)], 1)
    nothing = np.full((BAND_POINTS, modes_of(case)), np.nan)
    if case.powder:
        return Band(places, nothing, nothing)
    waves = SpinWaves(case.model, places)
    energy = _energies(case, waves, free)
    if energy is None:
        return Band(places, nothing, nothing)
    slope = np.zeros((len(free), *energy.shape))
    for k, size in enumerate(np.sqrt(np.maximum(np.diag(covariance), 0.0))):
        step = max(_STEP * float(size), 1e-9)
        for way in (step, -step):
            moved = np.array(free, dtype=float)
            moved[k] += way
            after = _energies(case, waves, moved)
            if after is not None:
                slope[k] = (after - energy) / way
                break
    variance = np.einsum("kqm,kl,lqm->qm", slope, covariance, slope)
    return Band(places, energy, np.sqrt(np.maximum(variance, 0.0)))


def _energies(case: SpinCase, waves: SpinWaves, free: Array) -> Array | None:
    try:
        return waves.energies(case.parameters.values(free))
    except NotAMinimum:
        return None
