"""A spin model: H = sum over bonds of S_i^T J S_j + sum over sites of S_i^T A S_i, every bond counted once.

``S`` is the spin quantum number (lengths are S, not sqrt(S (S + 1))). Everything is linear in the named
parameters, so that the matrices of spin-wave theory are built once and only added up afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["Bond", "Coupling", "Lattice", "OnSite", "Site", "SpinModel", "dm_matrix"]

Array = npt.NDArray[np.float64]
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Lattice:
    """A unit cell.

    Attributes
    ----------
    a, b, c : float
        Lengths (angstrom).
    alpha, beta, gamma : float
        Angles (degrees).
    """

    a: float
    b: float
    c: float
    alpha: float = 90.0
    beta: float = 90.0
    gamma: float = 90.0

    def vectors(self) -> Array:
        """Return a, b, c as rows in cartesian axes: a along x, b in the xy plane; shape (3, 3), angstrom."""
        ca, cb, cg = np.cos(np.deg2rad([self.alpha, self.beta, self.gamma]))
        sg = np.sin(np.deg2rad(self.gamma))
        cy = (ca - cb * cg) / sg
        cz = np.sqrt(max(0.0, 1 - cb**2 - cy**2))
        return np.array(
            [[self.a, 0, 0], [self.b * cg, self.b * sg, 0], [self.c * cb, self.c * cy, self.c * cz]]
        )

    def reciprocal(self) -> Array:
        """Return a*, b*, c* as rows, with the factor 2 pi; shape (3, 3), 1/angstrom."""
        return np.asarray(2 * np.pi * np.linalg.inv(self.vectors()).T)


@dataclass(frozen=True, slots=True)
class Site:
    """A magnetic site of the cell.

    Attributes
    ----------
    name : str
        Label.
    position : tuple of float
        Fractions of the cell.
    spin : float
        Quantum number S.
    direction : tuple of float
        Of the ordered spin, cartesian axes of :meth:`Lattice.vectors`; any length.
    g : float
        Splitting factor.
    form_factor : tuple of float
        A, a, B, b, C, c, D of <j0(s)> = A exp(-a s^2) + B exp(-b s^2) + C exp(-c s^2) + D, s = Q / 4 pi
        (International Tables C, 4.4.5); empty: 1.
    """

    name: str
    position: Vector
    spin: float
    direction: Vector = (0.0, 0.0, 1.0)
    g: float = 2.0
    form_factor: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Bond:
    """From site ``i`` to site ``j`` of the cell ``offset`` cells away; never the reverse as well."""

    i: int
    j: int
    offset: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Coupling:
    """A named parameter times a matrix on each of its bonds: x * S_i^T M_b S_j.

    Attributes
    ----------
    name : str
        Parameter (its value is in meV).
    bonds : tuple of Bond
        b of them.
    matrices : ndarray, shape (b, 3, 3)
        Identity for Heisenberg exchange; see :func:`dm_matrix`.
    """

    name: str
    bonds: tuple[Bond, ...]
    matrices: Array = field(repr=False)

    @classmethod
    def exchange(cls, name: str, bonds: Sequence[Bond], diagonal: Vector = (1.0, 1.0, 1.0)) -> Coupling:
        """Return exchange, the same on every bond, isotropic unless ``diagonal`` says otherwise."""
        return cls(name, tuple(bonds), np.repeat(np.diag(diagonal)[None].astype(float), len(bonds), 0))


@dataclass(frozen=True, slots=True, eq=False)
class OnSite:
    """A named parameter times S_i^T M S_i on some sites: ``diag(0, 0, 1)`` is D (S^z)^2, easy for D < 0."""

    name: str
    sites: tuple[int, ...]
    matrix: Array = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class SpinModel:
    """Lattice, magnetic sites and couplings.

    Attributes
    ----------
    lattice : Lattice
        Chemical cell; wave vectors are in its reciprocal lattice units.
    sites : tuple of Site
        n sites.
    couplings : tuple of Coupling
        Between sites.
    onsite : tuple of OnSite
        On sites.
    displacements : tuple of ndarray, optional
        Per coupling, vectors r_j - r_i of its bonds in cell fractions, shape (b, 3); derived if not given.
    cells : int
        Chemical cells that the sites belong to.
    """

    lattice: Lattice
    sites: tuple[Site, ...]
    couplings: tuple[Coupling, ...]
    onsite: tuple[OnSite, ...] = ()
    displacements: tuple[Array, ...] = field(default=(), repr=False)
    cells: int = 1

    def __post_init__(self) -> None:
        if not self.displacements:
            found = tuple(_displacements(self.sites, c.bonds) for c in self.couplings)
            object.__setattr__(self, "displacements", found)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names, each once, in the order of couplings and on-site terms."""
        return tuple(dict.fromkeys([c.name for c in self.couplings] + [o.name for o in self.onsite]))


def dm_matrix(vector: Vector) -> Array:
    """Return M with S_i^T M S_j = vector . (S_i x S_j) (Dzyaloshinskii 1958, Moriya 1960)."""
    x, y, z = vector
    return np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]], dtype=float)


def _displacements(sites: Sequence[Site], bonds: Sequence[Bond]) -> Array:
    found = [np.add(b.offset, np.subtract(sites[b.j].position, sites[b.i].position)) for b in bonds]
    return np.asarray(found, dtype=float).reshape(-1, 3)
