"""Tiles in the shadow of something."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.tiles import Promise
from streamproc.reduction.kernels import compiled

__all__ = ["Shades", "darker_tiles", "shade", "shaded_tiles"]

_SMOOTH = 0.7
_SHADED, _DEEPLY = 0.6, 0.45
_LEAST_COUNTS = 100.0
_THERE = 0.8
_DARKER, _DARKER_LINES, _SIGMAS = 0.8, 0.65, 8.0


class Shades(NamedTuple):
    """Tiles in the shadow of something, arrays of the shape of the tiles.

    Attributes
    ----------
    share : float
        Used pixels of the shaded tiles over all used pixels.
    shaded : ndarray of bool
        Which these are.
    smooth : ndarray of bool
        Tiles that can be judged: smooth, with counts, and most of their pixels there.
    ratio : ndarray of float64
        Observed over promised counts; NaN where nothing is promised.
    """

    share: float
    shaded: npt.NDArray[np.bool_]
    smooth: npt.NDArray[np.bool_]
    ratio: npt.NDArray[np.float64]


def shaded_tiles(promise: Promise, used: npt.NDArray[np.float64], fine: bool) -> Shades:
    """Find tiles whose scattering falls far below that at the same angle elsewhere.

    A tile is judged where the smooth part of the rings makes 70 % of what is promised, so that texture cannot
    look like a shadow. It is shaded below 60 % of the promise: polarisation that is not corrected takes a
    ring to 75 % of its mean at 40 degrees, an air gap or a fibre less. With many grains every tile is judged,
    below 45 %: texture would have to take nearly all of a line away, over a whole tile.

    Parameters
    ----------
    promise : Promise
        What the rings promise.
    used : ndarray, shape of the tiles
        Used pixels.
    fine : bool
        The rings have many grains.
    """
    shaded, smooth, ratio = np.empty(used.shape, bool), np.empty(used.shape, bool), np.empty(used.shape)
    share = shade(
        promise.expected, promise.floor, promise.observed, promise.there, used, fine, shaded, smooth, ratio
    )
    return Shades(share, shaded, smooth, ratio)


@compiled
def shade(
    expected: Any,
    floor: Any,
    observed: Any,
    there: Any,
    used: Any,
    fine: bool,
    shaded: Any,
    smooth: Any,
    ratio: Any,
) -> float:
    """Write which tiles are shaded and smooth, and observed over promised counts; return the share."""
    dark, total = 0.0, 0.0
    for i in range(used.shape[0]):
        for p in range(used.shape[1]):
            e, o = expected[i, p], observed[i, p]
            judged = e >= _LEAST_COUNTS and there[i, p] >= _THERE
            smooth[i, p] = judged and floor[i, p] >= _SMOOTH * e
            shaded[i, p] = (smooth[i, p] and o < _SHADED * e) or (fine and judged and o < _DEEPLY * e)
            ratio[i, p] = o / e if e != 0.0 else np.nan
            total += used[i, p]
            if shaded[i, p]:
                dark += used[i, p]
    return dark / max(total, 1.0)


@compiled
def darker_tiles(before: Any, promised: Any, ratio: Any, smooth: Any, fine: bool, dark: Any) -> bool:
    """Write which tiles have become darker than the rest; return whether any has.

    Parameters
    ----------
    before : ndarray
        Observed over promised counts of each tile in the readings before.
    promised, ratio, smooth, fine
        As a :class:`~streamproc.reduction.flags.reading.TileView` has them now. What is not a number is not
        darker.
    dark : ndarray of bool
        Written.
    """
    some = False
    for i in range(before.shape[0]):
        for p in range(before.shape[1]):
            expected = before[i, p] * promised[i, p]
            missing = expected - ratio[i, p] * promised[i, p]
            # spots come and go, so where there are few grains only a deep shadow of a smooth tile tells
            judged = promised[i, p] >= _LEAST_COUNTS if fine else smooth[i, p]
            deep = judged and missing > (1 - _DARKER_LINES) * expected
            deep = deep or (fine and smooth[i, p] and missing > (1 - _DARKER) * expected)
            dark[i, p] = deep and missing > _SIGMAS * np.sqrt(expected + 1.0)
            some = some or dark[i, p]
    return some
