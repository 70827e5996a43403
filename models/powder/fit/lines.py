"""Where a reflection lies, how wide and how strong it is, and the slopes of all that (numba).

Angles are in degrees 2theta unless a name says otherwise; ``theta`` itself is in radians.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.kinds import CELL, OWN, SHARED

from streamproc.compiling import machine_code

__all__ = ["Beam", "Optics", "line_numbers", "reflection_numbers", "voigt_shape"]

Array = npt.NDArray[np.float64]

_DEG = 180.0 / math.pi
_SHERRER = 0.09
"""Scherrer's constant 0.9, with the wavelength in angstrom and the size in nanometres."""

(
    ZERO, DISPLACEMENT, SHIFT2, WIDTH, U, V, X, Y, AXIAL, EQUATORIAL, TAILS, KA2, POLARISATION, ABSORPTION,
) = range(len(SHARED))  # fmt: skip
SIZE, STRAIN, MARCH, DELTA_B = range(CELL, len(OWN))

CENTRE, GAUSS, LORENTZ, AREA, BY_AXIAL, BY_EQUATORIAL, BY_TAILS = range(7)
"""Columns of slopes: of position, Gaussian width, Lorentzian width, logarithm of the area, and the two
aberrations that are drawn by quadrature."""

_FLOOR = 0.03
_FLOOR_LORENTZ = 1e-6


class Beam(NamedTuple):
    """Emission lines as arrays, shape (l,): wavelength (angstrom), share in the group, FWHM (angstrom),
    group."""

    wavelength: Array
    share: Array
    fwhm: Array
    second: Array


class Optics(NamedTuple):
    """What is fixed about the diffractometer: geometry (0 Bragg-Brentano, 1 Debye-Scherrer), radius (mm),
    Lorentz factor in the data (1) or not (0), and the level at which tails end (share of the strongest
    line)."""

    transmission: int
    radius_mm: float
    lorentz: int
    level: float
    tails_deg: float


@machine_code(error_model="numpy")
def reciprocal(cell, metric):  # pragma: no cover - compiled
    """Write the reciprocal metric (six distinct elements) and the cell's cosines and sines to ``metric``."""
    a, b, c = cell[0], cell[1], cell[2]
    for k in range(3):
        metric[6 + k] = math.cos(cell[3 + k] / _DEG)
        metric[9 + k] = math.sin(cell[3 + k] / _DEG)
    ca, cb, cg = metric[6], metric[7], metric[8]
    det = 1.0 - ca * ca - cb * cb - cg * cg + 2.0 * ca * cb * cg
    metric[0] = (1.0 - ca * ca) / (a * a * det)
    metric[1] = (1.0 - cb * cb) / (b * b * det)
    metric[2] = (1.0 - cg * cg) / (c * c * det)
    metric[3] = (ca * cb - cg) / (a * b * det)
    metric[4] = (ca * cg - cb) / (a * c * det)
    metric[5] = (cb * cg - ca) / (b * c * det)


@machine_code(error_model="numpy")
def reflection_numbers(hkl, cell, metric, moves, dq2):  # pragma: no cover
    """Return 1/d^2 of a reflection and write its slopes by the free cell parameters to ``dq2``.

    With y = G* h the derivative of h G* h is -y dG y, G the direct metric.
    """
    h, k, l = hkl[0], hkl[1], hkl[2]  # noqa: E741
    y0 = metric[0] * h + metric[3] * k + metric[4] * l
    y1 = metric[3] * h + metric[1] * k + metric[5] * l
    y2 = metric[4] * h + metric[5] * k + metric[2] * l
    a, b, c = cell[0], cell[1], cell[2]
    ca, cb, cg = metric[6], metric[7], metric[8]
    by_a = -2.0 * (a * y0 * y0 + b * cg * y0 * y1 + c * cb * y0 * y2)
    by_b = -2.0 * (b * y1 * y1 + a * cg * y0 * y1 + c * ca * y1 * y2)
    by_c = -2.0 * (c * y2 * y2 + a * cb * y0 * y2 + b * ca * y1 * y2)
    by_alpha = 2.0 * b * c * metric[9] * y1 * y2 / _DEG
    by_beta = 2.0 * a * c * metric[10] * y0 * y2 / _DEG
    by_gamma = 2.0 * a * b * metric[11] * y0 * y1 / _DEG
    for j in range(CELL):
        dq2[j] = (
            moves[0, j] * by_a
            + moves[1, j] * by_b
            + moves[2, j] * by_c
            + moves[3, j] * by_alpha
            + moves[4, j] * by_beta
            + moves[5, j] * by_gamma
        )
    return h * y0 + k * y1 + l * y2


@machine_code(error_model="numpy")
def march_factor(cosine, members, start, stop, log_r):  # pragma: no cover
    """March-Dollase factor of a family, mean over its members, and its derivative by ln r (Dollase 1986)."""
    if stop == start:
        return 1.0, 0.0
    r = math.exp(log_r)
    total = slope = weight = 0.0
    for i in range(start, stop):
        c2 = cosine[i] * cosine[i]
        inner = r * r * c2 + (1.0 - c2) / r
        value = members[i] / (inner * math.sqrt(inner))
        total += value
        slope += -1.5 * value / inner * (2.0 * r * r * c2 - (1.0 - c2) / r)
        weight += members[i]
    return total / weight, slope / weight


@machine_code(error_model="numpy")
def line_numbers(shared, own, optics, wavelength, spread, q2, dq2, slopes):
    """Return position, Gaussian and Lorentzian FWHM, area factor, theta of one line; write ``slopes``.

    Rows of ``slopes`` are the shared parameters, then those of the phase; columns see :data:`CENTRE`. Area
    slopes are logarithmic. K-alpha2 ratio, texture and the quadrature's columns are the caller's.
    """  # pragma: no cover - compiled
    theta = math.asin(0.5 * wavelength * math.sqrt(q2))
    sin, cos = math.sin(theta), math.cos(theta)
    tan = sin / cos
    sin2, cos2 = 2.0 * sin * cos, 1.0 - 2.0 * sin * sin
    per_mm = -_DEG / optics.radius_mm
    slopes[:] = 0.0
    if optics.transmission:
        by_1, by_2 = per_mm * sin2, per_mm * cos2
        turn = per_mm * 2.0 * (shared[DISPLACEMENT] * cos2 - shared[SHIFT2] * sin2)
    else:
        by_1, by_2 = per_mm * 2.0 * cos, per_mm * sin2
        turn = per_mm * 2.0 * (shared[SHIFT2] * cos2 - shared[DISPLACEMENT] * sin)
    centre = 2.0 * theta * _DEG + shared[ZERO] + shared[DISPLACEMENT] * by_1 + shared[SHIFT2] * by_2
    slopes[ZERO, CENTRE], slopes[DISPLACEMENT, CENTRE], slopes[SHIFT2, CENTRE] = 1.0, by_1, by_2

    w = math.exp(2.0 * shared[WIDTH])
    gauss2 = shared[U] * tan * tan + shared[V] * tan + w
    # where U and V would make it negative it stays just above zero, smoothly, so that a descent finds back
    floor = _FLOOR * w
    root = math.sqrt(gauss2 * gauss2 + floor * floor)
    gauss = math.sqrt(0.5 * (gauss2 + root))
    half = 0.25 / gauss * (1.0 + gauss2 / root)
    slopes[WIDTH, GAUSS] = 2.0 * w * half + 0.5 / gauss * floor * floor / root
    slopes[U, GAUSS], slopes[V, GAUSS] = tan * tan * half, tan * half
    gauss_turn = (2.0 * shared[U] * tan + shared[V]) / (cos * cos) * half

    by_size = _DEG * _SHERRER * wavelength
    per_cos = shared[X] + by_size * own[SIZE]
    per_tan = shared[Y] + _DEG * (4.0 * own[STRAIN] + 2.0 * spread / wavelength)
    lorentz = per_cos / cos + per_tan * tan
    slopes[X, LORENTZ], slopes[Y, LORENTZ] = 1.0 / cos, tan
    n = len(shared)
    slopes[n + SIZE, LORENTZ], slopes[n + STRAIN, LORENTZ] = by_size / cos, 4.0 * _DEG * tan
    lorentz_turn = (per_cos * sin + per_tan) / (cos * cos)
    if lorentz < _FLOOR_LORENTZ:
        lorentz, lorentz_turn = _FLOOR_LORENTZ, 0.0

    k, mu = shared[POLARISATION], shared[ABSORPTION]
    pol = 1.0 + k * cos2 * cos2
    area = pol / (1.0 + k)
    slopes[POLARISATION, AREA] = cos2 * cos2 / pol - 1.0 / (1.0 + k)
    area_turn = -4.0 * k * cos2 * sin2 / pol
    if optics.lorentz:
        area /= sin * sin * cos
        area_turn += tan - 2.0 / tan
    if optics.transmission:
        s2 = sin * sin
        area *= math.exp((0.0927 + 0.375 * s2) * mu * mu - (1.7133 - 0.0368 * s2) * mu)
        slopes[ABSORPTION, AREA] = 2.0 * (0.0927 + 0.375 * s2) * mu - (1.7133 - 0.0368 * s2)
        area_turn += (0.0368 + 0.375 * mu) * mu * sin2
    area *= math.exp(-0.5 * own[DELTA_B] * q2)
    slopes[n + DELTA_B, AREA] = -0.5 * q2

    turned = 0.5 * tan / q2
    for j in range(CELL):
        if dq2[j] != 0.0:
            by = turned * dq2[j]
            slopes[n + j, CENTRE] = by * (2.0 * _DEG + turn)
            slopes[n + j, GAUSS] = by * gauss_turn
            slopes[n + j, LORENTZ] = by * lorentz_turn
            slopes[n + j, AREA] = by * area_turn - 0.5 * own[DELTA_B] * dq2[j]
    return centre, gauss, lorentz, area, theta


@machine_code(error_model="numpy")
def voigt_shape(g, l):  # noqa: E741  # pragma: no cover - compiled
    """FWHM, Lorentzian share and their slopes by both widths (Thompson, Cox & Hastings 1987, J. Appl.
    Cryst. 20, 79, equations 6 and 7)."""
    fifth = (
        g**5 + 2.69269 * g**4 * l + 2.42843 * g**3 * l**2 + 4.47163 * g**2 * l**3 + 0.07842 * g * l**4 + l**5
    )
    f = fifth**0.2
    scale = 0.2 * f / fifth
    by_g = 5 * g**4 + 10.77076 * g**3 * l + 7.28529 * g**2 * l**2 + 8.94326 * g * l**3 + 0.07842 * l**4
    by_l = 2.69269 * g**4 + 4.85686 * g**3 * l + 13.41489 * g**2 * l**2 + 0.31368 * g * l**3 + 5 * l**4
    f_g, f_l = scale * by_g, scale * by_l
    r = l / f
    eta = r * (1.36603 - r * (0.47719 - 0.11116 * r))
    steep = 1.36603 - r * (0.95438 - 0.33348 * r)
    return f, eta, f_g, f_l, -steep * r * f_g / f, steep * (1.0 - r * f_l) / f
