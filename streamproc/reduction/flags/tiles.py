"""Tiles of the detector against what the frame's own rings promise them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.parts import PartedPlan
from streamproc.reduction.flags.scan import PIECE, TILE_ROWS, Scan
from streamproc.reduction.kernels import compiled
from streamproc.reduction.passes import Constants

__all__ = ["TILE_ROWS", "Promise", "Tiles"]

Float = npt.NDArray[np.float64]

PROMISED = 20.0
"""Counts of which not one can be missing by chance (exp(-20) = 2e-9)."""


@dataclass(frozen=True, slots=True, eq=False)
class Promise:
    """What the rings promise the tiles, and what is there; float64, shape (tile rows, pieces).

    ``per_pixel`` are the counts that the rings promise one used pixel, ``least`` by their darker quadrants,
    and ``dark`` its dark counts. ``there`` is the share of the used pixels that have a value. ``expected``
    and ``floor`` are counts of all rings and of their smooth part, ``observed`` counts without dark; pieces
    that are dead or were lost as a whole count neither here nor there. ``dimmest`` is the intensity of the
    dimmest ring that crosses a tile.
    """

    per_pixel: Float
    least: Float
    dark: Float
    there: Float
    expected: Float
    floor: Float
    observed: Float
    dimmest: Float


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
        norm = parted.cells.norm[used]
        size = (self.used.size, parted.plan.axis.size)
        table = coo_matrix((norm, (self._place, parted.bins[used])), size).tocsr()
        self._first, self._rings = table.indptr.astype(np.int64), table.indices.astype(np.int32)
        self._weights = np.ascontiguousarray(table.data, np.float64)
        self.most_norm = float(norm.max())
        self.least_norm = float(norm.min())
        self._dark: tuple[Constants, Float] | None = None

    def promise(self, scan: Scan, rings: Float, low: Float, floor: Float, cells: Constants) -> Promise:
        """Compare a scan with intensity, darker quadrants and smooth part of the rings, (bins,) each."""
        out = np.empty((8, *self.shape))
        _promise(
            self._first, self._rings, self._weights, rings, low, floor, scan.sums, scan.lows, scan.highs,
            scan.zeros, scan.plain, scan.tile_sums, self.used_pixels, self.used, self._dark_of(cells),
            TILE_ROWS, out,
        )  # fmt: skip
        return Promise(*out)

    def _dark_of(self, cells: Constants) -> Float:
        if cells.dark is None:
            return np.zeros(self.shape)
        if self._dark is None or self._dark[0] is not cells:
            sums = np.bincount(self._place, cells.dark.mean[self._used], self.used.size).astype(float)
            self._dark = (cells, sums.reshape(self.shape))
        return self._dark[1]


@compiled
def _promise(
    first: Any, rings: Any, weights: Any, intensity: Any, low: Any, floor: Any, sums: Any, lows: Any,
    highs: Any, zeros: Any, plain: Any, tile_sums: Any, used_pixels: Any, used: Any, dark: Any,
    tile_rows: int, out: Any,
) -> None:  # fmt: skip
    """Write the arrays of a Promise, in their order. Only tiles that are not plain are looked at by
    pieces."""
    rows, pieces = sums.shape
    known = np.zeros((intensity.size, 4))  # side by side: one place in memory for each ring
    for b in range(intensity.size):
        if intensity[b] == intensity[b]:
            known[b, 0], known[b, 1], known[b, 2] = intensity[b], floor[b], low[b]
    for t in range(used.size):
        e, s, m, dim = 0.0, 0.0, 0.0, np.inf
        for k in range(first[t], first[t + 1]):
            b, w = rings[k], weights[k]
            e += w * known[b, 0]
            s += w * known[b, 1]
            m += w * known[b, 2]
            dim = min(dim, known[b, 0])
        i, p = t // pieces, t % pieces
        counted, there = tile_sums[i, p], used[i, p]
        if not plain[i, p]:
            counted, there = 0.0, 0.0
            for r in range(i * tile_rows, min((i + 1) * tile_rows, rows)):
                n = used_pixels[r, p]
                lost = lows[r, p] + highs[r, p]
                if n > 0 and zeros[r, p] + lost < n:
                    counted += np.float64(sums[r, p])
                    there += n - lost
        pixels = max(used[i, p], 1.0)
        share = there / pixels
        out[0, i, p], out[1, i, p], out[2, i, p] = (
            max(e, 0.0) / pixels,
            max(m, 0.0) / pixels,
            dark[i, p] / pixels,
        )
        out[3, i, p], out[4, i, p], out[5, i, p] = share, e * share, s * share
        out[6, i, p], out[7, i, p] = counted - dark[i, p] * share, dim if dim < np.inf else 0.0
