"""Cells against measured standards; and what a statement about phases is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from streamproc.models.powder.cif_group import group_number
from streamproc.models.powder.crystal import Structure, direct_metric, operations_of, orbit
from streamproc.models.powder.structures import structures

__all__ = ["Ambiguity", "Phase", "content_of_cell", "standard_differences"]

_STANDARD_TOLERANCE = 1e-3


class Phase(Protocol):
    """What is needed of a phase; :class:`~streamproc.models.powder.cif.CifPhase` is one."""

    @property
    def structure(self) -> Structure:
        """The crystal structure."""
        ...

    @property
    def label(self) -> str:
        """Its name."""
        ...


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """A statement about phases of a set.

    Attributes
    ----------
    kind : {'duplicate', 'alike', 'no-lines', 'overlapped', 'standard'}
        What it is about.
    labels : tuple of str
        The phases.
    figure : float
        The number behind it: share of intensity by which two patterns differ at best, strong lines that are
        overlapped, or relative difference of a cell.
    text : str
        The sentence.
    """

    kind: Literal["duplicate", "alike", "no-lines", "overlapped", "standard"]
    labels: tuple[str, ...]
    figure: float
    text: str

    def __str__(self) -> str:
        return self.text


def content_of_cell(structure: Structure) -> dict[str, float]:
    """Return the atoms in the cell by element."""
    rotations, translations = operations_of(structure)
    metric = direct_metric(structure.cell)
    counts: dict[str, float] = {}
    for s in structure.sites:
        n = len(orbit((s.x, s.y, s.z), rotations, translations, metric)) * s.occupancy
        counts[s.element] = counts.get(s.element, 0.0) + n
    return counts


def standard_differences(phases: Sequence[Phase]) -> list[Ambiguity]:
    """Report cells that differ by more than 0.1 % from a measured standard.

    A standard is a structure of :mod:`~streamproc.models.powder.structures` with the same composition, space
    group and number of atoms in the cell.
    """
    found = []
    standards = [(m, _number(m), content_of_cell(m)) for m in structures().values()]
    for phase in phases:
        number, counts = _number(phase.structure), content_of_cell(phase.structure)
        for material, its_number, content in standards:
            if number == its_number and _same_content(counts, content):
                found += _difference(phase, material)
    return found


def _number(material: Structure) -> int:
    """Space group number, in whatever setting."""
    import gemmi

    if material.operations is None:
        return int(gemmi.find_spacegroup_by_name(material.space_group).number)
    group = gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(t) for t in material.operations]))
    return int(group.number) if group else group_number(*operations_of(material), material.cell)


def _same_content(one: Mapping[str, float], two: Mapping[str, float]) -> bool:
    return one.keys() == two.keys() and all(abs(one[e] - two[e]) < 0.02 * two[e] for e in two)


def _difference(phase: Phase, material: Structure) -> list[Ambiguity]:
    cells = phase.structure.cell, material.cell
    # axes may be named otherwise; where their angles differ, only the volumes can be compared
    if np.allclose(sorted(cells[0][3:]), sorted(cells[1][3:]), atol=2.0):
        off = [a / b - 1 for a, b in zip(*(sorted(c[:3]) for c in cells), strict=True)]
    else:
        one, two = (np.linalg.det(direct_metric(c)) for c in cells)
        off = [float((one / two) ** (1 / 6) - 1)]
    worst = max(off, key=abs)
    if abs(worst) <= _STANDARD_TOLERANCE or abs(worst) > 0.1:
        return []
    cell = ", ".join(f"{v:.5g}" for v in material.cell[:3])
    said = (
        f"{phase.label}: cell {', '.join(f'{v:.5g}' for v in phase.structure.cell[:3])} differs by "
        f"{100 * worst:+.2f} % from {material.name} at room temperature ({cell}; {material.source})"
    )
    return [Ambiguity("standard", (phase.label,), worst, said)]
