"""The dispersion that a fit has found, along the columns that were measured, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.mapmodel.errors import NotStable
from streamproc.models.excitations.maps.kinds import physics_of
from streamproc.models.excitations.maps.physics import Dispersion

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


def modes_of(case: MapCase) -> int:
    """Return how many modes the model has."""
    return physics_of(case).modes()


def band_along(case: MapCase, q_rlu: Array, free: Array, covariance: Array) -> Band:
    """Return the dispersion along measured columns.

    Parameters
    ----------
    case : MapCase
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
    waves = physics_of(case).dispersion(places)
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


def _energies(case: MapCase, waves: Dispersion, free: Array) -> Array | None:
    try:
        return waves.energies(case.parameters.values(free))
    except NotStable:
        return None
