"""Lines of a defective crystal in Fourier space: the product of size, strain, faults and instrument."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import next_fast_len
from streamproc.models.defects.dislocations.wilkens import wilkens
from streamproc.models.defects.faults import family_coefficients, split_family
from streamproc.models.defects.material import Material
from streamproc.models.defects.size import size_coefficients
from streamproc.models.defects.state import DefectState
from streamproc.models.powder.optics import Instrument

__all__ = ["Grid", "grid_for", "instrument_coefficients", "line_spectra"]

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

_SAMPLES_PER_FWHM = 6.0
_NOTHING = 1e-6
"""Coefficients below this are left out."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Even grid in s = 2 sin(theta) / lambda.

    Attributes
    ----------
    start_per_nm, step_per_nm : float
        First point and distance (1/nm).
    points : int
        Number of points; lines are periodic in ``points * step_per_nm``.
    """

    start_per_nm: float
    step_per_nm: float
    points: int

    @property
    def length_nm(self) -> Array:
        """Column lengths of the transform (nm)."""
        return np.arange(self.points // 2 + 1) / (self.points * self.step_per_nm)


def _widths(instrument: Instrument, s_per_nm: Array) -> tuple[Array, Array, Array]:
    """Sine-limited theta, Gaussian and Lorentzian FWHM (degrees 2theta) of the instrument at s."""
    theta = np.arcsin(np.minimum(s_per_nm * instrument.wavelength_A / 20, 0.9999))
    tan = np.tan(theta)
    gauss2 = instrument.u_deg2 * tan**2 + instrument.v_deg2 * tan + instrument.w_deg2
    lorentz = instrument.lorentz_x_deg / np.cos(theta) + instrument.lorentz_y_deg * tan
    return theta, np.sqrt(np.maximum(gauss2, 1e-6)), np.maximum(lorentz, 0.0)


def grid_for(two_theta_deg: Array, instrument: Instrument) -> Grid:
    """Return a grid that resolves the instrument's lines over an axis (degrees 2theta)."""
    ends = 20 / instrument.wavelength_A * np.sin(np.deg2rad(two_theta_deg[[0, -1]]) / 2)
    low, high = max(float(ends[0]) - 0.4, 0.05), float(ends[1]) + 0.4
    theta, gauss, lorentz = _widths(instrument, np.linspace(low, float(ends[1]), 50))
    step_deg = float(np.median(np.diff(two_theta_deg)))
    fwhm = (
        np.deg2rad(np.hypot(gauss + 0.5 * lorentz, step_deg)) * np.cos(theta) * 10 / instrument.wavelength_A
    )
    step = float(fwhm.min()) / _SAMPLES_PER_FWHM
    return Grid(low, step, next_fast_len(int(np.ceil((high - low) / step)), real=True))


def instrument_coefficients(
    length_nm: Array, s_per_nm: float, instrument: Instrument, step_deg: float = 0.0
) -> Complex:
    """Return the Fourier coefficients of the instrument's line at s.

    Parameters
    ----------
    length_nm : ndarray, shape (n,)
        L >= 0 (nm).
    s_per_nm : float
        Where the line is (1/nm).
    instrument : Instrument
        Gaussian and Lorentzian widths as measured with a standard; ``asymmetry_deg`` is the mean of an
        exponential
        tail, times cot(2theta), towards low angles.
    step_deg : float
        Width of a bin of the axis (degrees), over which the line is averaged.
    """
    theta, gauss, lorentz = (float(v[0]) for v in _widths(instrument, np.array([s_per_nm])))
    scale = np.deg2rad(1.0) * np.cos(theta) * 10 / instrument.wavelength_A  # degrees 2theta to 1/nm
    decay = (np.pi * gauss * scale * length_nm) ** 2 / (4 * np.log(2)) + np.pi * lorentz * scale * length_nm
    tail = instrument.asymmetry_deg / np.tan(2 * theta) * scale
    return np.exp(-decay) * np.sinc(step_deg * scale * length_nm) / (1 + 2j * np.pi * length_nm * tail)


def line_spectra(
    grid: Grid,
    material: Material,
    instrument: Instrument,
    state: DefectState,
    step_deg: float = 0.0,
    offsets: Array | None = None,
) -> tuple[npt.NDArray[np.int64], list[Complex]]:
    """Return the transforms of unit lines of all families near the grid.

    Parameters
    ----------
    grid : Grid
        Where.
    material, instrument, state
        What.
    step_deg : float
        Bin width (degrees).
    offsets : ndarray, shape (n,), optional
        Relative shifts in s of the families on top of the cell's, as residual stresses make them.

    Returns
    -------
    families : ndarray of int, shape (m,)
        Rows of the material's ``hkl``.
    spectra : list of ndarray of complex
        For each, the first coefficients of ``numpy.fft.irfft(..., grid.points) / grid.step_per_nm``; those
        left
        out are zero.
    """
    length = grid.length_nm
    place = material.norm / (material.a_nm * state.cell_scale)
    place = place if offsets is None else place * (1 + offsets)
    end = grid.start_per_nm + grid.points * grid.step_per_nm
    families = np.flatnonzero((place > grid.start_per_nm) & (place < end))
    size = size_coefficients(length, state.median_nm, state.size_sigma)
    strain = _strain_exponent(length, material, state)
    contrast = material.contrast(state.q)
    cell = (material.a_nm * state.cell_scale,)
    spectra = []
    for row in families:
        hkl, s0 = tuple(int(i) for i in material.hkl[row]), float(place[row])
        a = size * np.exp(-strain * max(contrast.of(hkl), 0.0) * s0**2)
        kept = max(int(np.searchsorted(-a, -_NOTHING)), 2)
        part = length[:kept]
        line = a[:kept] * instrument_coefficients(part, s0, instrument, step_deg)
        if material.lattice == "fcc" and _faulted(state):
            line = line * family_coefficients(part, split_family(hkl, cell, "fcc"), state.faults, "fcc")
        spectra.append(np.conj(line) * np.exp(-2j * np.pi * part * (s0 - grid.start_per_nm)))
    return families, spectra


def _faulted(state: DefectState) -> bool:
    return max(state.faults.deformation, state.faults.extrinsic, state.faults.growth) > 0


def _strain_exponent(length: Array, material: Material, state: DefectState) -> Array:
    """Exponent of the strain coefficients over C s^2; Wilkens' function is interpolated in ln L."""
    nodes = np.geomspace(max(length[1], 1e-6), length[-1], 200)
    f = np.interp(np.log(np.maximum(length, nodes[0])), np.log(nodes),
                  wilkens(0.5 * np.exp(-0.25) * nodes / state.cutoff_nm))  # fmt: skip
    return np.asarray(0.5 * np.pi * state.density_per_nm2 * (material.burgers_nm * length) ** 2 * f)
