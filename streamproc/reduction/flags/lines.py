"""What a 1-D pattern shows by itself: ice, flat tops, dead channels, spikes, negative parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.curve import Curve, narrow_channels
from streamproc.reduction.kernels import compiled

__all__ = [
    "FIRST_LINES", "ICE_LINES_A", "SIGMAS", "ChannelFaults", "channel_faults", "count_negative", "ice_places",
    "ice_rings", "ice_seen", "negative_share",
]  # fmt: skip

Float = npt.NDArray[np.float64]

ICE_LINES_A = (
    (3.895, 1.0), (3.661, 0.56), (3.438, 0.61), (2.667, 0.30), (2.248, 0.60), (2.068, 0.52), (1.947, 0.08),
    (1.916, 0.28), (1.882, 0.06), (1.719, 0.04),
)  # fmt: skip
"""Spacing (angstrom) and relative strength of the lines of hexagonal ice: P6_3/mmc, a = 4.497, c = 7.322
(Goto, Hondoh, Mae, J. Chem. Phys. 93 (1990) 1412), oxygen at 4f with z = 0.0622; |F|^2 times multiplicity
times d^2."""

_STRENGTHS = np.array([strength for _, strength in ICE_LINES_A])

_POSITION = 0.004
"""How far a line may lie from its place (relative): cold ice is 0.3 % smaller, a zero error adds to it."""

_SIDES = 0.012
_LEAST_LINES = 3
_FIRST = 3
FIRST_LINES, SIGMAS = 2, 5.0
"""How many of the first three lines of ice must be seen, and how clear each."""

_APART = 3.0
"""Sigmas that the pattern must fall between two lines for them to be two."""

_HIDES = 10.0
_PROMISED = 20.0
_CLEARLY, _EQUAL = 100.0, 5
_RESOLVED = 3.0
_AROUND, _UNLIKELY = 64, 20.0


@compiled
def _mean(y: Any, i: int, beside: int) -> float:
    """Mean of a channel and of so many beside it on each side."""
    total, first, last = 0.0, max(i - beside, 0), min(i + beside + 1, y.size)
    for k in range(first, last):
        total += y[k]
    return float(total / (last - first))


@compiled
def _line_height(
    axis: Any, y: Any, variance: Any, centre: float, reach: float, side: float, beside: int
) -> Any:
    """Height over its higher side, sigma of that, channel of the top near ``centre`` (-1: no line).

    Both are means over ``2 * beside + 1`` channels.
    """
    low, high = int(np.searchsorted(axis, centre - reach)), int(np.searchsorted(axis, centre + reach))
    left, right = int(np.searchsorted(axis, centre - side)), int(np.searchsorted(axis, centre + side))
    low, high = min(low, max(high - 1, 0)), max(high, low + 1)
    left, right = min(left, low - 3), max(right, high + 3)
    if left < 0 or right > axis.size:
        return -1.0, 1.0, -1
    top, most = low, -np.inf
    for i in range(low, high):
        v = _mean(y, i, beside)
        if v > most:
            top, most = i, v
    a, b, lowest, least = left, right - 1, np.inf, np.inf
    for i in range(left, top):
        v = _mean(y, i, beside)
        if v < lowest:
            a, lowest = i, v
    for i in range(top + 1, right):
        v = _mean(y, i, beside)
        if v < least:
            b, least = i, v
    higher = a if lowest > least else b
    noise = _mean(variance, top, beside) + _mean(variance, higher, beside)
    return most - max(lowest, least), np.sqrt(noise / (2 * beside + 1)), top


@compiled
def _dip(y: Any, one: int, other: int, beside: int) -> float:
    """How far the pattern falls between two tops, below the lower one; both are means as in
    :func:`_line_height`."""
    lowest = np.inf
    for i in range(one, other + 1):
        lowest = min(lowest, _mean(y, i, beside))
    return min(_mean(y, one, beside), _mean(y, other, beside)) - lowest


@compiled
def _ice_heights(axis: Any, y: Any, variance: Any, places: Any, step: float, beside: int) -> Any:
    """Height, sigma and top channel at each place, (n, 3); channel -1 where there is none."""
    out = np.full(places.shape, -1.0)
    for k in range(places.shape[0]):
        centre, reach = places[k, 0], max(places[k, 1], step)
        if centre == centre:
            side = max(places[k, 2], reach + 4 * step)
            out[k, 0], out[k, 1], out[k, 2] = _line_height(axis, y, variance, centre, reach, side, beside)
    return out


def ice_rings(
    curve: Curve, spacing_axis: Float, first: int = FIRST_LINES, sigmas: float = SIGMAS
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
        than three lines seen, or fewer of the first three than asked for, where lines between which the
        pattern does not fall are one; NaN where none is in range.
    channels : list of int
        Tops of the lines seen.
    """
    tops = np.empty(len(ICE_LINES_A), np.int64)
    share, n = ice_seen(
        curve.axis, curve.y, curve.variance, curve.floor, curve.width, spacing_axis, tops, first, sigmas
    )
    return float(share), tops[:n].tolist()


@compiled
def ice_seen(
    axis: Any, y: Any, variance: Any, floor: Any, width: float, places: Any, tops: Any, first: Any,
    sigmas: float,
) -> Any:  # fmt: skip
    """Share as :func:`ice_rings` says it, and how many channels are written to ``tops``."""
    step = (axis[-1] - axis[0]) / max(axis.size - 1, 1)
    beside = 0 if width < _RESOLVED else 1  # a line that is resolved fills three channels
    return _ice_share(axis, y, variance, floor, places, step, _STRENGTHS, first, sigmas, beside, tops)


@compiled
def _ice_share(
    axis: Any, y: Any, variance: Any, floor: Any, places: Any, step: float, strengths: Any, first: int,
    sigmas: float, beside: int, tops: Any,
) -> Any:  # fmt: skip
    lines = _ice_heights(axis, y, variance, places, step, beside)
    there, found, seen, early, distinct, scale = 0.0, 0, 0, 0, 0, np.inf
    for k in range(lines.shape[0]):
        if lines[k, 2] < 0.0:
            continue
        found += 1
        if lines[k, 0] > sigmas * lines[k, 1]:
            tops[seen] = np.int64(lines[k, 2])
            # one line of the sample may lie where two of ice do that are not resolved
            apart = seen == 0 or _dip(y, tops[seen - 1], tops[seen], beside) > _APART * lines[k, 1]
            seen += 1
            distinct += apart
            there += strengths[k]
            if k < _FIRST:
                early += apart
                scale = min(scale, lines[k, 0] / strengths[k])
    if found == 0:
        return np.nan, 0
    if distinct < _LEAST_LINES or early < first:
        return 0.0, 0
    missing = 0.0
    for k in range(lines.shape[0]):
        height, sigma, top = lines[k, 0], lines[k, 1], np.int64(lines[k, 2])
        could_be_seen = top >= 0 and height <= sigmas * sigma < scale * strengths[k] / 2
        if could_be_seen and y[top] - floor[top] <= _HIDES * sigma:  # and nothing hides it
            missing += strengths[k]
    return there / (there + missing), seen


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
    marks, top = np.zeros(curve.y.size, np.uint8), np.zeros(curve.y.size, np.bool_)
    limit = np.nan if saturation is None else saturation
    if not _find_faults(
        curve.y, curve.floor, curve.variance, curve.per_count, curve.width, limit, marks, top
    ):
        return ChannelFaults([], [], [])  # as of most patterns
    return ChannelFaults(*(np.flatnonzero(m).tolist() for m in (top, marks == 1, marks == 2)))


@compiled
def _find_faults(
    y: Any, floor: Any, variance: Any, unit: float, width: float, saturation: float, marks: Any, top: Any
) -> bool:
    """Mark as :func:`_mark` does, and the channels of the tops; return whether there is any."""
    _mark(y, floor, narrow_channels(y, floor, variance), unit, width, _PROMISED, marks)
    highest, equal = y.max(), 0
    for i in range(y.size):
        equal += y[i] == highest
    # tops of several lines, each of few channels, at one value
    level = unit > 0.0 and highest > _CLEARLY * unit and equal >= _EQUAL
    some = False
    for i in range(y.size):
        if saturation == saturation:
            top[i] = y[i] >= saturation
        else:
            top[i] = marks[i] == 3 or (level and y[i] == highest)
        some |= top[i] or marks[i] == 1 or marks[i] == 2
    return some


@compiled
def _rarity(y: Any, start: int, stop: int, counts: float) -> float:
    """-ln of the chance that a channel holds the value of ``start``, by what its neighbours say.

    By ``counts`` in the channels beside where no other channel around holds it (a Poisson count of none);
    where some do (a background that was subtracted, and negative values made zero), by how many.
    """
    first, last = max(start - _AROUND, 0), min(stop + _AROUND, y.size)
    same, others = 0, 0
    for i in range(first, last):
        if i < start or i >= stop:
            same += y[i] == y[start]
            others += 1
    return float(min(counts, np.log(others / same)) if same > 0 else counts)


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
            wide = 8 if run >= 8 else 1  # a channel alone may be low by chance
            beside = min(y[max(i - wide, 0) : i].mean(), y[j : min(j + wide, n)].mean())
            clear = (run + 1) * beside > 2.0 * promised * unit and (run >= 8 or beside - y[i] > 0.5 * beside)
            if clear and run * _rarity(y, i, j, beside / unit) > _UNLIKELY:
                marks[i:j] = 1
        i = j
    if width >= _RESOLVED:
        for i in range(1, n - 1):
            if narrow[i] and marks[i] == 0:
                marks[i] = 2


def negative_share(curve: Curve) -> float:
    """Return the share of channels five sigma below zero: more was subtracted than was there."""
    return float(count_negative(curve.y, curve.variance)) / curve.y.size


@compiled
def count_negative(y: Any, variance: Any) -> int:
    """Return how many channels lie five sigma below zero."""
    n = 0
    for i in range(y.size):
        if y[i] < 0.0 and y[i] * y[i] > SIGMAS * SIGMAS * variance[i]:
            n += 1
    return n
