"""Displacement parameters of a CIF block: B of each atom from whatever is given, or assumed by element."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.cif_document import Block, Note, number
from streamproc.models.powder.crystal import Site

__all__ = ["DEFAULT_B_A2", "anisotropic_b", "isotropic_b", "with_default_b"]

EIGHT_PI2 = 8 * np.pi**2

DEFAULT_B_A2 = {
    "hydrogen": 1.5,
    "heavy or transition metal": 0.5,
    "light or alkali metal": 0.9,
    "non-metal": 0.7,
    "molecular": 3.5,
}
"""B (square angstrom) of atoms whose CIF gives none: typical values at room temperature, by class of element,
and for all atoms of a molecular crystal (one that holds carbon and hydrogen)."""

_LIGHT = frozenset(["Li", "Na", "K", "Rb", "Cs", "Be", "Mg", "Ca", "Sr", "Ba"])
_NON_METALS = frozenset(
    [
        "B",
        "C",
        "N",
        "O",
        "F",
        "Si",
        "P",
        "S",
        "Cl",
        "Ge",
        "As",
        "Se",
        "Br",
        "Sb",
        "Te",
        "I",
        "He",
        "Ne",
        "Ar",
        "Kr",
        "Xe",
    ]
)
_LARGEST_B_A2 = 25.0


def _default_b(element: str, molecular: bool) -> tuple[str, float]:
    """Return the class of an element and the B assumed for it (square angstrom)."""
    if element in ("H", "D"):
        kind = "molecular" if molecular else "hydrogen"
    elif molecular:
        kind = "molecular"
    elif element in _LIGHT:
        kind = "light or alkali metal"
    else:
        kind = "non-metal" if element in _NON_METALS else "heavy or transition metal"
    return kind, DEFAULT_B_A2[kind]


def with_default_b(sites: list[Site]) -> tuple[list[Site], list[Note]]:
    """Give every site a B; the note says which ones were assumed."""
    elements = {s.element for s in sites}
    molecular = "C" in elements and bool({"H", "D"} & elements)
    assumed: dict[str, str] = {}
    done = []
    for site in sites:
        if site.b_A2 is None:
            kind, value = _default_b(site.element, molecular)
            assumed[site.element] = f"{site.element} {value:g} ({kind})"
            site = replace(site, b_A2=value)
        done.append(site)
    if not assumed:
        return done, []
    said = f"no usable displacement parameter for some atoms; B assumed (A^2): {', '.join(assumed.values())}"
    return done, [Note("b-default", said)]


def isotropic_b(
    given: list[tuple[str, str | None]], equivalent: float | None, label: str, line: int
) -> tuple[float | None, list[Note]]:
    """Return B of an atom (square angstrom), None where nothing usable is given, and what is odd about it.

    Parameters
    ----------
    given : list of (kind, text)
        What the file says under ``"B"`` and ``"U"``.
    equivalent : float, optional
        B equivalent to its anisotropic parameters.
    label : str
        Name of the atom.
    line : int
        Its line.
    """
    notes = []
    for kind, text in given:
        factor = EIGHT_PI2 if kind == "U" else 1.0
        value = number(text) if text is not None else None
        if text is not None and (value is None or not 0 <= value * factor <= _LARGEST_B_A2):
            as_b = "" if value is None else f" (B = {value * factor:.3g} A^2)"
            notes.append(
                Note("b-impossible", f"{label}: {kind} {text!r}{as_b} is not possible, not used", line)
            )
        elif value is not None and value > 0:
            return value * factor, notes
    if equivalent is not None and 0 < equivalent <= _LARGEST_B_A2:
        return equivalent, notes
    if equivalent is not None:
        said = f"{label}: anisotropic parameters give B = {equivalent:.3g} A^2, not used"
        notes.append(Note("b-impossible", said, line))
    return None, notes


def anisotropic_b(block: Block, metric: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return the equivalent B by label: a third of sum U_ij a*_i a*_j a_i.a_j (Fischer & Tillmanns 1988)."""
    labels = block.column("_atom_site_aniso_label") or block.column("_atom_site_label")
    if labels is None:
        return {}
    reciprocal = np.sqrt(np.diag(np.linalg.inv(metric)))
    weights = metric * np.outer(reciprocal, reciprocal) / 3
    pairs = [(0, 0, "11"), (1, 1, "22"), (2, 2, "33"), (0, 1, "12"), (0, 2, "13"), (1, 2, "23")]
    found: dict[str, float] = {}
    for kind, factor in (("u", EIGHT_PI2), ("b", 1.0)):
        columns = [
            block.columns.get(f"_atom_site_aniso_{kind}_{p}") or block.columns.get(f"_atom_site_{kind}_{p}")
            for *_, p in pairs
        ]
        for row, label in enumerate(labels.values):
            total = 0.0
            for (i, j, _), column in zip(pairs, columns, strict=True):
                text = column.values[row] if column and len(column.values) == len(labels.values) else None
                value = number(text) if text is not None else None
                if value is None and i == j:
                    break
                total += (value or 0.0) * weights[i, j] * (1 if i == j else 2)
            else:
                if label is not None:
                    found.setdefault(label, total * factor)
    return found
