"""A first fit of blurred lines to blurred data, for cells and shifts that are off by several line widths.

A change of a cell moves a line by ``-2 tan(theta)`` times the change of its spacing, so the blur grows with
``tan(theta)``: sharp lines that miss each other by half a degree at the end of the axis then still overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.data import Pattern
from streamproc.models.powder.fit.kinds import SHARED
from streamproc.models.powder.fit.problem import Parameters, Problem
from streamproc.models.powder.fit.solve import minimise

from streamproc.compiling import machine_code

__all__ = ["blurred_pattern", "blurred_start"]

Array = npt.NDArray[np.float64]

_WIDTH, _U = SHARED.index("width"), SHARED.index("u_deg2")
_POSITIONS = ("zero_deg", "displacement_mm", "shift2_mm", "ka2_ratio", *"abc", "alpha", "beta", "gamma")
_SHIFT_DEG, _SHIFT_WIDTHS = 0.2, 3.0
"""What the widest blur adds at low angles: enough for zero and displacement, at most three lines' widths."""

_PER_WIDTH = 2.2
"""Points of the coarse axis per width of a blurred line."""

_REACH = 1.3
"""The blur ends after so many of its widths, at 1 % of its height."""

_COVERED = 0.75
"""Points that see less of the blur's area (ends of the axis, holes) are left out."""

_STRENGTH_ERROR = 0.1
"""Relative error of line intensities while texture and displacement parameters are not refined yet."""

_STEPS, _TOLERANCE = 5, 10.0
_GAUSS_AREA = float(np.sqrt(np.pi / np.log(2)) / 2)
_TINY_BIN = 1e-3


def blurred_start(
    problem: Problem, pattern: Pattern, theta: Array, fwhm_deg: float, levels: Sequence[float]
) -> Array:
    """Return a start whose cells and shifts come from fits of the blurred pattern, widest blur first.

    Parameters
    ----------
    problem : Problem
        The fit that is to be started.
    pattern : Pattern
        Its data.
    theta : ndarray
        Where the first of these fits starts.
    fwhm_deg : float
        Width of the pattern's lines (degrees).
    levels : sequence of float
        Relative blurs of the spacings (FWHM); one that adds less than the lines' own width is left out.
    """
    found = theta.copy()
    parameters = problem.parameters.only(_POSITIONS)
    at = parameters.refined
    if not at.size:
        return found
    for level in levels:
        shift_deg = min(_SHIFT_DEG, _SHIFT_WIDTHS * fwhm_deg) * level / levels[0]
        blur = _blur(pattern.two_theta_deg, level, shift_deg)
        if float(np.median(blur)) < fwhm_deg:
            continue
        coarse = _coarse(problem, parameters, pattern, blur, fwhm_deg)
        if coarse is None:
            continue
        wide = found.copy()
        wide[_WIDTH] = np.log(np.hypot(np.exp(wide[_WIDTH]), shift_deg))
        wide[_U] += _u_of(level)
        roomy = replace(
            parameters, low=np.minimum(parameters.low, wide), high=np.maximum(parameters.high, wide)
        )
        found[at] = minimise(replace(coarse, parameters=roomy), wide, _STEPS, _TOLERANCE).theta[at]
    return found


def _u_of(level: float) -> float:
    """U (square degrees) of a relative blur of the spacings."""
    return float(np.rad2deg(2 * level) ** 2)


def _blur(two_theta_deg: Array, level: float, shift_deg: float) -> Array:
    """FWHM of the blur at each point (degrees)."""
    tan = np.tan(np.deg2rad(two_theta_deg) / 2)
    return np.asarray(np.sqrt(shift_deg**2 + _u_of(level) * tan**2))


def _coarse(
    problem: Problem, parameters: Parameters, pattern: Pattern, blur: Array, fwhm_deg: float
) -> Problem | None:
    """The same fit of the blurred pattern, at a few points per blurred line; None where too few are left."""
    x = pattern.two_theta_deg
    step = np.hypot(blur, fwhm_deg) / _PER_WIDTH
    count = np.concatenate([[0.0], np.cumsum(np.diff(x) * 2 / (step[1:] + step[:-1]))])
    at = np.interp(np.arange(0.0, count[-1]), count, x)
    y, variance, covered = blurred_pattern(pattern, blur, at)
    keep = covered > _COVERED
    if keep.sum() < 2 * (parameters.refined.size + len(problem.background)):
        return None
    at, y, variance = at[keep], y[keep], variance[keep]
    error = _STRENGTH_ERROR * np.maximum(y - np.median(y), 0.0)
    return replace(
        problem,
        parameters=parameters,
        low_deg=at - _TINY_BIN / 2,
        high_deg=at + _TINY_BIN / 2,
        y=y,
        weight=1 / np.sqrt(variance + error**2),
        background=np.array([np.interp(at, x, row) for row in problem.background]),
        plan=None,
        steady=None,
    )


def blurred_pattern(pattern: Pattern, blur_deg: Array, at_deg: Array) -> tuple[Array, Array, Array]:
    """Blur every point with a Gaussian as wide as it should be there: lines keep their centres.

    Parameters
    ----------
    pattern : Pattern
        Measured pattern, with or without gaps; n points.
    blur_deg : ndarray, shape (n,)
        FWHM of the blur of each point (degrees 2theta).
    at_deg : ndarray, shape (m,)
        Where the blurred pattern is wanted.

    Returns
    -------
    intensity, variance : ndarray, shape (m,)
        Mean over what was measured; 0 and 1 where nothing was.
    covered : ndarray, shape (m,)
        Share of the blur's area that was measured.
    """
    y, variance, covered = np.zeros(at_deg.size), np.ones(at_deg.size), np.zeros(at_deg.size)
    reach = 1.2 * _REACH * np.interp(at_deg, pattern.two_theta_deg, blur_deg)
    first = np.searchsorted(pattern.two_theta_deg, at_deg - reach)
    last = np.searchsorted(pattern.two_theta_deg, at_deg + reach)
    area = (pattern.high_deg - pattern.low_deg) / (_GAUSS_AREA * blur_deg)
    _convolve(
        pattern.two_theta_deg, area, blur_deg, pattern.intensity, pattern.variance, at_deg, first, last, y,
        variance, covered,
    )  # fmt: skip
    return y, variance, covered


@machine_code(error_model="numpy")
def _convolve(x, area, blur, intensity, noise, at, first, last, y, variance, covered):
    """Write the sums for :func:`blurred_pattern`."""  # pragma: no cover - compiled
    steep = -4.0 * np.log(2.0)
    for k in range(at.size):
        total = mean = spread = 0.0
        for i in range(first[k], last[k]):
            u = (x[i] - at[k]) / blur[i]
            w = area[i] * np.exp(steep * u * u)
            total += w
            mean += w * intensity[i]
            spread += w * w * noise[i]
        if total > 0.0:
            y[k], variance[k] = mean / total, spread / (total * total)
        covered[k] = total
