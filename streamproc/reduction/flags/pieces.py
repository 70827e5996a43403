"""Pieces of rows that cannot be right: missing rows, dead and hot modules, saturated regions, shadows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.scan import BLOCK_ROWS
from streamproc.reduction.flags.tiles import PROMISED, TILE_ROWS
from streamproc.reduction.flags.zeros import too_many_zeros
from streamproc.reduction.kernels import compiled

__all__ = ["DEAD", "HIGH", "HOT", "MISSING", "PieceFaults", "judge_pieces"]

MISSING, DEAD, HOT, HIGH = 1, 2, 4, 8
"""Marks of a piece: no variation in a whole row; no counts; far above its rings; at the limit."""

_HOT_TIMES = 3.0
_STRIP_ROWS = 150
"""A strip of limit values this long and narrower than a piece is a gap between modules, marked so by DECTRIS
detectors; modules and chips are longer than that, saturated spots shorter."""


class PieceFaults(NamedTuple):
    """Marks of the pieces (rows, pieces), and how many rows and used pixels they concern."""

    marks: npt.NDArray[np.uint8]
    missing_rows: int
    lost_rows: int
    """Rows without a single usable value: gaps, or rows that were never read."""

    dead: int
    hot: int
    saturated: int


@compiled
def judge_pieces(
    sums: Any, tops: Any, zeros: Any, lows: Any, highs: Any, varied: Any, plain: Any, block_sums: Any,
    tile_sums: Any, used: Any, tiles: Any, per_pixel: Any, least: Any, dimmest: Any, dark: Any, marks: Any,
    counts: Any,
) -> None:  # fmt: skip
    """Write the marks and the counts of a :class:`PieceFaults`; both are zero to begin with."""
    if not (varied.all() and plain.all()):  # as they are in most frames
        _judge_rows(
            sums, tops, zeros, lows, highs, varied, plain, used, per_pixel, dimmest, dark, TILE_ROWS,
            PROMISED, _STRIP_ROWS, marks, counts,
        )  # fmt: skip
    _judge_tiles(
        sums, lows, highs, plain, block_sums, tile_sums, tiles, used, least, dark, BLOCK_ROWS, TILE_ROWS,
        PROMISED, _HOT_TIMES, marks, counts,
    )  # fmt: skip


@compiled
def _spread_rows(blank: Any, missing: Any) -> None:
    """Rows without variation beside missing ones are missing too: nothing is left to promise counts."""
    for r in range(1, blank.size):
        missing[r] = missing[r] or (blank[r] and missing[r - 1])
    for r in range(blank.size - 2, -1, -1):
        missing[r] = missing[r] or (blank[r] and missing[r + 1])


@compiled
def _judge_rows(
    sums: Any, tops: Any, zeros: Any, lows: Any, highs: Any, varied: Any, plain: Any, used: Any,
    per_pixel: Any,
    dimmest: Any, dark: Any, tile_rows: int, promised: float, strip: int, marks: Any, counts: Any,
) -> None:  # fmt: skip
    """Rows without variation or without values, dead pieces, pieces at the limit.

    A row that varies within a plain tile is sound; such tiles have no marks but those of missing rows.
    """
    rows, pieces = sums.shape
    same = np.zeros(pieces, np.int64)
    blank, rows_missing, gap = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    for r in range(rows):
        if varied[r]:
            continue
        promise, constant, lost, there = 0.0, True, True, False
        for p in range(pieces):
            n, gone = used[r, p], lows[r, p] + highs[r, p]
            if n == 0:
                continue
            there = True
            if gone < n:
                lost = False
                if zeros[r, p] == 0 and gone == 0 and tops[r, p] * n > sums[r, p]:
                    constant = False  # as nearly every piece
                    continue
                if zeros[r, p] + gone == n or (
                    zeros[r, p] == 0 and np.float64(tops[r, p]) * (n - gone) == sums[r, p]
                ):
                    promise += (per_pixel[r // tile_rows, p] + dark[r // tile_rows, p]) * (n - gone)
                else:
                    constant = False
        missing = there and constant and not lost and promise >= promised
        blank[r] = there and constant and not lost
        gap[r] = there and lost
        rows_missing[r] = missing
        counts[1] += there and lost
    _spread_rows(blank, rows_missing)
    plain_rows = np.array([plain[t].all() for t in range(plain.shape[0])])
    for r in range(rows):
        missing = rows_missing[r]
        counts[0] += missing
        if plain_rows[r // tile_rows] and not missing:
            if r % tile_rows == 0 or rows_missing[r - 1]:
                same[:] = 0
            continue
        for p in range(pieces):
            if plain[r // tile_rows, p] and not missing:
                same[p] = 0
                continue
            n, high = used[r, p], highs[r, p]
            if missing:
                marks[r, p] |= 1
            elif (
                n > 0
                and lows[r, p] == 0
                and zeros[r, p] == n
                and (per_pixel[r // tile_rows, p] + dark[r // tile_rows, p]) * n >= promised
            ):
                marks[r, p] |= 2
                counts[2] += n
            elif too_many_zeros(
                zeros[r, p],
                n,
                sums[r, p],
                per_pixel[r // tile_rows, p] + dark[r // tile_rows, p],
                dimmest[r // tile_rows, p] + dark[r // tile_rows, p],
            ):
                marks[r, p] |= 2
                counts[2] += zeros[r, p]
            above = r > 0 and not plain[(r - 1) // tile_rows, p]  # a plain tile has no limit values
            same[p] = same[p] + 1 if above and high > 0 and high < n and high == highs[r - 1, p] else 0
            if same[p] == strip:
                for k in range(r - strip, r + 1):
                    counts[4] -= highs[k, p] if marks[k, p] & 8 else 0
                    marks[k, p] &= 7
            if high > 0 and same[p] < strip and not gap[r]:
                marks[r, p] |= 8
                counts[4] += high


@compiled
def _judge_tiles(
    sums: Any, lows: Any, highs: Any, plain: Any, block_sums: Any, tile_sums: Any, tiles: Any, used: Any,
    per_pixel: Any, dark: Any, block_rows: int, tile_rows: int, promised: float, times: float, marks: Any,
    counts: Any,
) -> None:  # fmt: skip
    """Tiles without counts whose pieces are promised too little each, and tiles that are hot everywhere.

    That is in every piece; a plain tile is looked at by blocks.
    """
    rows, pieces = sums.shape
    for i in range(per_pixel.shape[0]):
        for p in range(pieces):
            whole = tile_sums[i, p] - dark[i, p] * tiles[i, p]
            if plain[i, p] and whole <= times * per_pixel[i, p] * tiles[i, p]:
                continue  # has counts, and not every piece can be hot
            start, stop = i * tile_rows, min((i + 1) * tile_rows, rows)
            pixels, empty, hot = 0, True, True
            step = block_rows if plain[i, p] else 1
            for r in range(start, stop, step):
                n = 0
                for k in range(r, min(r + step, stop)):
                    n += used[k, p]
                if plain[i, p]:
                    counted = np.float64(block_sums[r // block_rows, p])
                else:
                    n -= lows[r, p] + highs[r, p]
                    counted = np.float64(sums[r, p])
                if n <= 0 or marks[r, p] & 1:
                    continue
                pixels += n
                empty = empty and counted == 0.0
                expected, below = per_pixel[i, p] * n, dark[i, p] * n
                hot = hot and counted - below > times * expected + 10.0 * np.sqrt(expected + 2 * below + 1.0)
            mark = 0
            if pixels > 0 and empty and (per_pixel[i, p] + dark[i, p]) * pixels >= promised:
                mark = 2
            elif pixels >= tile_rows and hot:
                mark = 4
            if mark == 0:
                continue
            for r in range(start, stop):
                if not marks[r, p] & (1 | 2):
                    marks[r, p] |= mark
                    counts[2 if mark == 2 else 3] += used[r, p]
