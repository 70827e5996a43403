"""Tiles of the detector against what the frame's own rings promise them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.parts import PartedPlan
from streamproc.reduction.flags.scan import PIECE, TILE_ROWS, Scan
from streamproc.reduction.kernels import compiled, compiled_sums
from streamproc.reduction.passes import Constants

__all__ = [
    "DARK", "DARKER", "DIMMEST", "EXPECTED", "FLOOR", "OBSERVED", "PER_PIXEL", "RATIO", "THERE", "TILE_ROWS",
    "Promise", "Tiles", "promise_tiles",
]  # fmt: skip

Float = npt.NDArray[np.float64]

_NONE = 0x7FE0000000000000
"""Bits of a number larger than any intensity."""

_GROUP = 8
"""Rings of which the dimmest is found once, for all tiles."""

(
    PER_PIXEL, DARKER, DARK,  # counts that rings promise one used pixel, that their darker quadrants do, dark
    THERE,  # share of the used pixels that have a value
    EXPECTED, FLOOR, OBSERVED,  # counts of the tile: of all rings, of their smooth part, found without dark
    DIMMEST,  # what the dimmest ring that crosses the tile has at least
    RATIO,  # observed over expected counts: written by what looks for shadows
) = range(9)  # fmt: skip
"""Arrays of a Promise."""

PROMISED = 20.0
"""Counts of which not one can be missing by chance (exp(-20) = 2e-9)."""


class Promise(NamedTuple):
    """What the rings promise the tiles, and what is there.

    Attributes
    ----------
    arrays : ndarray of float64, shape (8 or more, tile rows, pieces)
        ``PER_PIXEL`` to ``DIMMEST``, in this order. Of the counts of a tile, pieces that are dead or were
        lost as a whole are left out.
    """

    arrays: Float

    @property
    def there(self) -> Float:
        """Share of the used pixels of each tile that have a value."""
        found: Float = self.arrays[THERE]
        return found

    @property
    def expected(self) -> Float:
        """Counts that all rings promise each tile."""
        found: Float = self.arrays[EXPECTED]
        return found

    @property
    def floor(self) -> Float:
        """Counts that the smooth part of the rings promises each tile."""
        found: Float = self.arrays[FLOOR]
        return found

    @property
    def observed(self) -> Float:
        """Counts of each tile without dark."""
        found: Float = self.arrays[OBSERVED]
        return found


class Tiles:
    """The tiles of one plan: which rings cross each, and with what weight.

    Parameters
    ----------
    parted : PartedPlan
        Rings of each pixel.
    used_pixels : ndarray, shape (rows, pieces)
        Used pixels of each piece.
    """

    def __init__(self, parted: PartedPlan, used_pixels: npt.NDArray[np.uint32]) -> None:
        from scipy.sparse import coo_matrix

        rows, columns = parted.plan.shape
        self.shape = (-(-rows // TILE_ROWS), used_pixels.shape[1])
        self.used_pixels = used_pixels
        ruled = np.add.reduceat(used_pixels, np.arange(0, rows, TILE_ROWS), axis=0)
        self.used = ruled.astype(np.float64)
        used = np.flatnonzero(parted.bins < parted.plan.axis.size)
        self._used, self._place = (
            used,
            (used // columns // TILE_ROWS) * self.shape[1] + used % columns // PIECE,
        )
        norm = parted.cells.plain.norm[used]
        size = (self.used.size, parted.plan.axis.size)
        table = coo_matrix((norm, (self._place, parted.bins[used])), size).tocsr()
        # a tile's rings lie side by side, so it needs only the first of them
        table.sort_indices()
        starts, stops = table.indptr[:-1], table.indptr[1:]
        low, high = np.zeros((2, self.used.size), np.int64)
        some = stops > starts
        low[some], high[some] = table.indices[starts[some]], table.indices[stops[some] - 1] + 1
        self._first, self._low = np.concatenate([[0], np.cumsum(high - low)]), low
        self._weights = np.zeros(int(self._first[-1]), np.float32)
        tile = np.repeat(np.arange(self.used.size), np.diff(table.indptr))
        self._weights[self._first[tile] + table.indices - low[tile]] = table.data
        self.constants = (self._first, self._low, self._weights, used_pixels, self.used)
        """For the kernels: first weight and ring of each tile, weights, used pixels of pieces and tiles."""
        self._no_dark = np.zeros(self.shape)
        self._dark: tuple[Constants, Float] | None = None

    def promise(self, scan: Scan, rings: Float, low: Float, floor: Float, cells: Constants) -> Promise:
        """Compare a scan with intensity, darker quadrants and smooth part of the rings, (bins,) each."""
        out = np.empty((RATIO, *self.shape))
        first, lowest, weights, pixels, used = self.constants
        promise_tiles(
            first, lowest, weights, rings, low, floor, scan.of_pieces[0], scan.counts, scan.plain,
            scan.of_tiles[0], pixels, used, self.dark_of(cells), out,
        )  # fmt: skip
        return Promise(out)

    def dark_of(self, cells: Constants) -> Float:
        """Return the dark counts of each tile, remembered for the newest dark."""
        if cells.dark is None:
            return self._no_dark
        if self._dark is None or self._dark[0] is not cells:
            sums = np.bincount(self._place, cells.dark.mean[self._used], self.used.size).astype(float)
            self._dark = (cells, sums.reshape(self.shape))
        return self._dark[1]


@compiled_sums
def _rings_of_tiles(
    first: Any, lowest: Any, weights: Any, rings: Any, low: Any, floor: Any, out: Any
) -> None:
    """Write what all rings, their darker quadrants and their floor make of each tile, and what the dimmest
    ring has at least: that of the groups of rings that the tile touches.

    The dimmest is sought among the bits of the numbers, whose order is the same (but among negative ones,
    which promise nothing all the same): of real numbers the compiler makes no vector code there.
    """
    bits, dims, t = rings.view(np.int64), out[DIMMEST].view(np.int64), 0
    least = np.empty(rings.size // _GROUP + 1, np.int64)
    for g in range(least.size):
        dim = np.int64(_NONE)
        for b in range(g * _GROUP, min((g + 1) * _GROUP, rings.size)):
            dim = min(dim, bits[b])
        least[g] = dim
    for i in range(out.shape[1]):
        for p in range(out.shape[2]):
            e, m, s, dim = 0.0, 0.0, 0.0, np.int64(_NONE)
            f, n, start = np.uint64(first[t]), np.uint64(first[t + 1] - first[t]), np.uint64(lowest[t])
            for k in range(n):
                w = weights[f + k]
                e += w * rings[start + k]
                m += w * low[start + k]
                s += w * floor[start + k]
            for g in range(lowest[t] // _GROUP, (lowest[t] + first[t + 1] - first[t]) // _GROUP + 1):
                dim = min(dim, least[g])
            out[PER_PIXEL, i, p], out[DARKER, i, p], out[FLOOR, i, p] = e, m, s
            dims[i, p] = dim if n > 0 else 0
            t += 1


@compiled
def promise_tiles(
    first: Any, lowest: Any, weights: Any, rings: Any, low: Any, floor: Any, sums: Any, counts: Any,
    plain: Any, tile_sums: Any, used_pixels: Any, used: Any, dark: Any, out: Any,
) -> None:  # fmt: skip
    """Write the arrays of a Promise, in their order. Only tiles that are not plain are looked at by
    pieces."""
    zeros, lows, highs = counts[0], counts[1], counts[2]
    _rings_of_tiles(first, lowest, weights, rings, low, floor, out)
    rows, pieces = sums.shape
    for i in range(used.shape[0]):
        for p in range(pieces):
            e, m, s = out[PER_PIXEL, i, p], out[DARKER, i, p], out[FLOOR, i, p]
            counted, there = tile_sums[i, p], used[i, p]
            if not plain[i, p]:
                counted, there = 0.0, 0.0
                for r in range(i * TILE_ROWS, min((i + 1) * TILE_ROWS, rows)):
                    n = used_pixels[r, p]
                    lost = lows[r, p] + highs[r, p]
                    if n > 0 and zeros[r, p] + lost < n:
                        counted += np.float64(sums[r, p])
                        there += n - lost
            pixels = max(used[i, p], 1.0)
            share = there / pixels
            out[PER_PIXEL, i, p], out[DARKER, i, p], out[DARK, i, p] = (
                max(e, 0.0) / pixels,
                max(m, 0.0) / pixels,
                dark[i, p] / pixels,
            )
            out[THERE, i, p], out[EXPECTED, i, p], out[FLOOR, i, p] = share, e * share, s * share
            out[OBSERVED, i, p] = counted - dark[i, p] * share
