"""The second pass over a frame: sum, maximum and zeros of each piece of a row, and a checksum of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.kernels import compiled

__all__ = ["PIECE", "Scan", "Scanner"]

PIECE = 64
"""Pixels of one row that are summed up together."""


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
    """

    sums: npt.NDArray[Any]
    tops: npt.NDArray[Any]
    zeros: npt.NDArray[np.uint32]
    lows: npt.NDArray[np.uint32]
    highs: npt.NDArray[np.uint32]
    checksum: int


@compiled
def _scan_integers(
    frame: Any, keep: Any, full: Any, columns: int, piece: int, wide: Any, limit: Any, sums: Any, tops: Any,
    zeros: Any, lows: Any, highs: Any,
) -> Any:  # fmt: skip
    """Write the figures of each piece and return their checksum.

    ``keep`` has all bits of used pixels and none of others; ``full`` tells the pieces that do not need it.
    ``limit`` is of the frame's type; ``wide`` is the type of the sums. Loops are kept so plain that the
    compiler makes vector code of them.
    """
    rows, pieces = sums.shape
    nothing, checksum = frame.dtype.type(0), np.uint64(0)
    a, b, c = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
    for r in range(rows):
        for p in range(pieces):
            start = r * columns + p * piece
            stop = min(start + piece, (r + 1) * columns)
            values, kept = frame[start:stop], keep[start:stop]
            total, n_zero, n_low, n_high = wide(0), np.uint32(0), np.uint32(0), np.uint32(0)
            top = nothing
            if full[r, p]:
                for i in range(values.size):
                    v = values[i]
                    n_zero += np.uint32(v == nothing)
                    n_low += np.uint32(v < nothing)
                    v = max(v, nothing)
                    total += wide(v)
                    top = max(top, v)
            else:
                for i in range(values.size):
                    v = values[i] & kept[i]
                    n_zero += np.uint32(v == nothing)
                    n_low += np.uint32(v < nothing)
                    v = max(v, nothing)
                    total += wide(v)
                    top = max(top, v)
            if top >= limit:
                top = nothing
                for i in range(values.size):
                    v = values[i] & kept[i]
                    if v >= limit:
                        n_high += np.uint32(1)
                        total -= wide(v)
                    else:
                        top = max(top, v)
            sums[r, p], tops[r, p], zeros[r, p], lows[r, p], highs[r, p] = total, top, n_zero, n_low, n_high
            word = np.uint64(total) * a + np.uint64(top) * b + np.uint64(n_zero) * c
            word += np.uint64(n_low) * (a ^ c) + np.uint64(n_high) * (b ^ c)
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
        real, dtype = frame.dtype.kind == "f", frame.dtype
        wide = np.float64 if real else np.uint32 if dtype.itemsize <= 2 else np.int64
        zeros, lows, highs = (np.zeros(self.shape, np.uint32) for _ in range(3))
        if real:
            sums, tops = np.zeros(self.shape), np.zeros(self.shape)
            figures = (sums, tops, zeros, lows, highs)
            _scan_reals(frame, self.used.ravel(), rows, columns, PIECE, float(limit), *figures)
            checksum = _mixed(sums) ^ _mixed(tops) * 3 % 2**64
        else:
            sums, tops = np.zeros(self.shape, wide), np.zeros(self.shape, dtype)
            figures = (sums, tops, zeros, lows, highs)
            most = np.iinfo(dtype).max
            # a limit above the type's values is out of reach; the largest value itself stands for it
            bound = dtype.type(most if limit > most else int(np.ceil(limit)))
            checksum = int(
                _scan_integers(
                    frame, self._bits(dtype), self._unused == 0, columns, PIECE, wide, bound, *figures
                )
            )
        zeros -= self._unused
        return Scan(sums, tops, zeros, lows, highs, checksum)

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
