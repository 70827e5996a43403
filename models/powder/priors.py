"""What training patterns may look like: random instruments, grains, glasses and unknown materials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.simulate import GLASS, Glass, Grain, Instrument
from streamproc.models.powder.tables import CU_KA1_A, PhaseTable, reciprocal_metric

__all__ = [
    "PRIOR_RANGES",
    "draw_glass",
    "draw_grain",
    "draw_instrument",
    "draw_material",
]

Array = npt.NDArray[np.float64]

PRIOR_RANGES: dict[str, str | float | tuple[float, float]] = {
    "fwhm_deg": (0.05, 0.4),
    "cell_relative": (-0.004, 0.004),
    "size_nm": (15.0, 800.0),
    "microstrain": (0.0, 0.002),
    "displacement_mm_at_173": (-0.15, 0.15),
    "zero_deg": (-0.05, 0.05),
    "monochromator_cos2": (0.6, 1.0),
    "march_r": (0.6, 1.4),
    "peak_counts": (300.0, 3e6),
    "background_of_peak": (0.002, 0.5),
    "first_two_theta_deg": (20.0, 30.0),
    "last_two_theta_deg": (70.0, 100.0),
    "radiation": "Cu K-alpha, with or without K-alpha2; polarisation and Lorentz factor not corrected",
}
"""Ranges the training covers; goes into the card."""


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _log_between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_instrument(rng: np.random.Generator, area: bool) -> Instrument:
    """Draw a diffractometer (``area`` false) or an azimuthally averaged area detector (true)."""
    shared = Instrument(
        zero_deg=float(np.clip(0.02 * rng.standard_normal(), -0.05, 0.05)),
        polarisation=1.0 if rng.random() < 0.35 else _between(rng, 0.6, 1.0),
    )
    if area:
        width = _log_between(rng, 0.05, 0.4)
        return replace(
            shared,
            u_deg2=_between(rng, 0, 0.02),
            v_deg2=0.0,
            w_deg2=width**2,
            lorentz_x_deg=_between(rng, 0, 0.03),
            asymmetry_deg=0.0,
            ka2_ratio=0.0 if rng.random() < 0.4 else _between(rng, 0.47, 0.53),
            displacement_mm=_between(rng, -0.1, 0.1),
        )
    return replace(
        shared,
        u_deg2=_between(rng, 0.0, 0.02),
        v_deg2=-_between(rng, 0.0, 0.012),
        w_deg2=_log_between(rng, 0.07, 0.2) ** 2,
        lorentz_x_deg=_between(rng, 0.0, 0.07),
        asymmetry_deg=_between(rng, 0.0, 0.035),
        ka2_ratio=0.0 if rng.random() < 0.05 else _between(rng, 0.45, 0.56),
        displacement_mm=_between(rng, -0.15, 0.15),
    )


def draw_grain(rng: np.random.Generator, table: PhaseTable, area: bool) -> Grain:
    """Draw the state of one phase's grains; area detectors average texture and graininess out."""
    axes = rng.uniform(-0.004, 0.004, 3) * rng.choice([0.25, 1.0])
    if table.system == "cubic":
        axes[:] = axes[0]
    elif table.system in ("hexagonal", "trigonal", "tetragonal"):
        axes[1] = axes[0]
    axes[1:] += (axes[0] - axes[1:]) * rng.choice([0.0, 0.7])
    march = (
        1.0
        if rng.random() < (0.6 if area else 0.3)
        else float(np.clip(1 + 0.12 * rng.standard_normal(), 0.6, 1.4))
    )
    return Grain(
        size_nm=_log_between(rng, 15, 800) if rng.random() < 0.5 else _log_between(rng, 60, 800),
        strain=_between(rng, 0, 0.002) * float(rng.random()),
        cell_scale=(1 + axes[0], 1 + axes[1], 1 + axes[2]),
        march_r=march if not area else 1 + (march - 1) / 4,
        delta_b_A2=float(np.clip(0.12 * rng.standard_normal(), -0.25, 0.5)),
        graininess=0.02 if area else _between(rng, 0.0, 0.08),
    )


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


def draw_material(rng: np.random.Generator) -> PhaseTable:
    """Draw a crystal that does not exist: random cell and centring, Wilson-distributed intensities.

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
    d_min = 0.99
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
        wavelength_A=CU_KA1_A,
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
