"""Reflection tables from crystal structures: what the simulator and the classical fit need of a phase."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.structures import Structure, structure

__all__ = ["CU_KA1_A", "CU_KA2_A", "PhaseTable", "phase_table", "reciprocal_metric", "table_of"]

CU_KA1_A = 1.5405929
"""Cu K-alpha1 wavelength (angstrom): Hoelzer et al. 1997, Phys. Rev. A 56, 4554."""

CU_KA2_A = 1.5444274
"""Cu K-alpha2 wavelength (angstrom), same source."""

_HC_EV_A = 12398.41984
_DALTON_G = 1.66053906660e-24
_MEMBERS = 48
"""Largest multiplicity; every multiplicity of the seven systems divides it."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PhaseTable:
    """Reflections of one phase at one wavelength.

    Attributes
    ----------
    name : str
        Phase name.
    wavelength_A : float
        Wavelength f' and f'' were taken at (angstrom).
    hkl : ndarray of int, shape (n, 3)
        One member per family of symmetry-equivalent reflections, by falling d.
    multiplicity : ndarray, shape (n,)
        Members of the family, Friedel mates included.
    d_A : ndarray, shape (n,)
        Plane spacing (angstrom).
    f2 : ndarray, shape (n,)
        Squared structure factor (electrons^2) per cell with f', f'', B; mean of Friedel mates.
    cell : ndarray, shape (6,)
        a, b, c (angstrom), alpha, beta, gamma (degrees).
    system : str
        Crystal system; says which cell axes may vary independently.
    volume_A3, density_g_cm3, mass_u : float
        Cell volume, X-ray density and mass of the cell's content (``Z M`` of quantitative phase analysis).
    texture_cos : ndarray, shape (n, 48)
        Absolute cosines of the angles between each family's members and the texture axis.
    """

    name: str
    wavelength_A: float
    hkl: npt.NDArray[np.int64] = field(repr=False)
    multiplicity: Array = field(repr=False)
    d_A: Array = field(repr=False)
    f2: Array = field(repr=False)
    cell: Array = field(repr=False)
    system: str
    volume_A3: float
    density_g_cm3: float
    mass_u: float
    texture_cos: Array = field(repr=False)


def reciprocal_metric(cell: Array) -> Array:
    """Return the reciprocal metric tensor G* (1/square angstrom), with 1/d^2 = h G* h.

    Parameters
    ----------
    cell : ndarray, shape (6,)
        a, b, c (angstrom), alpha, beta, gamma (degrees).

    Returns
    -------
    ndarray, shape (3, 3)
        Inverse of the direct metric tensor (International Tables B, 1.1).
    """
    a, b, c = cell[:3]
    ca, cb, cg = np.cos(np.deg2rad(cell[3:]))
    direct = np.array(
        [[a * a, a * b * cg, a * c * cb], [a * b * cg, b * b, b * c * ca], [a * c * cb, b * c * ca, c * c]]
    )
    return np.asarray(np.linalg.inv(direct))


def _atoms(material: Structure, group: Any) -> tuple[list[str], list[Array]]:
    """Expand the asymmetric unit: element and distinct positions (m, 3) of each site."""
    elements, positions = [], []
    for site in material.sites:
        found: list[Array] = []
        for op in group.operations():
            xyz = np.mod(np.array(op.apply_to_xyz([site.x, site.y, site.z])), 1.0)
            apart = [np.abs(xyz - other - np.round(xyz - other)).max() for other in found]
            if not apart or min(apart) > 1e-3:
                found.append(xyz)
        elements.append(site.element)
        positions.append(np.array(found))
    return elements, positions


def _families(group: Any, metric: Array, d_min_A: float, cell: Array) -> list[npt.NDArray[np.int64]]:
    """List families of equivalent reflections down to ``d_min_A``, centring absences left out."""
    rotations = {tuple(map(tuple, np.array(op.rot) // op.DEN)) for op in group.operations()}
    matrices = np.array(list(rotations))
    reach = np.ceil(cell[:3] / d_min_A).astype(int)
    grid = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1).reshape(-1, 3)
    s2 = np.einsum("ni,ij,nj->n", grid, metric, grid)
    grid = grid[(s2 > 0) & (s2 <= 1 / d_min_A**2)]
    seen: set[tuple[int, ...]] = set()
    families = []
    for hkl in grid[::-1]:
        if tuple(hkl) in seen:
            continue
        members = np.unique(np.concatenate([hkl @ matrices, -hkl @ matrices]), axis=0)
        seen.update(map(tuple, members))
        families.append(members[::-1])
    return families


def _f2(
    hkl: Array, stol2: Array, elements: list[str], positions: list[Array], b_A2: float, energy_eV: float
) -> Array:
    """Mean of |F(hkl)|^2 and |F(-hkl)|^2, shape (n,) (International Tables C, 6.1 and 4.2.6)."""
    import gemmi

    plus = np.zeros(len(hkl), complex)
    minus = np.zeros(len(hkl), complex)
    for symbol, xyz in zip(elements, positions, strict=True):
        element = gemmi.Element(symbol)
        f0 = np.array([element.it92.calculate_sf(x) for x in stol2])
        f1, f2 = gemmi.cromer_liberman(z=element.atomic_number, energy=energy_eV)
        phase = np.exp(2j * np.pi * hkl @ xyz.T).sum(1)
        factor = f0 + f1 + 1j * f2
        plus += factor * phase
        minus += factor * phase.conj()
    return np.asarray((np.abs(plus) ** 2 + np.abs(minus) ** 2) / 2 * np.exp(-2 * b_A2 * stol2))


def _texture_cos(families: list[npt.NDArray[np.int64]], axis: tuple[int, int, int], metric: Array) -> Array:
    """Absolute cosines between members and plane normal ``axis``; rows are filled up to 48 by repeating."""
    direction = np.array(axis, float)
    length = np.sqrt(direction @ metric @ direction)
    rows = []
    for members in families:
        norms = np.sqrt(np.einsum("ni,ij,nj->n", members, metric, members))
        rows.append(np.resize(np.abs(members @ metric @ direction) / norms / length, _MEMBERS))
    return np.asarray(np.clip(np.array(rows), 0.0, 1.0))


def table_of(material: Structure, wavelength_A: float, d_min_A: float | None = None) -> PhaseTable:
    """Compute the reflection table of a structure.

    Parameters
    ----------
    material : Structure
        What to compute.
    wavelength_A : float
        Wavelength (angstrom); f' and f'' are taken at it (Cromer & Liberman 1981, Acta Cryst. A37, 267).
    d_min_A : float, optional
        Smallest spacing; by default what 2theta = 150 degrees reaches, but not below 0.6 angstrom.

    Returns
    -------
    PhaseTable
        Reflections by falling d; those weaker than 1e-6 of the strongest are left out.

    Raises
    ------
    ValueError
        When the space group symbol is not known.
    """
    import gemmi

    d_min = d_min_A or max(0.6, wavelength_A / (2 * np.sin(np.deg2rad(75.0))))
    group = gemmi.find_spacegroup_by_name(material.space_group)
    if group is None:
        raise ValueError(f"structure {material.name!r}: no space group {material.space_group!r}")
    cell = np.array(material.cell)
    metric = reciprocal_metric(cell)
    families = _families(group, metric, d_min, cell)
    hkl = np.array([members[0] for members in families])
    stol2 = np.einsum("ni,ij,nj->n", hkl, metric, hkl) / 4
    elements, positions = _atoms(material, group)
    f2 = _f2(hkl, stol2, elements, positions, material.b_A2, _HC_EV_A / wavelength_A)
    multiplicity = np.array([len(members) for members in families], float)
    keep = np.flatnonzero(multiplicity * f2 > 1e-6 * (multiplicity * f2).max())
    keep = keep[np.argsort(stol2[keep], kind="stable")]
    volume = 1 / np.sqrt(np.linalg.det(metric))
    mass = sum(gemmi.Element(e).weight * len(p) for e, p in zip(elements, positions, strict=True))
    return PhaseTable(
        name=material.name,
        wavelength_A=wavelength_A,
        hkl=hkl[keep],
        multiplicity=multiplicity[keep],
        d_A=0.5 / np.sqrt(stol2[keep]),
        f2=f2[keep],
        cell=cell,
        system=group.crystal_system_str(),
        volume_A3=float(volume),
        density_g_cm3=float(mass * _DALTON_G / (volume * 1e-24)),
        mass_u=float(mass),
        texture_cos=_texture_cos([families[i] for i in keep], material.texture, metric),
    )


def phase_table(name: str, wavelength_A: float, d_min_A: float | None = None) -> PhaseTable:
    """Compute the reflection table of a structure by name; see :func:`table_of`.

    Raises
    ------
    KeyError
        When there is no structure of that name; the message lists the names.
    """
    return table_of(structure(name), wavelength_A, d_min_A)
