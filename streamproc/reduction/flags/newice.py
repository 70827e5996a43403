"""Ice in what has come since the readings before."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.reduction.flags.lines import ice_seen
from streamproc.reduction.kernels import compiled, compiled_sums

__all__ = ["new_ice"]

_CLEAR, _CLEAR_AGAIN, _AS_MUCH = 5.0, 3.0, 0.3


@compiled
def new_ice(
    axis: Any, y: Any, variance: Any, moved: Any, scale: float, offset: float, width: float, places: Any,
    before: bool, tops: Any,
) -> Any:  # fmt: skip
    """Judge whether the lines of ice have come: in the difference no line of the sample hides one of them.

    Parameters
    ----------
    axis, y, variance : ndarray of float64, shape (n,)
        The pattern.
    moved, scale, offset
        The pattern of the readings before, and what fits it to this one.
    width : float
        Width of a line (channels).
    places, tops
        As :func:`~streamproc.reduction.flags.lines.ice_seen` takes them.
    before : bool
        Ice was in the reading before: 3 sigma are enough for a line.

    Returns
    -------
    share, n
        As :func:`~streamproc.reduction.flags.lines.ice_seen`; 0 where lines have moved or changed, as ice
        only adds; NaN where the two do not fit.
    """
    if not scale > 0.0:
        return np.nan, 0
    new = np.empty(y.size)
    came, gone = _changes(y, variance, moved, scale, offset, new)
    if gone > _AS_MUCH * came:
        return 0.0, 0
    sigmas = _CLEAR_AGAIN if before else _CLEAR
    return ice_seen(axis, new, variance, np.zeros(y.size), width, places, tops, np.int64(1), sigmas)


@compiled_sums
def _changes(y: Any, variance: Any, moved: Any, scale: float, offset: float, new: Any) -> Any:
    """Write what has changed; return the sums of what has come and gone by more than two sigma."""
    came, gone = 0.0, 0.0
    for i in range(y.size):
        d, noise = y[i] - scale * moved[i] - offset, 2.0 * np.sqrt(variance[i])
        new[i] = d
        came += max(d - noise, 0.0)
        gone += max(-d - noise, 0.0)
    return came, gone
