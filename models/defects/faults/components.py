"""Powder lines of faulted crystals: each family split into what faults touch and what they do not.

A family such as 111 of fcc has members whose h + k + l is a multiple of three: faults on (111) leave them
sharp
and in place. The others broaden and shift along the rod, more the closer the rod lies to the diffraction
vector.
A powder line is the sum of these components; its maximum is not a Warren-shifted peak (Velterop et al. 2000,
J. Appl. Cryst. 33, 296). The rod is taken as straight and the powder sphere as flat; :func:`powder_rods` is
not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.faults.stacking import Faults, Lattice, peak_mode

__all__ = ["Component", "centroid_shift", "family_coefficients", "initial_slope", "split_family"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Component:
    """Members of one family that faults treat alike.

    Attributes
    ----------
    share : float
        Part of the family's members.
    layers_per_nm : float
        Layers passed per length along the diffraction vector (1/nm); 0 where faults leave the peak as it is.
    place : int
        Where the peak sits on its rod; see :func:`~streamproc.models.defects.faults.stacking.peak_mode`.
    """

    share: float
    layers_per_nm: float
    place: int


def split_family(hkl: Sequence[int], cell_nm: Sequence[float], lattice: Lattice) -> tuple[Component, ...]:
    """Split the family of a reflection.

    Parameters
    ----------
    hkl : sequence of int
        Cubic indices for fcc, hexagonal ones for hcp.
    cell_nm : sequence of float
        a for fcc; a and c for hcp (nm).
    lattice : {'fcc', 'hcp'}
        Stacking.

    Returns
    -------
    tuple of Component
        Their shares sum to one. Members with a negative index sum are Friedel mates and counted with the
        others.
    """
    if lattice == "hcp":
        return (_hcp(hkl, cell_nm),)
    members = {
        tuple(s * i for s, i in zip(signs, order, strict=True))
        for order in permutations(hkl)
        for signs in product((1, -1), repeat=3)
    }
    sums = Counter(abs(sum(member)) for member in members)
    length = cell_nm[0] * float(np.sqrt(sum(i * i for i in hkl)))
    rows: list[Component] = []
    sharp = sum(number for total, number in sums.items() if total % 3 == 0)
    if sharp:
        rows.append(Component(sharp / len(members), 0.0, 0))
    for total in sorted(total for total in sums if total % 3):
        rows.append(Component(sums[total] / len(members), total / length, total % 3))
    return tuple(rows)


def _hcp(hkl: Sequence[int], cell_nm: Sequence[float]) -> Component:
    h, k, index = hkl
    a, c = cell_nm[:2]
    if (h - k) % 3 == 0:
        return Component(1.0, 0.0, 0)
    s = float(np.sqrt(4 / 3 * (h * h + h * k + k * k) / a**2 + (index / c) ** 2))
    return Component(1.0, 2 * abs(index) / (c * c * s), abs(index) % 2)


def family_coefficients(
    length_nm: Array, components: Sequence[Component], faults: Faults, lattice: Lattice
) -> npt.NDArray[np.complex128]:
    """Return the Fourier coefficients A(L) of a line due to faults, for L >= 0.

    With I(s) the sum over A(L) exp(-2 pi i L (s - s0)) and A(-L) the conjugate of A(L), a peak that moves to
    larger s has a coefficient whose phase grows.

    Parameters
    ----------
    length_nm : ndarray, shape (n,)
        Column lengths L >= 0 (nm).
    components : sequence of Component
        The family's.
    faults, lattice
        What the crystal is.

    Returns
    -------
    ndarray of complex, shape (n,)
        A(0) is close to 1: a part of order beta^2 leaves the peaks for the stretches of the rod between them.
    """
    out = np.zeros(length_nm.shape, complex)
    for component in components:
        if component.layers_per_nm == 0.0:
            out += component.share
            continue
        mode = peak_mode(faults, lattice, component.place)
        out += component.share * mode.weight * np.exp(component.layers_per_nm * length_nm * mode.log)
    return out


def centroid_shift(hkl: Sequence[int], cell_nm: Sequence[float], faults: Faults, lattice: Lattice) -> float:
    """Return the exact shift of a line's centroid, delta s / s: the mean over its components' peaks."""
    components = split_family(hkl, cell_nm, lattice)
    total = 0.0
    for component in components:
        if component.layers_per_nm:
            cycles = peak_mode(faults, lattice, component.place).log.imag / (2 * np.pi)
            total += component.share * component.layers_per_nm * cycles
    return total / _length_s(hkl, cell_nm, lattice)


def initial_slope(hkl: Sequence[int], cell_nm: Sequence[float], faults: Faults, lattice: Lattice) -> float:
    """Return -dA/dL at L = 0 of the real part of the fault coefficients (1/nm): what 1/D gains by faults."""
    total = 0.0
    for component in split_family(hkl, cell_nm, lattice):
        if component.layers_per_nm:
            mode = peak_mode(faults, lattice, component.place)
            total -= component.share * component.layers_per_nm * (mode.weight * mode.log).real
    return total


def _length_s(hkl: Sequence[int], cell_nm: Sequence[float], lattice: Lattice) -> float:
    """1/d of a reflection (1/nm)."""
    h, k, index = hkl
    if lattice == "fcc":
        return float(np.sqrt(h * h + k * k + index * index)) / cell_nm[0]
    return float(np.sqrt(4 / 3 * (h * h + h * k + k * k) / cell_nm[0] ** 2 + (index / cell_nm[1]) ** 2))
