"""Single lines of a pattern fitted alone, the instrument taken off: what the classical plots start from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.special import voigt_profile
from streamproc.models.defects.dislocations.plots import LineFit
from streamproc.models.defects.material import Material
from streamproc.models.powder.optics import Instrument

__all__ = ["fit_lines"]

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
        values = two_theta_deg[part], intensity[part], variance[part]
        line = _one(*values, tuple(int(i) for i in material.hkl[row]), instrument)
        if line is not None:
            out.append(line)
    return out


def _one(
    x: Array, y: Array, variance: Array, hkl: tuple[int, int, int], instrument: Instrument
) -> LineFit | None:
    """One line; None where it is not five standard deviations high or its breadth is not determined."""
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
    gauss, lorentz = abs(found.x[2]), abs(found.x[3])
    breadth = 1 / float(voigt_profile(0.0, gauss, max(lorentz, 1e-9)))
    error = np.sqrt(2 * np.pi * covariance[2, 2] + np.pi**2 * covariance[3, 3] + 1e-30)
    theta = np.deg2rad(found.x[1]) / 2
    scale_s = np.deg2rad(1.0) * np.cos(theta) * 10 / instrument.wavelength_A
    relative = float(np.clip(error / breadth, 0.005, 1.0))
    return LineFit(hkl, float(20 / instrument.wavelength_A * np.sin(theta)), breadth * scale_s, relative)


def _doublet(x: Array, centre: float, gauss: float, lorentz: float, instrument: Instrument) -> Array:
    """Unit area of both wavelengths; sample sigma and half width (degrees) on top of the instrument's."""
    share = instrument.ka2_ratio / (1 + instrument.ka2_ratio)
    out = np.zeros_like(x)
    for wavelength, part in ((instrument.wavelength_A, 1 - share), (instrument.wavelength2_A, share)):
        sine = np.sin(np.deg2rad(centre) / 2) * wavelength / instrument.wavelength_A
        theta = np.arcsin(np.clip(sine, 0, 0.9999))
        tan = np.tan(theta)
        own = instrument.u_deg2 * tan**2 + instrument.v_deg2 * tan + instrument.w_deg2
        sigma = np.sqrt(gauss**2 + max(own, 1e-6) * _TO_SIGMA**2)
        half = lorentz + (instrument.lorentz_x_deg / np.cos(theta) + instrument.lorentz_y_deg * tan) / 2
        out += part * voigt_profile(x - np.rad2deg(2 * theta), sigma, half)
    return out
