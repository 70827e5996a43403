"""Single lines of a pattern fitted alone, the instrument taken off: what the classical plots start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.special import voigt_profile
from streamproc.models.defects.dislocations.plots import LineFit
from streamproc.models.defects.material import Material
from streamproc.models.powder.optics import Instrument

__all__ = ["VoigtLine", "fit_lines", "fit_voigt"]

Array = npt.NDArray[np.float64]

_TO_SIGMA = 1 / np.sqrt(8 * np.log(2))


def fit_lines(
    two_theta_deg: Array,
    intensity: Array,
    variance: Array,
    material: Material,
    instrument: Instrument,
    reach_deg: float = 3.0,
) -> list[LineFit]:
    """Fit a Voigt profile on a straight background to each line that stands alone.

    Parameters
    ----------
    two_theta_deg, intensity, variance : ndarray, shape (n,)
        The pattern.
    material : Material
        Where lines are expected; the cell may be off by 1 %.
    instrument : Instrument
        Its Voigt profile at the line is convolved with the sample's.
    reach_deg : float
        Points this far on either side are used, less towards a neighbour.

    Returns
    -------
    list of LineFit
        Position and integral breadth of the sample's part; lines that are not significant are left out.
    """
    sine = material.norm / material.a_nm * instrument.wavelength_A / 20
    places = np.rad2deg(2 * np.arcsin(sine[sine < 0.999]))
    out = []
    for row, place in enumerate(places):
        near = np.abs(places - place)
        reach = min(reach_deg, 0.5 * float(near[near > 0].min())) if len(places) > 1 else reach_deg
        part = (np.abs(two_theta_deg - place) < reach) & (variance > 0)
        if part.sum() < 20:
            continue
        line = fit_voigt(two_theta_deg[part], intensity[part], variance[part], instrument)
        if line is None:
            continue
        theta = np.deg2rad(line.position_deg) / 2
        scale = float(np.deg2rad(1.0) * np.cos(theta)) * 10 / instrument.wavelength_A
        h, k, index = (int(i) for i in material.hkl[row])
        s = float(20 / instrument.wavelength_A * np.sin(theta))
        out.append(LineFit((h, k, index), s, line.breadth_deg * scale, line.relative_sigma))
    return out


@dataclass(frozen=True, slots=True)
class VoigtLine:
    """One fitted line, in degrees 2theta.

    Attributes
    ----------
    position_deg, position_sigma_deg : float
        Centre of the first wavelength's line and its standard deviation.
    gauss_deg, lorentz_deg : float
        Standard deviation of the Gaussian and half width of the Lorentzian part.
    breadth_deg, relative_sigma : float
        Integral breadth and its relative standard deviation.
    """

    position_deg: float
    position_sigma_deg: float
    gauss_deg: float
    lorentz_deg: float
    breadth_deg: float
    relative_sigma: float


def fit_voigt(x: Array, y: Array, variance: Array, instrument: Instrument) -> VoigtLine | None:
    """Fit one line on a straight background.

    Parameters
    ----------
    x, y, variance : ndarray, shape (n,)
        The stretch around the line (degrees 2theta).
    instrument : Instrument
        Its profile is convolved with that of the line; zero widths give the whole of it.

    Returns
    -------
    VoigtLine or None
        None where the line is not five standard deviations high or its maximum lies outside.
    """
    weight = 1 / np.sqrt(variance)
    edge = np.median(np.r_[y[: len(y) // 8], y[-(len(y) // 8) :]])
    top = x[int(np.argmax(np.convolve(y, np.ones(5) / 5, "same")))]
    area = float(np.trapezoid(y - edge, x))

    def model(p: Array) -> Array:
        return p[0] * _doublet(x, p[1], abs(p[2]), abs(p[3]), instrument) + p[4] + p[5] * (x - top)

    first = np.array([max(area, 1e-9 * np.abs(y).max()), top, 0.1, 0.1, edge, 0.0])
    scale = np.array([first[0], 0.1, 0.1, 0.1, max(abs(edge), first[0]), max(abs(edge), first[0])])
    found = least_squares(lambda p: (model(p) - y) * weight, first, x_scale=scale, max_nfev=200)
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * max(1.0, 2 * found.cost / (x.size - 6))
    if found.x[0] < 5 * np.sqrt(covariance[0, 0]) or not x[0] < found.x[1] < x[-1]:
        return None
    gauss, lorentz = abs(float(found.x[2])), abs(float(found.x[3]))
    breadth = 1 / float(voigt_profile(0.0, gauss, max(lorentz, 1e-9)))
    error = np.sqrt(2 * np.pi * covariance[2, 2] + np.pi**2 * covariance[3, 3] + 1e-30)
    relative = float(np.clip(error / breadth, 0.005, 1.0))
    return VoigtLine(float(found.x[1]), float(np.sqrt(covariance[1, 1])), gauss, lorentz, breadth, relative)


def _doublet(x: Array, centre: float, gauss: float, lorentz: float, instrument: Instrument) -> Array:
    """Unit area of both wavelengths; sample sigma and half width (degrees) on top of the instrument's."""
    share = instrument.ka2_ratio / (1 + instrument.ka2_ratio)
    out = np.zeros_like(x)
    for wavelength, part in ((instrument.wavelength_A, 1 - share), (instrument.wavelength2_A, share)):
        sine = np.sin(np.deg2rad(centre) / 2) * wavelength / instrument.wavelength_A
        theta = np.arcsin(np.clip(sine, 0, 0.9999))
        tan = np.tan(theta)
        own = instrument.u_deg2 * tan**2 + instrument.v_deg2 * tan + instrument.w_deg2
        sigma = np.sqrt(gauss**2 + max(own, 0.0) * _TO_SIGMA**2)
        half = lorentz + (instrument.lorentz_x_deg / np.cos(theta) + instrument.lorentz_y_deg * tan) / 2
        out += part * voigt_profile(x - np.rad2deg(2 * theta), sigma, half)
    return out
