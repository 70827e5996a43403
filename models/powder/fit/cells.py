"""Which cell parameters are free in each crystal system, and how they move the cell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = ["SYSTEMS", "cell_map", "cell_names", "volume_of"]

Array = npt.NDArray[np.float64]

SYSTEMS = ("cubic", "tetragonal", "hexagonal", "trigonal", "orthorhombic", "monoclinic", "triclinic")

_A, _B, _C, _ALPHA, _BETA, _GAMMA = range(6)
_UNIAXIAL = {"a": (_A, _B), "c": (_C,)}
_THREE = {"a": (_A,), "b": (_B,), "c": (_C,)}
_ANGLES = {"alpha": (_ALPHA,), "beta": (_BETA,), "gamma": (_GAMMA,)}
_RHOMBOHEDRAL = {"a": (_A, _B, _C), "alpha": (_ALPHA, _BETA, _GAMMA)}


def _free(system: str, cell: Array) -> dict[str, tuple[int, ...]]:
    """Free parameters by name, each with the members of the cell that it moves."""
    if system == "cubic":
        return {"a": (_A, _B, _C)}
    if system == "trigonal" and np.ptp(cell[:3]) < 1e-3 * cell[0] and np.ptp(cell[3:]) < 0.05:
        return _RHOMBOHEDRAL
    if system in ("tetragonal", "hexagonal", "trigonal"):
        return _UNIAXIAL
    if system == "orthorhombic":
        return _THREE
    if system == "monoclinic":
        unique = int(np.argmax(np.abs(cell[3:] - 90))) if np.abs(cell[3:] - 90).max() > 1e-6 else 1
        name = ("alpha", "beta", "gamma")[unique]
        return _THREE | {name: _ANGLES[name]}
    if system == "triclinic":
        return _THREE | _ANGLES
    raise ConfigurationError(f"no crystal system {system!r}; there are {', '.join(SYSTEMS)}")


def cell_names(system: str, cell: Array) -> tuple[str, ...]:
    """Return the names of the free cell parameters: ``a``, ``b``, ``c`` (relative), ``alpha`` ... (degrees).

    Parameters
    ----------
    system : str
        Crystal system; trigonal phases with three equal axes are on rhombohedral axes.
    cell : ndarray, shape (6,)
        a, b, c (angstrom), alpha, beta, gamma (degrees).
    """
    return tuple(_free(system, cell))


def cell_map(system: str, cell: Array) -> Array:
    """Return the matrix from free parameters to the change of the cell, shape (6, 6), unused columns zero.

    Parameters
    ----------
    system, cell
        As in :func:`cell_names`.
    """
    moves = np.zeros((6, 6))
    for column, members in enumerate(_free(system, cell).values()):
        for member in members:
            moves[member, column] = cell[member] if member < 3 else 1.0
    return moves


def volume_of(cell: Array) -> float:
    """Return the volume (cubic angstrom) of a cell, shape (6,)."""
    ca, cb, cg = np.cos(np.deg2rad(cell[3:]))
    root = 1 - ca * ca - cb * cb - cg * cg + 2 * ca * cb * cg
    return float(cell[0] * cell[1] * cell[2] * np.sqrt(max(root, 0.0)))
