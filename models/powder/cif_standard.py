"""The conventional cell of a structure whose file hides its symmetry (P 1, primitive, rhombohedral)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.cif_checks import Content
from streamproc.models.powder.cif_group import Symmetry, spglib_call
from streamproc.models.powder.cif_sites import Atom
from streamproc.models.powder.crystal import (
    MERGE_A,
    Cell,
    Site,
    cell_of_metric,
    crystal_system,
    direct_metric,
)

__all__ = ["SYMPREC_A", "needs_standard_cell", "standardised"]

Array = npt.NDArray[np.float64]

SYMPREC_A = 0.01
"""Atoms may be this far (angstrom) from the symmetry that is found: files round to some 1e-4 of the cell."""


def needs_standard_cell(symmetry: Symmetry, cell: tuple[float, ...]) -> bool:
    """Whether the axes are not the usual ones of the crystal system: then too many of them would vary."""
    system = crystal_system(symmetry.rotations)
    if symmetry.number <= 2:
        return True
    a, b, c, alpha, beta, gamma = cell
    equal = abs(a - b) < 1e-4 * a
    if system in ("trigonal", "hexagonal"):
        return not (equal and abs(gamma - 120) < 1e-3 and abs(alpha - 90) < 1e-3)
    right = max(abs(v - 90) for v in (alpha, beta, gamma)) < 1e-3
    if system == "tetragonal":
        return not (equal and right)
    if system == "cubic":
        return not (equal and right and abs(a - c) < 1e-4 * a)
    return system == "orthorhombic" and not right


def standardised(
    atoms: list[Atom], content: Content, cell: tuple[float, ...], symprec_A: float = SYMPREC_A
) -> tuple[Symmetry, Cell, list[Site]] | None:
    """Find the symmetry of all atoms, and the conventional cell and asymmetric unit that go with it.

    Atoms that share a position are one kind of atom to the search.

    Returns
    -------
    symmetry, cell, sites
        In the conventional setting (spglib; Togo, Shinohara & Tanaka 2024, Sci. Technol. Adv. Mater. 4,
        2384822); None where the search fails.
    """
    metric = direct_metric(cell)
    positions, kinds, members = _grouped(atoms, content, metric)
    crystal = (np.linalg.cholesky(metric), positions, kinds)
    dataset = spglib_call("get_symmetry_dataset", crystal, symprec=symprec_A)
    if dataset is None:
        return None
    standard = (dataset.std_lattice, dataset.std_positions, dataset.std_types)
    exact = spglib_call("get_symmetry_dataset", standard, symprec=symprec_A / 2)
    if exact is None or exact.number != dataset.number:
        return None
    symmetry = _symmetry(exact)
    if symmetry is None:
        return None
    sites = [
        Site(s.element, *(float(v) for v in np.mod(standard[1][i] + 1e-12, 1.0)), s.occupancy, s.b_A2)
        for i in np.unique(exact.equivalent_atoms)
        for s in members[int(standard[2][i])]
    ]
    return symmetry, cell_of_metric(np.asarray(standard[0]) @ np.asarray(standard[0]).T), sites


def _symmetry(dataset: object) -> Symmetry | None:
    import gemmi

    operations = []
    for rotation, translation in zip(dataset.rotations, dataset.translations, strict=True):  # type: ignore[attr-defined]
        op = gemmi.Op("x,y,z")
        op.rot = [[int(v) * gemmi.Op.DEN for v in row] for row in rotation]
        op.tran = [int(v) % gemmi.Op.DEN for v in np.rint(np.asarray(translation) * gemmi.Op.DEN)]
        operations.append(op)
    group = gemmi.find_spacegroup_by_ops(gemmi.GroupOps(operations))
    if group is None:
        return None
    return Symmetry.of(operations, group.number, group.xhm())


def _grouped(
    atoms: list[Atom], content: Content, metric: Array
) -> tuple[Array, npt.NDArray[np.int64], list[list[Site]]]:
    """Distinct positions, the kind of mixture on each, and the sites each kind is made of."""
    left = np.arange(len(content.positions))
    positions, kinds = [], []
    members: list[list[Site]] = []
    index: dict[tuple[tuple[str, float, float], ...], int] = {}
    while left.size:
        apart = content.positions[left] - content.positions[left[0]]
        apart -= np.round(apart)
        here = np.einsum("ni,ij,nj->n", apart, metric, apart) < MERGE_A**2
        sites = [atoms[content.owner[k]].site for k in left[here]]
        sites.sort(key=lambda s: (s.element, s.occupancy))
        key = tuple((s.element, round(s.occupancy, 3), round(s.b_A2 or 0.0, 2)) for s in sites)
        if key not in index:
            index[key] = len(members)
            members.append([replace(s) for s in sites])
        positions.append(content.positions[left[0]] + apart[here].mean(axis=0))
        kinds.append(index[key])
        left = left[~here]
    return np.array(positions), np.array(kinds), members
