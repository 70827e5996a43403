"""Single pixels that their ring cannot explain: isolated high ones, and ones without counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.parts import PartedPlan
from streamproc.reduction.flags.pieces import DEAD, MISSING
from streamproc.reduction.flags.scan import BLOCK_ROWS, PIECE, TILE_ROWS
from streamproc.reduction.kernels import compiled

__all__ = ["MOST", "OutlierFinder", "Outliers", "suspects"]

Float = npt.NDArray[np.float64]

_JUDGED = MISSING | DEAD

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
        self._last = bins.max(axis=2).astype(np.int32)
        self._first = np.where(bins < 0, n, bins).min(axis=2).astype(np.int32)
        starts = np.arange(0, rows, BLOCK_ROWS)
        self._block_last = np.maximum.reduceat(self._last, starts, axis=0)
        self._block_first = np.minimum.reduceat(self._first, starts, axis=0)
        self._level, self._block_level = (
            np.log2(np.maximum(last - first + 1, 1)).astype(np.int8)
            for first, last in ((self._first, self._last), (self._block_first, self._block_last))
        )
        self._bins: npt.NDArray[Any] = parted.bins.astype(np.uint16 if n < 65535 else np.int32)
        self._norm = parted.cells.plain.norm
        used = parted.used.ravel()
        self._span = (float(self._norm[used].min()), float(self._norm[used].max()))
        padded = np.full((-(-rows // TILE_ROWS) * TILE_ROWS, pieces * PIECE), np.inf)
        padded[:rows, :columns] = np.where(used, self._norm, np.inf).reshape(rows, columns)
        self._tile_norm = padded.reshape(-1, TILE_ROWS, pieces, PIECE).min(axis=(1, 3))
        self._tile_norm[np.isinf(self._tile_norm)] = 0.0
        self._ring_norm = np.bincount(parted.bins, self._norm, n + 1)[:n]
        self._columns, self._n = columns, n
        self.constants = (
            self._first, self._last, self._level, self._block_first, self._block_last, self._block_level,
            int(self._block_level.max()), self._tile_norm, *self._span,
        )  # fmt: skip
        """What :func:`suspects` takes of the plan."""
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
            Pieces of rows to look at, as :func:`suspects` gives them.
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
def _bound(expected: float, spread: float, dark: float) -> float:
    """Counts above dark that a pixel may have: three times the ring, and ten sigma of both and the dark."""
    return float(3.0 * expected + 10.0 * np.sqrt(spread * (expected + 2.0 * dark + 1.0)))


@compiled
def _range_maxima(rings: Any, levels: int) -> Any:
    """Maximum of 2**k rings from each ring on, shape (levels + 1, bins): that of any range by two
    look-ups."""
    n = rings.size
    table = np.empty((levels + 1, n))
    for b in range(n):
        table[0, b] = rings[b]
    for k in range(1, levels + 1):
        half = 2 ** (k - 1)
        below, row = table[k - 1], table[k]
        for b in range(n - half):
            row[b] = below[b] if below[b] > below[b + half] else below[b + half]
        for b in range(max(n - half, 0), n):
            row[b] = below[b]
    return table


@compiled
def _least(rings: Any, first: int, last: int) -> float:
    low = np.inf
    for b in range(first, last + 1):
        low = min(low, rings[b])
    return low


@compiled
def _is_high(
    frame: Any, i: int, bins: Any, norm: Any, rings: Any, n_rings: int, spread: float, dark: Any
) -> bool:
    b = bins[i]
    if b >= n_rings or rings[b] != rings[b]:
        return False
    expected = max(rings[b], 0.0) * norm[i]
    below = dark[i] if dark.size > 1 else 0.0
    return bool(frame[i] - below > _bound(expected, spread, below))


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
def suspects(
    sums: Any, tops: Any, zeros: Any, plain: Any, block_tops: Any, tile_tops: Any, marks: Any, per_pixel: Any,
    dimmest: Any, used: Any, first: Any, last: Any, levels: Any, block_first: Any, block_last: Any,
    block_level: Any, most_level: int, tile_norm: Any, least_norm: float, most_norm: float, rings: Any,
    spread: float, least_dark: float,
) -> Any:  # fmt: skip
    """Return the pieces of rows that must be looked at pixel by pixel, float64, shape (n, 5).

    These are blocks of plain tiles, and pieces of others, whose figures cannot be explained: row, piece, the
    least value that may be high, whether zeros may be dead pixels, and the highest value below the limit.
    """
    rows, pieces = tops.shape
    n, highest, asked = 0, np.empty((0, 0)), np.empty((0, 5))
    for t in range(plain.shape[0]):
        for p in range(pieces):
            # what even the dimmest ring of the tile allows needs no look at the rings of each piece
            allowed = least_dark + _bound(max(dimmest[t, p] * tile_norm[t, p], 0.0), spread, least_dark)
            if plain[t, p] and tile_tops[t, p] <= allowed:
                continue
            if highest.shape[0] == 0:
                highest = _range_maxima(rings, most_level)
            step = BLOCK_ROWS if plain[t, p] else 1
            for r in range(t * TILE_ROWS, min((t + 1) * TILE_ROWS, rows), step):
                if plain[t, p]:
                    k = r // BLOCK_ROWS
                    top, a, b, level = (
                        block_tops[k, p],
                        block_first[k, p],
                        block_last[k, p],
                        block_level[k, p],
                    )
                    some = False
                else:
                    top, a, b, level = tops[r, p], first[r, p], last[r, p], levels[r, p]
                    some = 0 < zeros[r, p] < used[r, p] and marks[r, p] & _JUDGED == 0
                if b < a or (top <= allowed and not some):
                    continue
                brightest = max(highest[level, a], highest[level, b + 1 - (1 << level)]) * most_norm
                over = top - least_dark
                suspect = over > 3.0 * brightest and over > _bound(brightest, spread, least_dark)
                if not (suspect or some):
                    continue
                low_ring = _least(rings, a, b)
                empty = some and low_ring * least_norm >= 10.0
                if empty:  # in a shadow zeros are no sign of dead pixels
                    empty = sums[r, p] >= 0.6 * per_pixel[t, p] * (used[r, p] - zeros[r, p])
                if not (suspect or empty):
                    continue
                if asked.shape[0] == 0:
                    asked = np.empty((rows * pieces, 5))
                least = np.inf
                if suspect:
                    least = least_dark + _bound(max(low_ring, 0.0) * least_norm, spread, least_dark)
                for row in range(r, min(r + step, rows)):
                    asked[n, 0], asked[n, 1], asked[n, 2], asked[n, 3], asked[n, 4] = (
                        row,
                        p,
                        least,
                        empty,
                        top,
                    )
                    n += 1
    return asked[:n]


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
