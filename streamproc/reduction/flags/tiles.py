"""Tiles of the detector against what the frame's own rings promise them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.parts import PartedPlan
from streamproc.reduction.flags.scan import PIECE, Scan
from streamproc.reduction.kernels import compiled
from streamproc.reduction.passes import Constants

__all__ = ["TILE_ROWS", "Promise", "Tiles"]

Float = npt.NDArray[np.float64]

TILE_ROWS = 64
PROMISED = 20.0
"""Counts of which not one can be missing by chance (exp(-20) = 2e-9)."""


@dataclass(frozen=True, slots=True, eq=False)
class Promise:
    """What the rings promise the tiles, and what is there; float64, shape (tile rows, pieces).

    ``per_pixel`` are the counts that the rings promise one used pixel, ``least`` by their darker quadrants,
    and ``dark`` its dark counts. ``there`` is the share of the used pixels that have a value. ``expected``
    and ``floor`` are counts of all rings and of their smooth part, ``observed`` counts without dark; pieces
    that are dead or were lost as a whole count neither here nor there.
    """

    per_pixel: Float
    least: Float
    dark: Float
    there: Float
    expected: Float
    floor: Float
    observed: Float


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
        per_pixel, least, expected, smooth, observed, there = np.zeros((6, *self.shape))
        dark = self._dark_of(cells)
        _promise(
            self._first, self._rings, self._weights, rings, low, floor, scan.sums, scan.lows, scan.highs,
            scan.zeros, self.used_pixels, self.used, dark, TILE_ROWS, per_pixel, least, expected, smooth,
            observed, there,
        )  # fmt: skip
        return Promise(per_pixel, least, dark / np.maximum(self.used, 1.0), there, expected, smooth, observed)

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
    highs: Any, zeros: Any, used_pixels: Any, used: Any, dark: Any, tile_rows: int, per_pixel: Any,
    least: Any, expected: Any, smooth: Any, observed: Any, shares: Any,
) -> None:  # fmt: skip
    rows, pieces = sums.shape
    for t in range(used.size):
        e, s, m = 0.0, 0.0, 0.0
        for k in range(first[t], first[t + 1]):
            b = rings[k]
            if intensity[b] == intensity[b]:
                e += weights[k] * intensity[b]
                s += weights[k] * floor[b]
                m += weights[k] * low[b]
        i, p = t // pieces, t % pieces
        counted, there = 0.0, 0.0
        for r in range(i * tile_rows, min((i + 1) * tile_rows, rows)):
            n = used_pixels[r, p]
            lost = lows[r, p] + highs[r, p]
            if n > 0 and zeros[r, p] + lost < n:
                counted += np.float64(sums[r, p])
                there += n - lost
        share = there / used[i, p] if used[i, p] > 0 else 0.0
        if used[i, p] > 0:
            per_pixel[i, p], least[i, p] = max(e, 0.0) / used[i, p], max(m, 0.0) / used[i, p]
        expected[i, p], smooth[i, p] = e * share, s * share
        observed[i, p] = counted - dark[i, p] * share
        shares[i, p] = share
