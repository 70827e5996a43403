"""Dynamical matrices that are linear in axially symmetric force constants (Born & von Karman)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lattice.crystal import Crystal, Shell, shells
from streamproc.models.excitations.lattice.eigen import rising_roots_of_three

from streamproc.errors import ConfigurationError

__all__ = ["MEV_PER_ROOT_NM_U", "Dynamics", "Modes", "force_names"]

Array = npt.NDArray[np.float64]

_HBAR_J_S, _DALTON_KG, _MEV_J = 1.054571817e-34, 1.66053906660e-27, 1.602176634e-22

_REAL = 1e-12
"""Imaginary parts below this share are rounding."""

MEV_PER_ROOT_NM_U = _HBAR_J_S / np.sqrt(_DALTON_KG) / _MEV_J
"""hbar times the square root of 1 N/m over 1 u, in meV (CODATA 2018)."""


def force_names(number: int) -> tuple[str, ...]:
    """Return the names of the force constants (N/m): ``L1``, ``T1``, ``L2`` ... for so many shells.

    ``L`` is the stiffness of a bond along itself, ``T`` across it.
    """
    return tuple(f"{kind}{shell}" for shell in range(1, number + 1) for kind in "LT")


@dataclass(frozen=True, slots=True, eq=False)
class Modes:
    """Phonons at some wave vectors; q of them, m = 3 n modes.

    Attributes
    ----------
    energy_meV : ndarray, shape (q, m)
        Rising; negative where the square of the frequency is (the lattice is not stable there).
    vectors : ndarray, real or complex, shape (q, n, 3, m)
        Polarisation vectors, normalised over atoms and directions.
    """

    energy_meV: Array
    vectors: npt.NDArray[Any]


class Dynamics:
    """Lattice dynamics at fixed wave vectors, for any force constants.

    The matrix of each constant is made once, so an evaluation is a sum and an eigenproblem. A bond along r
    has the tensor L rr + T (1 - rr); the term of an atom with itself follows from the sum rule (a shift of
    the whole crystal costs nothing).

    Parameters
    ----------
    crystal : Crystal
        The crystal.
    number : int
        Shells of neighbours.
    q_invA : ndarray, shape (q, 3)
        Wave vectors (1/angstrom, 2 pi included), Cartesian.
    """

    def __init__(self, crystal: Crystal, number: int, q_invA: npt.ArrayLike) -> None:
        self.crystal, self.names = crystal, force_names(number)
        self.q_invA = np.atleast_2d(np.asarray(q_invA, float))
        parts = [m for shell in shells(crystal, number) for m in _matrices(crystal, shell, self.q_invA)]
        stacked = np.stack(parts)
        # where every atom is a centre of inversion the matrices are real, and far more quickly diagonalised
        real = float(np.abs(stacked.imag).max()) < _REAL * float(np.abs(stacked).max())
        self._parts = np.ascontiguousarray(stacked.real) if real else stacked
        self._flat = self._parts.reshape(len(self._parts), -1)

    @property
    def parts(self) -> npt.NDArray[Any]:
        """The dynamical matrices of 1 N/m of each force constant alone (N/m per u), shape (p, q, m, m)."""
        return self._parts

    def matrix(self, forces_N_m: Sequence[float] | Array) -> npt.NDArray[Any]:
        """Return the dynamical matrices (N/m per u), shape (q, m, m); real where the crystal lets them be."""
        if len(forces_N_m) != len(self.names):
            raise ConfigurationError(
                f"{len(forces_N_m)} force constants, expected {len(self.names)}: {', '.join(self.names)}"
            )
        return np.asarray((np.asarray(forces_N_m, float) @ self._flat).reshape(self._parts.shape[1:]))

    def energies_meV(self, forces_N_m: Sequence[float] | Array) -> Array:
        """Return the energies (meV), shape (q, m); see :class:`Modes`."""
        matrix = self.matrix(forces_N_m)
        if matrix.shape[1] == 3 and matrix.dtype == np.float64:
            return np.asarray(rising_roots_of_three(matrix, MEV_PER_ROOT_NM_U))
        return _energies(np.linalg.eigvalsh(matrix))

    def modes(self, forces_N_m: Sequence[float] | Array) -> Modes:
        """Return energies and polarisation vectors."""
        squares, vectors = np.linalg.eigh(self.matrix(forces_N_m))
        n = len(self.crystal.masses_u)
        return Modes(_energies(squares), vectors.reshape(len(squares), n, 3, 3 * n))

    def slopes(self, modes: Modes) -> Array:
        """Return the derivatives of the energies (meV per N/m), shape (p, q, m) (Hellmann & Feynman)."""
        q, m = modes.energy_meV.shape
        v = modes.vectors.reshape(q, m, m)
        squares = np.einsum("qim,pqij,qjm->pqm", v.conj(), self._parts, v).real
        energy = np.where(np.abs(modes.energy_meV) > 1e-6, np.abs(modes.energy_meV), np.inf)
        return np.asarray(MEV_PER_ROOT_NM_U**2 * squares / (2 * energy))


def _energies(squares: Array) -> Array:
    return np.asarray(MEV_PER_ROOT_NM_U * np.sign(squares) * np.sqrt(np.abs(squares)))


def _matrices(crystal: Crystal, shell: Shell, q: Array) -> tuple[npt.NDArray[Any], ...]:
    """Matrices of a shell's stiffness along and across its bonds, each (q, 3n, 3n)."""
    n = len(crystal.masses_u)
    along = np.einsum("bi,bj->bij", shell.vector_A, shell.vector_A) / shell.distance_A**2
    # of a lattice of one atom the sines cancel, bond by opposite bond
    angle = q @ shell.vector_A.T
    phase = np.exp(1j * angle) if n > 1 else np.cos(angle)
    root = np.sqrt(crystal.masses_u)
    found = []
    for tensor in (along, np.eye(3) - along):
        blocks = np.zeros((len(q), n, n, 3, 3), phase.dtype)
        for i in range(n):
            own = shell.first == i
            blocks[:, i, i] += tensor[own].sum(0) / crystal.masses_u[i]
            for j in np.unique(shell.second[own]):
                pair = own & (shell.second == j)
                coupling = (phase[:, pair] @ tensor[pair].reshape(-1, 9)).reshape(-1, 3, 3)
                blocks[:, i, j] -= coupling / (root[i] * root[j])
        found.append(blocks.transpose(0, 1, 3, 2, 4).reshape(len(q), 3 * n, 3 * n))
    return tuple(found)
