"""Pieces of a frame that must be looked at pixel by pixel: their rings do not explain their figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.pieces import DEAD, MISSING
from streamproc.reduction.flags.scan import BLOCK_ROWS, TILE_ROWS
from streamproc.reduction.kernels import compiled

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


@compiled
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
        for b in range(n - half):
            row[b] = below[b] if below[b] > below[b + half] else below[b + half]
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
def _is_suspect(
    top: float, one: int, other: int, highest: Any, most_norm: float, spread: float, least_dark: float
) -> bool:
    """Whether the brightest of a range of rings (see :func:`ranges_of`) does not explain a value."""
    a, b = highest[np.uint64(one)], highest[np.uint64(other)]
    over, brightest = top - least_dark, (a if a > b else b) * most_norm
    return over > 3.0 * brightest and over > bound(brightest, spread, least_dark)


@compiled
def _first_high(
    block_tops: Any, block_ranges: Any, first: int, stop: int, p: int, allowed: float, highest: Any,
    most_norm: float, spread: float, least_dark: float,
) -> int:  # fmt: skip
    """Return the first row of the first block of a plain tile whose highest value is suspect, or ``stop``.

    Mostly none is, so nothing else is done here: what holds arrays in the same loop costs four times as much.
    """
    for k in range(first // BLOCK_ROWS, -(-stop // BLOCK_ROWS)):
        top, one = block_tops[k, p], block_ranges[k, p, 0]
        if top > allowed and one >= 0:
            other = block_ranges[k, p, 1]
            if _is_suspect(top, one, other, highest, most_norm, spread, least_dark):
                return k * BLOCK_ROWS
    return stop


@compiled
def suspects(
    sums: Any, tops: Any, zeros: Any, plain: Any, block_tops: Any, tile_tops: Any, marks: Any, per_pixel: Any,
    dimmest: Any, used: Any, ranges: Any, block_ranges: Any, levels: int, tile_norm: Any, least_norm: float,
    most_norm: float, rings: Any, spread: float, least_dark: float,
) -> Any:  # fmt: skip
    """Return the pieces of rows that must be looked at pixel by pixel, float64, shape (n, 5).

    These are blocks of plain tiles, and pieces of others, whose figures cannot be explained: row, piece, the
    least value that may be high, whether zeros may be dead pixels, and the highest value below the limit.
    """
    rows, pieces = tops.shape
    n, highest, asked = 0, np.empty(0), np.empty((0, 5))
    for t in range(plain.shape[0]):
        for p in range(pieces):
            # what even the dimmest ring of the tile allows needs no look at the rings of each piece
            allowed = least_dark + bound(max(dimmest[t, p] * tile_norm[t, p], 0.0), spread, least_dark)
            if plain[t, p] and tile_tops[t, p] <= allowed:
                continue
            if highest.size == 0:
                highest = _range_maxima(rings, levels)
            step, first, stop = 1, t * TILE_ROWS, min((t + 1) * TILE_ROWS, rows)
            if plain[t, p]:
                step = BLOCK_ROWS
                first = _first_high(
                    block_tops, block_ranges, first, stop, p, allowed, highest, most_norm, spread, least_dark
                )
            for r in range(first, stop, step):
                if plain[t, p]:
                    some, top, pair = False, block_tops[r // BLOCK_ROWS, p], block_ranges[r // BLOCK_ROWS, p]
                else:
                    some = 0 < zeros[r, p] < used[r, p] and marks[r, p] & _JUDGED == 0
                    top, pair = tops[r, p], ranges[r, p]
                if pair[0] < 0 or (top <= allowed and not some):
                    continue
                suspect = _is_suspect(top, pair[0], pair[1], highest, most_norm, spread, least_dark)
                if not (suspect or some):
                    continue
                low_ring = _least_of(pair, rings)
                empty = some and low_ring * least_norm >= 10.0
                if empty:  # in a shadow zeros are no sign of dead pixels
                    empty = sums[r, p] >= 0.6 * per_pixel[t, p] * (used[r, p] - zeros[r, p])
                if not (suspect or empty):
                    continue
                if asked.shape[0] == 0:
                    asked = np.empty((rows * pieces, 5))
                least = np.inf
                if suspect:
                    least = least_dark + bound(max(low_ring, 0.0) * least_norm, spread, least_dark)
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
