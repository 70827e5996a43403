"""Draw every line of every phase, and the derivatives of the pattern by every parameter (numba).

Bins are integrated, as the simulator does: near a line through the cumulative profile, in its tails
through the Lorentzian alone. Axial divergence and the flat specimen are sums over a few Gauss nodes of
their aberration functions; how many follows from the aberration's extent against the line's width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.aberrations import (
    Nodes,
    axial_extent,
    axial_node,
    most_points,
    points_for,
    quadrature,
)
from streamproc.models.powder.fit.kinds import OWN, SHARED
from streamproc.models.powder.fit.lines import (
    AREA,
    AXIAL,
    BY_AXIAL,
    BY_EQUATORIAL,
    BY_TAILS,
    EQUATORIAL,
    KA2,
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
from streamproc.models.powder.fit.profile import (
    CORE,
    NARROW,
    VALUE,
    add_core,
    add_narrow_core,
    add_pedestal,
    add_slopes,
    set_tail,
)

from streamproc.compiling import machine_code

__all__ = ["Nodes", "Reflections", "draw", "quadrature"]

Array = npt.NDArray[np.float64]

_DEG = 180.0 / math.pi
_LEAST_REACH = 8.0
_REACH = 250.0
"""Tails end after this many FWHM at most."""

_ROOM = 1.3
"""The near part is planned wider than needed now, as widths change while a fit runs."""

_LEAST_RATIO = 1e-9

_N_AXIAL, _N_FLAT, _TAIL, _NEAR, _LOW, _HIGH = range(6)

_SHARED, _OWN = len(SHARED), len(OWN)


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


@machine_code(error_model="numpy")
def _plan_line(plan, f, eta, relative, shared, optics, theta):  # pragma: no cover - compiled
    """Decide how far a line is drawn and with how many nodes.

    The plan stays while a descent lasts: were it made anew for every step, the cost would jump.
    """
    low, high, extent = axial_extent(optics.transmission, shared[AXIAL], math.cos(2.0 * theta), 2.0 * theta)
    flat = math.pi / 360.0 * shared[EQUATORIAL] ** 2 / math.tan(theta)
    most = most_points(relative)
    plan[_N_AXIAL], plan[_N_FLAT] = min(points_for(extent / f), most), min(points_for(flat / f), most)
    reach = 0.5 * math.sqrt(max(eta * relative / optics.level, 0.0))
    plan[_TAIL] = _ROOM * min(max(reach, _LEAST_REACH), _REACH) * f
    plan[_NEAR] = _ROOM * CORE * f
    plan[_LOW], plan[_HIGH] = _ROOM * (low + flat), _ROOM * high


@machine_code(error_model="numpy")
def _profile(lo, hi, widest, centre, f, eta, plan, axial, divergence, optics, theta, nodes, slopes, work):
    """Write one line's profile of unit area and its slopes to ``work``; returns the bins it covers."""
    # pragma: no cover - compiled
    cos2 = math.cos(2.0 * theta)
    by_divergence = math.pi / 180.0 * divergence / math.tan(theta)
    flat = 0.5 * by_divergence * divergence
    n1, n2 = int(plan[_N_AXIAL]), int(plan[_N_FLAT])
    reach, core = max(plan[_TAIL], _LEAST_REACH * f), max(plan[_NEAR], CORE * f)
    low, high = plan[_LOW], plan[_HIGH]
    start = np.searchsorted(hi, centre - reach - low)
    stop = np.searchsorted(lo, centre + reach + high)
    if stop <= start:
        return 0, 0
    inner = min(max(np.searchsorted(hi, centre - core - low), start), stop)
    outer = max(min(np.searchsorted(lo, centre + core + high), stop), inner)
    work[: 6 if slopes else 1, inner:outer] = 0.0
    mean = mean_axial = mean_flat = 0.0
    for j in range(n1):
        shift = slope = 0.0
        axial_weight = 1.0
        if axial != 0.0:
            shift, slope, axial_weight = axial_node(
                nodes, optics.transmission, n1, j, axial, cos2, 2.0 * theta
            )
        for k in range(n2):
            share = nodes.flat[n2 - 1, k]
            weight = axial_weight * nodes.flat_weight[n2 - 1, k]
            moved = shift + flat * share
            args = centre - moved, f, eta, weight, slope, by_divergence * share, slopes
            if widest <= NARROW * f:
                add_narrow_core(lo, hi, inner, outer, *args, work)
            else:
                add_core(lo, hi, inner, outer, *args, work)
            mean += weight * moved
            mean_axial += weight * slope
            mean_flat += weight * by_divergence * share
    for first, last in ((start, inner), (outer, stop)):
        set_tail(lo, hi, first, last, centre - mean, f, eta, mean_axial, mean_flat, slopes, work)
    return start, stop


@machine_code(error_model="numpy")
def _draw(design, jacobian, columns, scales, lo, hi, reflections, beam, optics, nodes, theta, plan):
    """Loop over reflections and emission lines; see :func:`draw`."""  # pragma: no cover - compiled
    shared = theta[:_SHARED]
    slopes, dq2, metric, cell = np.zeros((_SHARED + _OWN, 7)), np.zeros(6), np.zeros(12), np.zeros(6)
    work, widest = np.zeros((7, len(lo))), np.max(hi - lo)
    # at a ratio of zero the second line is not drawn, but it must still have a slope
    ratio, at = shared[KA2] if columns[KA2] < 0 else max(shared[KA2], _LEAST_RATIO), -1
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
            sloping = len(jacobian) > 0 and scales[p] != 0.0
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
                lo, hi, widest, centre, f, eta, plan[r, b], shared[AXIAL], shared[EQUATORIAL], optics, angle,
                nodes, sloping, work,
            )  # fmt: skip
            if tails:
                add_pedestal(lo, hi, start, stop, centre, optics.tails_deg, shared[TAILS], work)
            strength = reflections.strength[r] * texture * area * beam.share[b]
            out, value, height = design[p][start:stop], work[VALUE][start:stop], strength * group
            for i in range(len(out)):
                out[i] += height * value[i]
            if not sloping:
                continue
            slopes[_SHARED + MARCH, AREA] = by_texture / texture
            slopes[AXIAL, BY_AXIAL], slopes[EQUATORIAL, BY_EQUATORIAL] = 1.0, 1.0
            slopes[TAILS, BY_TAILS] = 1.0
            per = 1.0 / (1.0 + ratio)
            slopes[KA2, AREA] = (1.0 / max(ratio, _LEAST_RATIO) if beam.second[b] > 0.0 else 0.0) - per
            add_slopes(jacobian, columns, p, slopes, shape, height * scales[p], start, stop, work)


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
