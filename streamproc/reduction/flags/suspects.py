"""Pieces of a frame that must be looked at pixel by pixel: their rings do not explain their figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.pieces import DEAD, MISSING
from streamproc.reduction.flags.scan import BLOCK_ROWS, TILE_ROWS
from streamproc.reduction.kernels import compiled, compiled_sums

__all__ = ["bound", "ranges_of", "suspects"]

_JUDGED = MISSING | DEAD


@compiled
def bound(expected: float, spread: float, dark: float) -> float:
    """Counts above dark that a pixel may have: three times the ring, and ten sigma of both and the dark."""
    return float(3.0 * expected + 10.0 * np.sqrt(spread * (expected + 2.0 * dark + 1.0)))


def ranges_of(
    first: npt.NDArray[np.int64], last: npt.NDArray[np.int64], n: int
) -> tuple[npt.NDArray[np.int32], int]:
    """Return where in the table of :func:`_range_maxima` the two numbers lie whose higher one is the maximum
    of rings ``first`` to ``last``, shape (*first.shape, 2), -1 where there are none; and the highest level.
    """
    level = np.log2(np.maximum(last - first + 1, 1)).astype(np.int64)
    pairs = np.stack([level * n + first, level * n + last + 1 - 2**level], axis=-1)
    return np.where((last < first)[..., None], -1, pairs).astype(np.int32), int(level.max())


@compiled_sums
def _range_maxima(rings: Any, levels: int) -> Any:
    """Maximum of 2**k rings from each ring on, for each k up to ``levels``, one after the other: that of any
    range by two look-ups."""
    n = rings.size
    table = np.empty((levels + 1) * n)
    for b in range(n):
        table[b] = rings[b]
    for k in range(1, levels + 1):
        half = 2 ** (k - 1)
        below, row = table[(k - 1) * n : k * n], table[k * n : (k + 1) * n]
        above = below[half:]
        for b in range(above.size):
            row[b] = max(below[b], above[b])
        for b in range(max(n - half, 0), n):
            row[b] = below[b]
    return table


@compiled
def _least_of(pair: Any, rings: Any) -> float:
    """Minimum of the rings that a pair of :func:`ranges_of` stands for."""
    n = rings.size
    level, first = pair[0] // n, pair[0] % n
    return _least(rings, first, pair[1] - level * n - 1 + 2**level)


@compiled
def _least(rings: Any, first: int, last: int) -> float:
    low = np.inf
    for b in range(first, last + 1):
        low = min(low, rings[b])
    return low


@compiled
def _is_suspect(over: float, brightest: float, spread: float, least_dark: float) -> bool:
    """Whether a ring (or the brightest of a range of rings) does not explain a value that much above the
    dark."""
    return over > 3.0 * brightest and over > bound(brightest, spread, least_dark)


@compiled
def _high_tiles(
    plain: Any, block_tops: Any, tile_tops: Any, dimmest: Any, block_ranges: Any, highest: Any, rows: int,
    tile_norm: Any, most_norm: float, spread: float, least_dark: float, found: Any,
) -> int:  # fmt: skip
    """Write tiles that must be looked at (row and column of the tile, first row of pixels); return how many.

    These are tiles that are not plain, and plain ones from the first block on whose highest value is
    suspect. Mostly there are none, and no array is handed on here: in so short a loop that is what costs.
    """
    n = 0
    for t in range(plain.shape[0]):
        first, stop = t * TILE_ROWS, min((t + 1) * TILE_ROWS, rows)
        for p in range(plain.shape[1]):
            found[n, 0], found[n, 1], found[n, 2] = t, p, first
            if not plain[t, p]:
                n += 1
                continue
            allowed = _allowed(dimmest[t, p], tile_norm[t, p], spread, least_dark)
            if tile_tops[t, p] <= allowed:
                continue
            for k in range(first // BLOCK_ROWS, -(-stop // BLOCK_ROWS)):
                top, one = block_tops[k, p], block_ranges[k, p, 0]
                if top <= allowed or one < 0:
                    continue
                a, b = highest[np.uint64(one)], highest[np.uint64(block_ranges[k, p, 1])]
                if _is_suspect(top - least_dark, max(a, b) * most_norm, spread, least_dark):
                    found[n, 2] = k * BLOCK_ROWS
                    n += 1
                    break
    return n


@compiled
def _allowed(dimmest: float, norm: float, spread: float, least_dark: float) -> float:
    """Return the highest value that the dimmest ring of a tile allows: up to it no ring need be looked at."""
    return float(least_dark + bound(max(dimmest * norm, 0.0), spread, least_dark))


@compiled
def suspects(
    sums: Any, tops: Any, zeros: Any, plain: Any, block_tops: Any, tile_tops: Any, marks: Any, per_pixel: Any,
    dimmest: Any, used: Any, ranges: Any, block_ranges: Any, levels: int, tile_norm: Any, least_norm: float,
    most_norm: float, rings: Any, spread: float, least_dark: float, asked: Any,
) -> int:  # fmt: skip
    """Write the pieces of rows that must be looked at pixel by pixel, float64, shape (rows * pieces, 5);
    return how many.

    These are blocks of plain tiles, and pieces of others, whose figures cannot be explained: row, piece, the
    least value that may be high, whether zeros may be dead pixels, and the highest value below the limit.
    """
    rows = tops.shape[0]
    highest, high = _range_maxima(rings, levels), np.empty((plain.size, 3), np.int64)
    n = 0
    for i in range(
        _high_tiles(
            plain, block_tops, tile_tops, dimmest, block_ranges, highest, rows, tile_norm, most_norm, spread,
            least_dark, high,
        )
    ):  # fmt: skip
        t, p, first = high[i]
        step, stop = BLOCK_ROWS if plain[t, p] else 1, min((t + 1) * TILE_ROWS, rows)
        allowed = _allowed(dimmest[t, p], tile_norm[t, p], spread, least_dark)
        for r in range(first, stop, step):
            if plain[t, p]:
                some, top, pair = False, block_tops[r // BLOCK_ROWS, p], block_ranges[r // BLOCK_ROWS, p]
            else:
                some = 0 < zeros[r, p] < used[r, p] and marks[r, p] & _JUDGED == 0
                top, pair = tops[r, p], ranges[r, p]
            if pair[0] < 0 or (top <= allowed and not some):
                continue
            brightest = max(highest[pair[0]], highest[pair[1]]) * most_norm
            suspect = _is_suspect(top - least_dark, brightest, spread, least_dark)
            if not (suspect or some):
                continue
            low_ring = _least_of(pair, rings)
            empty = some and low_ring * least_norm >= 10.0
            if empty:  # in a shadow zeros are no sign of dead pixels
                empty = sums[r, p] >= 0.6 * per_pixel[t, p] * (used[r, p] - zeros[r, p])
            if not (suspect or empty):
                continue
            least = np.inf
            if suspect:
                least = least_dark + bound(max(low_ring, 0.0) * least_norm, spread, least_dark)
            for row in range(r, min(r + step, rows)):
                asked[n, 0], asked[n, 1], asked[n, 2], asked[n, 3], asked[n, 4] = row, p, least, empty, top
                n += 1
    return n
