"""The second pass over a frame: sum, maximum and zeros of each piece of a row, and a checksum of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.kernels import compiled

__all__ = ["PIECE", "TILE_ROWS", "Scan", "Scanner"]

PIECE = 64
"""Pixels of one row that are summed up together."""

TILE_ROWS = 64
"""Rows of pieces that make a tile."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """Figures of the pieces of a frame.

    Attributes
    ----------
    sums, tops, zeros : ndarray, shape (rows, pieces)
        Sum and maximum of the used pixels that hold neither a negative nor a limit value; how many are zero.
    lows, highs : ndarray of int64, shape (rows, pieces)
        Used pixels below zero, and at or above the limit.
    checksum : int
        64 bits over all of these: two frames that differ in any count give different ones, but for chance.
    plain : ndarray of bool, shape (tile rows, pieces)
        Tiles whose every piece has neither zeros nor negative nor limit values: most of a sound frame, so
        that
        what looks for faults may look at them as a whole.
    tile_sums, tile_tops : ndarray, shape (tile rows, pieces)
        Sum and maximum of the pieces of a tile; told where it is plain.
    """

    sums: npt.NDArray[Any]
    tops: npt.NDArray[Any]
    zeros: npt.NDArray[np.uint32]
    lows: npt.NDArray[np.uint32]
    highs: npt.NDArray[np.uint32]
    checksum: int
    plain: npt.NDArray[np.bool_]
    tile_sums: npt.NDArray[np.float64]
    tile_tops: npt.NDArray[np.float64]


@compiled
def _first_look(frame: Any, start: int, stop: int, wide: Any, limit: Any) -> Any:
    """Sum, highest and lowest value: so plain that the compiler makes vector code of it."""
    values = frame[start:stop]
    total, top, low = wide(0), values[0], limit
    for i in range(values.size):
        v = values[i]
        total += wide(v)
        top = max(top, v)
        low = min(low, v)
    return total, top, low


@compiled
def _first_look_kept(frame: Any, keep: Any, start: int, stop: int, wide: Any, limit: Any) -> Any:
    """The same of used pixels: zero counts as their sum and highest, and the limit as their lowest, if none
    is."""
    kind, values, kept = frame.dtype.type, frame[start:stop], keep[start:stop]
    total, top, low = wide(0), kind(0), limit
    for i in range(values.size):
        v = kind(values[i] & kept[i])
        total += wide(v)
        top = max(top, v)
        low = min(low, kind(v | kind(limit & kind(~kept[i]))))
    return total, top, low


@compiled
def _counted(frame: Any, keep: Any, start: int, stop: int, wide: Any, limit: Any) -> Any:
    """Sum and highest of what is neither zero, negative nor at the limit, and how many of each of these
    are."""
    kind, values, kept = frame.dtype.type, frame[start:stop], keep[start:stop]
    nothing, total, top = kind(0), wide(0), kind(0)
    n_zero, n_low, n_high = np.uint32(0), np.uint32(0), np.uint32(0)
    for i in range(values.size):
        v = kind(values[i] & kept[i])
        n_zero += np.uint32(v == nothing)
        n_low += np.uint32(v < nothing)
        high = v >= limit
        n_high += np.uint32(high)
        inside = nothing if high else max(v, nothing)
        total += wide(inside)
        top = max(top, inside)
    return total, top, n_zero, n_low, n_high


@compiled
def _scan_integers(
    frame: Any, keep: Any, unused: Any, columns: int, piece: int, tile_rows: int, wide: Any, limit: Any,
    sums: Any, tops: Any, zeros: Any, lows: Any, highs: Any, plain: Any, tile_sums: Any, tile_tops: Any,
) -> Any:  # fmt: skip
    """Write the figures of each piece and of each tile, and return the checksum of the pieces.

    ``keep`` has all bits of used pixels and none of others; ``unused`` counts the others of each piece.
    ``limit`` is of the frame's type; ``wide`` is the type of the sums. Zeros, negative and limit values are
    counted only where the lowest or highest value of a piece says that there are any.
    """
    rows, pieces = sums.shape
    nothing, checksum = frame.dtype.type(0), np.uint64(0)
    a, b, c = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
    plain[:] = True
    tile_sums[:] = 0.0
    tile_tops[:] = 0.0
    for r in range(rows):
        t = r // tile_rows
        for p in range(pieces):
            start = r * columns + p * piece
            stop = min(start + piece, (r + 1) * columns)
            n_zero, n_low, n_high = np.uint32(0), np.uint32(0), np.uint32(0)
            word = np.uint64(0)
            if unused[r, p] == 0:
                total, top, low = _first_look(frame, start, stop, wide, limit)
            else:
                total, top, low = _first_look_kept(frame, keep, start, stop, wide, limit)
            if (low <= nothing or top >= limit) and unused[r, p] < stop - start:
                total, top, n_zero, n_low, n_high = _counted(frame, keep, start, stop, wide, limit)
                n_zero -= unused[r, p]
                plain[t, p] = False
                word = np.uint64(n_zero) * c + np.uint64(n_low) * (a ^ c) + np.uint64(n_high) * (b ^ c)
            sums[r, p], tops[r, p], zeros[r, p], lows[r, p], highs[r, p] = total, top, n_zero, n_low, n_high
            tile_sums[t, p] += np.float64(total)
            tile_tops[t, p] = max(tile_tops[t, p], np.float64(top))
            word += np.uint64(total) * a + np.uint64(top) * b
            word ^= word >> np.uint64(29)
            checksum += word * (np.uint64(2) * np.uint64(r * pieces + p) + np.uint64(1)) * b
    return checksum


@compiled
def _scan_reals(
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


class Scanner:
    """Scans frames of one detector.

    Parameters
    ----------
    used : ndarray of bool, shape (rows, columns)
        Pixels that count: not masked, within the range.
    """

    def __init__(self, used: npt.NDArray[np.bool_]) -> None:
        self.used = used
        rows, columns = used.shape
        self.shape = (rows, -(-columns // PIECE))
        padded = np.zeros((rows, self.shape[1] * PIECE), bool)
        padded[:, :columns] = used
        self.used_pixels = padded.reshape(*self.shape, PIECE).sum(axis=2).astype(np.uint32)
        widths = np.minimum(PIECE, columns - PIECE * np.arange(self.shape[1])).astype(np.uint32)
        self._unused = widths - self.used_pixels
        self._keep: dict[np.dtype[Any], npt.NDArray[Any]] = {}

    def scan(self, frame: npt.NDArray[Any], limit: float) -> Scan:
        """Scan an image (n_pixels,) of native byte order; values at or above ``limit`` are counted apart."""
        rows, columns = self.used.shape
        tiles = (-(-rows // TILE_ROWS), self.shape[1])
        real, dtype = frame.dtype.kind == "f", frame.dtype
        if real:
            zeros, lows, highs = (np.zeros(self.shape, np.uint32) for _ in range(3))
            sums, tops = np.zeros(self.shape), np.zeros(self.shape)
            figures = (sums, tops, zeros, lows, highs)
            _scan_reals(frame, self.used.ravel(), rows, columns, PIECE, float(limit), *figures)
            zeros -= self._unused
            checksum = _mixed(sums) ^ _mixed(tops) * 3 % 2**64
            nothing = np.zeros(tiles)
            return Scan(*figures, checksum, np.zeros(tiles, bool), nothing, nothing)
        zeros, lows, highs = (np.empty(self.shape, np.uint32) for _ in range(3))
        wide = np.uint32 if dtype.itemsize <= 2 else np.int64
        sums, tops = np.empty(self.shape, wide), np.empty(self.shape, dtype)
        plain, tile_sums, tile_tops = np.empty(tiles, bool), np.empty(tiles), np.empty(tiles)
        most = np.iinfo(dtype).max
        # a limit above the type's values is out of reach; the largest value itself stands for it
        bound = dtype.type(most if limit > most else int(np.ceil(limit)))
        checksum = _scan_integers(
            frame, self._bits(dtype), self._unused, columns, PIECE, TILE_ROWS, wide, bound, sums, tops, zeros,
            lows, highs, plain, tile_sums, tile_tops,
        )  # fmt: skip
        return Scan(sums, tops, zeros, lows, highs, int(checksum), plain, tile_sums, tile_tops)

    def _bits(self, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        if dtype not in self._keep:
            ones = np.array(-1 if dtype.kind == "i" else np.iinfo(dtype).max).astype(dtype)
            keep = np.where(self.used.ravel(), ones, ones.dtype.type(0))
            keep.flags.writeable = False
            self._keep[dtype] = keep
        return self._keep[dtype]


def _mixed(figures: npt.NDArray[np.float64]) -> int:
    words = figures.ravel().view(np.uint64)
    words = (words ^ (words >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
    words ^= words >> np.uint64(32)
    return int((words * np.arange(1, 2 * words.size, 2, dtype=np.uint64)).sum())
