"""The unit cell of a CIF block, by itself and against the symmetry."""

from __future__ import annotations

import numpy as np
from streamproc.models.powder.cif_document import Block, Note, number
from streamproc.models.powder.cif_group import Symmetry
from streamproc.models.powder.crystal import Cell, cell_of_metric, direct_metric

__all__ = ["read_cell", "symmetrised_cell"]

_LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
_ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
_CELL_TOLERANCE = 5e-3
"""Relative deviation of the metric from its symmetry that is put down to rounding."""


def read_cell(block: Block) -> Cell:
    """Read the unit cell.

    Raises
    ------
    ConfigurationError
        When a length or angle is missing, not a number, or impossible.
    """
    values = []
    for tag, low, high in [(t, 1.0, 500.0) for t in _LENGTHS] + [(t, 20.0, 160.0) for t in _ANGLES]:
        unit = "angstrom" if tag in _LENGTHS else "degrees"
        given = block.value(tag)
        if given is None:
            raise block.error(
                f"no cell: {tag} ({unit}) is missing; the cell belongs to the structure", tag=tag
            )
        value = number(given.text)
        if value is None or not low <= value <= high:
            hint = " (this looks like nanometres)" if value and 0.1 < value < 1 and tag in _LENGTHS else ""
            raise block.error(
                f"{given.text!r}, a number of {low:g} to {high:g} {unit} is expected{hint}",
                given.line,
                given.tag,
            )
        values.append(value)
    a, b, c, alpha, beta, gamma = values
    if np.linalg.det(direct_metric(values)) < 1e-3 * (a * b * c) ** 2:
        given = block.value(_ANGLES[0])
        raise block.error(
            f"angles {alpha:g}, {beta:g}, {gamma:g} degrees span no volume; correct them",
            given and given.line,
        )
    return a, b, c, alpha, beta, gamma


def symmetrised_cell(block: Block, cell: tuple[float, ...], symmetry: Symmetry) -> tuple[Cell, list[Note]]:
    """Return the cell that has the symmetry exactly, or refuse one that is far from it.

    Raises
    ------
    ConfigurationError
        When the operations do not keep the cell's metric within 0.5 %.
    """
    metric = direct_metric(cell)
    lengths = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    moved = np.array([r.T @ metric @ r for r in symmetry.rotations])
    off = (np.abs(moved - metric) / lengths).max(axis=(1, 2))
    line = block.value(*_LENGTHS)
    if off.max() > _CELL_TOLERANCE:
        worst = symmetry.triplets[int(off.argmax())]
        wanted = ", ".join(f"{v:.5g}" for v in cell_of_metric(moved.mean(axis=0)))
        raise block.error(
            f"cell {', '.join(f'{v:g}' for v in cell)} does not have the symmetry of {symmetry.symbol} "
            f"(number {symmetry.number}): the operation {worst} does not map it onto itself, one like "
            f"{wanted} would be expected; correct the cell or the space group",
            line and line.line, "_cell_length_a",
        )  # fmt: skip
    if off.max() < 1e-9:
        return (cell[0], cell[1], cell[2], cell[3], cell[4], cell[5]), []
    exact = cell_of_metric(moved.mean(axis=0))
    changed = max(abs(a - b) / b for a, b in zip(exact, cell, strict=True))
    if changed < 1e-4:
        return exact, []
    said = f"cell brought to the symmetry of {symmetry.symbol} (changed by {changed * 100:.2g} %)"
    return exact, [Note("cell", said, line and line.line)]
