"""Ice in what has come since the readings before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.against import Comparison
from streamproc.reduction.flags.curve import Curve
from streamproc.reduction.flags.lines import ice_rings
from streamproc.reduction.kernels import compiled

__all__ = ["new_ice"]

_CLEAR, _CLEAR_AGAIN, _AS_MUCH = 5.0, 3.0, 0.3


def new_ice(
    curve: Curve, followed: Comparison, places: npt.NDArray[np.float64], before: bool
) -> tuple[float, list[int]]:
    """Judge whether the lines of ice have come: in the difference no line of the sample hides one of them.

    Parameters
    ----------
    curve : Curve
        The pattern.
    followed : Comparison
        The pattern of the readings before, fitted to it.
    places : ndarray
        As :func:`~streamproc.reduction.flags.lines.ice_places` gives them.
    before : bool
        Ice was in the reading before: 3 sigma are enough for a line.

    Returns
    -------
    share, channels
        As :func:`~streamproc.reduction.flags.lines.ice_rings`; 0 where lines have moved or changed, as ice
        only adds; NaN where the two do not fit.
    """
    if not followed.scale > 0:
        return float("nan"), []
    new = np.empty_like(curve.y)
    came, gone = _changes(curve.y, curve.variance, followed.moved, followed.scale, followed.offset, new)
    if gone > _AS_MUCH * came:
        return 0.0, []
    added = replace(curve, y=new, floor=np.zeros(new.size))
    return ice_rings(added, places, 1, _CLEAR_AGAIN if before else _CLEAR)


@compiled
def _changes(y: Any, variance: Any, moved: Any, scale: float, offset: float, new: Any) -> Any:
    """Write what has changed; return the sums of what has come and gone by more than two sigma."""
    came, gone = 0.0, 0.0
    for i in range(y.size):
        d, noise = y[i] - scale * moved[i] - offset, 2.0 * np.sqrt(variance[i])
        new[i] = d
        came += max(d - noise, 0.0)
        gone += max(-d - noise, 0.0)
    return came, gone
