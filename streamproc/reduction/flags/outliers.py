"""Single pixels that their ring cannot explain: isolated high ones, and ones without counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.parts import PartedPlan
from streamproc.reduction.flags.scan import BLOCK_ROWS, PIECE, TILE_ROWS
from streamproc.reduction.flags.suspects import bound, ranges_of
from streamproc.reduction.kernels import compiled

__all__ = ["MOST", "OutlierFinder", "Outliers"]

Float = npt.NDArray[np.float64]

MOST = 4096
"""Outliers listed of one frame; a frame with more is spotty or broken, and the number is a lower bound."""


class Outliers(NamedTuple):
    """Flat indices of pixels: ``high`` are isolated and move their ring, ``dead`` have no counts."""

    high: npt.NDArray[np.int64]
    dead: npt.NDArray[np.int64]


class OutlierFinder:
    """Looks at single pixels of one plan's frames, only where a piece's figures cannot be explained.

    Parameters
    ----------
    parted : PartedPlan
        Rings and normalisation of each pixel.
    used_pixels : ndarray, shape (rows, pieces)
        Used pixels of each piece.
    """

    def __init__(self, parted: PartedPlan, used_pixels: npt.NDArray[np.uint32]) -> None:
        rows, columns = parted.plan.shape
        n = parted.plan.axis.size
        pieces = used_pixels.shape[1]
        bins = np.full((rows, pieces * PIECE), -1, np.int64)
        bins[:, :columns] = parted.bins.reshape(rows, columns)
        bins = np.where(bins == n, -1, bins).reshape(rows, pieces, PIECE)
        last, first = bins.max(axis=2), np.where(bins < 0, n, bins).min(axis=2)
        starts = np.arange(0, rows, BLOCK_ROWS)
        ranges, levels = ranges_of(first, last, n)
        of_blocks = np.minimum.reduceat(first, starts, axis=0), np.maximum.reduceat(last, starts, axis=0)
        block_ranges, block_levels = ranges_of(*of_blocks, n)
        levels = max(levels, block_levels)
        self._bins: npt.NDArray[Any] = parted.bins.astype(np.uint16 if n < 65535 else np.int32)
        self._norm = parted.cells.plain.norm
        used = parted.used.ravel()
        span = (float(self._norm[used].min()), float(self._norm[used].max()))
        padded = np.full((-(-rows // TILE_ROWS) * TILE_ROWS, pieces * PIECE), np.inf)
        padded[:rows, :columns] = np.where(used, self._norm, np.inf).reshape(rows, columns)
        tile_norm = padded.reshape(-1, TILE_ROWS, pieces, PIECE).min(axis=(1, 3))
        tile_norm[np.isinf(tile_norm)] = 0.0
        self._ring_norm = np.bincount(parted.bins, self._norm, n + 1)[:n]
        self._columns, self._n = columns, n
        self.constants = (ranges, block_ranges, levels, tile_norm, *span)
        """What :func:`~streamproc.reduction.flags.suspects.suspects` takes of the plan."""
        self.nothing = Outliers(np.empty(0, np.int64), np.empty(0, np.int64))
        """The outliers of a frame in which nowhere is to be looked at."""
        self._no_dark = np.zeros(1)
        self._dark: tuple[Float, float] | None = None

    def find(
        self, frame: npt.NDArray[Any], asked: Float, rings: Float, spread: float, dark: Float | None
    ) -> Outliers:
        """Find the outliers of an image (n_pixels,).

        Parameters
        ----------
        frame : ndarray
            Raw values.
        asked : ndarray, shape (n, 5)
            Pieces of rows to look at, as :func:`~streamproc.reduction.flags.suspects.suspects` gives them.
        rings : ndarray, shape (bins,)
            Intensity of the rings; NaN where unknown.
        spread : float
            Variance of a pixel over counting variance.
        dark : ndarray, shape (n_pixels,), or None
            Dark counts of each pixel.
        """
        high, dead = np.empty((2, MOST), np.int64)
        n_high, n_dead = _search(
            frame, asked, self._columns, self._bins, self._norm, rings, self._ring_norm, spread,
            self.dark_of(dark)[0], high, dead,
        )  # fmt: skip
        return Outliers(np.sort(high[:n_high]), np.sort(dead[:n_dead]))

    def dark_of(self, dark: Float | None) -> tuple[Float, float]:
        """Return the dark of each pixel and the least of a used one, remembered for the newest dark."""
        if dark is None:
            return self._no_dark, 0.0
        if self._dark is None or self._dark[0] is not dark:
            self._dark = (dark, float(dark[np.less(self._bins, self._n)].min()))
        return self._dark


@compiled
def _is_high(
    frame: Any, i: int, bins: Any, norm: Any, rings: Any, n_rings: int, spread: float, dark: Any
) -> bool:
    b = bins[i]
    if b >= n_rings or rings[b] != rings[b]:
        return False
    expected = max(rings[b], 0.0) * norm[i]
    below = dark[i] if dark.size > 1 else 0.0
    return bool(frame[i] - below > bound(expected, spread, below))


@compiled
def _isolated(
    frame: Any, i: int, columns: int, bins: Any, norm: Any, rings: Any, n_rings: int, spread: float, dark: Any
) -> bool:
    """At most two of the eight neighbours are high as well: a hit or its track, not the spot of a grain."""
    row, column, n = i // columns, i % columns, 0
    for r in range(max(row - 1, 0), min(row + 2, frame.size // columns)):
        for c in range(max(column - 1, 0), min(column + 2, columns)):
            j = r * columns + c
            if j != i and _is_high(frame, j, bins, norm, rings, n_rings, spread, dark):
                n += 1
    return n <= 2


@compiled
def _search(
    frame: Any, asked: Any, columns: int, bins: Any, norm: Any, rings: Any, ring_norm: Any, spread: float,
    dark: Any, high: Any, dead: Any,
) -> Any:  # fmt: skip
    """Take down the outliers of the pieces asked for; return how many are high and dead."""
    n_high, n_dead, n_rings = 0, 0, rings.size
    for k in range(asked.shape[0]):
        row, least, empty, top = int(asked[k, 0]), asked[k, 2], asked[k, 3] > 0.0, asked[k, 4]
        start = row * columns + int(asked[k, 1]) * PIECE
        for i in range(start, min(start + PIECE, (row + 1) * columns)):
            v = np.float64(frame[i])
            if (v <= least and not (empty and v == 0.0)) or bins[i] >= n_rings:
                continue
            if v == 0.0:
                if n_dead < dead.size:
                    dead[n_dead] = i
                    n_dead += 1
            elif (
                v <= top and n_high < high.size
                and _is_high(frame, i, bins, norm, rings, n_rings, spread, dark)
            ):  # fmt: skip
                ring = max(rings[bins[i]], 0.0)
                excess = v - ring * norm[i] - (dark[i] if dark.size > 1 else 0.0)
                moves = excess > 5.0 * np.sqrt(spread * (ring * ring_norm[bins[i]] + 1.0))
                if moves and _isolated(frame, i, columns, bins, norm, rings, n_rings, spread, dark):
                    high[n_high] = i
                    n_high += 1
    return n_high, n_dead
