"""Powder patterns from reflection tables: the physics shared by training, tests and the simulated detector.

Intensities follow the convention of quantitative phase analysis: a phase of weight fraction ``w`` gives
``w / (rho V^2) * m |F|^2 LP`` for each family of reflections (Hill & Howard 1987, J. Appl. Cryst. 20, 467),
so that weight fractions are what scales patterns. An amorphous share is given in the same absolute units
(:func:`amorphous_profile`). Bins are integrated, not sampled: narrow peaks keep their area on a coarse axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.profiles import add_peaks
from streamproc.models.powder.tables import (
    CU_KA1_A,
    CU_KA2_A,
    PhaseTable,
    phase_table,
    reciprocal_metric,
    table_of,
)

__all__ = [
    "CU_KA1_A",
    "CU_KA2_A",
    "GLASS",
    "Glass",
    "Grain",
    "Instrument",
    "PhaseTable",
    "amorphous_profile",
    "bin_edges",
    "phase_table",
    "render_pattern",
    "render_phase",
    "table_of",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Instrument:
    """What the diffractometer does to a pattern.

    Attributes
    ----------
    wavelength_A, wavelength2_A : float
        K-alpha1 and K-alpha2 wavelengths (angstrom).
    ka2_ratio : float
        Intensity of K-alpha2 over K-alpha1; 0 for a single line.
    u_deg2, v_deg2, w_deg2 : float
        Gaussian FWHM^2 = U tan^2 + V tan + W (square degrees 2theta; Caglioti et al. 1958).
    lorentz_x_deg : float
        Instrumental Lorentzian FWHM = X / cos(theta) (degrees 2theta).
    asymmetry_deg : float
        Axial divergence: the low-angle half is wider by ``asymmetry_deg * cot(2theta)`` (degrees), and the
        high-angle half narrower; the sign turns at 90 degrees.
    zero_deg : float
        Shift of the whole axis (degrees 2theta).
    displacement_mm, radius_mm : float
        Specimen displacement s and radius R: shift -2 s cos(theta) / R (Wilson 1963).
    polarisation : float
        k of the polarisation term 1 + k cos^2(2theta): 1 for an unpolarised beam without monochromator,
        cos^2(2theta_m) with one; 0 where the data are corrected for polarisation.
    """

    wavelength_A: float = CU_KA1_A
    wavelength2_A: float = CU_KA2_A
    ka2_ratio: float = 0.5
    u_deg2: float = 0.004
    v_deg2: float = -0.004
    w_deg2: float = 0.005
    lorentz_x_deg: float = 0.02
    asymmetry_deg: float = 0.01
    zero_deg: float = 0.0
    displacement_mm: float = 0.0
    radius_mm: float = 173.0
    polarisation: float = 0.8


@dataclass(frozen=True, slots=True)
class Grain:
    """What the grains of one phase do to its pattern.

    Attributes
    ----------
    size_nm : float
        Volume-weighted crystallite size; Lorentzian FWHM = 0.9 lambda / (D cos(theta)) (Scherrer).
    strain : float
        Microstrain e; Lorentzian FWHM = 4 e tan(theta) (Stokes & Wilson 1944).
    cell_scale : tuple of float
        Factors on a, b, c (the caller keeps to the crystal system).
    march_r : float
        March-Dollase parameter along the phase's texture axis (Dollase 1986); 1 without texture.
    delta_b_A2 : float
        Added to the displacement parameter B.
    graininess : float
        Relative standard deviation of each family's intensity (needs a generator).
    """

    size_nm: float = 150.0
    strain: float = 0.0002
    cell_scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    march_r: float = 1.0
    delta_b_A2: float = 0.0
    graininess: float = 0.0


@dataclass(frozen=True, slots=True)
class Glass:
    """An amorphous material by its structure factor S(Q): a rise from zero plus Gaussian maxima.

    Attributes
    ----------
    elements : tuple of (symbol, count)
        Formula unit.
    density_g_cm3, mass_u : float
        Density and mass of the formula unit.
    peaks : tuple of (position_invA, height, fwhm_invA)
        Maxima and minima of S(Q) about one.
    onset_invA : float
        Q where S reaches one half.
    """

    elements: tuple[tuple[str, int], ...]
    density_g_cm3: float
    mass_u: float
    peaks: tuple[tuple[float, float, float], ...] = field(repr=False)
    onset_invA: float = 1.1


GLASS = Glass(
    elements=(("Si", 1), ("O", 2)),
    density_g_cm3=2.20,
    mass_u=60.084,
    peaks=((1.52, 1.30, 0.55), (2.35, -0.45, 0.9), (2.9, 0.10, 0.6), (3.9, -0.15, 0.9), (5.25, 0.25, 1.0)),
)
"""Silica glass after Mozzi & Warren 1969, J. Appl. Cryst. 2, 164 (heights read off, about 15 %)."""


def bin_edges(two_theta_deg: npt.ArrayLike) -> Array:
    """Return the n + 1 edges half-way between n bin centres (degrees)."""
    centres = np.asarray(two_theta_deg, float)
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _lorentz_polarisation(theta: Array, k: float) -> Array:
    """Lorentz and polarisation factor of a powder ring per solid angle, equal to that of Bragg-Brentano."""
    return np.asarray((1 + k * np.cos(2 * theta) ** 2) / (1 + k) / (np.sin(theta) ** 2 * np.cos(theta)))


def _march(table: PhaseTable, r: float) -> Array:
    """March-Dollase factor of each family, mean over its members."""
    cos2 = table.texture_cos**2
    return np.asarray(np.mean((r * r * cos2 + (1 - cos2) / r) ** -1.5, axis=1))


def _stol2(table: PhaseTable, grain: Grain) -> Array:
    """(sin(theta) / lambda)^2 of each family for the scaled cell (1/square angstrom)."""
    if grain.cell_scale == (1.0, 1.0, 1.0):
        return np.asarray(0.25 / table.d_A**2)
    cell = table.cell.copy()
    cell[:3] *= grain.cell_scale
    return np.asarray(np.einsum("ni,ij,nj->n", table.hkl, reciprocal_metric(cell), table.hkl) / 4)


def _areas(table: PhaseTable, grain: Grain, stol2: Array, rng: np.random.Generator | None) -> Array:
    """Intensity of each family per weight of the phase, LP left out (electrons^2 cm^3 / (g A^6))."""
    area = table.multiplicity * table.f2 / (table.density_g_cm3 * table.volume_A3**2)
    area = area * np.exp(-2 * grain.delta_b_A2 * stol2)
    if grain.march_r != 1.0:
        area = area * _march(table, grain.march_r)
    if grain.graininess > 0 and rng is not None:
        area = area * np.clip(1 + grain.graininess * rng.standard_normal(area.size), 0.1, None)
    return np.asarray(area)


def render_phase(
    edges_deg: Array,
    table: PhaseTable,
    instrument: Instrument,
    grain: Grain | None = None,
    rng: np.random.Generator | None = None,
) -> Array:
    """Render one phase alone, per unit weight.

    Parameters
    ----------
    edges_deg : ndarray, shape (n + 1,)
        Rising bin edges (degrees 2theta).
    table : PhaseTable
        Its reflections.
    instrument : Instrument
        Optics and shifts.
    grain : Grain, optional
        Size, strain, texture, ...; a plain powder by default.
    rng : numpy Generator, optional
        Draws the graininess; None leaves it out.

    Returns
    -------
    ndarray, shape (n,)
        Mean intensity per degree in each bin, in units common to all phases.
    """
    grain = grain or Grain()
    stol2 = _stol2(table, grain)
    areas = _areas(table, grain, stol2, rng)
    out = np.zeros(len(edges_deg) - 1)
    share = instrument.ka2_ratio / (1 + instrument.ka2_ratio)
    for wavelength, part in ((instrument.wavelength_A, 1 - share), (instrument.wavelength2_A, share)):
        sine = wavelength * np.sqrt(stol2)
        seen = (sine < 0.999) & (part > 0)
        theta = np.arcsin(sine[seen])
        if theta.size:
            _add_line(out, edges_deg, theta, part * areas[seen], wavelength, instrument, grain)
    return np.asarray(out / np.diff(edges_deg))


def _add_line(
    out: Array,
    edges: Array,
    theta: Array,
    areas: Array,
    wavelength: float,
    instrument: Instrument,
    grain: Grain,
) -> None:
    """Add all reflections of one wavelength to ``out`` (integrals per bin)."""
    tan, cos = np.tan(theta), np.cos(theta)
    gauss2 = instrument.u_deg2 * tan**2 + instrument.v_deg2 * tan + instrument.w_deg2
    lorentz = instrument.lorentz_x_deg / cos
    lorentz = lorentz + np.rad2deg(0.09 * wavelength / (grain.size_nm * cos) + 4 * grain.strain * tan)
    shift = instrument.zero_deg - np.rad2deg(2 * instrument.displacement_mm / instrument.radius_mm * cos)
    skew = instrument.asymmetry_deg / np.tan(2 * theta)
    heights = areas * _lorentz_polarisation(theta, instrument.polarisation)
    add_peaks(
        out, edges, np.rad2deg(2 * theta) + shift, heights, np.sqrt(np.maximum(gauss2, 1e-6)), lorentz, skew
    )


def _form_factor(symbol: str, stol: Array) -> Array:
    """Free-atom form factor (electrons) at sin(theta) / lambda (International Tables C, 6.1.1.4)."""
    import gemmi

    fit = gemmi.Element(symbol).it92
    return np.asarray(sum(a * np.exp(-b * stol**2) for a, b in zip(fit.a, fit.b, strict=True)) + fit.c)


def amorphous_profile(two_theta_deg: Array, instrument: Instrument, glass: Glass = GLASS) -> Array:
    """Render an amorphous material per unit weight, in the units of :func:`render_phase`.

    The powder average of a crystal's scattering per volume is ``sum m |F|^2 / V^2 * lambda^3 / (16 pi sin^2
    cos) * delta(2theta - 2theta_B)``, that of a glass ``n sum f^2 S(Q)``; dividing both by density and by
    ``lambda^3 / (16 pi)``, and going from radians to degrees, puts them on one scale (Warren 1969, X-ray
    Diffraction, chapters 4 and 10).

    Parameters
    ----------
    two_theta_deg : ndarray, shape (n,)
        Bin centres (degrees).
    instrument : Instrument
        Wavelength and polarisation.
    glass : Glass
        The material; silica glass by default.

    Returns
    -------
    ndarray, shape (n,)
        Intensity per degree.
    """
    theta = np.deg2rad(np.asarray(two_theta_deg, float)) / 2
    q = 4 * np.pi * np.sin(theta) / instrument.wavelength_A
    structure_factor = 1 / (1 + np.exp(-(q - glass.onset_invA) / 0.15))
    for position, height, fwhm in glass.peaks:
        structure_factor = structure_factor + height * np.exp(-4 * np.log(2) * ((q - position) / fwhm) ** 2)
    f2 = sum(count * _form_factor(symbol, q / (4 * np.pi)) ** 2 for symbol, count in glass.elements)
    number_A3 = glass.density_g_cm3 / (glass.mass_u * 1.66053906660)
    polarisation = (1 + instrument.polarisation * np.cos(2 * theta) ** 2) / (1 + instrument.polarisation)
    per_steradian = number_A3 * f2 * np.maximum(structure_factor, 0.02) * polarisation / glass.density_g_cm3
    return np.asarray(per_steradian * 16 * np.pi / instrument.wavelength_A**3 * np.pi / 180)


def render_pattern(
    two_theta_deg: npt.ArrayLike,
    fractions: Mapping[str, float],
    instrument: Instrument | None = None,
    rng: np.random.Generator | None = None,
    *,
    grains: Mapping[str, Grain] | None = None,
    background: float | npt.ArrayLike = 0.0,
    peak_counts: float | None = None,
    tables: Mapping[str, PhaseTable] | None = None,
) -> Array:
    """Render the pattern of a mixture.

    Parameters
    ----------
    two_theta_deg : array_like, shape (n,)
        Rising bin centres (degrees).
    fractions : mapping of str to float
        Weight of each phase: names of structures, and ``"amorphous"`` for silica glass. Only ratios count.
    instrument : Instrument, optional
        Optics and shifts.
    rng : numpy Generator, optional
        Draws graininess and, with ``peak_counts``, Poisson noise; None gives the expectation.
    grains : mapping of str to Grain, optional
        Grain properties of phases that need others than the default.
    background : float or array_like, shape (n,)
        Added, in units of the clean pattern's maximum.
    peak_counts : float, optional
        Counts in the highest bin of the clean pattern; by default the common units of :func:`render_phase`.
    tables : mapping of str to PhaseTable, optional
        Tables already computed; the missing ones are computed (some 50 ms each).

    Returns
    -------
    ndarray, shape (n,)
        Intensity per bin centre; counts when ``peak_counts`` is given.

    Raises
    ------
    ValueError
        When no weight is positive or one is negative.
    KeyError
        When a phase has no table and no structure.
    """
    centres = np.asarray(two_theta_deg, float)
    instrument = instrument or Instrument()
    total = float(sum(fractions.values()))
    if total <= 0 or min(fractions.values()) < 0:
        raise ValueError(f"weight fractions must be >= 0 with a positive sum, got {dict(fractions)}")
    edges = bin_edges(centres)
    pattern = np.zeros(centres.size)
    for name, weight in fractions.items():
        if weight == 0:
            continue
        if name == "amorphous":
            pattern += weight / total * amorphous_profile(centres, instrument)
            continue
        table = (tables or {}).get(name) or phase_table(name, instrument.wavelength_A)
        pattern += weight / total * render_phase(edges, table, instrument, (grains or {}).get(name), rng)
    return _counts(pattern, background, peak_counts, rng)


def _counts(
    pattern: Array, background: Any, peak_counts: float | None, rng: np.random.Generator | None
) -> Array:
    """Add the background and, where counts are wanted, scale and draw them."""
    pattern = pattern + np.asarray(background, float) * pattern.max()
    if peak_counts is None:
        return np.asarray(pattern)
    counts = pattern * (peak_counts / pattern.max())
    return np.asarray(rng.poisson(counts), float) if rng is not None else counts
