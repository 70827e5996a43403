"""The atoms of a CIF block: element, coordinates, occupancy and displacement parameter of each site."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.cif_displacement import anisotropic_b, isotropic_b
from streamproc.models.powder.cif_document import Block, Column, Note, number, uncertainty
from streamproc.models.powder.crystal import Site

__all__ = ["Atom", "read_atoms", "read_formula"]

_TYPE = re.compile(r"[A-Za-z]{1,2}(va|val|iso)?[\d.]*[+-]?[\d.]*[+-]?")
_VACANCIES = frozenset(["va", "vac", "vc", "vacancy"])
_WATER = frozenset(["ow", "oh", "hw", "oa", "ob", "oc"])
_XYZ = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")


@dataclass(frozen=True, slots=True)
class Atom:
    """A site with what messages about it need."""

    site: Site
    label: str
    line: int


def read_formula(block: Block) -> dict[str, float]:
    """Return the elements and counts of ``_chemical_formula_sum``, empty where none is understood."""
    given = block.value("_chemical_formula_sum")
    counts: dict[str, float] = {}
    for word in re.split(r"[\s,]+", given.text if given else ""):
        match = re.fullmatch(r"([A-Z][a-z]?)(\d*\.?\d*)(?:\(\d+\))?", word)
        if match is None or _element(match[1]) is None:
            return {}
        if match[2] == ".":
            return {}
        counts[match[1]] = counts.get(match[1], 0.0) + float(match[2] or 1)
    return counts


def read_atoms(block: Block, metric: npt.NDArray[np.float64]) -> tuple[list[Atom], list[Note]]:
    """Read the atom sites of a block.

    Parameters
    ----------
    block : Block
        The data block.
    metric : ndarray, shape (3, 3)
        Metric tensor of its cell, for anisotropic displacement parameters.

    Returns
    -------
    list of Atom, list of Note
        Atoms as they are listed; B is None where the file has no usable one.

    Raises
    ------
    ConfigurationError
        For coordinates, elements and occupancies that are missing or impossible.
    """
    columns = [block.column(tag) for tag in _XYZ]
    if columns[0] is None or columns[1] is None or columns[2] is None:
        raise _no_coordinates(block)
    x, y, z = columns
    reader = _Reader(block, metric, len(x.values))
    atoms: list[Atom] = []
    for row in range(len(x.values)):
        atom = reader.atom(row, (x, y, z))
        if atom is not None:
            atoms.append(atom)
    if not atoms:
        raise block.error("no atom is left of the site list (all are dummies or have no coordinates)", x.line)
    return atoms, reader.all_notes()


def _no_coordinates(block: Block) -> Exception:
    cartesian = block.column("_atom_site_cartn_x")
    if cartesian is not None:
        return block.error(
            "atoms have Cartesian coordinates only, fractional ones (_atom_site_fract_x, _y, _z) are "
            "expected; convert the file, macromolecular ones are not meant for powder "
            "patterns", cartesian.line,
            cartesian.tag,
        )  # fmt: skip
    absent = ", ".join(tag for tag in _XYZ if block.column(tag) is None)
    return block.error(f"no atom coordinates: {absent} missing; give the loop of atom sites")


def _element(symbol: str) -> str | None:
    import gemmi

    found = gemmi.Element(symbol)
    return str(found.name) if found.atomic_number and found.name.lower() == symbol.lower() else None


def _pick(letters: str, formula: dict[str, float]) -> str | None:
    """Element at the start of a symbol or label; the formula decides where two readings are possible.

    A second letter in lower case that makes no element is only passed over for names of water and where the
    formula holds the element of the first: "Va" is a vacancy, not vanadium.
    """
    if letters.lower() in _VACANCIES:
        return None
    two, one = _element(letters[:2]) if len(letters) > 1 else None, _element(letters[:1])
    if two and one and formula:
        return next((e for e in (two, one) if e in formula), two)
    if two:
        return two
    plain = len(letters) == 1 or letters[1].isupper() or letters.lower() in _WATER
    return one if plain or one in formula else None


class _Reader:
    """Reads the rows of one block's atom sites."""

    def __init__(self, block: Block, metric: npt.NDArray[np.float64], rows: int) -> None:
        self._block = block
        self._metric = metric
        self._formula = read_formula(block)
        self._columns = {
            name: self._fitting(block.columns.get(f"_atom_site_{name}"), rows)
            for name in (
                "label", "type_symbol", "occupancy", "b_iso_or_equiv", "u_iso_or_equiv", "calc_flag",
                "attached_hydrogens",
            )
        }  # fmt: skip
        self._aniso = anisotropic_b(block, metric)
        self.notes: list[Note] = []
        self._ions: list[str] = []

    def _fitting(self, column: Column | None, rows: int) -> Column | None:
        """Use a column of the coordinates' own loop, not one of another loop."""
        return column if column is not None and len(column.values) == rows else None

    def _get(self, name: str, row: int) -> str | None:
        column = self._columns[name]
        return None if column is None else column.values[row]

    def all_notes(self) -> list[Note]:
        if self._ions:
            ions = ", ".join(dict.fromkeys(self._ions))
            self.notes.append(Note("neutral", f"ions ({ions}) scatter as neutral atoms here"))
        return self.notes

    def atom(self, row: int, columns: tuple[Column, Column, Column]) -> Atom | None:
        label = self._get("label", row) or self._get("type_symbol", row) or f"number {row + 1}"
        line = self._block.line_of(columns[0], row)
        if (self._get("calc_flag", row) or "").lower() in ("dum", "dummy"):
            self.notes.append(Note("dummy", f"atom {label} is a dummy and left out", line))
            return None
        element = self._element_of(row, label, line)
        xyz = [self._coordinate(column, row, label) for column in columns]
        if any(v is None for v in xyz):
            if element in ("H", "D"):
                text = f"hydrogen {label} has no coordinates and is left out"
                self.notes.append(Note("hydrogen", text, line))
                return None
            missing = next(c for c, v in zip(columns, xyz, strict=True) if v is None)
            raise self._block.error(
                f"atom {label} has no coordinate ('?' or '.'), a number is expected; give it or delete "
                "the atom",
                self._block.line_of(missing, row), missing.tag,
            )  # fmt: skip
        attached = number(self._get("attached_hydrogens", row) or "0") or 0
        if attached > 0:
            text = f"{attached:g} hydrogen attached to {label} have no coordinates and do not scatter"
            self.notes.append(Note("hydrogen", text, line))
        x, y, z = (float(v) for v in xyz if v is not None)
        site = Site(element, x, y, z, self._occupancy(row, label), self._b(row, label, line))
        return Atom(site, label, line)

    def _element_of(self, row: int, label: str, line: int) -> str:
        name = "type_symbol" if self._get("type_symbol", row) else "label"
        text = self._get(name, row) or ""
        letters = re.match(r"[A-Za-z]*", text)
        found = _pick(letters[0], self._formula) if letters and letters[0] else None
        if found is None:
            column = self._columns[name]
            at = self._block.line_of(column, row) if column else line
            raise self._block.error(
                f"atom {label}: {text!r} begins with no chemical element; correct it, or delete the "
                "line where it is a vacancy or a dummy", at, column.tag if column else None,
            )  # fmt: skip
        if name == "type_symbol" and not _TYPE.fullmatch(text):
            column = self._columns[name]
            raise self._block.error(
                f"atom {label}: type {text!r} is not one element; list each element of a shared position as "
                "an atom of its own with its occupancy",
                self._block.line_of(column, row) if column else line, column.tag if column else None,
            )  # fmt: skip
        if name == "type_symbol" and re.search(r"[+-]", text):
            self._ions.append(text)
        if found == "D":
            self.notes.append(Note("deuterium", f"{label}: deuterium scatters X-rays as hydrogen", line))
        return found

    def _coordinate(self, column: Column, row: int, label: str) -> float | None:
        text = column.values[row]
        if text is None:
            return None
        value = number(text)
        if value is None or abs(value) > 100:
            hint = "a decimal point is needed, not a comma" if "," in text else "correct it"
            raise self._block.error(
                f"atom {label}: coordinate {text!r}, a fraction of the cell is expected; {hint}",
                self._block.line_of(column, row), column.tag,
            )  # fmt: skip
        return value

    def _occupancy(self, row: int, label: str) -> float:
        column = self._columns["occupancy"]
        text = self._get("occupancy", row)
        if column is None or text is None:
            return 1.0
        value = number(text)
        # a refined occupancy may exceed 1 within its uncertainty
        if value is None or value <= 0 or value > 1.005 + 3 * uncertainty(text):
            hint = (
                "delete the atom if the site is empty"
                if value == 0
                else "give the share of the site it fills"
            )
            raise self._block.error(
                f"atom {label}: occupancy {text!r}, a number above 0 and at most 1 is expected; {hint}",
                self._block.line_of(column, row), column.tag,
            )  # fmt: skip
        return min(value, 1.0)

    def _b(self, row: int, label: str, line: int) -> float | None:
        given = [("B", self._get("b_iso_or_equiv", row)), ("U", self._get("u_iso_or_equiv", row))]
        value, notes = isotropic_b(given, self._aniso.get(label), label, line)
        self.notes += notes
        return value
