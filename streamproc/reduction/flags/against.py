"""A pattern against the reference of its run: scale, offset, zero shift and strain in one fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.fit import fitted, gaps_of, slope_reach, warp, weights_of
from streamproc.reduction.kernels import compiled

__all__ = ["AGREES", "Comparison", "compare", "strain_slope"]

Float = npt.NDArray[np.float64]

AGREES = 0.9
"""Agreement from which on the fit describes the pattern."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What turns the reference into the pattern: ``y(x) = scale * r(x - zero - strain * slope(x)) + offset``.

    Lines may also have become broader or narrower, which is no concern here.

    Attributes
    ----------
    scale, offset : float
        Unit 1, and the unit of the pattern.
    zero, zero_sigma : float
        Shift of all lines alike (unit of the axis), its sigma inflated by the misfit.
    strain : float
        Relative change of the lattice.
    agreement : float
        Share of the pattern's variation above noise that this describes: 1 when nothing else has changed.
    moved : ndarray, shape (n,)
        The reference so moved, neither scaled nor offset.
    """

    scale: float
    offset: float
    zero: float
    zero_sigma: float
    strain: float
    agreement: float
    moved: Float


def strain_slope(axis: Float, kind: str) -> Float:
    """Return how far a line at each place moves per unit strain: -2 tan(theta) (degrees), or -q."""
    if kind == "q_invA":
        return -axis
    return -2 * np.rad2deg(np.tan(np.deg2rad(axis) / 2))


def compare(
    axis: Float,
    slope: Float,
    reference: Float,
    y: Float,
    variance: Float,
    start: tuple[float, float],
    reference_noise: float,
    width: float,
) -> Comparison:
    """Fit the reference to a pattern.

    Parameters
    ----------
    axis, slope, reference, y, variance : ndarray of float64, shape (n,)
        Rising axis, what strain does there, reference, pattern, its variance.
    start : (float, float)
        Zero shift and strain to begin with: those of the reading before. A jump of all lines alike of up to
        12 channels beyond is found.
    reference_noise : float
        Variance of the reference over that of the pattern; it makes a fitted scale and shift too small, which
        is put right for the scale, and both less sure.
    width : float
        Width of a line (channels), NaN where none is known: the reference is taken as means over half of it,
        so that its slopes are not those of its noise. (A line so becomes broader, which is fitted.)
    """
    moved, found = np.empty_like(y), np.empty(6)
    _compare(axis, slope, reference, y, variance, start[0], start[1], reference_noise, width, moved, found)
    scale, offset, zero, zero_sigma, strain, agreement = found.tolist()
    return Comparison(scale, offset, zero, zero_sigma, strain, agreement, moved)


@compiled
def _compare(
    axis: Any, slope: Any, reference: Any, y: Any, variance: Any, zero: float, strain: float,
    reference_noise: float, width: float, moved: Any, out: Any,
) -> None:  # fmt: skip
    """Write what :func:`compare` finds: the reference as moved, and scale, offset, zero, its sigma, strain,
    agreement."""
    half = slope_reach(width)
    weights, gaps = weights_of(variance), gaps_of(axis, max(half, 1))
    fitted(axis, slope, reference, y, weights, gaps, zero, strain, reference_noise, half, moved, out)
    warp(axis, slope, reference, out[2], out[4], moved)
