"""Phonons as the physics of a map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.signal import find_peaks
from streamproc.models.excitations.lattice.born_karman import Dynamics
from streamproc.models.excitations.lattice.case import LatticeCase, case_of
from streamproc.models.excitations.lattice.density import smeared, zone_of
from streamproc.models.excitations.mapmodel.errors import NotStable
from streamproc.models.excitations.maps.phonon_trials import PhononTrials
from streamproc.models.excitations.maps.render_phonons import PhononRenderer, reciprocal_invA
from streamproc.models.excitations.maps.render_powder import PowderRenderer

__all__ = ["PhononPhysics", "Phonons"]

Array = npt.NDArray[np.float64]

_DIVISIONS, _STEP, _FWHM = 18, 0.1, 2.0
"""Mesh, step and smearing (meV) of the density of states whose maxima are published."""

_SOFTEST_MEV = 0.3


class Phonons:
    """The modes of a lattice at fixed wave vectors.

    Parameters
    ----------
    case : LatticeCase
        Model.
    q_invA : ndarray, shape (n, 3)
        Wave vectors (1/angstrom).
    allowed : float
        Energies below this (meV) are no modes of a stable lattice; acoustic ones at a zone centre are.
    """

    def __init__(self, case: LatticeCase, q_invA: Array, allowed: float = -1e-3) -> None:
        self._dynamics, self._least = Dynamics(case.crystal, case.number, q_invA), allowed
        self._name = case.name

    def energies(self, values: Mapping[str, float]) -> Array:
        """Return the energies (meV), shape (n, modes), rising; see :class:`~...physics.Dispersion`."""
        found = self._dynamics.energies_meV([values[n] for n in self._dynamics.names])
        if not found.min() > self._least:
            raise NotStable(f"{self._name}: a mode has no real energy")
        return found

    def check(self, values: Mapping[str, float]) -> None:
        """Refuse force constants for which the lattice is unstable."""
        self.energies(values)


@dataclass(frozen=True, slots=True)
class PhononPhysics:
    """Of one lattice model; see :class:`~streamproc.models.excitations.maps.physics.Physics`."""

    case: LatticeCase
    drawn_points: ClassVar[int] = 14
    checked_points: ClassVar[int] = 8

    def renderer(self, q_rlu: Array, energy: Array, points: int) -> PhononRenderer | PowderRenderer:
        """Return what draws maps."""
        if self.case.powder and len(self.case.crystal.masses_u) == 1:
            return PowderRenderer(self.case, q_rlu, energy, points)
        return PhononRenderer(self.case, q_rlu, energy, points)

    def trials(self) -> PhononTrials:
        """Return the bank of trial force constants."""
        return PhononTrials(self.case)

    def probe(self, rng: np.random.Generator) -> Phonons:
        """Return a mesh at which every mode must have an energy; nothing in it is random."""
        return Phonons(self.case, zone_of(self.case.file.crystal.a, 10)[0], _SOFTEST_MEV)

    def dispersion(self, q_rlu: Array) -> Phonons:
        """Return the phonons at wave vectors."""
        return Phonons(self.case, q_rlu @ reciprocal_invA(self.case))

    def modes(self) -> int:
        """Return how many there are."""
        return 3 * len(self.case.crystal.masses_u)

    def lengths(self, q_rlu: Array) -> Array:
        """Return |Q| (1/angstrom); of a powder it is the first component."""
        if self.case.powder:
            return np.asarray(q_rlu[:, 0])
        return np.asarray(np.linalg.norm(q_rlu @ reciprocal_invA(self.case), axis=1))

    def derived(self) -> Callable[[Mapping[str, float]], Array]:
        """Return the derived energies as a function of the force constants."""
        tables = self.case.file.derived
        places = np.array([d.at or (0.0, 0.0, 0.0) for d in tables], dtype=float).reshape(-1, 3)
        modes = self.dispersion(places) if len(tables) else None
        q, weights = zone_of(self.case.file.crystal.a, _DIVISIONS)
        between = [k for k, d in enumerate(tables) if d.maximum is not None]
        ranges = [d.maximum for d in tables if d.maximum is not None]
        zone = Phonons(self.case, q, _SOFTEST_MEV) if ranges else None

        def energies(values: Mapping[str, float]) -> Array:
            if modes is None:
                return np.zeros(0)
            at, states = modes.energies(values), zone.energies(values) if zone is not None else None
            found = np.zeros(len(tables))
            for k, d in enumerate(tables):
                if d.maximum is None:
                    found[k] = at[k, -1 if d.mode == "highest" else 0]
            if states is not None:
                found[between] = highest_maxima(states, weights, ranges)
            return found

        return energies

    def foreign(self) -> LatticeCase:
        """Return the same atoms on another lattice of the same volume for each."""
        content: dict[str, Any] = self.case.file.model_dump(mode="json", exclude_none=True)
        crystal = content["crystal"]
        per_cell = {"sc": 1, "bcc": 2, "fcc": 4, "diamond": 8}
        kind = "bcc" if crystal["lattice"] != "bcc" else "fcc"
        crystal["a"] *= (per_cell[kind] / per_cell[crystal["lattice"]]) ** (1 / 3)
        crystal["lattice"], content["derived"] = kind, []
        return case_of(content, Path(f"{self.case.name} (other lattice)"))


def highest_maxima(energies: Array, weights: Array, ranges: Sequence[tuple[float, float]]) -> Array:
    """Return the energy (meV) of the highest maximum of a density of states in each range; NaN without one.

    Parameters
    ----------
    energies : ndarray, shape (q, modes)
        Energies that sample the zone (meV).
    weights : ndarray, shape (q,)
        Of the wave vectors.
    ranges : sequence of pair of float
        Where to look, in parts of the highest energy.
    """
    top = float(energies.max())
    axis = np.arange(0.0, 1.1 * top + 2 * _FWHM, _STEP)
    states = smeared(energies, axis, _FWHM, weights).states
    peaks = find_peaks(states)[0]
    found = np.full(len(ranges), np.nan)
    for r, (least, most) in enumerate(ranges):
        within = peaks[(axis[peaks] >= least * top) & (axis[peaks] <= most * top)]
        if len(within):
            k = int(within[states[within].argmax()])
            low, middle, high = states[k - 1 : k + 2]
            found[r] = axis[k] + 0.5 * (low - high) / (low - 2 * middle + high) * _STEP
    return found
