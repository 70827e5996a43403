"""What a 1-D pattern shows by itself: ice, flat tops, dead channels, spikes, negative parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.curve import Curve, narrow_channels
from streamproc.reduction.kernels import compiled

__all__ = ["ICE_LINES_A", "ChannelFaults", "channel_faults", "ice_rings", "negative_share"]

Float = npt.NDArray[np.float64]

ICE_LINES_A = (
    (3.895, 1.0), (3.661, 0.56), (3.438, 0.61), (2.667, 0.30), (2.248, 0.60), (2.068, 0.52), (1.947, 0.08),
    (1.916, 0.28), (1.882, 0.06), (1.719, 0.04),
)  # fmt: skip
"""Spacing (angstrom) and relative strength of the lines of hexagonal ice: P6_3/mmc, a = 4.497, c = 7.322
(Goto, Hondoh, Mae, J. Chem. Phys. 93 (1990) 1412), oxygen at 4f with z = 0.0622; |F|^2 times multiplicity
times d^2."""

_POSITION = 0.004
"""How far a line may lie from its place (relative): cold ice is 0.3 % smaller, a zero error adds to it."""

_SIDES = 0.012
_LEAST_LINES = 3
_FIRST = 3
_SIGMAS = 5.0
_HIDES = 10.0
_PROMISED = 20.0
_CLEARLY, _EQUAL = 100.0, 5


@compiled
def _line_height(axis: Any, y: Any, variance: Any, centre: float, reach: float, side: float) -> Any:
    """Height over its higher side, sigma of that, channel of the top near ``centre`` (-1: no line)."""
    low, high = int(np.searchsorted(axis, centre - reach)), int(np.searchsorted(axis, centre + reach))
    left, right = int(np.searchsorted(axis, centre - side)), int(np.searchsorted(axis, centre + side))
    low, high = min(low, max(high - 1, 0)), max(high, low + 1)
    left, right = min(left, low - 3), max(right, high + 3)
    if left < 0 or right > axis.size:
        return -1.0, 1.0, -1
    top = low
    for i in range(low, high):
        if y[i] > y[top]:
            top = i
    a, b = left, right - 1
    for i in range(left, top):
        if y[i] < y[a]:
            a = i
    for i in range(top + 1, right):
        if y[i] < y[b]:
            b = i
    higher = a if y[a] > y[b] else b
    return y[top] - y[higher], np.sqrt(variance[top] + variance[higher]), top


@compiled
def _ice_heights(axis: Any, y: Any, variance: Any, places: Any, step: float) -> Any:
    """Height, sigma and top channel at each place, (n, 3); channel -1 where there is none."""
    out = np.full(places.shape, -1.0)
    for k in range(places.shape[0]):
        centre, reach = places[k, 0], max(places[k, 1], step)
        if centre == centre:
            side = max(places[k, 2], reach + 4 * step)
            out[k, 0], out[k, 1], out[k, 2] = _line_height(axis, y, variance, centre, reach, side)
    return out


def ice_rings(
    curve: Curve, spacing_axis: Float, first: int = _FIRST - 1, sigmas: float = _SIGMAS
) -> tuple[float, list[int]]:
    """Judge whether the lines of ice are there.

    Parameters
    ----------
    curve : Curve
        The pattern.
    spacing_axis : ndarray, shape (len(ICE_LINES_A), 3)
        Place of each line on the axis, and what _POSITION and _SIDES are there; NaN where out of reach.
    first : int
        How many of the first three lines must be seen.
    sigmas : float
        How clear a line must be to be seen.

    Returns
    -------
    share : float
        Share of the lines in range, each with its strength, that stand ``sigmas`` above both sides within 0.4
        %
        of their place. A line that another one hides, or that would be too weak, is left out. 0 with fewer
        than three lines seen, or fewer of the first three than asked for; NaN where none is in range.
    channels : list of int
        Tops of the lines seen.
    """
    heights = _ice_heights(curve.axis, curve.y, curve.variance, spacing_axis, curve.step)
    found = [
        (place, strength, height, sigma, int(top))
        for place, ((_, strength), (height, sigma, top)) in enumerate(
            zip(ICE_LINES_A, heights.tolist(), strict=True)
        )
        if top >= 0
    ]
    if not found:
        return float("nan"), []
    seen = [line for line in found if line[2] > sigmas * line[3]]
    if len(seen) < _LEAST_LINES or sum(line[0] < _FIRST for line in seen) < first:
        return 0.0, []
    scale = min(line[2] / line[1] for line in seen if line[0] < _FIRST)
    missing = sum(
        strength
        for _, strength, height, sigma, top in found
        if height <= sigmas * sigma < scale * strength / 2  # it could be seen, and nothing hides it
        and curve.y[top] - curve.floor[top] <= _HIDES * sigma
    )
    there = sum(line[1] for line in seen)
    return there / (there + missing), [line[4] for line in seen]


def ice_places(kind: str, wavelength_A: float | None) -> Float:
    """Return the ``spacing_axis`` of :func:`ice_rings` for an axis in 2theta (degrees) or q (1/angstrom)."""
    spacing = np.array([d for d, _ in ICE_LINES_A])
    if kind == "q_invA":
        q = 2 * np.pi / spacing
        return np.stack([q, q * _POSITION, q * _SIDES], axis=1)
    if wavelength_A is None:
        return np.full((spacing.size, 3), np.nan)
    with np.errstate(invalid="ignore"):
        theta = np.arcsin(wavelength_A / (2 * spacing))
    slope = 2 * np.rad2deg(np.tan(theta))
    return np.stack([2 * np.rad2deg(theta), slope * _POSITION, slope * _SIDES], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class ChannelFaults:
    """Channels of a 1-D pattern that cannot be right."""

    flat_top: list[int]
    dead: list[int]
    spikes: list[int]


def channel_faults(curve: Curve, saturation: float | None) -> ChannelFaults:
    """Find saturated, dead and isolated high channels of a pattern that is no integrated image.

    Parameters
    ----------
    curve : Curve
        The pattern, its variance estimated.
    saturation : float or None
        Limit of the counter; None: a top of three or more equal channels is one.
    """
    marks = np.zeros(curve.y.size, np.uint8)
    unit = curve.per_count
    highest = float(curve.y.max())
    _mark(
        curve.y,
        curve.floor,
        narrow_channels(curve.y, curve.floor, curve.variance),
        unit,
        curve.width,
        _PROMISED,
        marks,
    )
    top = curve.y >= (np.inf if saturation is None else saturation)
    if saturation is None:
        top = marks == 3
        equal = curve.y == highest
        if unit > 0.0 and highest > _CLEARLY * unit and np.count_nonzero(equal) >= _EQUAL:
            top |= equal  # tops of several lines, each of few channels, at one value
    return ChannelFaults(*(np.flatnonzero(m).tolist() for m in (top, marks == 1, marks == 2)))


@compiled
def _mark(y: Any, floor: Any, narrow: Any, unit: float, width: float, promised: float, marks: Any) -> None:
    """Mark 1: dead, 2: spike, 3: flat top. Equal neighbours tell only where values vary by counts."""
    n, highest, i = y.size, y.max(), 0
    while i < n:
        j = i + 1
        while j < n and y[j] == y[i]:
            j += 1
        run = j - i
        if unit > 0.0 and y[i] == highest and highest > 25.0 * unit:
            if run >= 4 or (run == 3 and highest > 1e4 * unit):
                marks[i:j] = 3
        elif unit > 0.0 and i > 0 and j < n and (y[i] == 0.0 or run >= 8):
            beside = min(y[i - 1], y[j])
            if (run + 1) * beside > 2.0 * promised * unit and (run >= 8 or beside - y[i] > 0.5 * beside):
                marks[i:j] = 1
        i = j
    if width >= 3.0:
        for i in range(1, n - 1):
            if narrow[i] and marks[i] == 0:
                marks[i] = 2


def negative_share(curve: Curve) -> float:
    """Return the share of channels five sigma below zero: more was subtracted than was there."""
    return float(np.count_nonzero(curve.y < -_SIGMAS * np.sqrt(curve.variance))) / curve.y.size
