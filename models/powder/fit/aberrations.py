"""Axial divergence and the flat specimen as sums over a few Gauss nodes of their functions (numba)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["Nodes", "axial_extent", "axial_node", "most_points", "points_for", "quadrature"]

Array = npt.NDArray[np.float64]

_DEG = 180.0 / math.pi
_COSINES = 41


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


@machine_code(error_model="numpy")
def points_for(extent):  # pragma: no cover - compiled
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


@machine_code(error_model="numpy")
def most_points(relative):  # pragma: no cover - compiled
    """How many Gauss nodes a line of this intensity (over the phase's strongest) is worth."""
    if relative > 0.1:
        return 12
    return 4 if relative > 0.02 else 2


@machine_code(error_model="numpy")
def _cone_shift(axial, share, cos2, two_theta):  # pragma: no cover - compiled
    """Shift to lower angles (degrees) of a ray that leaves the equator, and its slope by ``axial``."""
    root = math.sqrt(1.0 + 4.0 * axial * axial * share)
    inner = cos2 * root
    if inner > 0.999999 or inner < -0.999999:
        return 0.0, 0.0
    angle = math.acos(inner)
    return (two_theta - angle) * _DEG, _DEG * cos2 * 4.0 * axial * share / (root * math.sin(angle))


@machine_code(error_model="numpy")
def axial_node(nodes, transmission, n, j, axial, cos2, two_theta):  # pragma: no cover - compiled
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


@machine_code(error_model="numpy")
def axial_extent(transmission, axial, cos2, two_theta):  # pragma: no cover - compiled
    """Largest shifts to lower and to higher angles (degrees, both positive), and the extent that counts."""
    if axial == 0.0:
        return 0.0, 0.0, 0.0
    if transmission:
        far, _ = _cone_shift(axial, 1.0, cos2, two_theta)
        return max(far, 0.0), max(-far, 0.0), abs(far)
    scale = _DEG * axial * axial / math.sin(two_theta)
    # the corners, both angles at the limit of the slits, carry next to nothing
    return 0.7 * scale * (1.0 + cos2), 0.7 * scale * (1.0 - cos2), 1.4 * scale
