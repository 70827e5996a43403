"""Neutron scattering by the phonons of a powder: one phonon coherently, several incoherently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lattice.born_karman import Dynamics, Modes
from streamproc.models.excitations.lattice.crystal import Crystal, shells
from streamproc.models.excitations.lattice.density import (
    HBAR2_2U_MEV_A2,
    KELVIN_MEV,
    Density,
    density_of_states,
    mean_square_A2,
    mesh,
    smeared,
)
from streamproc.models.excitations.lattice.several import several_phonons

__all__ = ["PowderModel", "bose", "directions", "is_cubic"]

Array = npt.NDArray[np.float64]

_GOLDEN = (np.sqrt(5.0) - 1) / 2
_SMALLEST_MEV = 0.3
"""Modes below count as elastic."""

_NARROW_MEV = 0.5
"""Smearing of the density that several phonons are made of: they have no features to lose."""

_SIGMA = 2.3548200450309493


def bose(energy_meV: Array, temperature_K: float) -> Array:
    """Return the factor of a process that gives the lattice an energy (meV; negative: takes it away).

    1 / (1 - exp(-E/kT)) above zero and its absolute value below: n + 1 and n.
    """
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(np.abs(1 / -np.expm1(-energy_meV / (KELVIN_MEV * max(temperature_K, 1e-3)))))


def directions(number: int, cubic: bool) -> Array:
    """Return unit vectors spread evenly over a half sphere, or over the 48th part that cubic symmetry needs.

    A spiral of golden angles (Swinbank & Purser 2006). Shape (about ``number``, 3).
    """
    total = number * (48 if cubic else 2)
    i = np.arange(total) + 0.5
    z, around = 1 - 2 * i / total, np.pi * (1 + np.sqrt(5)) * i
    radius = np.sqrt(1 - z**2)
    points = np.column_stack([radius * np.cos(around), radius * np.sin(around), z])
    keep = (points[:, 0] >= points[:, 1]) & (points[:, 1] >= points[:, 2]) if cubic else points[:, 2] >= 0
    return np.asarray(points[keep & (points >= 0).all(1)] if cubic else points[keep])


def is_cubic(crystal: Crystal) -> bool:
    """Whether the first two shells of neighbours look alike along x, y, z and mirrored."""
    for shell in shells(crystal, 2):
        points = {tuple(v) for v in np.round(shell.vector_A, 4) + 0.0}
        turned = [shell.vector_A[:, [1, 2, 0]], shell.vector_A[:, [1, 0, 2]], shell.vector_A * [1, 1, -1]]
        if any({tuple(v) for v in np.round(t, 4) + 0.0} != points for t in turned):
            return False
    return True


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """Wave vectors of all directions for every |Q|, and where the density of states is sampled."""

    q_invA: Array
    powder: Dynamics
    zone: Dynamics


class PowderModel:
    """S(|Q|, E) of a powder for any force constants; everything that does not depend on them is made once.

    Parameters
    ----------
    crystal : Crystal
        The crystal; all atoms of one element.
    number : int
        Shells of neighbours with force constants.
    q_edges_invA : ndarray, shape (q + 1,)
        Edges of the bins of the modulus (1/angstrom).
    energy_meV : ndarray, shape (k,)
        Energies given to the sample (meV), rising.
    fwhm_meV : callable
        Resolution (full width at half maximum, meV) at energies (meV).
    temperature_K : float
        Temperature.
    points : int
        Wave vectors per bin: as many directions (in the irreducible part, where the crystal is cubic), each
        at its own modulus.
    divisions : int
        Mesh for the density of states.
    """

    def __init__(
        self, crystal: Crystal, number: int, q_edges_invA: Array, energy_meV: Array,
        fwhm_meV: Callable[[Array], Array], temperature_K: float, points: int = 192, divisions: int = 16,
    ) -> None:  # fmt: skip
        edges = np.asarray(q_edges_invA, float)
        self.crystal, self.energy_meV = crystal, np.asarray(energy_meV)
        self.q_invA = (edges[1:] + edges[:-1]) / 2
        self.temperature_K, self._fwhm = temperature_K, fwhm_meV
        around = directions(points, is_cubic(crystal))
        # moduli in the spiral's order would turn with it; multiples of the golden ratio do not
        share = np.mod(np.arange(len(around)) * _GOLDEN + 0.5, 1.0)
        moduli = edges[:-1, None] + np.diff(edges)[:, None] * share
        vectors = (moduli[..., None] * around).reshape(-1, 3)
        powder = Dynamics(crystal, number, vectors)
        self._points = _Points(vectors, powder, Dynamics(crystal, number, mesh(crystal, divisions)))
        self.names = powder.names
        self._around = len(around)

    def density(self, forces_N_m: Sequence[float] | Array, step_meV: float = 0.1) -> Density:
        """Return the density of states as the instrument's resolution shows it."""
        top = 1.3 * float(np.abs(self._points.zone.energies_meV(forces_N_m)).max()) + 5.0
        axis = np.arange(0.0, top, step_meV)
        return density_of_states(self._points.zone, forces_N_m, axis, self._fwhm(axis))

    def intensity(self, forces_N_m: Sequence[float] | Array) -> Array:
        """Return S(|Q|, E) per meV and atom, without the elastic line, shape (q, k)."""
        modes = self._points.powder.modes(forces_N_m)
        zone = self._points.zone.energies_meV(forces_N_m)
        u2 = mean_square_A2(zone, float(self.crystal.masses_u.mean()), self.temperature_K)
        one = self._one_phonon(modes, u2)
        density = smeared(zone, np.arange(0.0, 1.1 * float(zone.max()) + 3.0, 0.1), _NARROW_MEV)
        return one + several_phonons(density, u2, self.temperature_K, self.energy_meV, self.q_invA)

    def _one_phonon(self, modes: Modes, u2_A2: float) -> Array:
        """hbar^2/2M sum |Q.e|^2 / E (n + 1) of all directions and modes."""
        n = len(self.crystal.masses_u)
        root = np.sqrt(self.crystal.masses_u)[None, :, None, None]
        along = (self._points.q_invA[:, None, :, None] * modes.vectors / root).sum((1, 2))
        energy = modes.energy_meV
        stable = energy > _SMALLEST_MEV
        weight = np.where(stable, HBAR2_2U_MEV_A2 * np.abs(along) ** 2 / np.maximum(energy, 1e-9), 0.0)
        weight *= np.exp(-(self._points.q_invA**2).sum(1) * u2_A2)[:, None]
        weight = (weight / (self._around * n)).reshape(len(self.q_invA), -1)
        energy = energy.reshape(len(self.q_invA), -1)
        made = weight * bose(np.maximum(energy, _SMALLEST_MEV), self.temperature_K)
        taken = made - weight
        return self._spread(energy, made) + self._spread(-energy, taken)

    def _spread(self, energy: Array, weight: Array) -> Array:
        """Add a normalised Gaussian of the resolution for every mode: fine histogram, then one smearing."""
        low, high = float(self.energy_meV[0]) - 5.0, float(self.energy_meV[-1]) + 5.0
        step = min(0.1, float(np.diff(self.energy_meV).min()) / 2)
        bins = int(np.ceil((high - low) / step))
        at = (energy - low) / step
        inside = (at >= 0) & (at < bins - 1)
        rows = np.broadcast_to(np.arange(len(energy))[:, None], energy.shape)[inside]
        left = at[inside].astype(int)
        flat, right, amount = rows * bins + left, at[inside] - left, weight[inside]
        # shared between two neighbours, so that the sum changes smoothly with the force constants
        fine = np.bincount(flat, amount * (1 - right), len(energy) * bins)
        fine += np.bincount(flat + 1, amount * right, len(energy) * bins)
        fine = fine.reshape(len(energy), bins)
        centres = low + step * np.arange(bins)
        sigma = self._fwhm(centres) / _SIGMA
        kernel = np.exp(-0.5 * ((self.energy_meV[:, None] - centres) / sigma) ** 2) / (
            sigma * np.sqrt(2 * np.pi)
        )
        return np.asarray(fine @ kernel.T)
