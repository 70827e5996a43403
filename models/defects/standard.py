"""The instrument's profile from the pattern of a line-profile standard such as LaB6."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from streamproc.models.defects.singles import VoigtLine, fit_voigt
from streamproc.models.powder.crystal import Structure
from streamproc.models.powder.optics import Instrument
from streamproc.models.powder.tables import d_min_of, table_of

from streamproc.errors import ConfigurationError

__all__ = ["instrument_from_standard"]

Array = npt.NDArray[np.float64]

_FWHM = float(np.sqrt(8 * np.log(2)))
_LEAST_LINES = 5


def instrument_from_standard(
    two_theta_deg: Array, intensity: Array, variance: Array, standard: Structure, base: Instrument
) -> Instrument:
    """Measure Caglioti and Lorentzian widths, zero and displacement with a standard.

    Each line that stands alone is fitted with a Voigt profile; the widths are then fitted over the angles
    with
    non-negative least squares, the shifts of the positions from the standard's cell with straight ones.
    Tails of
    axial divergence stay in the widths: ``asymmetry_deg`` is set to zero.

    Parameters
    ----------
    two_theta_deg, intensity, variance : ndarray, shape (n,)
        Pattern of the standard.
    standard : Structure
        With its certified cell.
    base : Instrument
        Wavelengths, radius, geometry and polarisation.

    Returns
    -------
    Instrument
        ``base`` with what was measured.

    Raises
    ------
    ConfigurationError
        When fewer than five lines can be fitted.
    """
    table = table_of(standard, base.wavelength_A, d_min_of(base.wavelength_A, float(two_theta_deg[-1])))
    places = np.rad2deg(2 * np.arcsin(np.minimum(base.wavelength_A / 2 / table.d_A, 1.0)))
    pure = replace(base, u_deg2=0, v_deg2=0, w_deg2=0, lorentz_x_deg=0, lorentz_y_deg=0, asymmetry_deg=0)
    lines: list[VoigtLine] = []
    expected: list[float] = []
    for place in places:
        near = np.abs(places - place)
        reach = min(1.0, 0.5 * float(near[near > 0].min(initial=2.0)))
        part = (np.abs(two_theta_deg - place) < reach) & (variance > 0)
        line = (
            fit_voigt(*(v[part] for v in (two_theta_deg, intensity, variance)), pure)
            if part.sum() > 20
            else None
        )
        if line is not None and line.relative_sigma < 0.2:
            lines.append(line)
            expected.append(float(place))
    if len(lines) < _LEAST_LINES:
        raise ConfigurationError(
            f"only {len(lines)} lines of {standard.name} could be fitted between {two_theta_deg[0]:g} and "
            f"{two_theta_deg[-1]:g} degrees, expected {_LEAST_LINES}; check standard, wavelength and K-alpha2"
        )
    return _with_widths(_with_shifts(pure, lines, np.array(expected)), lines)


def _with_shifts(instrument: Instrument, lines: list[VoigtLine], expected: Array) -> Instrument:
    seen = np.array([line.position_deg for line in lines])
    weight = 1 / np.array([max(line.position_sigma_deg, 1e-5) for line in lines])
    cos = np.rad2deg(-2 * np.cos(np.deg2rad(seen) / 2) / instrument.radius_mm)
    matrix = np.stack([np.ones_like(seen), cos], 1)
    zero, moved = np.linalg.lstsq(matrix * weight[:, None], (seen - expected) * weight, rcond=None)[0]
    return replace(instrument, zero_deg=float(zero), displacement_mm=float(moved))


def _with_widths(instrument: Instrument, lines: list[VoigtLine]) -> Instrument:
    theta = np.deg2rad([line.position_deg for line in lines]) / 2
    tan = np.tan(theta)
    gauss2 = np.array([(line.gauss_deg * _FWHM) ** 2 for line in lines])
    lorentz = np.array([2 * line.lorentz_deg for line in lines])
    (u, v, w), _ = nnls(np.stack([tan**2, -tan, np.ones_like(tan)], 1), gauss2)
    (x, y), _ = nnls(np.stack([1 / np.cos(theta), tan], 1), lorentz)
    return replace(
        instrument, u_deg2=float(u), v_deg2=-float(v), w_deg2=max(float(w), 1e-6), lorentz_x_deg=float(x),
        lorentz_y_deg=float(y),
    )  # fmt: skip
