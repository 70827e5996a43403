"""Quadratic forms of the lattice systems: 1/d^2 as a linear function of a few numbers; index lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["CENTRINGS", "SYSTEMS", "System", "allowed", "cell_of", "coefficients", "parameters_of"]

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CENTRINGS = {
    "cubic": ("P", "I", "F"),
    "hexagonal": ("P", "R"),
    "tetragonal": ("P", "I"),
    "orthorhombic": ("P", "C", "A", "B", "I", "F"),
    "monoclinic": ("P", "C", "A", "I"),
}
"""Lattice types of the conventional cells; R is rhombohedral on hexagonal axes (obverse)."""


@dataclass(frozen=True, slots=True)
class System:
    """One lattice system.

    Attributes
    ----------
    name : str
        "hexagonal" stands for hexagonal and trigonal, which share their lattice.
    code : int
        What the compiled search knows it by.
    free : int
        Number of free parameters p.
    bases : int
        How many of the first lines may found a trial cell.
    """

    name: str
    code: int
    free: int
    bases: int


SYSTEMS = (
    System("cubic", 0, 1, 6),
    System("hexagonal", 1, 2, 7),
    System("tetragonal", 2, 2, 7),
    System("orthorhombic", 3, 3, 6),
    System("monoclinic", 4, 4, 6),
)


def coefficients(system: System, hkl: Ints) -> Array:
    """Return the coefficients f (n, p) of 1/d^2 = f . parameters.

    Parameters are A (cubic: 1/a^2), A and C (hexagonal: 4/(3 a^2), 1/c^2; tetragonal: 1/a^2, 1/c^2), A, B
    and C (orthorhombic), A, B, C and D (monoclinic: a*^2, b*^2, c*^2, 2 a* c* cos(beta*)).
    """
    h, k, ell = (hkl[:, i].astype(float) for i in range(3))
    if system.name == "cubic":
        return np.stack([h * h + k * k + ell * ell], 1)
    if system.name == "hexagonal":
        return np.stack([h * h + h * k + k * k, ell * ell], 1)
    if system.name == "tetragonal":
        return np.stack([h * h + k * k, ell * ell], 1)
    columns = [h * h, k * k, ell * ell]
    return np.stack(columns if system.name == "orthorhombic" else [*columns, h * ell], 1)


def allowed(hkl: Ints, centring: str) -> npt.NDArray[np.bool_]:
    """Whether a centring allows reflections (International Tables A, 2.1.3)."""
    h, k, ell = hkl[:, 0], hkl[:, 1], hkl[:, 2]
    if centring == "I":
        return np.asarray((h + k + ell) % 2 == 0)
    if centring == "F":
        return np.asarray(((h + k) % 2 == 0) & ((k + ell) % 2 == 0))
    if centring == "R":
        return np.asarray((-h + k + ell) % 3 == 0)
    pair = {"A": k + ell, "B": h + ell, "C": h + k}.get(centring)
    return np.ones(len(hkl), bool) if pair is None else np.asarray(pair % 2 == 0)


def cell_of(system: System, parameters: Array) -> Array:
    """Return a, b, c (angstrom), alpha, beta, gamma (degrees) of the parameters."""
    p = parameters
    if system.name == "cubic":
        a = p[0] ** -0.5
        return np.array([a, a, a, 90.0, 90.0, 90.0])
    if system.name in ("hexagonal", "tetragonal"):
        hexagonal = system.name == "hexagonal"
        a = (4 / (3 * p[0])) ** 0.5 if hexagonal else p[0] ** -0.5
        return np.array([a, a, p[1] ** -0.5, 90.0, 90.0, 120.0 if hexagonal else 90.0])
    if system.name == "orthorhombic":
        return np.array([*(p**-0.5), 90.0, 90.0, 90.0])
    cosine = p[3] / (2 * np.sqrt(p[0] * p[2]))
    sine = np.sqrt(max(1 - cosine**2, 1e-12))
    a, c = 1 / (np.sqrt(p[0]) * sine), 1 / (np.sqrt(p[2]) * sine)
    return np.array([a, p[1] ** -0.5, c, 90.0, np.rad2deg(np.arccos(-cosine)), 90.0])


def parameters_of(system: System, cell: Array) -> Array:
    """Return the parameters of a cell; the inverse of :func:`cell_of`."""
    a, b, c = cell[:3]
    if system.name == "cubic":
        return np.array([1 / a**2])
    if system.name == "hexagonal":
        return np.array([4 / (3 * a * a), 1 / c**2])
    if system.name == "tetragonal":
        return np.array([1 / a**2, 1 / c**2])
    if system.name == "orthorhombic":
        return np.array([1 / a**2, 1 / b**2, 1 / c**2])
    sine, cosine = np.sin(np.deg2rad(cell[4])), np.cos(np.deg2rad(cell[4]))
    return np.array([1 / (a * sine) ** 2, 1 / b**2, 1 / (c * sine) ** 2, -2 * cosine / (a * c * sine**2)])


def base_indices(system: System) -> Ints:
    """Return the indices (n, 3) that founding lines may have, the simplest first, one per coefficient row."""
    reach = {"cubic": 5, "hexagonal": 6, "tetragonal": 6, "orthorhombic": 4, "monoclinic": 4}[system.name]
    most = {"cubic": 40, "hexagonal": 70, "tetragonal": 70, "orthorhombic": 50, "monoclinic": 38}[system.name]
    grid = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    grid = grid[(grid[:, 0] >= 0) & (grid[:, 1] >= 0) & ((grid[:, 2] >= 0) | (system.name == "monoclinic"))]
    grid = grid[np.any(grid != 0, axis=1)]
    grid = grid[(grid[:, 0] > 0) | (grid[:, 2] >= 0)]
    # a line far along one axis is likelier than one far along two
    size = (grid**2).sum(1) + 0.5 * np.sort(np.abs(grid), axis=1)[:, :2].sum(1)
    grid = grid[np.argsort(size, kind="stable")]
    _, first = np.unique(coefficients(system, grid), axis=0, return_index=True)
    return grid[np.sort(first)][:most]
