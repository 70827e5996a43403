"""Powder patterns from reflection tables: the physics shared by training, tests and the simulated detector.

Intensities follow the convention of quantitative phase analysis: a phase of weight fraction ``w`` gives
``w / (rho V^2) * m |F|^2 LP`` for each family of reflections (Hill & Howard 1987, J. Appl. Cryst. 20, 467),
so that weight fractions are what scales patterns. An amorphous share is given in the same absolute units
(:func:`amorphous_profile`). Bins are integrated, not sampled: narrow peaks keep their area on a coarse axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.glass import GLASS, Glass, amorphous_profile
from streamproc.models.powder.optics import (
    CU_KA1_A,
    CU_KA2_A,
    Grain,
    Instrument,
    cylinder_transmission,
    measured,
    shift_deg,
)
from streamproc.models.powder.profiles import add_peaks
from streamproc.models.powder.tables import PhaseTable, phase_table, reciprocal_metric, table_of

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
    "lorentz_polarisation",
    "march_factor",
    "phase_table",
    "render_pattern",
    "render_phase",
    "table_of",
]

Array = npt.NDArray[np.float64]


def bin_edges(two_theta_deg: npt.ArrayLike) -> Array:
    """Return the n + 1 edges half-way between n bin centres (degrees)."""
    centres = np.asarray(two_theta_deg, float)
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def lorentz_polarisation(theta: Array, k: float) -> Array:
    """Return the Lorentz-polarisation factor of a powder ring per solid angle, and of Bragg-Brentano."""
    return np.asarray((1 + k * np.cos(2 * theta) ** 2) / (1 + k) / (np.sin(theta) ** 2 * np.cos(theta)))


def march_factor(texture_cos: Array, r: float) -> Array:
    """Return the March-Dollase factor of each family, mean over its members' cosines to the axis."""
    cos2 = texture_cos**2
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
    area = grain.tau * table.multiplicity * table.f2 / (table.density_g_cm3 * table.volume_A3**2)
    area = area * np.exp(-2 * grain.delta_b_A2 * stol2)
    if grain.march_r != 1.0:
        area = area * march_factor(table.texture_cos, grain.march_r)
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
    lorentz = instrument.lorentz_x_deg / cos + instrument.lorentz_y_deg * tan
    lorentz = lorentz + np.rad2deg(0.09 * wavelength / (grain.size_nm * cos) + 4 * grain.strain * tan)
    shift = shift_deg(instrument, theta)
    skew = instrument.asymmetry_deg / np.tan(2 * theta)
    heights = areas * lorentz_polarisation(theta, instrument.polarisation)
    if instrument.geometry == "debye-scherrer" and instrument.mu_r > 0:
        heights = heights * cylinder_transmission(instrument.mu_r, theta)
    add_peaks(
        out,
        edges,
        np.rad2deg(2 * theta) + shift,
        heights,
        np.sqrt(np.maximum(gauss2, 1e-6)),
        np.maximum(lorentz, 0.0),
        skew,
    )


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
        Intensity per bin centre; counts when ``peak_counts`` is given; zero where no detector is.

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
    return np.where(measured(centres, instrument), _counts(pattern, background, peak_counts, rng), 0.0)


def _counts(
    pattern: Array, background: Any, peak_counts: float | None, rng: np.random.Generator | None
) -> Array:
    """Add the background and, where counts are wanted, scale and draw them."""
    pattern = pattern + np.asarray(background, float) * pattern.max()
    if peak_counts is None:
        return np.asarray(pattern)
    counts = pattern * (peak_counts / pattern.max())
    return np.asarray(rng.poisson(counts), float) if rng is not None else counts
