"""From a frame to corrected sums per bin: which kernel, and how lost pixels and darks enter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamproc.reduction.correction import DarkImage
from streamproc.reduction.kernels import MAX_PIXELS_PER_BLOCK, count_pixels, split_pixels, weigh_pixels
from streamproc.reduction.tables import BboxTable, Table, UnsplitTable

__all__ = ["Constants", "Counted", "Sums", "count_frame", "run_passes"]

Float = npt.NDArray[np.float64]

Counted = tuple[Float, Float, npt.NDArray[np.int64]]
"""Counts of one image per bin, their variances (the same array where they are the same), and lost pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Corrected sums per bin of ``n_frames`` frames: signal, its variance, normalisation and pixel count.

    ``variance`` is the very array that ``signal`` is where nothing makes them differ.
    """

    signal: Float
    variance: Float
    norm: Float
    counts: Float
    n_masked: int
    n_frames: int

    def reshaped(self, shape: tuple[int, int]) -> Sums:
        """Return the same sums as (n_radial, n_azimuthal) grids."""
        return self._mapped(lambda sums: sums.reshape(shape))

    def over_azimuth(self) -> Sums:
        """Return the row sums of grids."""
        return self._mapped(lambda sums: sums.sum(axis=1))

    def _mapped(self, change: Callable[[Float], Float]) -> Sums:
        signal, variance = change(self.signal), change(self.variance)
        return Sums(signal, variance, change(self.norm), change(self.counts), self.n_masked, self.n_frames)


@dataclass(frozen=True, slots=True, eq=False)
class Constants:
    """A table with the per-pixel constants and their sums per bin.

    ``norm`` and ``dark`` are per pixel; ``norm_sum``, ``dark_sum``, ``dark_variance_sum``, ``counts`` and
    ``one_count`` (the variance of one count, at most) per bin.
    ``block`` is the number of pixels a packed accumulator may take in one go.
    """

    table: Table
    norm: Float
    dark: DarkImage | None
    norm_sum: Float
    dark_sum: Float
    dark_variance_sum: Float
    counts: Float
    one_count: Float
    block: int

    @classmethod
    def of(cls, table: Table, norm: Float, dark: Float | DarkImage | None) -> Constants:
        """Sum the constants of each pixel into its bins. A plain ``dark`` array is exact (no variance)."""
        if isinstance(dark, np.ndarray):
            nothing = np.broadcast_to(0.0, dark.shape)
            dark = DarkImage(dark, nothing, nothing.astype(bool))
        nothing = np.zeros(table.n)
        block = norm.size
        if isinstance(table, UnsplitTable) and table.most_pixels() > MAX_PIXELS_PER_BLOCK:
            block = MAX_PIXELS_PER_BLOCK
        return cls(
            table,
            norm,
            dark,
            table.fold(norm),
            nothing if dark is None else table.fold(dark.mean),
            nothing if dark is None else table.fold_variance(dark.variance),
            table.fold(np.ones(norm.size)),
            np.minimum(table.fold_variance(np.ones(norm.size)), 1.0),
            block,
        )

    def with_dark(self, dark: DarkImage) -> Constants:
        """Return the constants with another dark, without the pixels it marks as bad."""
        table = self.table.without(dark.bad) if dark.bad.any() else self.table
        return Constants.of(table, self.norm, dark)


def run_passes(
    stack: npt.NDArray[Any],
    constants: Constants,
    low: float,
    high: float,
    tau: float,
    variance_floor: Literal["pixel", "bin"],
    count: Callable[..., Counted] | None = None,
) -> Sums:
    """Sum a stack of frames into bins and apply the constants.

    Parameters
    ----------
    stack : ndarray, shape (n_frames, n_pixels)
        Raw values, native byte order.
    constants : Constants
        Table, normalisation and dark.
    low, high : float
        A value v counts when low <= v < high.
    tau : float
        Dead time over exposure (1/counts), 0 for none.
    variance_floor : {"pixel", "bin"}
        Whether each pixel, or each bin, has at least the variance of one count.
    count : callable
        What counts the pixels of each image where they are whole counts that need no weights: takes, does and
        returns what :func:`count_frame` does, and may look at them besides.

    Notes
    -----
    The dark is one measurement, subtracted from each of the n frames in which a pixel counts: it adds
    n * dark to the sum and n**2 * var(dark) to its variance.
    """
    table, n_frames = constants.table, len(stack)
    floor = 1.0 if variance_floor == "pixel" else 0.0
    counting = stack.dtype.kind in "ui" and stack.dtype.itemsize <= 4 and low >= 0 and tau == 0
    if counting and isinstance(table, UnsplitTable):
        signal, variance, lost = _count(
            stack, table, (int(low), int(np.ceil(high)), constants.block, floor), count or count_frame
        )
    else:
        signal, variance, lost = _weigh(stack, table, low, high, tau, floor)
    n = float(n_frames)
    if variance is signal and (variance_floor == "bin" or constants.dark is not None):
        variance = signal.copy()
    if variance_floor == "bin":
        np.maximum(variance, constants.one_count, out=variance)
    if constants.dark is not None:
        signal -= n * constants.dark_sum
        variance += n * n * constants.dark_variance_sum
    norm, counts = constants.norm_sum, constants.counts
    if n_frames > 1:
        norm, counts = n * norm, n * counts
    if lost.size:
        pixels, times = (lost, np.ones(lost.size)) if n_frames == 1 else np.unique(lost, return_counts=True)
        norm = norm - table.fold(times * constants.norm[pixels], pixels)
        counts = counts - table.fold(times.astype(np.float64), pixels)
        if constants.dark is not None:
            signal += table.fold(times * constants.dark.mean[pixels], pixels)
            excess = (n * n - (n - times) ** 2) * constants.dark.variance[pixels]
            variance -= table.fold_variance(excess, pixels)
    return Sums(signal, variance, norm, counts, int(lost.size), n_frames)


def count_frame(
    image: npt.NDArray[Any], table: UnsplitTable, low: int, high: int, block: int, floor: float
) -> Counted:
    """Count the pixels of an image into the bins of a table; parameters as ``kernels.count_pixels``."""
    sums, variances = np.zeros(table.n + 1), np.zeros(table.n + 1)
    lost = np.empty(image.size, np.int64)
    n_lost = count_pixels(image, table.bins, low, high, block, floor, sums, variances, lost)
    return sums[:-1], variances[:-1], lost[:n_lost].copy()


def _count(
    stack: npt.NDArray[Any],
    table: UnsplitTable,
    limits: tuple[int, int, int, float],
    count: Callable[..., Counted],
) -> Counted:
    if len(stack) == 1:
        return count(stack[0], table, *limits)
    signal, variance, lost = np.zeros(table.n), np.zeros(table.n), []
    for image in stack:
        counts, spread, left_out = count(image, table, *limits)
        signal += counts
        variance += spread
        lost.append(left_out)
    return signal, variance, np.concatenate(lost)


def _weigh(
    stack: npt.NDArray[Any], table: Table, low: float, high: float, tau: float, floor: float
) -> tuple[Float, Float, npt.NDArray[np.int64]]:
    sums, variances = np.zeros(table.n + 1), np.zeros(table.n + 1)
    buffer = np.empty(stack.shape[1], np.int64)
    lost = []
    for image in stack:
        rest = (low, high, tau, floor, sums, variances, buffer)
        if isinstance(table, BboxTable):
            n_lost = split_pixels(image, table.first, table.bins, table.shares, *rest)
        else:
            n_lost = weigh_pixels(image, table.bins, *rest)
        lost.append(buffer[:n_lost].copy())
    return sums[: table.n], variances[: table.n], np.concatenate(lost)
