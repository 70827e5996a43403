"""What a cubic metal is to the defect models: reflections, strengths, Burgers vector and contrast factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.dislocations.contrast import (
    ELASTIC_GPA,
    FLUORITE_GPA,
    Contrast,
    cubic_contrast,
)
from streamproc.models.powder.crystal import Structure, direct_metric, operations_of, orbit
from streamproc.models.powder.tables import table_of

from streamproc.errors import ConfigurationError

__all__ = ["Material", "material_of"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Material:
    """A metal with one atom per lattice point, or a crystal of the fluorite structure.

    Attributes
    ----------
    name : str
        Its name.
    lattice : {'fcc', 'bcc', 'fluorite'}
        Bravais lattice of a metal; stacking faults are defined for fcc.
    a_nm : float
        Lattice parameter (nm).
    hkl : ndarray of int, shape (n, 3)
        One member per family, by rising s.
    multiplicity, f2 : ndarray, shape (n,)
        Members of the family, and |F|^2 per cell with the displacement parameter in it (electrons^2).
    b_A2 : float
        Thermal displacement parameter B (square angstrom).
    texture_cos : ndarray, shape (n, 48)
        Cosines between members and the texture axis.
    edge, screw : Contrast
        Contrast factors of edge and screw dislocations.
    """

    name: str
    lattice: Literal["fcc", "bcc", "fluorite"]
    a_nm: float
    hkl: npt.NDArray[np.int64] = field(repr=False)
    multiplicity: Array = field(repr=False)
    f2: Array = field(repr=False)
    b_A2: float
    texture_cos: Array = field(repr=False)
    edge: Contrast
    screw: Contrast

    @property
    def atoms(self) -> int:
        """Atoms per cubic cell."""
        return {"fcc": 4, "bcc": 2, "fluorite": 12}[self.lattice]

    @property
    def burgers_nm(self) -> float:
        """Length of the Burgers vector: a/2 <111> of bcc, a/2 <110> of the others."""
        return self.a_nm * float(np.sqrt(0.75 if self.lattice == "bcc" else 0.5))

    @property
    def norm(self) -> Array:
        """Square root of h^2 + k^2 + l^2, shape (n,)."""
        return np.asarray(np.sqrt((self.hkl**2).sum(1)))

    def contrast(self, q: float) -> Contrast:
        """Return the contrast of the mixture of edges and screws that has the parameter q.

        Both Ch00 and Ch00 q are means over the dislocations; between (and beyond) the two characters they
        follow
        the straight line through them.
        """
        first, second = self.edge, self.screw
        # (e h1 q1 + (1 - e) h2 q2) / (e h1 + (1 - e) h2) = q, for the share e of edges
        share = second.h00 * (second.q - q) / (second.h00 * (second.q - q) + first.h00 * (q - first.q))
        return Contrast(share * first.h00 + (1 - share) * second.h00, q)


def material_of(
    structure: Structure,
    wavelength_A: float,
    d_min_A: float | None = None,
    elastic_gpa: Sequence[float] | None = None,
) -> Material:
    """Prepare a structure for the defect models.

    Parameters
    ----------
    structure : Structure
        Fcc or bcc with one (perhaps mixed) site on the lattice points, or fluorite (known to the fit, not to
        the training of networks).
    wavelength_A : float
        Wavelength (angstrom), for f' and f''.
    d_min_A : float, optional
        Smallest spacing wanted.
    elastic_gpa : sequence of float, optional
        c11, c12, c44 (GPa); by default those of the main element (of fluorite: the cation), where known.

    Raises
    ------
    ConfigurationError
        When the structure is another one, or its elastic constants are not known.
    """
    rotations, translations = operations_of(structure)
    metric = direct_metric(structure.cell)
    orbits = [orbit((s.x, s.y, s.z), rotations, translations, metric) for s in structure.sites]
    points = np.unique(np.round(np.concatenate(orbits), 4), axis=0)
    table = table_of(structure, wavelength_A, d_min_A)
    kinds: dict[int, Literal["fcc", "bcc", "fluorite"]] = {4: "fcc", 2: "bcc"}
    lattice = kinds.get(len(points))
    cation = _fluorite_cation(structure, orbits)
    if cation is not None:
        lattice = "fluorite"
    if table.system != "cubic" or lattice is None or not _extinct(table.hkl, lattice):
        raise ConfigurationError(
            f"{structure.name}: defect models are for fcc and bcc metals with one site per lattice point and "
            f"for fluorite; this is {table.system} with {len(points)} atoms in the cell"
        )
    main = max(structure.sites, key=lambda site: site.occupancy).element
    main, known = (main, ELASTIC_GPA) if cation is None else (cation, FLUORITE_GPA)
    constants = elastic_gpa or known.get(main)
    if constants is None:
        raise ConfigurationError(
            f"{structure.name}: no elastic constants are known for {main} "
            f"(known: {', '.join(known)}); give c11, c12, c44 in GPa"
        )
    return Material(
        name=structure.name,
        lattice=lattice,
        a_nm=structure.cell[0] / 10,
        hkl=table.hkl,
        multiplicity=table.multiplicity,
        f2=table.f2,
        b_A2=structure.b_A2,
        texture_cos=table.texture_cos,
        edge=cubic_contrast(constants, lattice, "edge"),
        screw=cubic_contrast(constants, lattice, "screw"),
    )


def _fluorite_cation(structure: Structure, orbits: Sequence[Array]) -> str | None:
    """The element on fcc points whose tetrahedra the only other one fills; None: another structure."""
    if sorted(map(len, orbits)) != [4, 8]:
        return None
    small = int(np.argmin([len(places) for places in orbits]))
    quarters = 4 * (orbits[1 - small] - orbits[small][0])
    if np.abs(np.mod(quarters, 2) - 1).max() > 1e-2:
        return None
    return structure.sites[small].element


def _extinct(hkl: npt.NDArray[np.int64], lattice: str) -> bool:
    """Whether only the reflections of the lattice are there."""
    if lattice == "bcc":
        return bool((hkl.sum(1) % 2 == 0).all())
    return bool(np.isin((hkl % 2).sum(1), (0, 3)).all())
