"""The scan of a frame: sum, maximum and zeros of its blocks and pieces, and a checksum of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.counting import count_and_scan
from streamproc.reduction.flags.look import scan_reals
from streamproc.reduction.passes import Counted
from streamproc.reduction.tables import UnsplitTable

__all__ = ["BLOCK_ROWS", "PIECE", "TILE_ROWS", "CountingScan", "Scan", "Scanner"]

PIECE = 64
"""Pixels of one row that are summed up together."""

BLOCK_ROWS = 8
"""Rows of pieces that make a block."""

TILE_ROWS = 64
"""Rows of pieces that make a tile."""


_NOT_COUNTED = (np.empty(0, np.uint16), 0, 0, 1, 0.0, np.empty(0), np.empty(0), np.empty(0, np.int64))
"""What ``count_and_scan`` takes in place of bins, limits and sums where an image is scanned only."""


class Scan(NamedTuple):
    """Figures of a frame, in few arrays: each that is made and handed over costs a microsecond.

    Attributes
    ----------
    checksum : int
        64 bits over all figures: two frames that differ in any count give different ones, but for chance.
    of_pieces : ndarray of float64, shape (2, rows, pieces)
        Sum and maximum of the used pixels that hold neither a negative nor a limit value. Figures of pieces
        are told only in tiles that are not plain, and in rows that are not varied.
    counts : ndarray of uint32, shape (3, rows, pieces)
        Used pixels that are zero, below zero, and at or above the limit; told like the others.
    varied : ndarray of bool, shape (rows,)
        A piece of the row lies in a plain tile, and its used pixels differ.
    plain : ndarray of bool, shape (tile rows, pieces)
        Tiles whose used pixels are neither zero nor negative nor at the limit: most of a sound frame, so that
        what looks for faults may look at them as a whole.
    of_blocks : ndarray of float64, shape (2, blocks, pieces)
        Sum and maximum of the used pixels of eight rows of pieces; told in plain tiles.
    of_tiles : ndarray of float64, shape (2, tile rows, pieces)
        Sum of a tile, told where it is plain; its maximum as that of pieces.
    """

    checksum: int
    of_pieces: npt.NDArray[np.float64]
    counts: npt.NDArray[np.uint32]
    varied: npt.NDArray[np.bool_]
    plain: npt.NDArray[np.bool_]
    of_blocks: npt.NDArray[np.float64]
    of_tiles: npt.NDArray[np.float64]

    @property
    def figures(self) -> tuple[npt.NDArray[Any], ...]:
        """The arrays, in their order."""
        return self[1:]


class CountingScan:
    """Counts the pixels of one image into bins, as ``count_frame`` does, and scans it on the way.

    Parameters
    ----------
    scanner : Scanner
        Of the image's detector.
    limit : float
        Values at or above it are counted apart.
    """

    def __init__(self, scanner: Scanner, limit: float) -> None:
        self._scanner, self._limit = scanner, limit
        self.image: npt.NDArray[Any] | None = None
        self.scan: Scan | None = None

    def __call__(
        self, frame: npt.NDArray[Any], table: UnsplitTable, low: int, high: int, block: int, floor: float
    ) -> Counted:
        """Take the arguments of ``count_frame``, return what it returns, and keep image and scan."""
        fixed, figures = self._scanner.prepared(frame.dtype, self._limit)
        n = table.n + 1
        sums, variances, lost = np.zeros(n), np.empty(n), np.empty(frame.size, np.int64)
        n_lost, apart, checksum = count_and_scan(
            frame, table.bins, low, high, block, floor, sums, variances, lost, *fixed, *figures
        )
        self.image, self.scan = frame, Scan(checksum, *figures)
        signal = sums[:-1]
        return signal, variances[:-1] if apart else signal, lost[:n_lost].copy()


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
        self._unused_of_blocks = np.add.reduceat(self._unused, np.arange(0, rows, BLOCK_ROWS), axis=0)
        tiles, blocks = ((-(-rows // n), self.shape[1]) for n in (TILE_ROWS, BLOCK_ROWS))
        # real numbers hold such sums exactly, and what judges them is compiled once
        self._figures: tuple[tuple[tuple[int, ...], Any], ...] = (
            ((2, *self.shape), np.float64), ((3, *self.shape), np.uint32), ((rows,), np.bool_),
            (tiles, np.bool_), ((2, *blocks), np.float64), ((2, *tiles), np.float64),
        )  # fmt: skip
        """Shapes and types of a scan's arrays."""
        self._fixed: dict[tuple[np.dtype[Any], float], tuple[Any, ...]] = {}

    def scan(self, frame: npt.NDArray[Any], limit: float) -> Scan:
        """Scan an image (n_pixels,) of native byte order; values at or above ``limit`` are counted apart."""
        if frame.dtype.kind == "f":
            return self._of_reals(frame, limit)
        fixed, figures = self.prepared(frame.dtype, limit)
        *_, checksum = count_and_scan(frame, *_NOT_COUNTED, *fixed, *figures)
        return Scan(checksum, *figures)

    def prepared(self, dtype: np.dtype[Any], limit: float) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return what the kernels take for an integer type and limit, and the figures they write."""
        known = self._fixed.get((dtype, limit))
        if known is None:
            of_all = np.empty(0, np.uint32 if dtype.itemsize <= 2 else np.int64)
            of_eight = np.empty(0, np.uint16 if dtype.itemsize <= 2 else np.uint32)
            most = np.iinfo(dtype).max
            # a limit above the type's values is out of reach; the largest value itself stands for it
            bound = dtype.type(most if limit > most else int(np.ceil(limit)))
            known = (self._bits(dtype), self.used_pixels, self._unused_of_blocks, self.used.shape[1], PIECE,
                     TILE_ROWS, of_eight, of_all, bound)  # fmt: skip
            self._fixed[dtype, limit] = known
        return known, tuple([np.empty(shape, kind) for shape, kind in self._figures])

    def _of_reals(self, frame: npt.NDArray[Any], limit: float) -> Scan:
        rows, columns = self.used.shape
        counts, of_pieces = np.zeros((3, *self.shape), np.uint32), np.zeros((2, *self.shape))
        scan_reals(
            frame, self.used.ravel(), rows, columns, PIECE, float(limit), *of_pieces, *counts,
        )  # fmt: skip
        counts[0] -= self._unused
        checksum = _mixed(of_pieces[0]) ^ _mixed(of_pieces[1]) * 3 % 2**64
        of_tiles = np.zeros((2, -(-rows // TILE_ROWS), self.shape[1]))
        of_tiles[1] = np.maximum.reduceat(of_pieces[1], np.arange(0, rows, TILE_ROWS), axis=0)
        varied, plain = np.zeros(rows, bool), np.zeros(of_tiles[1].shape, bool)
        of_blocks = np.zeros((2, -(-rows // BLOCK_ROWS), self.shape[1]))
        return Scan(checksum, of_pieces, counts, varied, plain, of_blocks, of_tiles)

    def _bits(self, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        ones = np.array(-1 if dtype.kind == "i" else np.iinfo(dtype).max).astype(dtype)
        keep = np.where(self.used.ravel(), ones, ones.dtype.type(0))
        keep.flags.writeable = False
        return keep


def _mixed(figures: npt.NDArray[np.float64]) -> int:
    words = figures.ravel().view(np.uint64)
    words = (words ^ (words >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
    words ^= words >> np.uint64(32)
    return int((words * np.arange(1, 2 * words.size, 2, dtype=np.uint64)).sum())
