"""What a reading shows within its run: all that is always asked, in one compiled call."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.reduction.flags import record
from streamproc.reduction.flags.against import AGREES
from streamproc.reduction.flags.beam import beam_of, quadrant_shifts
from streamproc.reduction.flags.changes import FAR, RATE, STARTS, i0_drift, line_width, step_of, zero_drift
from streamproc.reduction.flags.fit import fitted, gaps_of, slope_reach, warp, weights_of
from streamproc.reduction.flags.grains import lines_gone
from streamproc.reduction.flags.newice import new_ice
from streamproc.reduction.flags.newlines import any_low, new_line
from streamproc.reduction.flags.shades import darker_tiles
from streamproc.reduction.kernels import compiled

__all__ = ["look"]

_FOLLOWING = RATE / (2 - RATE)
"""Variance of a mean that follows, over that of one reading, after many readings."""


@compiled
def look(
    axis: Any, slope: Any, y: Any, variance: Any, floor: Any, own_width: float, level: float, first: Any,
    recent: Any, quadrants_before: Any, quadrants: Any, signal: Any, norm: Any, there: Any, places: Any,
    before: Any, promised: Any, ratio: Any, smooth: Any, fine: bool, run: Any, seen: Any, moved: Any,
    darker: Any, tops: Any,
) -> None:  # fmt: skip
    """Compare a reading with its run.

    Parameters
    ----------
    axis, slope, y, variance, floor : ndarray of float64, shape (n,)
        The reading's pattern, as :class:`~streamproc.reduction.flags.reading.Reading` has it.
    own_width, level : float
        Its width of a line (channels), and mean intensity.
    first, recent : ndarray of float64, shape (n,)
        The reference, and the mean of the newest readings, on the same axis.
    quadrants_before, quadrants : ndarray of float64, shape (n, 4)
        Of the reference and of the reading; empty, or of another shape, where they cannot be compared.
    signal, norm, there
        As :func:`~streamproc.reduction.flags.grains.few_grains` takes them; empty without an image.
    places : ndarray, shape (k, 3)
        Places of ice; empty where it is not asked for.
    before, promised, ratio, smooth, fine
        As :func:`~streamproc.reduction.flags.shades.darker_tiles` takes them; empty without an image.
    run, seen : ndarray of float64
        As :mod:`~streamproc.reduction.flags.record` says. Of the run, ice and new line are written, and all
        that is seen but spottiness.
    moved : ndarray, shape (n,)
        Written: pattern of the readings before, moved to where the lines of this one are.
    darker, tops : ndarray
        Written: tiles that have become darker, channels of ice.
    """
    seen[:] = np.nan
    width = line_width(run, own_width)
    half = slope_reach(width)
    lag = max(half, 1)
    weights, gaps, found = weights_of(variance), gaps_of(axis, lag), seen[record.FITTED]
    fitted(
        axis, slope, first, y, weights, gaps, run[record.ZERO], run[record.STRAIN], 1.0, half, moved, found
    )
    i0_drift(run, seen, level)
    seen[record.GONE] = 0.0
    if signal.shape[0] > 0:
        seen[record.GONE] = lines_gone(signal, norm, there, y, floor, recent)
    by_quadrants = quadrants.shape[0] > 0 and quadrants_before.shape == quadrants.shape
    if by_quadrants:
        shifts = np.zeros((4, 2))
        if not seen[record.AGREEMENT] < FAR:
            quadrant_shifts(
                axis, slope, quadrants_before, quadrants, weights, gaps, seen[record.SEEN_ZERO],
                seen[record.SEEN_STRAIN], lag, shifts,
            )  # fmt: skip
        seen[record.RIGHT], seen[record.UP], seen[record.UP_SIGMA] = beam_of(shifts, False)
    zero_drift(run, seen, width * step_of(axis), by_quadrants)
    jump, stretch = 0.0, 0.0  # of all lines since the reading before
    if seen[record.AGREEMENT] >= AGREES:
        jump, stretch = (
            seen[record.SEEN_ZERO] - run[record.ZERO],
            seen[record.SEEN_STRAIN] - run[record.STRAIN],
        )
    followed, noise = (
        np.empty(6),
        _FOLLOWING + (1 - _FOLLOWING) * (1 - RATE) ** (2 * run[record.READINGS] - 2),
    )
    fitted(axis, slope, recent, y, weights, gaps, jump, stretch, noise, half, moved, followed)
    warp(axis, slope, recent, followed[2], followed[4], moved)
    if places.shape[0] > 0 and run[record.READINGS] >= STARTS:
        seen[record.ICE_RINGS], seen[record.ICE_TOPS] = new_ice(
            axis,
            y,
            variance,
            moved,
            followed[0],
            followed[1],
            own_width,
            places,
            run[record.ICED] > 0.0,
            tops,
        )
        run[record.ICED] = seen[record.ICE_RINGS] >= 0.5
    known = np.searchsorted(axis, run[record.LINE_AT]) if run[record.LINE_AT] == run[record.LINE_AT] else -1
    share, a, b = new_line(y, variance, moved, floor, width, known)
    seen[record.PARASITIC_RINGS], seen[record.LINE_FIRST], seen[record.LINE_LAST] = share, a, b
    run[record.LINE_AT] = axis[(a + b) // 2] if share > 0.0 else np.nan
    seen[record.LOST_FLOOR] = 0.0
    if promised.shape[0] == 0:
        seen[record.SHADOW], seen[record.LOST_FLOOR] = 0.0, any_low(y, moved)
    elif before.shape == promised.shape:
        seen[record.SHADOW], seen[record.LOST_FLOOR] = (
            0.0,
            darker_tiles(before, promised, ratio, smooth, fine, darker),
        )
