"""One line's bins near its maximum and in its tails, with the slopes by position, width and shape (numba)."""

from __future__ import annotations

import math

from streamproc.models.powder.fit.kinds import OWN, SHARED
from streamproc.models.powder.fit.lines import AREA, BY_AXIAL, BY_EQUATORIAL, BY_TAILS, CENTRE, GAUSS, LORENTZ

from streamproc.compiling import machine_code

__all__ = [
    "AXIAL_ROW",
    "BY_CENTRE",
    "BY_ETA",
    "BY_FWHM",
    "CORE",
    "FLAT_ROW",
    "NARROW",
    "TAILS_ROW",
    "VALUE",
    "add_core",
    "add_narrow_core",
    "add_pedestal",
    "add_slopes",
    "set_tail",
]

_SHARED, _OWN = len(SHARED), len(OWN)

VALUE, BY_CENTRE, BY_FWHM, BY_ETA, AXIAL_ROW, FLAT_ROW, TAILS_ROW = range(7)
"""Rows of a line's work array: its profile of unit area and the profile's slopes."""

NARROW = 0.2
"""Bins narrower than this share of the FWHM are integrated by Simpson's rule, to 1e-4 of the height."""

CORE = 2.5
"""Beyond this many FWHM the Gaussian is below 3e-8 of its height."""

_STEEP, _GAUSS_HEIGHT = 4.0 * math.log(2.0), 2.0 * math.sqrt(math.log(2.0) / math.pi)
_FARTHEST = 64.0

_TAYLOR = tuple(math.exp(-0.5) * (-1) ** k / math.factorial(k) for k in range(12))
"""Of exp(-y) about y = 1/2: good to 3e-13 between 0 and 1."""


@machine_code(error_model="numpy", fastmath={"contract"})
def _falling(x):  # pragma: no cover - compiled
    """exp(-x) for x >= 0, to 3e-11 of itself, and 2e-28 beyond 64: without a branch or a call, so that the
    loop around it is done for several bins at once."""
    y = min(x, _FARTHEST) * (1.0 / 64.0) - 0.5
    e = _TAYLOR[11]
    e = e * y + _TAYLOR[10]
    e = e * y + _TAYLOR[9]
    e = e * y + _TAYLOR[8]
    e = e * y + _TAYLOR[7]
    e = e * y + _TAYLOR[6]
    e = e * y + _TAYLOR[5]
    e = e * y + _TAYLOR[4]
    e = e * y + _TAYLOR[3]
    e = e * y + _TAYLOR[2]
    e = e * y + _TAYLOR[1]
    e = e * y + _TAYLOR[0]
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    return e * e


@machine_code(error_model="numpy", fastmath={"contract"})
def add_narrow_core(lo, hi, first, last, centre, f, eta, weight, by_axial, by_flat, slopes, work):
    """As :func:`add_core` where every bin is narrow: Simpson's rule, each bin by itself.

    Whole rows are cut first and walked from zero: such loops are done for several bins at once.
    """
    # pragma: no cover - compiled
    per_f = 1.0 / f
    of_g, of_l = _GAUSS_HEIGHT * per_f, 2.0 / math.pi * per_f
    rest, sixth = 1.0 - eta, weight / 6.0
    lo, hi = lo[first:last], hi[first:last]
    value, ce, fw = work[VALUE][first:last], work[BY_CENTRE][first:last], work[BY_FWHM][first:last]
    et, ax, fl = work[BY_ETA][first:last], work[AXIAL_ROW][first:last], work[FLAT_ROW][first:last]
    if not slopes:
        for i in range(len(lo)):
            u, w = (lo[i] - centre) * per_f, (hi[i] - centre) * per_f
            v = 0.5 * (u + w)
            u2, v2, w2 = u * u, v * v, w * w
            a, b, c = 1.0 + 4.0 * u2, 1.0 + 4.0 * v2, 1.0 + 4.0 * w2
            lorentz = of_l * (b * c + 4.0 * a * c + a * b) / (a * b * c)
            gauss = of_g * (_falling(_STEEP * u2) + 4.0 * _falling(_STEEP * v2) + _falling(_STEEP * w2))
            value[i] += sixth * (rest * gauss + eta * lorentz)
        return
    for i in range(len(lo)):
        u, w = (lo[i] - centre) * per_f, (hi[i] - centre) * per_f
        v = 0.5 * (u + w)
        u2, v2, w2 = u * u, v * v, w * w
        a, b, c = 1.0 + 4.0 * u2, 1.0 + 4.0 * v2, 1.0 + 4.0 * w2
        once = of_l / (a * b * c)
        l_first, l_middle, l_last = once * (b * c), once * (a * c), once * (a * b)
        g_first, g_last = of_g * _falling(_STEEP * u2), of_g * _falling(_STEEP * w2)
        lorentz = sixth * (l_first + 4.0 * l_middle + l_last)
        gauss = sixth * (g_first + 4.0 * of_g * _falling(_STEEP * v2) + g_last)
        below, above = rest * g_first + eta * l_first, rest * g_last + eta * l_last
        per = weight / (hi[i] - lo[i])
        by_centre = per * (below - above)
        value[i] += rest * gauss + eta * lorentz
        ce[i] += by_centre
        fw[i] += per * (u * below - w * above)
        et[i] += lorentz - gauss
        ax[i] -= by_centre * by_axial
        fl[i] -= by_centre * by_flat


@machine_code(error_model="numpy")
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
        exact = width > NARROW * f
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


@machine_code(error_model="numpy", fastmath={"contract"})
def set_tail(lo, hi, first, last, centre, f, eta, by_axial, by_flat, slopes, work):
    """Set the bins far from the line: the Lorentzian alone, arctan of the small difference by its series."""
    # pragma: no cover - compiled
    twice, third, of_pi = 2.0 / f, 1.0 / 3.0, 1.0 / math.pi
    lo, hi = lo[first:last], hi[first:last]
    value, ce, fw = work[VALUE][first:last], work[BY_CENTRE][first:last], work[BY_FWHM][first:last]
    et, ax, fl = work[BY_ETA][first:last], work[AXIAL_ROW][first:last], work[FLAT_ROW][first:last]
    if not slopes:
        for i in range(len(lo)):
            a, b = twice * (lo[i] - centre), twice * (hi[i] - centre)
            width, across = hi[i] - lo[i], 1.0 + a * b
            both = 1.0 / (width * across)
            z = (b - a) * width * both
            value[i] = eta * of_pi * across * both * (z - third * z * z * z)
        return
    scale = eta * twice * of_pi
    for i in range(len(lo)):
        a, b = twice * (lo[i] - centre), twice * (hi[i] - centre)
        per = 1.0 / (hi[i] - lo[i])
        across, below, above = 1.0 + a * b, 1.0 + a * a, 1.0 + b * b
        both = below * above
        once = 1.0 / (across * both)
        z = (b - a) * both * once
        share = per * (z - third * z * z * z) * of_pi
        low, high = above * across * once, below * across * once
        by_centre = scale * per * (low - high)
        value[i] = eta * share
        ce[i] = by_centre
        fw[i] = 0.5 * scale * per * (a * low - b * high)
        et[i] = share
        ax[i] = -by_centre * by_axial
        fl[i] = -by_centre * by_flat


@machine_code(error_model="numpy")
def add_pedestal(lo, hi, first, last, centre, half, share, work):
    """Add the box that a wide weak source beside the focus makes, ``share`` of the line's area."""
    # pragma: no cover - compiled
    lo, hi = lo[first:last], hi[first:last]
    value, row = work[VALUE][first:last], work[TAILS_ROW][first:last]
    for i in range(len(lo)):
        covered = min(hi[i], centre + half) - max(lo[i], centre - half)
        box = max(covered, 0.0) / ((hi[i] - lo[i]) * 2.0 * half)
        row[i] = box
        value[i] += share * box


@machine_code(error_model="numpy", fastmath={"contract"})
def add_slopes(jacobian, columns, phase, slopes, shape, height, first, last, work):
    """Add the line's derivative by each refined parameter that moves it."""
    # pragma: no cover - compiled
    _, _, f_g, f_l, e_g, e_l = shape
    value, ce, fw = work[VALUE][first:last], work[BY_CENTRE][first:last], work[BY_FWHM][first:last]
    et, ax, fl = work[BY_ETA][first:last], work[AXIAL_ROW][first:last], work[FLAT_ROW][first:last]
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
        out = jacobian[row][first:last]
        if slopes[m, BY_TAILS] != 0.0:
            pedestal = work[TAILS_ROW][first:last]
            for i in range(len(out)):
                out[i] += height * pedestal[i]
        elif axial != 0.0 or equatorial != 0.0:
            for i in range(len(out)):
                out[i] += axial * ax[i] + equatorial * fl[i]
        elif by_fwhm == 0.0 and by_eta == 0.0 and by_area == 0.0:
            if by_centre != 0.0:
                for i in range(len(out)):
                    out[i] += by_centre * ce[i]
        elif by_centre == 0.0 and by_fwhm == 0.0 and by_eta == 0.0:
            for i in range(len(out)):
                out[i] += by_area * value[i]
        elif by_centre == 0.0 and by_area == 0.0:
            for i in range(len(out)):
                out[i] += by_fwhm * fw[i] + by_eta * et[i]
        else:
            for i in range(len(out)):
                out[i] += by_centre * ce[i] + by_fwhm * fw[i] + by_eta * et[i] + by_area * value[i]
