"""One line's bins near its maximum and in its tails, with the slopes by position, width and shape (numba)."""

from __future__ import annotations

import math

import numba
from streamproc.models.powder.fit.kinds import OWN, SHARED
from streamproc.models.powder.fit.lines import AREA, BY_AXIAL, BY_EQUATORIAL, BY_TAILS, CENTRE, GAUSS, LORENTZ

__all__ = [
    "AXIAL_ROW",
    "BY_CENTRE",
    "BY_ETA",
    "BY_FWHM",
    "CORE",
    "FLAT_ROW",
    "TAILS_ROW",
    "VALUE",
    "add_core",
    "add_pedestal",
    "add_slopes",
    "set_tail",
]

_SHARED, _OWN = len(SHARED), len(OWN)

VALUE, BY_CENTRE, BY_FWHM, BY_ETA, AXIAL_ROW, FLAT_ROW, TAILS_ROW = range(7)
"""Rows of a line's work array: its profile of unit area and the profile's slopes."""

_NARROW = 0.2
"""Bins narrower than this share of the FWHM are integrated by Simpson's rule, to 1e-4 of the height."""

CORE = 2.5
"""Beyond this many FWHM the Gaussian is below 3e-8 of its height."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_core(lo, hi, first, last, centre, f, eta, weight, by_axial, by_flat, slopes, work):
    """Add one node's bins near the line: value and slopes by position, FWHM, share and both aberrations.

    Bins much narrower than the line are integrated by Simpson's rule, others through the cumulative profile.
    """
    # pragma: no cover - compiled
    root = math.sqrt(math.log(2.0))
    height_g, height_l = 2.0 * root / (math.sqrt(math.pi) * f), 2.0 / (math.pi * f)
    steep, per_f = -4.0 * root * root, 1.0 / f
    edge = math.nan
    u = gauss = lorentz = pdf = below_g = below_l = 0.0
    exact_before = False
    for i in range(first, last):
        width = hi[i] - lo[i]
        exact = width > _NARROW * f
        if lo[i] != edge or exact != exact_before:
            u = (lo[i] - centre) * per_f
            gauss, lorentz = height_g * math.exp(steep * u * u), height_l / (1.0 + 4.0 * u * u)
            pdf = gauss + eta * (lorentz - gauss)
            if exact:
                below_g, below_l = 0.5 * math.erf(2.0 * root * u), math.atan(2.0 * u) / math.pi
        edge, exact_before = hi[i], exact
        u2 = (edge - centre) * per_f
        gauss2, lorentz2 = height_g * math.exp(steep * u2 * u2), height_l / (1.0 + 4.0 * u2 * u2)
        pdf2 = gauss2 + eta * (lorentz2 - gauss2)
        per = weight / width
        if exact:
            above_g, above_l = 0.5 * math.erf(2.0 * root * u2), math.atan(2.0 * u2) / math.pi
            part_g, part_l = per * (above_g - below_g), per * (above_l - below_l)
            below_g, below_l = above_g, above_l
        else:
            v = 0.5 * (u + u2)
            sixth = weight / 6.0
            part_g = sixth * (gauss + 4.0 * height_g * math.exp(steep * v * v) + gauss2)
            part_l = sixth * (lorentz + 4.0 * height_l / (1.0 + 4.0 * v * v) + lorentz2)
        work[VALUE, i] += part_g + eta * (part_l - part_g)
        if slopes:
            by_centre = per * (pdf - pdf2)
            work[BY_CENTRE, i] += by_centre
            work[BY_FWHM, i] += per * (u * pdf - u2 * pdf2)
            work[BY_ETA, i] += part_l - part_g
            work[AXIAL_ROW, i] -= by_centre * by_axial
            work[FLAT_ROW, i] -= by_centre * by_flat
        u, gauss, lorentz, pdf = u2, gauss2, lorentz2, pdf2


@numba.njit(cache=True, nogil=True, error_model="numpy")
def set_tail(lo, hi, first, last, centre, f, eta, by_axial, by_flat, slopes, work):
    """Set the bins far from the line: the Lorentzian alone, arctan of the small difference by its series."""
    # pragma: no cover - compiled
    twice = 2.0 / f
    if not slopes:
        for i in range(first, last):
            a, b = twice * (lo[i] - centre), twice * (hi[i] - centre)
            z = (b - a) / (1.0 + a * b)
            work[VALUE, i] = eta * (z - z * z * z / 3.0) / (math.pi * (hi[i] - lo[i]))
        return
    for i in range(first, last):
        a, b = twice * (lo[i] - centre), twice * (hi[i] - centre)
        per = 1.0 / (hi[i] - lo[i])
        z = (b - a) / (1.0 + a * b)
        share = per * (z - z * z * z / 3.0) / math.pi
        low, high = 1.0 / (1.0 + a * a), 1.0 / (1.0 + b * b)
        scale = eta * per * twice / math.pi
        by_centre = scale * (low - high)
        work[VALUE, i] = eta * share
        work[BY_CENTRE, i] = by_centre
        work[BY_FWHM, i] = 0.5 * scale * (a * low - b * high)
        work[BY_ETA, i] = share
        work[AXIAL_ROW, i] = -by_centre * by_axial
        work[FLAT_ROW, i] = -by_centre * by_flat


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_pedestal(lo, hi, start, stop, centre, half, share, work):
    """Add the box that a wide weak source beside the focus makes, ``share`` of the line's area."""
    # pragma: no cover - compiled
    for i in range(start, stop):
        covered = min(hi[i], centre + half) - max(lo[i], centre - half)
        box = max(covered, 0.0) / ((hi[i] - lo[i]) * 2.0 * half)
        work[TAILS_ROW, i] = box
        work[VALUE, i] += share * box


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_slopes(jacobian, columns, phase, slopes, shape, height, start, stop, work):
    """Add the line's derivative by each refined parameter that moves it."""
    # pragma: no cover - compiled
    _, _, f_g, f_l, e_g, e_l = shape
    for m in range(_SHARED + _OWN):
        place = m if m < _SHARED else m + phase * _OWN
        row = columns[place]
        if row < 0:
            continue
        by_centre = height * slopes[m, CENTRE]
        by_fwhm = height * (slopes[m, GAUSS] * f_g + slopes[m, LORENTZ] * f_l)
        by_eta = height * (slopes[m, GAUSS] * e_g + slopes[m, LORENTZ] * e_l)
        by_area = height * slopes[m, AREA]
        axial, equatorial = height * slopes[m, BY_AXIAL], height * slopes[m, BY_EQUATORIAL]
        out = jacobian[row]
        if slopes[m, BY_TAILS] != 0.0:
            for i in range(start, stop):
                out[i] += height * work[TAILS_ROW, i]
        elif axial != 0.0 or equatorial != 0.0:
            for i in range(start, stop):
                out[i] += axial * work[AXIAL_ROW, i] + equatorial * work[FLAT_ROW, i]
        elif by_fwhm == 0.0 and by_eta == 0.0 and by_area == 0.0:
            for i in range(start, stop):
                out[i] += by_centre * work[BY_CENTRE, i]
        else:
            for i in range(start, stop):
                out[i] += (
                    by_centre * work[BY_CENTRE, i]
                    + by_fwhm * work[BY_FWHM, i]
                    + by_eta * work[BY_ETA, i]
                    + by_area * work[VALUE, i]
                )
