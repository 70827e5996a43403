"""Crystals as lattice dynamics needs them: cell, atoms, masses, and shells of neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = ["CUBIC", "Crystal", "Shell", "cubic", "shells"]

Array = npt.NDArray[np.float64]

_SAME_A = 1e-4
"""Distances that differ by less (angstrom) are one shell."""

CUBIC: dict[str, tuple[tuple[float, float, float], ...]] = {
    "sc": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "bcc": ((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5)),
    "fcc": ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)),
}
"""Primitive cells of the cubic lattices, in units of the cubic cell's edge."""


@dataclass(frozen=True, slots=True, eq=False)
class Crystal:
    """A crystal; n atoms in the primitive cell.

    Attributes
    ----------
    cell_A : ndarray, shape (3, 3)
        Rows are the primitive lattice vectors (angstrom).
    positions : ndarray, shape (n, 3)
        Fractional coordinates.
    masses_u : ndarray, shape (n,)
        Atomic masses (u).
    """

    cell_A: Array
    positions: Array
    masses_u: Array

    def __post_init__(self) -> None:
        cell, places = np.asarray(self.cell_A), np.asarray(self.positions)
        if cell.shape != (3, 3) or not abs(np.linalg.det(cell)) > 1e-6:
            raise ConfigurationError(f"a cell of three independent vectors is expected, got {cell.tolist()}")
        if places.ndim != 2 or places.shape != (len(self.masses_u), 3) or not len(places):
            raise ConfigurationError(
                f"{len(self.masses_u)} masses and positions of shape {places.shape}; expected n and (n, 3)"
            )
        if not (np.asarray(self.masses_u) > 0).all():
            raise ConfigurationError(f"masses must be positive, got {list(self.masses_u)} u")

    @property
    def reciprocal_invA(self) -> Array:
        """Rows are the reciprocal lattice vectors (1/angstrom, 2 pi included)."""
        return np.asarray(2 * np.pi * np.linalg.inv(self.cell_A).T)


def cubic(kind: str, a_A: float, mass_u: float) -> Crystal:
    """Return a cubic element.

    Parameters
    ----------
    kind : {'sc', 'bcc', 'fcc', 'diamond'}
        Lattice.
    a_A : float
        Edge of the cubic cell (angstrom).
    mass_u : float
        Atomic mass (u).
    """
    if kind == "diamond":
        places = np.array([[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]])
        return Crystal(a_A * np.array(CUBIC["fcc"]), places, np.full(2, mass_u))
    if kind not in CUBIC:
        raise ConfigurationError(f"lattice {kind!r} is not known; expected {', '.join([*CUBIC, 'diamond'])}")
    return Crystal(a_A * np.array(CUBIC[kind]), np.zeros((1, 3)), np.array([mass_u]))


@dataclass(frozen=True, slots=True, eq=False)
class Shell:
    """All pairs of atoms at one distance; b pairs, each seen from both of its atoms.

    Attributes
    ----------
    distance_A : float
        Their distance (angstrom).
    first, second : ndarray of int, shape (b,)
        Atoms of the primitive cell.
    vector_A : ndarray, shape (b, 3)
        From the first to the second (angstrom).
    """

    distance_A: float
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    vector_A: Array


def shells(crystal: Crystal, number: int) -> list[Shell]:
    """Return the nearest shells of neighbours.

    Parameters
    ----------
    crystal : Crystal
        The crystal.
    number : int
        How many.
    """
    reach, starts = 1, [0]
    while len(starts) <= number:
        reach += 1
        first, second, vector, distance = _pairs(crystal, reach)
        order = np.argsort(distance, kind="stable")
        starts = [0, *(np.flatnonzero(np.diff(distance[order]) > _SAME_A) + 1)]
    found = []
    for start, stop in pairwise(starts[: number + 1]):
        rows = np.sort(order[start:stop])
        found.append(Shell(float(distance[rows[0]]), first[rows], second[rows], vector[rows]))
    return found


def _pairs(crystal: Crystal, reach: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Array, Array]:
    """All pairs within the largest sphere that a block of cells around the first atom's is sure to hold."""
    grid = np.arange(-reach, reach + 1)
    cells = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), -1).reshape(-1, 3)
    n = len(crystal.positions)
    first, second = (a.ravel() for a in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    apart = crystal.positions[second] - crystal.positions[first]
    vector = ((cells[:, None, :] + apart) @ crystal.cell_A).reshape(-1, 3)
    distance = np.linalg.norm(vector, axis=1)
    heights = 1 / np.linalg.norm(np.linalg.inv(crystal.cell_A), axis=0)
    keep = (distance > _SAME_A) & (distance < (reach - 1) * heights.min() + _SAME_A)
    tiled = [np.tile(a, len(cells))[keep] for a in (first, second)]
    return tiled[0], tiled[1], vector[keep], distance[keep]
