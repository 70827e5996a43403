"""The sites of a magnetic cell, from those of the chemical one and a propagation vector."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import lcm

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.spinmodel.structure import Bond, Coupling, Site, SpinModel, Vector

from streamproc.errors import ConfigurationError

__all__ = ["in_magnetic_cell"]

_LARGEST_DENOMINATOR = 12


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
