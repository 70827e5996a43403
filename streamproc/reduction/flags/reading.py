"""Reading: everything that one frame or pattern shows by itself, and what its run will compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.curve import Curve
from streamproc.reduction.flags.parts import Parts

__all__ = ["LEAST_CHANNELS", "MOST_SAID", "Evidence", "Reading", "TileView", "ranges"]

Evidence = Mapping[str, Any]
"""JSON-able: ``pixels`` [[row, column], ...], ``rows`` [[first, last], ...], ``boxes`` [[row, row, column,
column], ...] or ``axis`` [[from, to], ...]; at most ``MOST_SAID`` entries, ``count`` of how many."""

MOST_SAID = 8

LEAST_CHANNELS = 16
"""Channels (rings) below which a pattern is none."""


_NO_PIXELS = np.empty(0, np.int64)


class TileView(NamedTuple):
    """Tiles of a frame: observed over promised counts, promised counts, used pixels, and which are smooth.

    ``fine`` is true where the rings have so many grains that lines are as good as smooth parts.
    """

    ratio: npt.NDArray[np.float64]
    promised: npt.NDArray[np.float64]
    used: npt.NDArray[np.float64]
    smooth: npt.NDArray[np.bool_]
    fine: bool


class Reading(NamedTuple):
    """What a frame or a pattern shows by itself.

    Attributes
    ----------
    numbers : Mapping
        Number of each kind that one reading can show; NaN where it cannot be judged.
    evidence : Mapping
        Of kinds whose number is not zero.
    checksum : int
        Over the data, for copies.
    level : float
        Mean intensity, dark subtracted.
    curve : Curve
        The pattern.
    slope : ndarray of float64, shape (n,)
        How far a line at each place of the curve's axis moves per unit strain, in the axis's unit.
    constant : bool
        Every value is the same: copies of it say nothing.
    quadrants : ndarray, shape (n, 4), or None
        The pattern of each quadrant of an image.
    parts : Parts or None
        The rings of an image in parts, all bins.
    measured : ndarray of bool, shape (bins,), or None
        Rings that the curve holds; None: all of them.
    tiles : TileView or None
        The tiles of an image.
    high : ndarray of int64
        Isolated high pixels, flat indices.
    used : int
        Used pixels or channels.
    lost_rows : int
        Rows of an image without a usable value.
    columns : int
        Columns of the image, 0 for a pattern.
    ice_places : ndarray or None
        Where lines of ice would be, as :func:`~streamproc.reduction.flags.lines.ice_places` gives them.
    """

    numbers: Mapping[str, float]
    evidence: Mapping[str, Evidence]
    checksum: int
    level: float
    curve: Curve
    slope: npt.NDArray[np.float64]
    constant: bool = False
    quadrants: npt.NDArray[np.float64] | None = None
    parts: Parts | None = None
    measured: npt.NDArray[np.bool_] | None = None
    tiles: TileView | None = None
    high: npt.NDArray[np.int64] = _NO_PIXELS
    used: int = 0
    lost_rows: int = 0
    columns: int = 0
    ice_places: npt.NDArray[np.float64] | None = None


def ranges(numbers: npt.NDArray[Any] | list[int]) -> list[list[int]]:
    """Return rising whole numbers as [first, last] of each run."""
    values = np.asarray(numbers, np.int64)
    if not values.size:
        return []
    ends = np.flatnonzero(np.diff(values) > 1)
    first, last = np.concatenate([[0], ends + 1]), np.concatenate([ends, [values.size - 1]])
    return [[int(values[a]), int(values[b])] for a, b in zip(first, last, strict=True)]
