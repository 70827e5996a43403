"""What atoms and cell of a CIF must fulfil together: distances, occupancies, density, formula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.cif_document import Block, Note, number
from streamproc.models.powder.cif_group import Symmetry
from streamproc.models.powder.cif_sites import Atom
from streamproc.models.powder.crystal import EXACT_A, MERGE_A, orbit

__all__ = ["Content", "check_content", "content_notes", "content_of", "temperature_notes"]

Array = npt.NDArray[np.float64]

_CLOSEST_A = 0.5
_OCCUPANCY_SLACK = 0.02
_MOST_ATOMS = 20_000
_DENSITIES = (0.1, 25.0)
_DALTON_G_PER_A3 = 1.66053906660


@dataclass(frozen=True, slots=True)
class Content:
    """All atoms of the cell.

    Attributes
    ----------
    positions : ndarray, shape (m, 3)
        Fractional coordinates in [0, 1).
    owner : ndarray of int, shape (m,)
        Index of the atom of the file each one belongs to.
    occupancy : ndarray, shape (m,)
        Its occupancy.
    """

    positions: Array
    owner: npt.NDArray[np.int64]
    occupancy: Array


def content_of(atoms: list[Atom], symmetry: Symmetry, metric: Array) -> Content:
    """Expand the atoms of the file to the whole cell."""
    orbits = []
    for atom in atoms:
        # half an atom may well sit on either side of a mirror; a whole one was rounded
        within = MERGE_A if atom.site.occupancy > 0.5 + _OCCUPANCY_SLACK else EXACT_A
        xyz = (atom.site.x, atom.site.y, atom.site.z)
        place = orbit(xyz, symmetry.rotations, symmetry.translations, metric, within)[0]
        orbits.append(orbit(place, symmetry.rotations, symmetry.translations, metric))
    owner = np.repeat(np.arange(len(atoms)), [len(o) for o in orbits])
    occupancy = np.array([a.site.occupancy for a in atoms])[owner]
    return Content(np.concatenate(orbits), owner, occupancy)


def close_pairs(content: Content, metric: Array) -> list[tuple[float, int, int]]:
    """Return distance (angstrom) and indices of atoms closer than 0.5 angstrom, the closest first."""
    from scipy.spatial import cKDTree

    lattice = np.linalg.cholesky(metric)
    margin = _CLOSEST_A * np.sqrt(np.diag(np.linalg.inv(metric)))
    images, index = [], []
    for shift in np.ndindex(3, 3, 3):
        moved = content.positions + np.array(shift) - 1
        near = ((moved > -margin) & (moved < 1 + margin)).all(axis=1)
        images.append(moved[near])
        index.append(np.flatnonzero(near))
    all_index = np.concatenate(index)
    tree = cKDTree(np.concatenate(images) @ lattice)
    centres = content.positions @ lattice
    pairs = []
    for i, near_points in enumerate(tree.query_ball_point(centres, _CLOSEST_A)):
        for p in near_points:
            distance = float(np.linalg.norm(tree.data[p] - centres[i]))
            j = int(all_index[p])
            if j > i or (j == i and distance > 1e-6):
                pairs.append((distance, i, j))
    return sorted(pairs)


def check_content(block: Block, atoms: list[Atom], content: Content, metric: Array) -> list[Note]:
    """Check occupancies of shared positions and distances.

    Raises
    ------
    ConfigurationError
        When a position is filled more than once, or atoms are closer than 0.5 angstrom.
    """
    if len(content.positions) > _MOST_ATOMS:
        raise block.error(f"{len(content.positions)} atoms in the cell, at most {_MOST_ATOMS} can be handled")
    filled = content.occupancy.copy()
    split: dict[tuple[str, str], float] = {}
    for distance, i, j in close_pairs(content, metric):
        one, two = (atoms[content.owner[k]] for k in (i, j))
        if distance < MERGE_A:
            filled[i] += content.occupancy[j]
            filled[j] += content.occupancy[i]
            if max(filled[i], filled[j]) > 1 + _OCCUPANCY_SLACK:
                raise _overfilled(block, one, two, float(max(filled[i], filled[j])))
            if one is two:
                split.setdefault((one.label, two.label), distance)
        elif content.occupancy[i] + content.occupancy[j] > 1 + _OCCUPANCY_SLACK:
            raise _too_close(block, one, two, distance)
        else:
            split.setdefault((one.label, two.label), distance)
    return [
        Note("split", f"{_pair(one, two)} {d:.2f} angstrom apart and never both there, by their occupancies")
        for (one, two), d in split.items()
    ]


def _pair(one: str, two: str) -> str:
    return f"{one} and its symmetry image are" if one == two else f"{one} and {two} are"


def _overfilled(block: Block, one: Atom, two: Atom, total: float) -> Exception:
    if one is two:
        hint = "its symmetry images fall together"
    elif one.site.element == two.site.element:
        hint = (
            "the same atom is listed twice, or the file lists the atoms of the whole cell and symmetry "
            "operations besides; delete one of them"
        )
    else:
        hint = "give occupancies whose sum is at most 1"
    return block.error(
        f"atoms {one.label} and {two.label} share one position and fill it {total:g} times, at most 1 "
        f"is possible; {hint}", two.line,
    )  # fmt: skip


def _too_close(block: Block, one: Atom, two: Atom, distance: float) -> Exception:
    what = f"atoms {_pair(one.label, two.label)}"
    if one is two:
        hint = "coordinates of special positions need all digits; or the setting (origin) is another one"
    else:
        hint = "check coordinates, cell and space group setting (origin), and the occupancies of split atoms"
    return block.error(
        f"{what} {distance:.2f} angstrom apart, at least {_CLOSEST_A:g} is expected; {hint}", two.line
    )


def content_notes(
    block: Block, atoms: list[Atom], content: Content, formula: dict[str, float], volume_A3: float
) -> list[Note]:
    """Compare density, formula, Z and volume of the file with its atoms.

    Raises
    ------
    ConfigurationError
        When the density is impossible.
    """
    import gemmi

    counts: dict[str, float] = {}
    for owner, occupancy in zip(content.owner, content.occupancy, strict=True):
        element = atoms[owner].site.element
        counts[element] = counts.get(element, 0.0) + float(occupancy)
    density = sum(gemmi.Element(e).weight * n for e, n in counts.items()) * _DALTON_G_PER_A3 / volume_A3
    low, high = _DENSITIES
    if not low <= density <= high:
        raise block.error(
            f"cell and atoms make a density of {density:.3g} g/cm3, {low:g} to {high:g} is possible; "
            "check the cell (angstrom), the atoms and the symmetry"
        )
    notes = [*formula_notes(block, counts, formula), *_multiplicity_notes(block, atoms, content)]
    stated = block.value("_exptl_crystal_density_diffrn")
    given_density = number(stated.text) if stated else None
    if stated and given_density and abs(density / given_density - 1) > 0.03:
        said = f"density {stated.text} against {density:.3f} g/cm3 of cell and atoms"
        notes.append(Note("density", said, stated.line))
    given = block.value("_cell_volume")
    volume = number(given.text) if given else None
    if given and volume and abs(volume / volume_A3 - 1) > 0.01:
        said = f"_cell_volume {given.text} against {volume_A3:.2f} A^3 of the cell; the cell is used"
        notes.append(Note("volume", said, given.line))
    return notes


def formula_notes(block: Block, counts: dict[str, float], formula: dict[str, float]) -> list[Note]:
    """Say where the formula of the file is not that of its atoms."""
    given = block.value("_chemical_formula_sum")
    if given is None or not formula:
        return []
    found = {("H" if e == "D" else e): 0.0 for e in counts}
    for element, n in counts.items():
        found["H" if element == "D" else element] += n
    stated = dict(formula)
    stated["H"] = stated.pop("H", 0.0) + stated.pop("D", 0.0)
    heavy = [e for e in {*stated, *found} if e != "H"]
    total_stated, total_found = (sum(d.get(e, 0.0) for e in heavy) for d in (stated, found))
    if not total_stated or not total_found:
        return []
    off = {e: found.get(e, 0.0) / total_found - stated.get(e, 0.0) / total_stated for e in heavy}
    made = " ".join(f"{e}{n:g}" for e, n in sorted((e, round(v, 3)) for e, v in counts.items()))
    if max(map(abs, off.values())) > 0.01:
        said = f"formula {given.text!r} contradicts the atoms of the cell ({made}); the atoms are used"
        return [Note("formula", said, given.line)]
    if abs(found.get("H", 0.0) / total_found - stated["H"] / total_stated) > 0.01:
        said = f"formula {given.text!r} and the atoms ({made}) differ in hydrogen; the atoms are used"
        return [Note("hydrogen", said, given.line)]
    z = block.value("_cell_formula_units_z")
    units = number(z.text) if z else None
    ratio = total_found / total_stated
    # some programs write the formula of the whole cell and Z besides
    if z and units and abs(ratio / units - 1) > 0.02 and abs(ratio - 1) > 0.02:
        said = f"Z = {z.text} of {given.text!r}, but the atoms of the cell make {ratio:.4g}"
        return [Note("formula", said, z.line)]
    return []


def _multiplicity_notes(block: Block, atoms: list[Atom], content: Content) -> list[Note]:
    """Say where the file's site multiplicities are not those of its symmetry: a sign of a wrong setting."""
    column = block.columns.get("_atom_site_symmetry_multiplicity")
    if column is None:
        return []
    by_line = {block.line_of(column, row): number(v) for row, v in enumerate(column.values) if v is not None}
    found = np.bincount(content.owner)
    return [
        Note(
            "multiplicity",
            f"{a.label}: multiplicity {by_line[a.line]:g} in the file, {n} by symmetry",
            a.line,
        )
        for a, n in zip(atoms, found, strict=True)
        if by_line.get(a.line) not in (None, n)
    ]


def temperature_notes(block: Block) -> list[Note]:
    """Say when the cell was not measured near room conditions."""
    notes = []
    warm = block.value("_cell_measurement_temperature", "_diffrn_ambient_temperature")
    kelvin = number(warm.text) if warm else None
    if warm and kelvin is not None and not 270 <= kelvin <= 330:
        said = f"the cell is of {kelvin:g} K; at another temperature give it a wider lattice span"
        notes.append(Note("temperature", said, warm.line))
    pressed = block.value("_cell_measurement_pressure", "_diffrn_ambient_pressure")
    kilopascal = number(pressed.text) if pressed else None
    if pressed and kilopascal is not None and kilopascal > 1e4:
        said = f"the cell is of {kilopascal / 1e6:g} GPa, not of ambient pressure"
        notes.append(Note("pressure", said, pressed.line))
    return notes
