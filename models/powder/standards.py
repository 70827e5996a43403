"""Cells against measured standards; and what a statement about phases is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

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
    import gemmi

    found = []
    standards = []
    for material in structures().values():
        group = gemmi.find_spacegroup_by_name(material.space_group)
        standards.append((material, group.number, content_of_cell(material)))
    for phase in phases:
        counts = content_of_cell(phase.structure)
        operations = phase.structure.operations
        group = (
            gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(t) for t in operations]))
            if operations
            else gemmi.find_spacegroup_by_name(phase.structure.space_group)
        )
        for material, number, standard in standards:
            if group is None or number != group.number or not _samecontent_of_cell(counts, standard):
                continue
            found += _difference(phase, material)
    return found


def _samecontent_of_cell(one: Mapping[str, float], two: Mapping[str, float]) -> bool:
    return one.keys() == two.keys() and all(abs(one[e] - two[e]) < 0.02 * two[e] for e in two)


def _difference(phase: Phase, material: Structure) -> list[Ambiguity]:
    ours, theirs = (sorted(s.cell[:3]) for s in (phase.structure, material))
    off = [a / b - 1 for a, b in zip(ours, theirs, strict=True)]
    worst = max(off, key=abs)
    if abs(worst) <= _STANDARD_TOLERANCE or abs(worst) > 0.1:
        return []
    cell = ", ".join(f"{v:.5g}" for v in material.cell[:3])
    said = (
        f"{phase.label}: cell {', '.join(f'{v:.5g}' for v in phase.structure.cell[:3])} differs by "
        f"{100 * worst:+.2f} % from {material.name} at room temperature ({cell}; {material.source})"
    )
    return [Ambiguity("standard", (phase.label,), worst, said)]
