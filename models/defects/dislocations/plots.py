"""Classical analyses of single fitted lines: Williamson-Hall plots, and Warren's shifts and slopes.

They stand beside the whole-pattern fit as cross-checks: simple, well known, and right to some 20 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from streamproc.models.defects.dislocations.contrast import Contrast
from streamproc.models.defects.faults.warren import warren_table

from streamproc.errors import ConfigurationError

__all__ = [
    "LineFit",
    "ModifiedWilliamsonHall",
    "WilliamsonHall",
    "fault_shifts",
    "fault_slopes",
    "modified_williamson_hall",
    "williamson_hall",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LineFit:
    """One fitted line.

    Attributes
    ----------
    hkl : tuple of int
        Indices.
    s_per_nm : float
        Centroid in s = 2 sin(theta) / lambda (1/nm).
    breadth_per_nm : float
        Integral breadth in s (1/nm), the instrument's taken off.
    sigma : float
        Relative standard deviation of the breadth.
    """

    hkl: tuple[int, int, int]
    s_per_nm: float
    breadth_per_nm: float
    sigma: float = 0.02


@dataclass(frozen=True, slots=True)
class WilliamsonHall:
    """Breadth = 1 / size + 2 strain s: volume-weighted size (nm; inf without broadening) and strain.

    ``misfit`` is the root mean square of breadth minus line over the mean breadth: dislocations and faults,
    whose
    breadths depend on hkl, make it large.
    """

    size_nm: float
    strain: float
    misfit: float


@dataclass(frozen=True, slots=True)
class ModifiedWilliamsonHall:
    """Breadth = 1 / size + strain s sqrt(C) + fault V, with the faults' part ``fault`` in 1/nm.

    ``density_per_m2`` follows from the slope for M = 1; it is an order of magnitude, not a measurement.
    """

    size_nm: float
    strain: float
    fault: float
    density_per_m2: float
    misfit: float


def _solve(columns: Sequence[Array], lines: Sequence[LineFit]) -> tuple[Array, float]:
    """Non-negative weighted least squares; parameters and relative misfit."""
    if len(lines) < len(columns):
        raise ConfigurationError(f"the plot has {len(columns)} parameters, got {len(lines)} lines")
    breadth = np.array([line.breadth_per_nm for line in lines])
    weight = 1 / (np.array([line.sigma for line in lines]) * np.maximum(breadth, 1e-6))
    matrix = np.stack(columns, 1)
    values, _ = nnls(matrix * weight[:, None], breadth * weight)
    left = matrix @ values - breadth
    return values, float(np.sqrt(np.mean(left**2)) / breadth.mean())


def _inverse(value: float) -> float:
    return 1 / value if value > 0 else float("inf")


def williamson_hall(lines: Sequence[LineFit]) -> WilliamsonHall:
    """Fit breadth = 1 / D + 2 e s (Williamson & Hall 1953, Acta Metall. 1, 22).

    Parameters
    ----------
    lines : sequence of LineFit
        At least two.
    """
    s = np.array([line.s_per_nm for line in lines])
    values, misfit = _solve([np.ones_like(s), 2 * s], lines)
    return WilliamsonHall(_inverse(values[0]), float(values[1]), misfit)


def modified_williamson_hall(
    lines: Sequence[LineFit], contrast: Contrast, burgers_nm: float, faults: bool = False
) -> ModifiedWilliamsonHall:
    """Fit breadth = 1 / D + m s sqrt(C) (+ fault V) (Ungar & Borbely 1996, Appl. Phys. Lett. 69, 3173).

    Parameters
    ----------
    lines : sequence of LineFit
        At least two, three with faults.
    contrast : Contrast
        Of the dislocations.
    burgers_nm : float
        Burgers vector (nm); the density for M = 1 is 2 / pi (m / b)^2.
    faults : bool
        Whether planar faults of fcc broaden too, by (1.5 alpha + beta) V / a.
    """
    s = np.array([line.s_per_nm for line in lines])
    root_c = np.sqrt([max(contrast.of(line.hkl), 0.0) for line in lines])
    columns = [np.ones_like(s), s * root_c]
    if faults:
        columns.append(np.array([warren_table(line.hkl)[1] for line in lines]))
    values, misfit = _solve(columns, lines)
    slope, fault = float(values[1]), float(values[2]) if faults else 0.0
    density = 2 / np.pi * (slope / burgers_nm) ** 2 * 1e18
    return ModifiedWilliamsonHall(_inverse(values[0]), slope, fault, density, misfit)


def fault_shifts(lines: Sequence[LineFit], position_sigma: float = 1e-5) -> tuple[float, float, float]:
    """Return lattice parameter (nm), alpha and its sigma from centroids of fcc lines (Warren's shifts).

    Parameters
    ----------
    lines : sequence of LineFit
        At least two whose weights G differ.
    position_sigma : float
        Relative standard deviation of the centroids.
    """
    if len(lines) < 2:
        raise ConfigurationError(f"a cell and alpha need two lines, got {len(lines)}")
    norm = np.sqrt([np.dot(line.hkl, line.hkl) for line in lines])
    s = np.array([line.s_per_nm for line in lines])
    g = np.array([warren_table(line.hkl)[0] for line in lines])
    # s a / norm = 1 + sqrt(3) alpha G / (4 pi): straight in 1 / a and alpha / a
    matrix = np.stack([np.ones_like(g), np.sqrt(3) / (4 * np.pi) * g], 1)
    values = np.linalg.lstsq(matrix, s / norm, rcond=None)[0]
    covariance = np.linalg.pinv(matrix.T @ matrix) * position_sigma**2
    return float(1 / values[0]), float(values[1] / values[0]), float(np.sqrt(covariance[1, 1]))


def fault_slopes(lines: Sequence[LineFit], a_nm: float, contrast: Contrast) -> float:
    """Return 1.5 alpha + beta from the breadths of fcc lines, dislocations taken into account.

    Parameters
    ----------
    lines : sequence of LineFit
        At least three.
    a_nm : float
        Lattice parameter (nm).
    contrast : Contrast
        Of the dislocations.

    Notes
    -----
    The coefficients exp(-k L) have the integral breadth k / 2 in s: the slope is taken as twice what faults
    add to
    the breadth. Breadths of components do not add exactly: right to some 30 %.
    """
    plot = modified_williamson_hall(lines, contrast, 0.25, faults=True)
    return 2 * plot.fault * a_nm
