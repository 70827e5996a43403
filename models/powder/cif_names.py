"""Names and texture axis of a phase: formula, label, and the plane its grains are likely to lie on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from streamproc.models.powder.cif_checks import Content
from streamproc.models.powder.cif_document import Block, number
from streamproc.models.powder.cif_group import Symmetry
from streamproc.models.powder.cif_sites import Atom
from streamproc.models.powder.crystal import crystal_system, direct_metric

__all__ = ["formula_of", "texture_of", "unique_labels"]

_NON_METALS = ["B", "Si", "C", "Sb", "As", "P", "N", "H", "D", "Te", "Se", "S", "I", "Br", "Cl", "O", "F"]
"""Order of non-metals in a formula (IUPAC 2005, table VI); metals come before them, in the file's order."""


def formula_of(block: Block, atoms: list[Atom], content: Content) -> tuple[str, str]:
    """Return the reduced formula, and the same with letters, digits and underscores only."""
    counts: dict[str, float] = {}
    for owner, occupancy in zip(content.owner, content.occupancy, strict=True):
        element = atoms[owner].site.element
        counts[element] = counts.get(element, 0.0) + float(occupancy)
    whole = [round(n) for n in counts.values() if abs(n - round(n)) < 1e-3 and round(n)]
    if len(whole) == len(counts):
        unit = float(np.gcd.reduce(whole))
    else:
        unit = float(np.gcd.reduce(np.bincount(content.owner)))
    given = block.value("_cell_formula_units_z")
    stated = number(given.text) if given else None
    if stated and stated > 0 and all(abs(n / stated - round(n / stated)) < 1e-3 for n in whole):
        unit = stated  # keeps Li2O2 apart from LiO
    order = sorted(counts, key=lambda e: _NON_METALS.index(e) + 1 if e in _NON_METALS else 0)
    texts = [(e, f"{counts[e] / unit:.3f}".rstrip("0").rstrip(".")) for e in order]
    text = "".join(e + ("" if n == "1" else n) for e, n in texts)
    return text, text.replace(".", "p")


def texture_of(symmetry: Symmetry, cell: tuple[float, ...]) -> tuple[int, int, int]:
    """Return the plane grains are likely to lie on: the basal one, else the axial one of largest spacing."""
    system = crystal_system(symmetry.rotations)
    if system == "cubic":
        return {"F": (1, 1, 1), "I": (1, 1, 0)}.get(symmetry.symbol[0], (1, 0, 0))
    if system in ("trigonal", "hexagonal", "tetragonal"):
        return (0, 0, 1)
    spacing = 1 / np.sqrt(np.diag(np.linalg.inv(direct_metric(cell))))
    axis = [0, 0, 0]
    axis[int(np.argmax(spacing))] = 1
    return (axis[0], axis[1], axis[2])


def unique_labels(labels: Sequence[str], files: Sequence[str]) -> list[str]:
    """Tell equal labels apart by the names of their files, then by numbers."""
    counts = Counter(labels)
    found: list[str] = []
    for label, file in zip(labels, files, strict=True):
        stem = re.sub(r"[^A-Za-z0-9]+", "_", re.sub(r"\.[^.]*$", "", file)).strip("_")
        longer = f"{label}_{stem}" if counts[label] > 1 and stem and stem != label else label
        n, name = 1, longer
        while name in found:
            n, name = n + 1, f"{longer}_{n + 1}"
        found.append(name)
    return found
