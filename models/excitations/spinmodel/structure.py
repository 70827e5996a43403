"""A spin model: H = sum over bonds of S_i^T J S_j + sum over sites of S_i^T A S_i, every bond counted once.

``S`` is the spin quantum number (lengths are S, not sqrt(S (S + 1))). Everything is linear in the named
parameters, so that the matrices of spin-wave theory are built once and only added up afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import lcm

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = ["Bond", "Coupling", "Lattice", "OnSite", "Site", "SpinModel", "dm_matrix", "in_magnetic_cell"]

Array = npt.NDArray[np.float64]
Vector = tuple[float, float, float]

_LARGEST_DENOMINATOR = 12


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


def in_magnetic_cell(model: SpinModel, propagation: Vector, axis: Vector | None = None) -> SpinModel:
    """Return the model with the sites of one magnetic cell, for one propagation vector.

    The spin of a site in cell R is the one given, turned by 2 pi k.R about ``axis``. Cells fall into N
    classes by N k.R mod N, N being the common denominator of k; no choice of a supercell is needed, because
    displacements stay in units of the chemical cell.

    Parameters
    ----------
    model : SpinModel
        Sites of the chemical cell.
    propagation : tuple of float
        k in reciprocal lattice units, rational with denominators up to 12.
    axis : tuple of float, optional
        Cartesian; needed where spins do more than alternate. Default: they alternate.

    Raises
    ------
    ConfigurationError
        k is incommensurate, or spins turn and no axis is given.
    """
    parts = [Fraction(v).limit_denominator(_LARGEST_DENOMINATOR) for v in propagation]
    if any(abs(float(p) - v) > 1e-3 for p, v in zip(parts, propagation, strict=True)):
        raise ConfigurationError(
            f"propagation vector {tuple(propagation)}: expected fractions with denominators up to "
            f"{_LARGEST_DENOMINATOR} (write 0.3333 for 1/3); take the nearest commensurate vector"
        )
    n = lcm(*(p.denominator for p in parts))
    if n > 2 and axis is None:
        raise ConfigurationError(
            f"propagation vector {tuple(propagation)}: spins turn about an axis: give it"
        )
    steps = np.array([int(p * n) for p in parts])
    first = _first_cells(steps, n)
    sites = tuple(_turned(s, 2 * np.pi * m / n, axis, first[m]) for m in range(n) for s in model.sites)
    couplings = tuple(_repeated(c, steps, n, len(model.sites)) for c in model.couplings)
    onsite = tuple(
        replace(o, sites=tuple(m * len(model.sites) + i for m in range(n) for i in o.sites))
        for o in model.onsite
    )
    away = tuple(np.tile(d, (n, 1)) for d in model.displacements)
    return SpinModel(model.lattice, sites, couplings, onsite, away, model.cells * n)


def _first_cells(steps: npt.NDArray[np.int64], n: int) -> dict[int, Vector]:
    """Return one cell of every class, nearest to the origin."""
    found: dict[int, Vector] = {}
    box = range(-n, n + 1)
    for cell in sorted(
        ((x, y, z) for x in box for y in box for z in box), key=lambda c: (sum(map(abs, c)), c)
    ):
        found.setdefault(int(np.dot(steps, cell)) % n, cell)
    return found


def _repeated(coupling: Coupling, steps: npt.NDArray[np.int64], n: int, sites: int) -> Coupling:
    bonds = []
    for m in range(n):
        for b in coupling.bonds:
            to = (m + int(np.dot(steps, b.offset))) % n
            bonds.append(Bond(m * sites + b.i, to * sites + b.j, b.offset))
    return Coupling(coupling.name, tuple(bonds), np.tile(coupling.matrices, (n, 1, 1)))


def _turned(site: Site, angle: float, axis: Vector | None, cell: Vector) -> Site:
    v = np.asarray(site.direction, dtype=float)
    if axis is None:
        turned = v * np.cos(angle)
    else:
        k = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
        turned = v * np.cos(angle) + np.cross(k, v) * np.sin(angle) + k * (k @ v) * (1 - np.cos(angle))
    place = tuple(float(p) + float(c) for p, c in zip(site.position, cell, strict=True))
    return replace(site, direction=tuple(map(float, turned)), position=place)
