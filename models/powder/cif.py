"""Crystal structures from CIF files: read, checked, and brought to the form the simulator takes.

What is read, checked and refused is listed in ``docs/reference/cif.md``. A file that cannot be right raises
:class:`~streamproc.errors.ConfigurationError` with file, line, data block and tag; what can be worked with
but should be known becomes a :class:`Note` of the phase.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from streamproc.models.powder.cif_cell import read_cell, symmetrised_cell
from streamproc.models.powder.cif_checks import (
    Content,
    check_content,
    content_notes,
    content_of,
    temperature_notes,
)
from streamproc.models.powder.cif_displacement import with_default_b
from streamproc.models.powder.cif_document import Block, Note, read_blocks
from streamproc.models.powder.cif_group import Symmetry
from streamproc.models.powder.cif_names import formula_of, texture_of, unique_labels
from streamproc.models.powder.cif_sites import Atom, read_atoms, read_formula
from streamproc.models.powder.cif_standard import SYMPREC_A, needs_standard_cell, standardised
from streamproc.models.powder.cif_symmetry import read_symmetry
from streamproc.models.powder.crystal import Cell, Site, Structure, crystal_system, direct_metric

from streamproc.errors import ConfigurationError

__all__ = ["CifPhase", "Note", "read_cif", "read_cifs"]


@dataclass(frozen=True, slots=True)
class CifPhase:
    """A phase read from a CIF file.

    Attributes
    ----------
    structure : Structure
        For :func:`~streamproc.models.powder.tables.table_of`; its name is the label.
    label : str
        Reduced formula and space group number ("Al2O3_167"): letters, digits, underscore; "p" stands for the
        decimal point of a fractional count.
    notes : tuple of Note
        What was assumed or found odd.
    file, block : str
        Where it was read.
    formula : str
        Reduced formula of the atoms in the cell.
    number : int
        Space group number.
    system : str
        Crystal system.
    """

    structure: Structure
    label: str
    notes: tuple[Note, ...]
    file: str
    block: str
    formula: str
    number: int
    system: str


def read_cif(path: Path, block: str | None = None) -> CifPhase:
    """Read the one structure of a CIF file.

    Parameters
    ----------
    path : Path
        The file.
    block : str, optional
        Data block to take, where several hold a structure.

    Raises
    ------
    ConfigurationError
        When the file or its structure is unusable, or there are several structures.
    """
    phases = _phases(Path(path), block)
    if len(phases) > 1:
        names = ", ".join(p.block for p in phases)
        raise ConfigurationError(
            f"{path}: holds {len(phases)} structures (data blocks {names}); say which one, or read all "
            "of them with read_cifs"
        )
    return phases[0]


def read_cifs(paths: Iterable[Path]) -> list[CifPhase]:
    """Read all structures of several CIF files; labels are made unique.

    Phases of one formula and space group are told apart by their file names, then by numbers.

    Raises
    ------
    ConfigurationError
        When a file or a structure is unusable, or a file is given twice.
    """
    files = [Path(p) for p in paths]
    twice = [str(p) for p, n in Counter(p.resolve() for p in files).items() if n > 1]
    if twice:
        raise ConfigurationError(f"{', '.join(twice)}: given twice; a phase may be given once")
    phases = [phase for path in files for phase in _phases(path, None)]
    labels = unique_labels([p.label for p in phases], [p.file for p in phases])
    return [_renamed(p, label) for p, label in zip(phases, labels, strict=True)]


def _renamed(phase: CifPhase, label: str) -> CifPhase:
    return replace(phase, label=label, structure=replace(phase.structure, name=label))


def _phases(path: Path, wanted: str | None) -> list[CifPhase]:
    blocks, notes = read_blocks(path)
    if wanted is not None:
        chosen = [b for b in blocks if b.name == wanted]
        if not chosen:
            names = ", ".join(b.name for b in blocks)
            raise ConfigurationError(f"{path}: no data block {wanted!r}; there are {names}")
        return [_phase(chosen[0], notes)]
    for block in blocks:
        _refuse_special(block)
    with_atoms = [b for b in blocks if _has_atoms(b)]
    if not with_atoms:
        raise _no_structure(path, blocks)
    return [_phase(block, notes) for block in with_atoms]


def _has_atoms(block: Block) -> bool:
    return any(tag.startswith(("_atom_site_fract_", "_atom_site_cartn_")) for tag in block.columns)


def _no_structure(path: Path, blocks: list[Block]) -> ConfigurationError:
    tags = [tag for block in blocks for tag in block.columns]
    if any(t.startswith(("_pd_meas_", "_pd_proc_", "_pd_calc_")) for t in tags):
        what = (
            "measured or calculated powder data, no structure; give the CIF of the crystal structure instead"
        )
    elif any(t.startswith("_refln_") for t in tags):
        what = "reflections, no structure; give the CIF of the crystal structure instead"
    elif any(t.startswith("_cell_length_") for t in tags):
        what = "a cell, but no atoms: the loop with _atom_site_fract_x, _y, _z is missing"
    else:
        what = "no crystal structure: a cell and a loop with _atom_site_fract_x, _y, _z are expected"
    line = next((c.line for b in blocks for c in b.columns.values()), 1)
    names = ", ".join(f"data_{b.name}" for b in blocks[:5])
    return ConfigurationError(f"{path.name} line {line}, {names}: the file holds {what}")


def _refuse_special(block: Block) -> None:
    modulated = (
        "_cell_wave_vector",
        "_cell_modulation",
        "_space_group_ssg",
        "_atom_site_fourier",
        "_atom_site_displace",
    )
    magnetic = ("_space_group_magn", "_space_group_symop_magn", "_atom_site_moment", "_parent_propagation")
    for tag, column in block.columns.items():
        kind = "modulated" if tag.startswith(modulated) else "magnetic" if tag.startswith(magnetic) else None
        if kind and any(v is not None for v in column.values):
            raise block.error(
                f"a {kind} structure, which cannot be simulated; give its average (nuclear) structure in a "
                "three-dimensional space group", column.line, column.tag,
            )  # fmt: skip


def _phase(block: Block, notes: list[Note]) -> CifPhase:
    _refuse_special(block)
    cell = read_cell(block)
    candidates, symmetry_notes = read_symmetry(block, cell)
    atoms, site_notes = read_atoms(block, direct_metric(cell))
    symmetry, cell, cell_notes = _choose(block, candidates, cell, atoms)
    metric = direct_metric(cell)
    content = content_of(atoms, symmetry, metric)
    found = [*notes, *symmetry_notes, *cell_notes, *site_notes, *check_content(block, atoms, content, metric)]
    volume = float(np.sqrt(np.linalg.det(metric)))
    found += content_notes(block, atoms, content, read_formula(block), volume)
    found += temperature_notes(block)
    sites = _sites(atoms, content)
    if needs_standard_cell(symmetry, cell):
        changed, note = _conventional(symmetry, atoms, content, cell)
        found += note
        symmetry, cell, sites = changed or (symmetry, cell, sites)
    sites, b_notes = with_default_b(sites)
    formula, label = formula_of(block, atoms, content)
    structure = Structure(
        name=f"{label}_{symmetry.number}",
        space_group=symmetry.symbol,
        cell=cell,
        sites=tuple(sites),
        b_A2=0.5,
        texture=texture_of(symmetry, cell),
        source=f"{block.file}, data_{block.name}",
        operations=symmetry.triplets,
    )
    system = crystal_system(symmetry.rotations)
    return CifPhase(
        structure,
        structure.name,
        (*found, *b_notes),
        block.file,
        block.name,
        formula,
        symmetry.number,
        system,
    )


def _conventional(
    before: Symmetry, atoms: list[Atom], content: Content, cell: Cell
) -> tuple[tuple[Symmetry, Cell, list[Site]] | None, list[Note]]:
    """The conventional cell where it is another one, and what to say about it."""
    found = standardised(atoms, content, cell)
    if found is None:
        said = f"the symmetry of the atoms was not found; {before.symbol} and the file's axes are used"
        return None, [Note("symmetry", said)]
    after = found[0]
    if before.number == after.number <= 2:
        near = standardised(atoms, content, cell, 10 * SYMPREC_A)
        if near is None or near[0].number == before.number:
            return None, []
        said = (
            f"{before.symbol} is kept, with six lattice parameters; within {10 * SYMPREC_A:g} angstrom the "
            f"atoms have the symmetry of {near[0].symbol} (number {near[0].number})"
        )
        return None, [Note("symmetry", said)]
    said = f"the atoms have the symmetry of {after.symbol} (number {after.number})"
    if before.number == after.number:
        said = f"{before.symbol} brought to the usual axes"
    numbers = ", ".join(f"{v:.6g}" for v in found[1])
    return found, [Note("symmetry", f"{said}; conventional cell {numbers} used")]


def _choose(
    block: Block, candidates: list[Symmetry], cell: tuple[float, ...], atoms: list[Atom]
) -> tuple[Symmetry, Cell, list[Note]]:
    """Take the symmetry; of two origins the one under which atoms do not collide and the formula is right."""
    if len(candidates) == 1:
        return (candidates[0], *symmetrised_cell(block, cell, candidates[0]))
    formula = read_formula(block)
    good = []
    for symmetry in candidates:
        exact, notes = symmetrised_cell(block, cell, symmetry)
        metric = direct_metric(exact)
        content = content_of(atoms, symmetry, metric)
        try:
            check_content(block, atoms, content, metric)
            volume = float(np.sqrt(np.linalg.det(metric)))
            odd = content_notes(block, atoms, content, formula, volume)
        except ConfigurationError:
            continue
        if not any(n.kind == "formula" for n in odd):
            good.append((symmetry, exact, notes))
    if len(good) == 1:
        symmetry, exact, notes = good[0]
        said = f"the file does not say which origin; {symmetry.symbol} fits the atoms, the other does not"
        return symmetry, exact, [*notes, Note("setting", said)]
    names = " or ".join(s.symbol for s in candidates)
    raise block.error(
        f"the file does not say which choice of origin ({names}), and the atoms fit "
        f"{'both' if good else 'neither'}; write the symbol with ':1' or ':2', or give the operations"
    )


def _sites(atoms: list[Atom], content: Content) -> list[Site]:
    """Sites with coordinates exactly on their special positions."""
    owner, positions = content.owner, content.positions
    first = [int(np.flatnonzero(owner == i)[0]) for i in range(len(atoms))]
    return [
        replace(a.site, x=float(positions[k][0]), y=float(positions[k][1]), z=float(positions[k][2]))
        for a, k in zip(atoms, first, strict=True)
    ]
