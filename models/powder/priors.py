"""What training patterns look like: random instruments, grains, glasses and unknown materials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.glass import GLASS, Glass
from streamproc.models.powder.optics import CU_KA1_A, Grain, Instrument
from streamproc.models.powder.ranges import PriorRanges
from streamproc.models.powder.tables import PhaseTable, d_min_of, reciprocal_metric

__all__ = [
    "PRIOR_RANGES",
    "PriorRanges",
    "draw_glass",
    "draw_grain",
    "draw_instrument",
    "draw_material",
]

Array = npt.NDArray[np.float64]

PRIOR_RANGES = PriorRanges().card()
"""Ranges the shipped model's training covers; goes into its card."""


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _log_between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


_DEFAULT = PriorRanges()

_RESERVE = float(1 - 0.99 * 2 * np.sin(np.deg2rad(50.0)) / CU_KA1_A)
"""Lines just beyond the axis are drawn as well: Cu K-alpha to 100 degrees reaches d = 0.99 angstrom."""

_COARSE = float(np.log(4) / np.log(800 / 15))
"""Every second grain comes from the upper part of the sizes (from 60 nm on, where they are 15 to 800)."""


def draw_instrument(rng: np.random.Generator, area: bool, *, ranges: PriorRanges = _DEFAULT) -> Instrument:
    """Draw a diffractometer (``area`` false) or an azimuthally averaged area detector (true).

    Parameters
    ----------
    rng : numpy Generator
        Source of chance.
    area : bool
        Which of the two kinds.
    ranges : PriorRanges
        What may be drawn; wavelengths, geometry, radius and missing stretches are taken as they are.
    """
    low, high = ranges.zero_deg
    zero = float(np.clip(ranges.zero_sigma_deg * rng.standard_normal(), low, high))
    plain = rng.random() < ranges.unpolarised_share
    shared = Instrument(
        wavelength_A=ranges.wavelength_A,
        wavelength2_A=ranges.wavelength2_A,
        zero_deg=zero,
        polarisation=1.0 if plain else _between(rng, *ranges.polarisation),
        radius_mm=ranges.radius_mm,
        geometry=ranges.geometry,
        missing_deg=ranges.missing_deg,
    )
    drawn = _draw_area(rng, shared, ranges) if area else _draw_scanning(rng, shared, ranges)
    # what today's ranges leave out is drawn last, and only where there is a range
    if ranges.lorentz_y_deg != (0.0, 0.0):
        drawn = replace(drawn, lorentz_y_deg=_between(rng, *ranges.lorentz_y_deg))
    if ranges.displacement_along_mm != (0.0, 0.0):
        drawn = replace(drawn, displacement_along_mm=_between(rng, *ranges.displacement_along_mm))
    if ranges.mu_r != (0.0, 0.0):
        drawn = replace(drawn, mu_r=_between(rng, *ranges.mu_r))
    return drawn


def _draw_area(rng: np.random.Generator, shared: Instrument, ranges: PriorRanges) -> Instrument:
    width = _log_between(rng, *ranges.area_fwhm_deg)
    return replace(
        shared,
        u_deg2=_between(rng, *ranges.area_u_deg2),
        v_deg2=0.0,
        w_deg2=width**2,
        lorentz_x_deg=_between(rng, *ranges.area_lorentz_x_deg),
        asymmetry_deg=0.0,
        ka2_ratio=_draw_ratio(rng, ranges.area_ka2_absent_share, ranges.area_ka2_ratio),
        displacement_mm=_between(rng, *ranges.area_displacement_mm),
    )


def _draw_scanning(rng: np.random.Generator, shared: Instrument, ranges: PriorRanges) -> Instrument:
    return replace(
        shared,
        u_deg2=_between(rng, *ranges.u_deg2),
        v_deg2=-_between(rng, -ranges.v_deg2[1], -ranges.v_deg2[0]),
        w_deg2=_log_between(rng, *ranges.fwhm_deg) ** 2,
        lorentz_x_deg=_between(rng, *ranges.lorentz_x_deg),
        asymmetry_deg=_between(rng, *ranges.asymmetry_deg),
        ka2_ratio=_draw_ratio(rng, ranges.ka2_absent_share, ranges.ka2_ratio),
        displacement_mm=_between(rng, *ranges.displacement_mm),
    )


def _draw_ratio(rng: np.random.Generator, absent: float, ratio: tuple[float, float]) -> float:
    return 0.0 if rng.random() < absent else _between(rng, *ratio)


def draw_grain(
    rng: np.random.Generator, table: PhaseTable, area: bool, *, ranges: PriorRanges = _DEFAULT
) -> Grain:
    """Draw the state of one phase's grains; area detectors average texture and graininess out.

    Cell axes vary together as the crystal system demands, within ``ranges.span_of(table.name)``.
    """
    axes = _tied(rng.uniform(-1.0, 1.0, 3) * ranges.span_of(table.name) * rng.choice([0.25, 1.0]), table)
    axes[1:] += (axes[0] - axes[1:]) * rng.choice([0.0, 0.7])
    low, high = ranges.march_r
    march = (
        1.0
        if rng.random() < (0.6 if area else 0.3)
        else float(np.clip(1 + ranges.march_sigma * rng.standard_normal(), low, high))
    )
    smallest, largest = ranges.size_nm
    return Grain(
        size_nm=_log_between(rng, smallest, largest)
        if rng.random() < 0.5
        else _log_between(rng, smallest * (largest / smallest) ** _COARSE, largest),
        strain=_between(rng, *ranges.microstrain) * float(rng.random()),
        cell_scale=(1 + axes[0], 1 + axes[1], 1 + axes[2]),
        march_r=march if not area else 1 + (march - 1) / 4,
        delta_b_A2=float(np.clip(ranges.delta_b_sigma_A2 * rng.standard_normal(), *ranges.delta_b_A2)),
        graininess=0.02 if area else _between(rng, *ranges.graininess),
    )


def _tied(axes: Array, table: PhaseTable) -> Array:
    """Let axes that symmetry makes equal vary alike."""
    rhombohedral = table.system == "trigonal" and abs(table.cell[5] - 120) > 1e-3
    if table.system == "cubic" or rhombohedral:
        axes[:] = axes[0]
    elif table.system in ("hexagonal", "trigonal", "tetragonal"):
        axes[1] = axes[0]
    return axes


def draw_glass(rng: np.random.Generator) -> Glass:
    """Draw an amorphous material: silica glass with its maxima moved, widened and weighted anew."""
    stretch = _between(rng, 0.85, 1.6) if rng.random() < 0.7 else 1.0
    peaks = tuple(
        (
            position * stretch * (1 + 0.03 * rng.standard_normal()),
            height * _log_between(rng, 0.6, 1.4),
            fwhm * stretch * _log_between(rng, 0.7, 1.5),
        )
        for position, height, fwhm in GLASS.peaks
    )
    return replace(GLASS, peaks=peaks, onset_invA=GLASS.onset_invA * stretch)


_RATIOS = {"cubic": (1, 1), "tetragonal": (1, 2), "hexagonal": (1, 2), "orthorhombic": (2, 2)}


def draw_material(rng: np.random.Generator, *, ranges: PriorRanges = _DEFAULT) -> PhaseTable:
    """Draw a crystal that does not exist: random cell and centring, Wilson-distributed intensities.

    Parameters
    ----------
    rng : numpy Generator
        Source of chance.
    ranges : PriorRanges
        Wavelength and end of the axis say down to which spacing there are lines.

    Returns
    -------
    PhaseTable
        Lines of equal spacing are one entry, their multiplicity the number of lattice points.
    """
    system = str(rng.choice(list(_RATIOS)))
    a = _between(rng, 2.8, 10.5) if system == "cubic" else _between(rng, 2.8, 7.5)
    b = a * (_between(rng, 0.8, 1.6) if system == "orthorhombic" else 1.0)
    c = a if system == "cubic" else a * _between(rng, 0.6, 2.4)
    cell = np.array([a, b, c, 90.0, 90.0, 120.0 if system == "hexagonal" else 90.0])
    metric = reciprocal_metric(cell)
    d_min = d_min_of(ranges.wavelength_A, ranges.last_two_theta_deg[1], _RESERVE)
    reach = np.ceil(cell[:3] / d_min).astype(int)
    grid = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1).reshape(-1, 3)
    s2 = np.einsum("ni,ij,nj->n", grid, metric, grid)
    keep = (s2 > 0) & (s2 <= 1 / d_min**2) & _allowed(grid, str(rng.choice(["P", "P", "I", "F"])), system)
    grid, s2 = grid[keep], s2[keep]
    _, first, multiplicity = np.unique(np.round(s2, 7), return_index=True, return_counts=True)
    s2 = s2[first]
    if rng.random() < 0.08:  # a few stray lines only: a spot, a spike, a textured film
        some = rng.choice(s2.size, min(s2.size, int(rng.integers(1, 4))), replace=False)
        grid, s2, first, multiplicity = grid[first[some]], s2[some], np.arange(some.size), multiplicity[some]
    sharpness = _between(rng, 0.5, 4.0)
    f2 = rng.exponential(size=s2.size) ** _between(rng, 0.7, 1.5) * np.exp(-2 * sharpness * s2 / 4)
    return PhaseTable(
        name="drawn",
        wavelength_A=ranges.wavelength_A,
        hkl=grid[first],
        multiplicity=multiplicity.astype(float),
        d_A=1 / np.sqrt(s2),
        f2=f2,
        cell=cell,
        system=system,
        volume_A3=1.0,
        density_g_cm3=1.0,
        mass_u=1.0,
        texture_cos=np.ones((s2.size, 1)),
    )


def _allowed(grid: npt.NDArray[np.int64], centring: str, system: str) -> npt.NDArray[np.bool_]:
    """Keep the lattice points a centring allows (hexagonal cells stay primitive)."""
    if centring == "I" and system != "hexagonal":
        return np.asarray(grid.sum(1) % 2 == 0)
    if centring == "F" and system in ("cubic", "orthorhombic"):
        return np.asarray((grid % 2 == grid[:, :1] % 2).all(1))
    return np.ones(len(grid), bool)
