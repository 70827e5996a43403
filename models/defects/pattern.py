"""Whole powder patterns of a defective crystal: lines, amorphous hump, diffuse scattering."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates
from streamproc.models.defects.lines import Grid, grid_for, line_spectra
from streamproc.models.defects.material import Material
from streamproc.models.defects.state import DefectState
from streamproc.models.powder.optics import Instrument, shift_deg
from streamproc.models.powder.simulate import lorentz_polarisation, march_factor

__all__ = ["family_patterns", "family_strengths", "render_defects"]

Array = npt.NDArray[np.float64]

_HUMPS = ((1.02, 0.13, 1.0), (1.75, 0.14, 0.3))
"""Amorphous metals: place and width relative to the first line's s, and weight."""


def family_strengths(material: Material, state: DefectState) -> Array:
    """Return the integrated strength of each family (electrons^2 per cell), shape (n,)."""
    stol2 = (material.norm / material.a_nm / 20) ** 2
    strength = material.multiplicity * material.f2 * np.exp(-2 * state.static_b_A2 * stol2)
    return np.asarray(strength * march_factor(material.texture_cos, state.march_r))


def _sampled(values: Array, grid: Grid, two_theta_deg: Array, instrument: Instrument) -> Array:
    """Bring a function of s to the axis, for all wavelengths, with Lorentz and polarisation factors."""
    share = instrument.ka2_ratio / (1 + instrument.ka2_ratio)
    out = np.zeros(two_theta_deg.size)
    for wavelength, part in ((instrument.wavelength_A, 1 - share), (instrument.wavelength2_A, share)):
        if part <= 0:
            continue
        theta = np.deg2rad(two_theta_deg) / 2
        theta = theta - np.deg2rad(shift_deg(instrument, theta)) / 2
        place = (20 / wavelength * np.sin(theta) - grid.start_per_nm) / grid.step_per_nm
        seen = map_coordinates(values, place[None], order=3, mode="grid-wrap")
        out += part * seen * lorentz_polarisation(theta, instrument.polarisation) * np.cos(theta)
    return out


def family_patterns(
    two_theta_deg: Array,
    material: Material,
    instrument: Instrument,
    state: DefectState,
    grid: Grid | None = None,
    offsets: Array | None = None,
) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the pattern of each family alone, for unit strength.

    Parameters
    ----------
    two_theta_deg : ndarray, shape (n,)
        Rising bin centres (degrees).
    material, instrument, state
        What; strengths, amorphous and diffuse parts of the state do not count here.
    grid : Grid, optional
        Of :func:`~streamproc.models.defects.lines.grid_for`, where it is known already.
    offsets : ndarray, shape (k,), optional
        Relative shifts of the material's families in s.

    Returns
    -------
    families : ndarray of int, shape (m,)
        Rows of the material's ``hkl``.
    patterns : ndarray, shape (m, n)
        Intensities.
    """
    grid = grid or grid_for(two_theta_deg, instrument)
    step = float(np.median(np.diff(two_theta_deg)))
    families, spectra = line_spectra(grid, material, instrument, state, step, offsets)
    rows = []
    for spectrum in spectra:
        full = np.zeros(grid.points // 2 + 1, complex)
        full[: spectrum.size] = spectrum
        values = np.fft.irfft(full, grid.points) / grid.step_per_nm
        rows.append(_sampled(values, grid, two_theta_deg, instrument))
    return families, np.array(rows).reshape(len(rows), two_theta_deg.size)


def render_defects(
    two_theta_deg: Array,
    material: Material,
    instrument: Instrument,
    state: DefectState,
    grid: Grid | None = None,
    grains: Array | None = None,
    offsets: Array | None = None,
) -> Array:
    """Render the expected pattern of a defective crystal, without background and counting.

    Parameters
    ----------
    two_theta_deg : ndarray, shape (n,)
        Rising bin centres (degrees).
    material, instrument, state
        What.
    grid : Grid, optional
        Where it is known already.
    grains : ndarray, shape (k,), optional
        Factors on the strengths of the material's families: too few grains.
    offsets : ndarray, shape (k,), optional
        Relative shifts of the material's families in s.

    Returns
    -------
    ndarray, shape (n,)
        Lines, thermal and static diffuse scattering, and the amorphous hump, in common units.
    """
    grid = grid or grid_for(two_theta_deg, instrument)
    step = float(np.median(np.diff(two_theta_deg)))
    families, spectra = line_spectra(grid, material, instrument, state, step, offsets)
    strength = family_strengths(material, state) * (1.0 if grains is None else grains)
    full = np.zeros(grid.points // 2 + 1, complex)
    for row, spectrum in zip(families, spectra, strict=True):
        full[: spectrum.size] += strength[row] * spectrum
    s = grid.start_per_nm + grid.step_per_nm * np.arange(grid.points)
    values = np.fft.irfft(full, grid.points) / grid.step_per_nm + _diffuse(s, material, state)
    pattern = _sampled(values, grid, two_theta_deg, instrument)
    if state.amorphous > 0:
        hump = _sampled(_hump(s, material), grid, two_theta_deg, instrument)
        pattern = pattern + hump * (pattern.sum() / hump.sum() * state.amorphous / (1 - state.amorphous))
    return pattern


def _diffuse(s: Array, material: Material, state: DefectState) -> Array:
    """What displacements take from the lines, spread smoothly: 4 pi s^2 V n f^2 (1 - exp(-2 M)).

    Per shell of reciprocal space lines and this add up to the independent scattering of n atoms, so that
    lines and
    diffuse part stay in one scale (Warren 1990, chapter 11, without correlations).
    """
    place = material.norm / material.a_nm
    f2 = material.f2 * np.exp(2 * material.b_A2 * (place / 20) ** 2) / material.atoms**2
    atom = np.exp(np.interp(s, place, np.log(f2)))
    lost = 1 - np.exp(-2 * (material.b_A2 + state.static_b_A2) * (s / 20) ** 2)
    return np.asarray(4 * np.pi * s**2 * material.a_nm**3 * material.atoms * atom * lost)


def _hump(s: Array, material: Material) -> Array:
    first = float(material.norm[0]) / material.a_nm
    return np.asarray(
        sum(
            weight * np.exp(-0.5 * ((s / first - at) / (width / 2.355)) ** 2) * s
            for at, width, weight in _HUMPS
        )
    )
