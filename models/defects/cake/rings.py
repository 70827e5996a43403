"""Which rings of a cubic crystal are read, and in which zones of q each lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations, product
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.crystal import Structure
from streamproc.models.powder.tables import table_of

from streamproc.errors import ConfigurationError

__all__ = ["LEAST_RINGS", "RINGS", "Rings", "members_of", "rings_of"]

Array = npt.NDArray[np.float64]

RINGS, LEAST_RINGS = 5, 3
_WEAKEST = 0.02
_D_MIN_A = 0.5
_APART = 0.03
_WIDEST_LINE, _WIDEST_SIDE = 0.02, 0.04


@dataclass(frozen=True, slots=True)
class Rings:
    """Rings of one material.

    Attributes
    ----------
    material : str
        Its name.
    a_nm : float
        Lattice parameter (nm).
    hkl : ndarray of int, shape (k, 3)
        One member per family, by rising q.
    strength : ndarray, shape (k,)
        Multiplicity times |F|^2 (electrons^2 per cell), thermal motion included.
    line : ndarray, shape (k,)
        Half width of the line's zone over q.
    sides : ndarray, shape (k, 2)
        From where to where the zones of the background reach on either side, over q.
    members : tuple of ndarray of int, shape (m, 3)
        All members of each family; the second half are the opposites of the first.
    """

    material: str
    a_nm: float
    hkl: npt.NDArray[np.int64] = field(repr=False)
    strength: Array = field(repr=False)
    line: Array = field(repr=False)
    sides: Array = field(repr=False)
    members: tuple[npt.NDArray[np.int64], ...] = field(repr=False)

    @property
    def q_invA(self) -> Array:
        """Length of the scattering vector 2 pi / d (1/angstrom), shape (k,)."""
        return np.asarray(2 * np.pi * np.sqrt((self.hkl**2).sum(1)) / (10 * self.a_nm))

    @property
    def multiplicity(self) -> Array:
        """Members of each family, shape (k,)."""
        return np.array([len(rows) for rows in self.members], float)

    def sines(self, wavelength_A: float) -> Array:
        """Return sin(theta) of the rings, shape (k,); above 1 beyond reach."""
        return np.asarray(self.q_invA * wavelength_A / (4 * np.pi))

    def told(self) -> dict[str, Any]:
        """Return it as a card keeps it."""
        return {
            "material": self.material, "a_nm": self.a_nm, "hkl": self.hkl.tolist(),
            "strength": [round(float(v), 4) for v in self.strength],
            "line": [round(float(v), 5) for v in self.line],
            "sides": [[round(float(v), 5) for v in row] for row in self.sides],
        }  # fmt: skip

    @classmethod
    def of_card(cls, told: Mapping[str, Any]) -> Rings:
        """Take up what :meth:`told` gave.

        Raises
        ------
        ConfigurationError
            When something is missing or misshapen.
        """
        try:
            hkl = np.array(told["hkl"], np.int64).reshape(-1, 3)
            k = len(hkl)
            strength, line = (np.array(told[n], float).reshape(k) for n in ("strength", "line"))
            sides = np.array(told["sides"], float).reshape(k, 2)
            members = tuple(members_of(row) for row in hkl)
            return cls(str(told["material"]), float(told["a_nm"]), hkl, strength, line, sides, members)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"the card does not describe rings ({error!r}); train it again with "
                "streamproc train defect-flags --only cake"
            ) from error


def members_of(hkl: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the members of a cubic family (m-3m), shape (m, 3)."""
    every = {
        tuple(sign * int(i) for sign, i in zip(signs, order, strict=True))
        for order in permutations(hkl)
        for signs in product((1, -1), repeat=3)
    }
    half = sorted(row for row in every if row > tuple(-i for i in row))
    return np.concatenate([np.array(half, np.int64), -np.array(half, np.int64)])


def rings_of(structure: Structure, wavelength_A: float, d_min_A: float = _D_MIN_A) -> Rings:
    """Choose the first rings of a cubic crystal that stand alone and are not too weak.

    Parameters
    ----------
    structure : Structure
        The crystal.
    wavelength_A : float
        Wavelength (angstrom), for f' and f''.
    d_min_A : float
        Smallest spacing looked at.

    Raises
    ------
    ConfigurationError
        When the crystal is not cubic (m-3m), or too few of its rings stand alone.
    """
    table = table_of(structure, wavelength_A, d_min_A)
    if table.system != "cubic":
        raise ConfigurationError(
            f"{structure.name}: cakes are read for cubic crystals, this is {table.system}"
        )
    strength = table.multiplicity * table.f2
    seen = strength > _WEAKEST * strength.max()
    hkl, strength = table.hkl[seen], strength[seen]
    q = np.sqrt((hkl**2).sum(1).astype(float))
    chosen, line, sides = [], [], []
    for row, own in enumerate(q):
        gap = float(np.min(np.abs(np.delete(q, row) / own - 1), initial=1.0))
        if gap < _APART or len(chosen) == RINGS:
            continue
        chosen.append(row)
        line.append(min(_WIDEST_LINE, 0.3 * gap))
        sides.append((1.15 * line[-1], min(_WIDEST_SIDE, 0.48 * gap)))
    members = tuple(members_of(hkl[row]) for row in chosen)
    whole = [len(m) for m in members] == table.multiplicity[seen][chosen].tolist()
    if len(chosen) < LEAST_RINGS or not whole:
        raise ConfigurationError(
            f"{structure.name}: {len(chosen)} rings of m-3m stand alone, at least {LEAST_RINGS} are needed"
        )
    return Rings(
        structure.name,
        structure.cell[0] / 10,
        hkl[chosen],
        strength[chosen],
        np.array(line),
        np.array(sides),
        members,
    )
