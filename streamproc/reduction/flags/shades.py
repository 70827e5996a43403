"""Tiles in the shadow of something."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.reading import TileView
from streamproc.reduction.flags.tiles import Promise

__all__ = ["darker_tiles", "shaded_tiles", "smooth_tiles"]

_SMOOTH = 0.7
_SHADED, _DEEPLY = 0.6, 0.45
_LEAST_COUNTS = 100.0
_THERE = 0.8
_DARKER, _DARKER_LINES, _SIGMAS = 0.8, 0.65, 8.0


def smooth_tiles(promise: Promise) -> npt.NDArray[np.bool_]:
    """Return the tiles that can be judged for shadow: smooth, with counts, and most of their pixels there."""
    smooth = (promise.floor >= _SMOOTH * promise.expected) & (promise.expected >= _LEAST_COUNTS)
    return smooth & (promise.there >= _THERE)


def shaded_tiles(
    promise: Promise, used: npt.NDArray[np.float64], fine: bool
) -> tuple[float, npt.NDArray[np.bool_]]:
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

    Returns
    -------
    float
        Used pixels of the shaded tiles over all used pixels.
    ndarray of bool
        Which, shape of the tiles.
    """
    shaded = smooth_tiles(promise) & (promise.observed < _SHADED * promise.expected)
    if fine:
        bright = (promise.expected >= _LEAST_COUNTS) & (promise.there >= _THERE)
        shaded |= bright & (promise.observed < _DEEPLY * promise.expected)
    return float(used[shaded].sum()) / max(float(used.sum()), 1.0), shaded


def darker_tiles(before: npt.NDArray[np.float64], tiles: TileView) -> npt.NDArray[np.bool_]:
    """Return the tiles that have become darker than the rest.

    Parameters
    ----------
    before : ndarray
        Observed over promised counts of each tile in the readings before.
    tiles : TileView
        Now.
    """
    expected = before * tiles.promised
    with np.errstate(invalid="ignore"):
        missing = expected - tiles.ratio * tiles.promised
        sure = missing > _SIGMAS * np.sqrt(expected + 1.0)
        # spots come and go, so where there are few grains only a deep shadow of a smooth tile tells
        judged = (tiles.promised >= 100.0) if tiles.fine else tiles.smooth
        dark = sure & judged & (missing > (1 - _DARKER_LINES) * expected)
        if tiles.fine:
            dark |= sure & tiles.smooth & (missing > (1 - _DARKER) * expected)
    return np.asarray(dark)
