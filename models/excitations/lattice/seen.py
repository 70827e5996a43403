"""Energies of phonons and how strongly a neutron sees them, in closed form for one atom in the cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lattice.born_karman import MEV_PER_ROOT_NM_U, Dynamics
from streamproc.models.excitations.lattice.eigen import modes_of_three

__all__ = ["seen_modes"]

Array = npt.NDArray[np.float64]


def seen_modes(dynamics: Dynamics, forces_N_m: Sequence[float] | Array) -> tuple[Array, Array]:
    """Return the energies of the modes at a crystal's wave vectors, and |sum over atoms of Q.e / sqrt(M)|^2.

    Parameters
    ----------
    dynamics : Dynamics
        Dynamical matrices; its wave vectors are the Q.
    forces_N_m : sequence of float
        Force constants (N/m).

    Returns
    -------
    energy_meV : ndarray, shape (q, m)
        Negative where the square of the frequency is.
    square : ndarray, shape (q, m)
        1/(angstrom^2 u).
    """
    matrix = dynamics.matrix(forces_N_m)
    if matrix.shape[1] == 3 and matrix.dtype == np.float64:
        squares, vectors = modes_of_three(matrix)
        energy = MEV_PER_ROOT_NM_U * np.sign(squares) * np.sqrt(np.abs(squares))
        along = (vectors @ dynamics.q_invA[:, :, None])[..., 0]
        return energy, along**2 / float(dynamics.crystal.masses_u[0])
    modes = dynamics.modes(forces_N_m)
    root = np.sqrt(dynamics.crystal.masses_u)[None, :, None, None]
    along = (dynamics.q_invA[:, None, :, None] * modes.vectors / root).sum((1, 2))
    return modes.energy_meV, np.abs(along) ** 2
