"""Draw every line of every phase, and the derivatives of the pattern by every parameter (numba).

Bins are integrated, as the simulator does: near a line through the cumulative profile, in its tails
through the Lorentzian alone. Axial divergence and the flat specimen are sums over a few Gauss nodes of
their aberration functions; how many follows from the aberration's extent against the line's width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.kinds import OWN, SHARED
from streamproc.models.powder.fit.lines import (
    AREA,
    AXIAL,
    BY_AXIAL,
    BY_EQUATORIAL,
    BY_TAILS,
    CENTRE,
    EQUATORIAL,
    GAUSS,
    KA2,
    LORENTZ,
    MARCH,
    TAILS,
    Beam,
    Optics,
    line_numbers,
    march_factor,
    reciprocal,
    reflection_numbers,
    voigt_shape,
)

__all__ = ["Nodes", "Reflections", "draw", "quadrature"]

Array = npt.NDArray[np.float64]

_DEG = 180.0 / math.pi
_CORE = 2.5
"""Beyond this many FWHM the Gaussian is below 3e-8 of its height."""

_LEAST_REACH = 8.0
_REACH = 250.0
"""Tails end after this many FWHM at most."""

_COSINES = 41
_ROOM = 1.3
"""The near part is planned wider than needed now, as widths change while a fit runs."""

_N_AXIAL, _N_FLAT, _TAIL, _NEAR, _LOW, _HIGH = range(6)

_SHARED, _OWN = len(SHARED), len(OWN)
_VALUE, _BY_CENTRE, _BY_FWHM, _BY_ETA, _AXIAL, _EQUATORIAL, _TAILS = range(7)


class Reflections(NamedTuple):
    """Reflections of the fitted phases, one after the other, and what they hang on.

    ``phase`` (n,), ``hkl`` (n, 3), ``strength`` (n,), ``relative`` (n, l): intensity over the phase's
    strongest, which says how far the tails are drawn; ``cosine``, ``members``, ``first``: texture;
    ``cells`` (p, 6) and ``moves`` (p, 6, 6): reference cells and free parameters.
    """

    phase: npt.NDArray[np.int64]
    hkl: Array
    strength: Array
    relative: Array
    cosine: Array
    members: Array
    first: npt.NDArray[np.int64]
    cells: Array
    moves: Array


class Nodes(NamedTuple):
    """Gauss nodes and weights for 1 to 12 points, shape (12, 12), or one such rule for each cosine of
    2theta between -1 and 1, shape (c, 12, 12)."""

    cone: Array
    cone_weight: Array
    soller: Array
    soller_weight: Array
    flat: Array
    flat_weight: Array


def quadrature() -> Nodes:
    """Return Gauss rules in the shift for the aberrations, in units of the largest or typical shift.

    ``cone``: parallel beam, specimen and slit of equal height: proportional to t^2, t uniform with weight
    2 (1 - t) (Finger, Cox & Jephcoat 1994, J. Appl. Cryst. 27, 892, to first order in height over radius).
    ``soller``: Bragg-Brentano with axial angles a and b before and behind the specimen, each with the
    triangular transmission of Soller slits: (a^2 + b^2) / 2 cos(2theta) - a b, over sin(2theta), to second
    order in the angles (Cheary & Coelho 1998, J. Appl. Cryst. 31, 851). ``flat``: the flat specimen, t^2 with
    t uniform (Cheary & Coelho 1992, J. Appl. Cryst. 25, 109).
    """
    t, w = np.polynomial.legendre.leggauss(48)
    u, v = (t + 1) / 2, w / 2
    before, behind = np.repeat(u, t.size), np.tile(t, u.size)
    weight = np.repeat(v * (1 - u) * 2, t.size) * np.tile(w * (1 - np.abs(t)), u.size)
    cosines = np.linspace(-1, 1, _COSINES)
    soller = [_gauss((before**2 + behind**2) / 2 * c - before * behind, weight) for c in cosines]
    return Nodes(
        *_gauss(u**2, v * 2 * (1 - u)),
        np.array([nodes for nodes, _ in soller]),
        np.array([shares for _, shares in soller]),
        *_gauss(u**2, v),
    )


def _gauss(points: Array, weights: Array) -> tuple[Array, Array]:
    """Gauss rules of 1 to 12 points for a discrete measure (Stieltjes recursion, Golub & Welsch 1969)."""
    nodes, shares = np.zeros((12, 12)), np.zeros((12, 12))
    diagonal, off = [], []
    before, now = np.zeros_like(points), np.ones_like(points)
    norm_before = 1.0
    for n in range(12):
        norm = float(np.sum(weights * now**2))
        diagonal.append(float(np.sum(weights * points * now**2)) / norm)
        if n:
            off.append(np.sqrt(norm / norm_before))
        following = (points - diagonal[-1]) * now - (norm / norm_before if n else 0.0) * before
        before, now, norm_before = now, following, norm
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
        nodes[n, : n + 1], shares[n, : n + 1] = values, vectors[0] ** 2
    return nodes, shares


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _points(extent):  # pragma: no cover - compiled
    """How many Gauss nodes an aberration of this extent (in FWHM) needs."""
    if extent < 0.08:
        return 1
    if extent < 0.3:
        return 2
    if extent < 0.6:
        return 3
    if extent < 1.2:
        return 4
    if extent < 2.5:
        return 6
    if extent < 4.0:
        return 8
    return 12


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _most_points(relative):  # pragma: no cover - compiled
    """How many Gauss nodes a line of this intensity (over the phase's strongest) is worth."""
    if relative > 0.1:
        return 12
    return 4 if relative > 0.02 else 2


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _cone_shift(axial, share, cos2, two_theta):  # pragma: no cover - compiled
    """Shift to lower angles (degrees) of a ray that leaves the equator, and its slope by ``axial``."""
    root = math.sqrt(1.0 + 4.0 * axial * axial * share)
    inner = cos2 * root
    if inner > 0.999999 or inner < -0.999999:
        return 0.0, 0.0
    angle = math.acos(inner)
    return (two_theta - angle) * _DEG, _DEG * cos2 * 4.0 * axial * share / (root * math.sin(angle))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _axial_node(nodes, transmission, n, j, axial, cos2, two_theta):  # pragma: no cover - compiled
    """Shift to lower angles (degrees), its slope by ``axial``, and weight of node ``j`` of ``n``."""
    if transmission:
        shift, slope = _cone_shift(axial, nodes.cone[n - 1, j], cos2, two_theta)
        return shift, slope, nodes.cone_weight[n - 1, j]
    place = 0.5 * (cos2 + 1.0) * (_COSINES - 1)
    k = min(int(place), _COSINES - 2)
    part = place - k
    unit = (1.0 - part) * nodes.soller[k, n - 1, j] + part * nodes.soller[k + 1, n - 1, j]
    weight = (1.0 - part) * nodes.soller_weight[k, n - 1, j] + part * nodes.soller_weight[k + 1, n - 1, j]
    scale = _DEG * unit / math.sin(two_theta)
    return scale * axial * axial, 2.0 * scale * axial, weight


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _core(lo, hi, first, last, centre, f, eta, weight, by_axial, by_equatorial, work):
    """Add one node's bins near the line: value and slopes by position, FWHM, share and both aberrations."""
    # pragma: no cover - compiled
    root = math.sqrt(math.log(2.0))
    height_g, height_l = 2.0 * root / (math.sqrt(math.pi) * f), 2.0 / (math.pi * f)
    edge = math.nan
    cdf = pdf = upd = dif = 0.0
    for i in range(first, last):
        if lo[i] != edge:
            u = (lo[i] - centre) / f
            lorentz, gauss = math.atan(2.0 * u) / math.pi, 0.5 * math.erf(2.0 * root * u)
            cdf, dif = gauss + eta * (lorentz - gauss), lorentz - gauss
            g, l = height_g * math.exp(-4.0 * root * root * u * u), height_l / (1.0 + 4.0 * u * u)  # noqa: E741
            pdf = g + eta * (l - g)
            upd = u * pdf
        edge = hi[i]
        u = (edge - centre) / f
        lorentz, gauss = math.atan(2.0 * u) / math.pi, 0.5 * math.erf(2.0 * root * u)
        g, l = height_g * math.exp(-4.0 * root * root * u * u), height_l / (1.0 + 4.0 * u * u)  # noqa: E741
        cdf2, dif2, pdf2 = gauss + eta * (lorentz - gauss), lorentz - gauss, g + eta * (l - g)
        upd2 = u * pdf2
        per = weight / (hi[i] - lo[i])
        by_centre = per * (pdf - pdf2)
        work[_VALUE, i] += per * (cdf2 - cdf)
        work[_BY_CENTRE, i] += by_centre
        work[_BY_FWHM, i] += per * (upd - upd2)
        work[_BY_ETA, i] += per * (dif2 - dif)
        work[_AXIAL, i] -= by_centre * by_axial
        work[_EQUATORIAL, i] -= by_centre * by_equatorial
        cdf, dif, pdf, upd = cdf2, dif2, pdf2, upd2


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _tail(lo, hi, first, last, centre, f, eta, by_axial, by_equatorial, work):
    """Set the bins far from the line: the Lorentzian alone, arctan of the small difference by its series."""
    # pragma: no cover - compiled
    for i in range(first, last):
        a, b = 2.0 * (lo[i] - centre) / f, 2.0 * (hi[i] - centre) / f
        per = 1.0 / (hi[i] - lo[i])
        z = (b - a) / (1.0 + a * b)
        share = per * (z - z * z * z / 3.0) / math.pi
        low, high = 1.0 / (1.0 + a * a), 1.0 / (1.0 + b * b)
        scale = eta * per * 2.0 / (math.pi * f)
        by_centre = scale * (low - high)
        work[_VALUE, i] = eta * share
        work[_BY_CENTRE, i] = by_centre
        work[_BY_FWHM, i] = 0.5 * scale * (a * low - b * high)
        work[_BY_ETA, i] = share
        work[_AXIAL, i] = -by_centre * by_axial
        work[_EQUATORIAL, i] = -by_centre * by_equatorial


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _axial_extent(transmission, axial, cos2, two_theta):  # pragma: no cover - compiled
    """Largest shifts to lower and to higher angles (degrees, both positive), and the extent that counts."""
    if axial == 0.0:
        return 0.0, 0.0, 0.0
    if transmission:
        far, _ = _cone_shift(axial, 1.0, cos2, two_theta)
        return max(far, 0.0), max(-far, 0.0), abs(far)
    scale = _DEG * axial * axial / math.sin(two_theta)
    # the corners, both angles at the limit of the slits, carry next to nothing
    return 0.7 * scale * (1.0 + cos2), 0.7 * scale * (1.0 - cos2), 1.4 * scale


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _plan_line(plan, f, eta, relative, shared, optics, theta):  # pragma: no cover - compiled
    """Decide how far a line is drawn and with how many nodes.

    The plan stays while a descent lasts: were it made anew for every step, the cost would jump.
    """
    low, high, extent = _axial_extent(optics.transmission, shared[AXIAL], math.cos(2.0 * theta), 2.0 * theta)
    flat = math.pi / 360.0 * shared[EQUATORIAL] ** 2 / math.tan(theta)
    most = _most_points(relative)
    plan[_N_AXIAL], plan[_N_FLAT] = min(_points(extent / f), most), min(_points(flat / f), most)
    reach = 0.5 * math.sqrt(max(eta * relative / optics.level, 0.0))
    plan[_TAIL] = _ROOM * min(max(reach, _LEAST_REACH), _REACH) * f
    plan[_NEAR] = _ROOM * _CORE * f
    plan[_LOW], plan[_HIGH] = _ROOM * (low + flat), _ROOM * high


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _profile(lo, hi, centre, f, eta, plan, axial, divergence, optics, theta, nodes, work):
    """Write one line's profile of unit area and its slopes to ``work``; returns the bins it covers."""
    # pragma: no cover - compiled
    cos2 = math.cos(2.0 * theta)
    by_divergence = math.pi / 180.0 * divergence / math.tan(theta)
    flat = 0.5 * by_divergence * divergence
    n1, n2 = int(plan[_N_AXIAL]), int(plan[_N_FLAT])
    reach, core = max(plan[_TAIL], _LEAST_REACH * f), max(plan[_NEAR], _CORE * f)
    low, high = plan[_LOW], plan[_HIGH]
    start = np.searchsorted(hi, centre - reach - low)
    stop = np.searchsorted(lo, centre + reach + high)
    if stop <= start:
        return 0, 0
    inner = min(max(np.searchsorted(hi, centre - core - low), start), stop)
    outer = max(min(np.searchsorted(lo, centre + core + high), stop), inner)
    work[:, inner:outer] = 0.0
    mean = mean_axial = mean_flat = 0.0
    for j in range(n1):
        shift = slope = 0.0
        axial_weight = 1.0
        if axial != 0.0:
            shift, slope, axial_weight = _axial_node(
                nodes, optics.transmission, n1, j, axial, cos2, 2.0 * theta
            )
        for k in range(n2):
            share = nodes.flat[n2 - 1, k]
            weight = axial_weight * nodes.flat_weight[n2 - 1, k]
            moved = shift + flat * share
            _core(lo, hi, inner, outer, centre - moved, f, eta, weight, slope, by_divergence * share, work)
            mean += weight * moved
            mean_axial += weight * slope
            mean_flat += weight * by_divergence * share
    _tail(lo, hi, start, inner, centre - mean, f, eta, mean_axial, mean_flat, work)
    _tail(lo, hi, outer, stop, centre - mean, f, eta, mean_axial, mean_flat, work)
    return start, stop


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _pedestal(lo, hi, start, stop, centre, half, share, work):
    """Add the box that a wide weak source beside the focus makes, ``share`` of the line's area."""
    # pragma: no cover - compiled
    for i in range(start, stop):
        covered = min(hi[i], centre + half) - max(lo[i], centre - half)
        box = max(covered, 0.0) / ((hi[i] - lo[i]) * 2.0 * half)
        work[_TAILS, i] = box
        work[_VALUE, i] += share * box


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_slopes(jacobian, columns, phase, slopes, shape, height, start, stop, work):
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
                out[i] += height * work[_TAILS, i]
        elif axial != 0.0 or equatorial != 0.0:
            for i in range(start, stop):
                out[i] += axial * work[_AXIAL, i] + equatorial * work[_EQUATORIAL, i]
        elif by_fwhm == 0.0 and by_eta == 0.0 and by_area == 0.0:
            for i in range(start, stop):
                out[i] += by_centre * work[_BY_CENTRE, i]
        else:
            for i in range(start, stop):
                out[i] += (
                    by_centre * work[_BY_CENTRE, i]
                    + by_fwhm * work[_BY_FWHM, i]
                    + by_eta * work[_BY_ETA, i]
                    + by_area * work[_VALUE, i]
                )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _draw(design, jacobian, columns, scales, lo, hi, reflections, beam, optics, nodes, theta, plan):
    """Loop over reflections and emission lines; see :func:`draw`."""  # pragma: no cover - compiled
    shared = theta[:_SHARED]
    slopes, dq2, metric, cell = np.zeros((_SHARED + _OWN, 7)), np.zeros(6), np.zeros(12), np.zeros(6)
    work = np.zeros((7, len(lo)))
    ratio, at = shared[KA2], -1
    for r in range(len(reflections.strength)):
        p = reflections.phase[r]
        own = theta[_SHARED + p * _OWN : _SHARED + (p + 1) * _OWN]
        if p != at:
            at = p
            for i in range(6):
                cell[i] = reflections.cells[p, i]
                for j in range(6):
                    cell[i] += reflections.moves[p, i, j] * own[j]
            reciprocal(cell, metric)
        q2 = reflection_numbers(reflections.hkl[r], cell, metric, reflections.moves[p], dq2)
        texture, by_texture = march_factor(
            reflections.cosine,
            reflections.members,
            reflections.first[r],
            reflections.first[r + 1],
            own[MARCH],
        )
        for b in range(len(beam.wavelength)):
            if 0.5 * beam.wavelength[b] * math.sqrt(q2) > 0.9999:
                continue
            group = ratio / (1.0 + ratio) if beam.second[b] > 0.0 else 1.0 / (1.0 + ratio)
            if group <= 0.0 and columns[KA2] < 0:
                continue
            centre, gauss, lorentz, area, angle = line_numbers(
                shared, own, optics, beam.wavelength[b], beam.fwhm[b], q2, dq2, slopes
            )
            shape = voigt_shape(gauss, lorentz)
            f, eta = shape[0], shape[1]
            tails = shared[TAILS] > 0.0 or columns[TAILS] >= 0
            if plan[r, b, _N_AXIAL] == 0.0:
                _plan_line(plan[r, b], f, eta, reflections.relative[r, b], shared, optics, angle)
                if tails:
                    plan[r, b, _TAIL] = max(plan[r, b, _TAIL], optics.tails_deg)
            start, stop = _profile(
                lo,
                hi,
                centre,
                f,
                eta,
                plan[r, b],
                shared[AXIAL],
                shared[EQUATORIAL],
                optics,
                angle,
                nodes,
                work,
            )
            if tails:
                _pedestal(lo, hi, start, stop, centre, optics.tails_deg, shared[TAILS], work)
            strength = reflections.strength[r] * texture * area * beam.share[b]
            out = design[p]
            for i in range(start, stop):
                out[i] += strength * group * work[_VALUE, i]
            if len(jacobian) == 0 or scales[p] == 0.0:
                continue
            slopes[_SHARED + MARCH, AREA] = by_texture / texture
            slopes[AXIAL, BY_AXIAL], slopes[EQUATORIAL, BY_EQUATORIAL] = 1.0, 1.0
            slopes[TAILS, BY_TAILS] = 1.0
            per = 1.0 / (1.0 + ratio)
            slopes[KA2, AREA] = (1.0 / max(ratio, 1e-3) if beam.second[b] > 0.0 else 0.0) - per
            _add_slopes(jacobian, columns, p, slopes, shape, strength * group * scales[p], start, stop, work)


def draw(
    theta: Array,
    reflections: Reflections,
    beam: Beam,
    optics: Optics,
    nodes: Nodes,
    lo: Array,
    hi: Array,
    columns: npt.NDArray[np.int64] | None = None,
    scales: Array | None = None,
    plan: Array | None = None,
) -> tuple[Array, Array]:
    """Draw the patterns of all phases per unit weight and, with ``columns``, the derivatives of their sum.

    Parameters
    ----------
    theta : ndarray, shape (shared + phases * own,)
        Parameters in the order of :mod:`~.kinds`.
    reflections, beam, optics, nodes
        What is drawn, with what.
    lo, hi : ndarray, shape (n,)
        Edges of the bins (degrees 2theta), rising.
    columns : ndarray of int, shape like ``theta``, optional
        Row of the derivatives for each parameter; -1 where it is not refined.
    scales : ndarray, shape (phases,), optional
        Weights the derivatives are taken with.
    plan : ndarray, shape (reflections, lines, 6), optional
        How far and how finely each line is drawn; filled in where it is zero.

    Returns
    -------
    design : ndarray, shape (phases, n)
        Mean intensity per degree in each bin.
    jacobian : ndarray, shape (rows, n)
        Derivatives; no rows without ``columns``.
    """
    design = np.zeros((len(reflections.cells), lo.size))
    if columns is None or scales is None:
        columns, scales = np.full(theta.size, -1), np.zeros(len(design))
    jacobian = np.zeros((int(columns.max(initial=-1)) + 1, lo.size))
    if plan is None:
        plan = np.zeros((len(reflections.strength), len(beam.wavelength), 6))
    _draw(design, jacobian, columns, scales, lo, hi, reflections, beam, optics, nodes, theta, plan)
    return design, jacobian
