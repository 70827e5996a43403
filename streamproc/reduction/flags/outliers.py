"""Single pixels that their ring cannot explain: isolated high ones, and ones without counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.parts import PartedPlan, Parts
from streamproc.reduction.flags.scan import PIECE, TILE_ROWS, Scan
from streamproc.reduction.flags.tiles import Promise
from streamproc.reduction.kernels import compiled

__all__ = ["MOST", "OutlierFinder", "Outliers", "dispersion"]

Float = npt.NDArray[np.float64]

MOST = 4096
"""Outliers listed of one frame; a frame with more is spotty or broken, and the number is a lower bound."""


@dataclass(frozen=True, slots=True, eq=False)
class Outliers:
    """Flat indices of pixels: ``high`` are isolated and move their ring, ``dead`` have no counts."""

    high: npt.NDArray[np.int64]
    dead: npt.NDArray[np.int64]


def dispersion(parts: Parts) -> float:
    """Return the variance of the pixels over that of counting, at least 1.

    From the two combs of each quadrant, every fourth ring, by the median: grains, lines and bad pixels do not
    move it. Above 1 for integrating detectors (gain, read-out noise).
    """
    out = np.empty(-(-parts.signal.shape[0] // 4) * (parts.signal.shape[1] // 2))
    n = _comb_ratios(parts.signal, parts.variance, parts.norm, parts.counts, out)
    if n < 16:
        return 1.0
    return max(float(np.partition(out[:n], n // 2)[n // 2]) / 0.4549, 1.0)


@compiled
def _comb_ratios(signal: Any, variance: Any, norm: Any, counts: Any, out: Any) -> int:
    n = 0
    for b in range(0, signal.shape[0], 4):
        for i in range(0, signal.shape[1], 2):
            if counts[b, i] >= 4.0 and counts[b, i + 1] >= 4.0:
                d = signal[b, i] / norm[b, i] - signal[b, i + 1] / norm[b, i + 1]
                v = variance[b, i] / norm[b, i] ** 2 + variance[b, i + 1] / norm[b, i + 1] ** 2
                if v > 0.0:
                    out[n] = d * d / v
                    n += 1
    return n


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
        spans = np.maximum(self._last - self._first + 1, 1)
        self._levels = np.floor(np.log2(spans)).astype(np.int32)
        self._bins: npt.NDArray[Any] = parted.bins.astype(np.uint16 if n < 65535 else np.int32)
        self._norm = parted.cells.norm
        used = parted.used.ravel()
        self._span = (float(self._norm[used].min()), float(self._norm[used].max()))
        padded = np.full((-(-rows // TILE_ROWS) * TILE_ROWS, pieces * PIECE), np.inf)
        padded[:rows, :columns] = np.where(used, self._norm, np.inf).reshape(rows, columns)
        self._tile_norm = padded.reshape(-1, TILE_ROWS, pieces, PIECE).min(axis=(1, 3))
        self._tile_norm[np.isinf(self._tile_norm)] = 0.0
        self._ring_norm = np.bincount(parted.bins, self._norm, n + 1)[:n]
        self._columns, self._used_pixels, self._n = columns, used_pixels, n
        self._no_dark = np.zeros(1)
        self._dark: tuple[Float, float] | None = None

    def find(
        self, frame: npt.NDArray[Any], scan: Scan, rings: Float, lines: npt.NDArray[np.bool_], spread: float,
        dark: Float | None, judged: npt.NDArray[Any], promise: Promise,
    ) -> Outliers:  # fmt: skip
        """Find the outliers of an image (n_pixels,).

        Parameters
        ----------
        frame : ndarray
            Raw values.
        scan : Scan
            Its figures.
        rings : ndarray, shape (bins,)
            Intensity of the rings; NaN where unknown.
        lines : ndarray of bool, shape (bins,)
            Rings that are lines: a high pixel there may be a grain, so it is not told.
        spread : float
            Variance of a pixel over counting variance.
        dark : ndarray, shape (n_pixels,), or None
            Dark counts of each pixel.
        judged : ndarray, shape (rows, pieces)
            Not zero where the zeros of a piece have been counted already.
        promise : Promise
            What the rings promise the tiles.
        """
        high, dead = np.empty(MOST, np.int64), np.empty(MOST, np.int64)
        n_high, n_dead = _search(
            frame, scan.tops, scan.sums, scan.zeros, scan.plain, scan.tile_tops, judged, promise.per_pixel,
            promise.dimmest * self._tile_norm, TILE_ROWS, self._used_pixels,
            self._first, self._last, self._levels, self._bins, self._norm, rings, lines, self._ring_norm,
            self._span, spread, self._no_dark if dark is None else dark, self._least(dark),
            self._columns, PIECE, self._n, high, dead,
        )  # fmt: skip
        return Outliers(np.sort(high[:n_high]), np.sort(dead[:n_dead]))

    def _least(self, dark: Float | None) -> float:
        """Return the least dark of a used pixel, remembered for the newest dark."""
        if dark is None:
            return 0.0
        if self._dark is None or self._dark[0] is not dark:
            self._dark = (dark, float(dark[np.less(self._bins, self._n)].min()))
        return self._dark[1]


@compiled
def _bound(expected: float, spread: float, dark: float) -> float:
    """Counts above dark that a pixel may have: three times the ring, and ten sigma of both and the dark."""
    return float(3.0 * expected + 10.0 * np.sqrt(spread * (expected + 2.0 * dark + 1.0)))


@compiled
def _range_maxima(rings: Any) -> Any:
    """Maximum of 2**k rings from each ring on, shape (levels, bins): that of any range by two look-ups."""
    n, levels = rings.size, int(np.log2(rings.size)) + 1
    table = np.empty((levels, n))
    table[0] = rings
    for k in range(1, levels):
        half = 2 ** (k - 1)
        for b in range(n):
            table[k, b] = max(table[k - 1, b], table[k - 1, min(b + half, n - 1)])
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
def _search(
    frame: Any, tops: Any, sums: Any, zeros: Any, plain: Any, tile_tops: Any, judged: Any, per_pixel: Any,
    dimmest: Any, tile_rows: int, used: Any, first: Any, last: Any, levels: Any, bins: Any, norm: Any,
    rings: Any,
    lines: Any, ring_norm: Any, span: Any, spread: float, dark: Any, least_dark: float, columns: int,
    piece: int, n_rings: int, high: Any, dead: Any,
) -> Any:  # fmt: skip
    rows, pieces = tops.shape
    found, highest, allowed = np.zeros(2, np.int64), np.empty((0, 0)), np.empty(pieces)
    for t in range(plain.shape[0]):
        worth = False
        for p in range(pieces):
            # what even the dimmest ring of the tile allows needs no look at the rings of each piece
            allowed[p] = least_dark + _bound(max(dimmest[t, p], 0.0), spread, least_dark)
            if not plain[t, p]:
                allowed[p] = -1.0
            worth = worth or tile_tops[t, p] > allowed[p]
        if not worth:
            continue
        if highest.shape[0] == 0:
            highest = _range_maxima(rings)
        for r in range(t * tile_rows, min((t + 1) * tile_rows, rows)):
            for p in range(pieces):
                if tops[r, p] <= allowed[p] or used[r, p] == 0:
                    continue
                a, b, level = first[r, p], last[r, p], levels[r, p]
                brightest = max(highest[level, a], highest[level, b + 1 - 2**level]) * span[1]
                over = tops[r, p] - least_dark
                suspect = over > 3.0 * brightest and over > _bound(brightest, spread, least_dark)
                empty = judged[r, p] == 0 and 0 < zeros[r, p] < used[r, p]
                if not (suspect or empty):
                    continue
                low_ring = _least(rings, a, b)
                empty = empty and low_ring * span[0] >= 10.0
                if empty:  # in a shadow zeros are no sign of dead pixels
                    empty = sums[r, p] >= 0.6 * per_pixel[t, p] * (used[r, p] - zeros[r, p])
                if suspect or empty:
                    least = np.inf
                    if suspect:
                        least = least_dark + _bound(max(low_ring, 0.0) * span[0], spread, least_dark)
                    start = r * columns + p * piece
                    _search_piece(
                        frame, start, min(start + piece, (r + 1) * columns), columns, least, empty,
                        tops[r, p], bins, norm, rings, lines, ring_norm, spread, dark, n_rings, high,
                        dead, found,
                    )  # fmt: skip
    return found[0], found[1]


@compiled
def _search_piece(
    frame: Any, start: int, stop: int, columns: int, least: float, empty: bool, top: Any, bins: Any,
    norm: Any, rings: Any, lines: Any, ring_norm: Any, spread: float, dark: Any, n_rings: int, high: Any,
    dead: Any, found: Any,
) -> None:  # fmt: skip
    """Take down the outliers of one piece."""
    for i in range(start, stop):
        v = np.float64(frame[i])
        if (v <= least and not (empty and v == 0.0)) or bins[i] >= n_rings:
            continue
        if v == 0.0:
            if found[1] < dead.size:
                dead[found[1]] = i
                found[1] += 1
        elif (
            v <= top and not lines[bins[i]] and found[0] < high.size
            and _is_high(frame, i, bins, norm, rings, n_rings, spread, dark)
        ):  # fmt: skip
            ring = max(rings[bins[i]], 0.0)
            excess = v - ring * norm[i] - (dark[i] if dark.size > 1 else 0.0)
            moves = excess > 5.0 * np.sqrt(spread * (ring * ring_norm[bins[i]] + 1.0))
            if moves and _isolated(frame, i, columns, bins, norm, rings, n_rings, spread, dark):
                high[found[0]] = i
                found[0] += 1
