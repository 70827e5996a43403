"""What a crystal structure is to the simulator, and its expansion to all atoms of the cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "EXACT_A",
    "MERGE_A",
    "Cell",
    "Site",
    "Structure",
    "cell_of_metric",
    "crystal_system",
    "direct_metric",
    "operations_of",
    "orbit",
]

Array = npt.NDArray[np.float64]
Cell = tuple[float, float, float, float, float, float]

EXACT_A = 0.01
"""Images of one atom closer than this (angstrom) are one atom on a special position."""

MERGE_A = 0.1
"""Images of an atom that cannot all be there, by its occupancy, are one atom up to this distance (angstrom):
the coordinates were rounded."""


@dataclass(frozen=True, slots=True)
class Site:
    """One atom of the asymmetric unit.

    Attributes
    ----------
    element : str
        Chemical symbol; ions are given as neutral atoms.
    x, y, z : float
        Fractional coordinates.
    occupancy : float
        Share of the equivalent positions that hold this atom.
    b_A2 : float, optional
        Its isotropic displacement parameter B (square angstrom); None takes the structure's.
    """

    element: str
    x: float
    y: float
    z: float
    occupancy: float = 1.0
    b_A2: float | None = None


@dataclass(frozen=True, slots=True)
class Structure:
    """A crystal structure.

    Attributes
    ----------
    name : str
        Mineral or common name, or the label made from a CIF.
    space_group : str
        Hermann-Mauguin symbol with the setting, as gemmi reads it.
    cell : tuple of float
        a, b, c (angstrom), alpha, beta, gamma (degrees).
    sites : tuple of Site
        Asymmetric unit; several sites may share one position.
    b_A2 : float
        Isotropic displacement parameter B of the atoms that have none of their own (square angstrom).
    texture : tuple of int
        Plane normal along which grains orient themselves (March-Dollase axis).
    source : str
        Paper or file the parameters come from.
    operations : tuple of str, optional
        Symmetry operations as triplets ("-x,y+1/2,z"); where given they count, not the symbol.
    """

    name: str
    space_group: str
    cell: Cell
    sites: tuple[Site, ...]
    b_A2: float
    texture: tuple[int, int, int]
    source: str
    operations: tuple[str, ...] | None = None


def direct_metric(cell: npt.ArrayLike) -> Array:
    """Return the metric tensor G (square angstrom) of a cell (angstrom, degrees)."""
    values = np.asarray(cell, float)
    a, b, c = values[:3]
    ca, cb, cg = np.cos(np.deg2rad(values[3:]))
    return np.array(
        [[a * a, a * b * cg, a * c * cb], [a * b * cg, b * b, b * c * ca], [a * c * cb, b * c * ca, c * c]]
    )


def cell_of_metric(metric: Array) -> Cell:
    """Return a, b, c (angstrom), alpha, beta, gamma (degrees) of a metric tensor."""
    a, b, c = np.sqrt(np.diag(metric))
    cosines = (metric[1, 2] / (b * c), metric[0, 2] / (a * c), metric[0, 1] / (a * b))
    alpha, beta, gamma = (float(np.rad2deg(np.arccos(np.clip(v, -1, 1)))) for v in cosines)
    return float(a), float(b), float(c), alpha, beta, gamma


def operations_of(material: Structure) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the rotations (n, 3, 3) and translations (n, 3) of a structure's symmetry operations.

    Raises
    ------
    ValueError
        When the structure has no operations and its space group symbol is not known.
    """
    import gemmi

    found: list[Any]
    if material.operations is not None:
        found = [gemmi.Op(triplet) for triplet in material.operations]
    else:
        group = gemmi.find_spacegroup_by_name(material.space_group)
        if group is None:
            raise ValueError(f"structure {material.name!r}: no space group {material.space_group!r}")
        found = list(group.operations())
    rotations = np.array([op.rot for op in found]) // gemmi.Op.DEN
    return rotations, np.array([op.tran for op in found]) / gemmi.Op.DEN


def orbit(
    xyz: npt.ArrayLike,
    rotations: npt.NDArray[np.int64],
    translations: Array,
    metric: Array,
    within_A: float = EXACT_A,
) -> Array:
    """Return the distinct positions, shape (m, 3) in [0, 1), of an atom under symmetry operations.

    Images within ``within_A`` (angstrom) of each other are one position, their mean: so an atom written as
    0.3333 lies on the threefold axis.
    """
    images = rotations @ np.asarray(xyz, float) + translations
    left = images
    found = []
    while left.size:
        apart = left - left[0]
        apart -= np.round(apart)
        near = np.einsum("ni,ij,nj->n", apart, metric, apart) < within_A**2
        found.append(np.mod(left[0] + apart[near].mean(0), 1.0))
        left = left[~near]
    positions = np.array(found)
    positions[positions > 1 - 1e-9] = 0.0
    return positions


def crystal_system(rotations: npt.NDArray[np.int64]) -> str:
    """Return the crystal system from the orders of a group's rotations (International Tables A, 1.3.2).

    Parameters
    ----------
    rotations : ndarray of int, shape (n, 3, 3)
        Rotation parts; the order of the proper part follows from the trace.
    """
    unique = np.unique(np.asarray(rotations).reshape(-1, 9), axis=0).reshape(-1, 3, 3)
    proper = unique * np.rint(np.linalg.det(unique)).astype(int)[:, None, None]
    traces = np.unique(proper.reshape(-1, 9), axis=0).reshape(-1, 3, 3).trace(axis1=1, axis2=2)
    threes, fours, sixes, twos = (int((traces == trace).sum()) for trace in (0, 1, 2, -1))
    if threes == 8:
        return "cubic"
    if sixes:
        return "hexagonal"
    if threes:
        return "trigonal"
    if fours:
        return "tetragonal"
    return {0: "triclinic", 1: "monoclinic"}.get(twos, "orthorhombic")
