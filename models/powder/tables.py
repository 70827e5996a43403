"""Reflection tables from crystal structures: what the simulator and the classical fit need of a phase."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.crystal import (
    Structure,
    crystal_system,
    direct_metric,
    operations_of,
    orbit,
)
from streamproc.models.powder.optics import CU_KA1_A, CU_KA2_A
from streamproc.models.powder.scattering import absorption_per_cm, dispersion, form_factor
from streamproc.models.powder.structures import structure

from streamproc.errors import ConfigurationError

__all__ = ["CU_KA1_A", "CU_KA2_A", "PhaseTable", "d_min_of", "phase_table", "reciprocal_metric", "table_of"]

_DALTON_G = 1.66053906660e-24
_MEMBERS = 48
"""Largest multiplicity; the orders of all Laue classes divide it."""

_MOST_POINTS = 10_000_000
"""Lattice points to look through at most: beyond, the range asked for is not one of powder diffraction."""

_CHUNK = 2_000_000
"""Phase factors computed at a time."""

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
    absorption_per_cm : float
        Linear photoelectric absorption coefficient mu from f'' (1/cm), for absorption contrast.
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
    absorption_per_cm: float = 0.0


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
    return np.asarray(np.linalg.inv(direct_metric(cell)))


def d_min_of(wavelength_A: float, two_theta_max_deg: float, span: float = 0.02) -> float:
    """Return the smallest spacing (angstrom) a pattern shows up to an angle.

    Parameters
    ----------
    wavelength_A : float
        Wavelength; the shortest, where there are two.
    two_theta_max_deg : float
        End of the axis (degrees).
    span : float
        Relative reserve for cells that vary and axes that are shifted.
    """
    return float(wavelength_A / (2 * np.sin(np.deg2rad(min(two_theta_max_deg, 179.0)) / 2)) * (1 - span))


def _lattice_points(d_min_A: float, cell: Array, metric: Array, name: str) -> npt.NDArray[np.int64]:
    """Lattice points with 1/d^2 within reach, half of them: the other half are Friedel mates."""
    reach = np.floor(cell[:3] / d_min_A).astype(int)
    points = (reach[0] + 1) * (2 * reach[1] + 1) * (2 * reach[2] + 1)
    if points > _MOST_POINTS:
        raise ConfigurationError(
            f"{name}: down to d = {d_min_A:.3g} angstrom there are {points:,} lattice points to look "
            f"through, at most {_MOST_POINTS:,}; ask for a smaller 2theta range (a larger d_min_A)"
        )
    k, m = (a.ravel() for a in np.meshgrid(*(np.arange(-r, r + 1) for r in reach[1:]), indexing="ij"))
    layers = []
    for h in range(reach[0] + 1):
        layer = np.stack([np.full(k.size, h), k, m], axis=1)
        s2 = np.einsum("ni,ni->n", layer @ metric, layer)
        layers.append(layer[(s2 > 1e-12) & (s2 <= 1 / d_min_A**2)])
    return np.concatenate(layers)


def _families(
    grid: npt.NDArray[np.int64], rotations: npt.NDArray[np.int64], centrings: Array
) -> tuple[npt.NDArray[np.int64], Array, npt.NDArray[np.int64]]:
    """Pick one member of each family of equivalent reflections, the largest in the order of h, k, l.

    Returns
    -------
    hkl : ndarray of int, shape (n, 3)
        The members; absences of the centring are left out.
    multiplicity : ndarray, shape (n,)
        Members of each family, Friedel mates included.
    laue : ndarray of int, shape (m, 3, 3)
        Rotations of the Laue class up to the inversion.
    """
    signs = np.sign([next(v for v in r.ravel() if v) for r in rotations])
    laue = np.unique((rotations * signs[:, None, None]).reshape(-1, 9), axis=0).reshape(-1, 3, 3)
    for centring in centrings:
        along = grid @ centring
        grid = grid[np.abs(along - np.rint(along)) < 1e-3]
    base = 2 * int(np.abs(grid).max(initial=1)) * 3 + 1
    code = np.array([base * base, base, 1])
    own = np.abs(grid @ code)  # a key and its negative are Friedel mates: the larger one is the family's
    grid = np.where((grid @ code < 0)[:, None], -grid, grid)
    largest, same = own.copy(), np.zeros(len(grid))
    for rotation in laue:
        keys = np.abs(grid @ rotation @ code)
        np.maximum(largest, keys, out=largest)
        same += keys == own
    first = np.flatnonzero(own == largest)
    first = first[np.unique(own[first], return_index=True)[1]]
    return grid[first], 2 * len(laue) / same[first], laue


def _f2(
    hkl: npt.NDArray[np.int64],
    stol2: Array,
    material: Structure,
    positions: list[Array],
    anomalous: dict[str, tuple[float, float]],
) -> Array:
    """Mean of |F(hkl)|^2 and |F(-hkl)|^2, shape (n,) (International Tables C, 6.1 and 4.2.6).

    With ``A`` the sum of (f0 + f') exp(2 pi i h x) and ``B`` that of f'' exp(2 pi i h x), F of the two mates
    is A + i B and, but for conjugation, A - i B; the mean of their squares is |A|^2 + |B|^2.
    """
    real, imaginary = np.zeros(len(hkl), complex), np.zeros(len(hkl), complex)
    normal = {element: form_factor(element, np.sqrt(stol2)) for element in anomalous}
    for site, xyz in zip(material.sites, positions, strict=True):
        f1, f2 = anomalous[site.element]
        wave = np.empty(len(hkl), complex)
        step = max(1, _CHUNK // len(xyz))
        for begin in range(0, len(hkl), step):
            part = slice(begin, begin + step)
            wave[part] = np.exp(2j * np.pi * (hkl[part] @ xyz.T)).sum(1)
        b_A2 = material.b_A2 if site.b_A2 is None else site.b_A2
        wave *= site.occupancy * np.exp(-b_A2 * stol2)
        real += (normal[site.element] + f1) * wave
        imaginary += f2 * wave
    return np.asarray(np.abs(real) ** 2 + np.abs(imaginary) ** 2)


def _texture_cos(
    hkl: npt.NDArray[np.int64], laue: npt.NDArray[np.int64], axis: tuple[int, int, int], metric: Array
) -> Array:
    """Absolute cosines between members and plane normal ``axis``, shape (n, 48), members repeated."""
    direction = metric @ np.array(axis, float)
    length = np.sqrt(np.array(axis) @ direction)
    norms = np.sqrt(np.einsum("ni,ij,nj->n", hkl, metric, hkl))
    rows = np.abs(np.stack([hkl @ (rotation @ direction) for rotation in laue], 1)) / norms[:, None] / length
    return np.asarray(np.clip(np.tile(rows, _MEMBERS // len(laue)), 0.0, 1.0))


def table_of(material: Structure, wavelength_A: float, d_min_A: float | None = None) -> PhaseTable:
    """Compute the reflection table of a structure.

    Atoms scatter as neutral free atoms, also where a CIF names ions: in a powder pattern the difference is
    below 1 % but at the lowest angles.

    Parameters
    ----------
    material : Structure
        What to compute; occupancies, B per site and its own operations are honoured.
    wavelength_A : float
        Wavelength (angstrom); f' and f'' are taken at it (Cromer & Liberman 1981, Acta Cryst. A37, 267).
    d_min_A : float, optional
        Smallest spacing (see :func:`d_min_of`); by default what 2theta = 150 degrees reaches, but not below
        0.6 angstrom.

    Returns
    -------
    PhaseTable
        Reflections by falling d; those weaker than 1e-6 of the strongest are left out.

    Raises
    ------
    ValueError
        When the space group symbol is not known.
    ConfigurationError
        When f' and f'' are not known at the wavelength, or the range holds too many reflections or none.
    """
    import gemmi

    d_min = d_min_A or max(0.6, d_min_of(wavelength_A, 150.0, 0.0))
    rotations, translations = operations_of(material)
    cell = np.array(material.cell)
    direct = direct_metric(cell)
    metric = np.linalg.inv(direct)
    centrings = translations[(rotations == np.eye(3, dtype=int)).all((1, 2))]
    grid = _lattice_points(d_min, cell, metric, material.name)
    hkl, multiplicity, laue = _families(grid, rotations, centrings)
    if not len(hkl):
        raise ConfigurationError(
            f"{material.name}: no reflection has d > {d_min:.4g} angstrom; the 2theta range (or wavelength "
            f"{wavelength_A:g} angstrom) does not show this phase"
        )
    stol2 = np.einsum("ni,ij,nj->n", hkl, metric, hkl) / 4
    positions = [orbit((s.x, s.y, s.z), rotations, translations, direct) for s in material.sites]
    anomalous = dispersion([s.element for s in material.sites], wavelength_A)
    f2 = _f2(hkl, stol2, material, positions, anomalous)
    keep = np.flatnonzero(multiplicity * f2 > 1e-6 * (multiplicity * f2).max())
    keep = keep[np.argsort(stol2[keep], kind="stable")]
    volume = float(np.sqrt(np.linalg.det(direct)))
    atoms = [len(xyz) * s.occupancy for s, xyz in zip(material.sites, positions, strict=True)]
    content = list(zip((s.element for s in material.sites), atoms, strict=True))
    mass = float(sum(gemmi.Element(element).weight * number for element, number in content))
    return PhaseTable(
        name=material.name,
        wavelength_A=wavelength_A,
        hkl=hkl[keep],
        multiplicity=multiplicity[keep],
        d_A=0.5 / np.sqrt(stol2[keep]),
        f2=f2[keep],
        cell=cell,
        system=crystal_system(rotations),
        volume_A3=volume,
        density_g_cm3=mass * _DALTON_G / (volume * 1e-24),
        mass_u=mass,
        texture_cos=_texture_cos(hkl[keep], laue, material.texture, metric),
        absorption_per_cm=absorption_per_cm(content, volume, anomalous, wavelength_A),
    )


def phase_table(name: str, wavelength_A: float, d_min_A: float | None = None) -> PhaseTable:
    """Compute the reflection table of a structure by name; see :func:`table_of`.

    Raises
    ------
    KeyError
        When there is no structure of that name; the message lists the names.
    """
    return table_of(structure(name), wavelength_A, d_min_A)
