"""count_and_scan: the pass of the integration that also scans, so that a frame comes from memory once."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.reduction.flags.ahead import fetch_ahead
from streamproc.reduction.flags.look import ROWS, scan_again, scan_band
from streamproc.reduction.kernels import add_counts, compiled, empty_packed

__all__ = ["count_and_scan"]

_MOST = 2.0**32 - 1
"""What a sum of 32 bits holds. Such sums fit the nearest cache beside a band of the frame."""

_LINE = 64
"""Bytes of a cache line."""


@compiled
def _fetch_row(frame: Any, start: int, columns: int) -> None:
    """Fetch a row that is scanned in the next band."""
    if start + columns <= frame.size:
        for i in range(start, start + columns, _LINE // frame.itemsize):
            fetch_ahead(frame, i)


@compiled
def _add_sound(frame: Any, bins: Any, start: int, stop: int, small: Any) -> None:
    """Add pixels ``start`` to ``stop`` that all count and are not zero to sums of 32 bits.

    What is in the trash bin may be anything. Four at a time, so that finding the next bins does not wait for
    adding up.
    """
    i, last = np.uint64(start), np.uint64(stop)
    one, four = np.uint64(1), np.uint64(4)
    while i + four <= last:
        a, b = np.uint64(bins[i]), np.uint64(bins[i + one])
        c, d = np.uint64(bins[i + one + one]), np.uint64(bins[i + one + one + one])
        small[a] += np.uint32(frame[i])
        small[b] += np.uint32(frame[i + one])
        small[c] += np.uint32(frame[i + one + one])
        small[d] += np.uint32(frame[i + one + one + one])
        i += four
    while i < last:
        small[np.uint64(bins[i])] += np.uint32(frame[i])
        i += one


@compiled
def _empty_small(small: Any, sums: Any) -> None:
    """Add what sums of 32 bits hold to the sums."""
    for b in range(sums.size):
        sums[b] += np.float64(small[b])


@compiled
def count_and_scan(
    frame: Any, bins: Any, low: int, high: int, block: int, floor: float, bin_sums: Any, variances: Any,
    lost: Any, keep: Any, used: Any, unused: Any, columns: int, piece: int, tile_rows: int, of_eight: Any,
    of_all: Any, limit: Any, of_pieces: Any, counts: Any, varied: Any, plain: Any, of_blocks: Any,
    of_tiles: Any,
) -> Any:  # fmt: skip
    """Write the figures of a :class:`Scan`, and do what ``count_pixels`` does, band by band, while a band is
    in the nearest cache.

    What the scan has seen need not be looked at again: pixels of a sound block are added up as they are, in
    32 bits as long as the sum of all says that none can overflow. Empty ``bins``: nothing is counted.

    Parameters
    ----------
    frame, bins, low, high, block, floor, bin_sums, variances, lost
        As ``count_pixels`` takes them, but ``variances`` may hold anything, and is written only where it is
        told to be: mostly no pixel is zero, and then variances are the sums.
    keep, used, unused
        ``keep`` has all bits of used pixels and none of others; ``used`` counts them in each piece,
        ``unused`` the others in each block.
    columns, piece, tile_rows, of_eight, of_all, limit
        ``limit`` is of the frame's type; ``of_all`` is an array of the type of the sums, and eight small
        values add up in that of ``of_eight``: a type itself would take ten microseconds to hand over. Zeros,
        negative and limit values are counted only where the lowest or highest value of a tile says that there
        are any.
    of_pieces, counts, varied, plain, of_blocks, of_tiles
        Written: the arrays of a :class:`Scan`.

    Returns
    -------
    n_lost : int
        How many entries of ``lost`` were written.
    apart : bool
        Variances were written: pixels may have been zero.
    checksum : uint64
    """
    narrow = of_eight.dtype.type
    wide = of_all.dtype.type
    sums, tops, zeros, lows, highs = of_pieces[0], of_pieces[1], counts[0], counts[1], counts[2]
    block_sums, block_tops, tile_sums, tile_tops = of_blocks[0], of_blocks[1], of_tiles[0], of_tiles[1]
    checksum, rows, bands, counted = np.uint64(0), sums.shape[0], block_sums.shape[0], bins.size > 0
    sound = np.empty(sums.shape[1], np.bool_)
    packed, filled, n_lost = np.empty(0, np.int64), 0, 0
    small, held = np.zeros(bin_sums.size, np.uint32), 0.0
    for k in range(bands):
        word, all_sound, whole = scan_band(
            frame, keep, unused, columns, piece, k, tile_rows, narrow, wide, limit, low, high, sums, plain,
            block_sums, block_tops, tile_sums, tile_tops, sound,
        )  # fmt: skip
        checksum += word
        if held + whole > _MOST:
            _empty_small(small, bin_sums)
            if packed.size > 0:
                _empty_small(small, variances)
            small[:], held = 0, 0.0
        if whole <= _MOST:
            held += whole
        else:  # a band of so many counts is added up in 64 bits
            all_sound, sound[:] = False, False
        step = columns if all_sound else min(piece, block)
        for r in range(k * ROWS, min((k + 1) * ROWS, rows) if counted else 0):
            _fetch_row(frame, (r + ROWS) * columns, columns)
            for start in range(r * columns, (r + 1) * columns, step):
                stop = min(start + step, (r + 1) * columns)
                if all_sound or sound[(start - r * columns) // piece]:
                    _add_sound(frame, bins, start, stop, small)
                    continue
                if packed.size == 0:  # mostly it is not needed
                    packed, variances[:] = np.zeros(bin_sums.size, np.int64), bin_sums
                if filled + stop - start > block:
                    empty_packed(packed, floor, bin_sums, variances)
                    filled = 0
                n_lost = add_counts(frame, bins, start, stop, low, high, packed, lost, n_lost)
                filled += stop - start
        if (k + 1) * ROWS % tile_rows == 0 or k == bands - 1:
            checksum += scan_again(
                frame, keep, used, columns, piece, k * ROWS // tile_rows, tile_rows, wide, limit, sums, tops,
                zeros, lows, highs, varied, plain, tile_tops,
            )  # fmt: skip
    apart = packed.size > 0
    if filled > 0:
        empty_packed(packed, floor, bin_sums, variances)
    if held > 0.0:
        _empty_small(small, bin_sums)
        if apart:
            _empty_small(small, variances)
    return n_lost, apart, checksum
