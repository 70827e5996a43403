"""Kernels of the scan: blocks of eight rows in vector code, pieces of single rows only where a block asks for
it."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.reduction.kernels import compiled

__all__ = ["ROWS", "scan_again", "scan_band", "scan_reals"]

ROWS = 8
"""Rows of a block: eight are written out below, so that a block costs three sums over a vector, not 24."""

_FEW = 8192
"""Below this, eight values add up in 16 bits."""

_A, _B, _C = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9


@compiled
def _most(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    return max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))


@compiled
def _least(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    return min(min(min(a, b), min(c, d)), min(min(e, f), min(g, h)))


@compiled
def _few(t: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """Sum of eight values in the narrow type ``t``."""
    return t(t(t(t(a) + t(b)) + t(t(c) + t(d))) + t(t(t(e) + t(f)) + t(t(g) + t(h))))


@compiled
def _look(frame: Any, start: int, columns: int, width: int, narrow: Any, wide: Any, limit: Any) -> Any:
    """Sum, highest and lowest value of eight rows of ``width`` pixels, all of them used.

    Indices are unsigned: a signed one would be checked for being negative, which is no vector code.
    """
    s0, step, n = np.uint64(start), np.uint64(columns), np.uint64(width)
    s1, s2, s3 = s0 + step, s0 + step + step, s0 + step + step + step
    s4 = s3 + step
    s5, s6, s7 = s4 + step, s4 + step + step, s4 + step + step + step
    top, low, few = frame[s0], limit, np.uint32(0)
    for i in range(n):
        a, b, c, d = frame[s0 + i], frame[s1 + i], frame[s2 + i], frame[s3 + i]
        e, f, g, h = frame[s4 + i], frame[s5 + i], frame[s6 + i], frame[s7 + i]
        top = max(top, _most(a, b, c, d, e, f, g, h))
        low = min(low, _least(a, b, c, d, e, f, g, h))
        few = np.uint32(few + np.uint32(_few(narrow, a, b, c, d, e, f, g, h)))  # hoping that all are small
    if low >= 0 and top < _FEW:
        return wide(few), top, low
    total = wide(0)
    for i in range(n):
        a, b, c, d = frame[s0 + i], frame[s1 + i], frame[s2 + i], frame[s3 + i]
        e, f, g, h = frame[s4 + i], frame[s5 + i], frame[s6 + i], frame[s7 + i]
        total = wide(total + _few(wide, a, b, c, d, e, f, g, h))
    return total, top, low


@compiled
def _look_kept(
    frame: Any, keep: Any, start: int, columns: int, rows: int, width: int, wide: Any, limit: Any
) -> Any:
    """The same of the used pixels of some rows: zero counts as their sum and highest, and the limit as their
    lowest, if none is."""
    kind = frame.dtype.type
    total, top, low = wide(0), kind(0), limit
    for r in range(rows):
        begin = np.uint64(start + r * columns)
        for i in range(np.uint64(width)):
            k = keep[begin + i]
            v = kind(frame[begin + i] & k)
            total = wide(total + wide(v))
            top = max(top, v)
            low = min(low, kind(v | kind(limit & kind(~k))))
    return total, top, low


@compiled
def _counted(frame: Any, keep: Any, start: int, stop: int, wide: Any, limit: Any) -> Any:
    """Sum and highest of what is neither zero, negative nor at the limit, and how many of each of these
    are."""
    kind, nothing = frame.dtype.type, frame.dtype.type(0)
    total, top, n_zero, n_low, n_high = wide(0), kind(0), np.uint32(0), np.uint32(0), np.uint32(0)
    for i in range(np.uint64(start), np.uint64(stop)):
        v = kind(frame[i] & keep[i])
        high = v >= limit
        n_zero = np.uint32(n_zero + np.uint32(v == nothing))
        n_low = np.uint32(n_low + np.uint32(v < nothing))
        n_high = np.uint32(n_high + np.uint32(high))
        inside = nothing if high else max(v, nothing)
        total = wide(total + wide(inside))
        top = max(top, inside)
    return total, top, n_zero, n_low, n_high


@compiled
def _word(total: Any, top: Any, place: int) -> Any:
    word = np.uint64(total) * np.uint64(_A) + np.uint64(top) * np.uint64(_B)
    word ^= word >> np.uint64(29)
    return word * (np.uint64(2) * np.uint64(place) + np.uint64(1)) * np.uint64(_B)


@compiled
def scan_band(
    frame: Any, keep: Any, unused: Any, columns: int, piece: int, k: int, tile_rows: int, narrow: Any,
    wide: Any, limit: Any, low: int, high: int, sums: Any, plain: Any, block_sums: Any, block_tops: Any,
    tile_sums: Any, tile_tops: Any, sound: Any,
) -> Any:  # fmt: skip
    """Look at the blocks of one band of eight rows; return its part of the checksum, whether all are sound
    (every used pixel lies between ``low`` and ``high``, and is not zero), and the sum of those that are."""
    rows, pieces = sums.shape
    first, all_sound = k * ROWS, True
    n_rows, t, checksum, whole = min(ROWS, rows - first), first // tile_rows, np.uint64(0), 0.0
    if first % tile_rows == 0:
        plain[t], tile_sums[t], tile_tops[t] = True, 0.0, 0.0
    for p in range(pieces):
        start, width = first * columns + p * piece, min(piece, columns - p * piece)
        if unused[k, p] == 0 and n_rows == ROWS:
            total, top, least = _look(frame, start, columns, width, narrow, wide, limit)
        else:
            total, top, least = _look_kept(frame, keep, start, columns, n_rows, width, wide, limit)
        if (least <= 0 or top >= limit) and unused[k, p] < n_rows * width:
            plain[t, p] = False
        sound[p] = least > 0 and np.int64(least) >= low and np.int64(top) < high
        all_sound = all_sound and sound[p]
        block_sums[k, p], block_tops[k, p] = total, top
        tile_sums[t, p] += np.float64(total)
        whole += np.float64(total) if sound[p] else 0.0
        tile_tops[t, p] = max(tile_tops[t, p], np.float64(top))
        checksum += _word(total, top, k * pieces + p)
    return checksum, all_sound, whole


@compiled
def scan_again(
    frame: Any, keep: Any, used: Any, columns: int, piece: int, t: int, tile_rows: int, wide: Any, limit: Any,
    sums: Any, tops: Any, zeros: Any, lows: Any, highs: Any, varied: Any, plain: Any, tile_tops: Any,
) -> Any:  # fmt: skip
    """Figures of the pieces of tiles that are not plain, and of rows whose plain pieces are constant each;
    return their part of the checksum."""
    rows, pieces = sums.shape
    c, checksum, none = np.uint64(_C), np.uint64(0), np.uint32(0)
    all_plain = True
    for p in range(pieces):
        if not plain[t, p]:
            tile_tops[t, p] = 0.0
            all_plain = False
    for r in range(t * tile_rows, min((t + 1) * tile_rows, rows)):
        varied[r] = False
        for p in range(pieces):
            n = used[r, p]
            if n == 0 or not plain[t, p]:
                continue
            start = r * columns + p * piece
            stop = min(start + piece, (r + 1) * columns)
            whole = n == stop - start  # then nobody need know which: they are not in the cache
            v = start if whole else -1
            for i in range(start, stop):
                if whole or keep[i] != 0:
                    v = i if v < 0 else v
                    if frame[i] != frame[v]:
                        varied[r] = True
                        break
            if varied[r]:
                break
            sums[r, p], tops[r, p] = wide(n) * wide(frame[v]), frame[v]
        if varied[r] and all_plain:
            continue
        for p in range(pieces):
            n = used[r, p]
            if plain[t, p]:
                if not varied[r]:
                    zeros[r, p], lows[r, p], highs[r, p] = none, none, none
                    if n == 0:
                        sums[r, p], tops[r, p] = 0, 0
                continue
            start = r * columns + p * piece
            stop = min(start + piece, (r + 1) * columns)
            total, top, n_zero, n_low, n_high = _counted(frame, keep, start, stop, wide, limit)
            n_zero -= np.uint32(stop - start) - n
            sums[r, p], tops[r, p], zeros[r, p], lows[r, p], highs[r, p] = total, top, n_zero, n_low, n_high
            tile_tops[t, p] = max(tile_tops[t, p], np.float64(top))
            rest = (
                np.uint64(n_zero) * c + np.uint64(n_low) * (c + c) + np.uint64(n_high) * (c ^ np.uint64(_A))
            )
            checksum += _word(np.uint64(total) + rest, top, (rows + r) * pieces + p)
    return checksum


@compiled
def scan_reals(
    frame: Any, keep: Any, rows: int, columns: int, piece: int, limit: float, sums: Any, tops: Any,
    zeros: Any, lows: Any, highs: Any,
) -> None:  # fmt: skip
    """Figures of each piece of a frame of real numbers; what is not finite counts as below zero."""
    pieces = sums.shape[1]
    for r in range(rows):
        for p in range(pieces):
            start = r * columns + p * piece
            for i in range(start, min(start + piece, (r + 1) * columns)):
                v = np.float64(frame[i])
                if not keep[i] or v == 0.0:
                    zeros[r, p] += np.uint32(1)
                elif v >= limit:
                    highs[r, p] += np.uint32(1)
                elif v > 0.0:
                    sums[r, p] += v
                    tops[r, p] = max(tops[r, p], v)
                else:
                    lows[r, p] += np.uint32(1)
