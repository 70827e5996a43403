"""The passes over the pixels: one frame in, sums per bin out, and nothing that could be done beforehand.

All corrections that are the same for every frame live in per-bin constants (see
:mod:`streamproc.reduction.azimuthal`), so a pass reads the raw value and the bin of each pixel only. The last
bin is the trash bin: statically masked pixels and pixels out of range point there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from streamproc.compiling import machine_code

__all__ = [
    "MAX_PIXELS_PER_BLOCK",
    "add_counts",
    "compiled",
    "compiled_sums",
    "count_pixels",
    "empty_packed",
    "normalise",
    "split_pixels",
    "weigh_pixels",
]

MAX_PIXELS_PER_BLOCK = 32768
"""Pixels one packed 64-bit accumulator holds: 15 bits of zeros above 48 bits for the 32-bit counts."""

_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """Compile on first use, without the GIL; see :func:`streamproc.compiling.machine_code`."""
    return machine_code(error_model="numpy")(function)


def compiled_sums(function: _F) -> _F:
    """As :func:`compiled`, and sums may be added up in any order: vector code. NaN may not come in."""
    return machine_code(error_model="numpy", fastmath={"reassoc", "nnan", "nsz"})(function)


@compiled
def add_counts(
    frame: Any, bins: Any, start: int, stop: int, low: int, high: int, packed: Any, lost: Any, n_lost: int
) -> int:
    """Add pixels ``start`` to ``stop`` to packed accumulators (n_bins + 1); parameters as count_pixels.

    Zeros are counted in the upper bits of the same accumulator: far cheaper than a second scatter-add.
    """
    trash, span = packed.size - 1, np.uint64(high - low)
    values, where = frame[start:stop], bins[start:stop]
    for i in range(values.size):
        v = np.int64(values[i])
        b = where[i]
        if np.uint64(v - low) < span:
            packed[b] += v + ((v - 1) & -281474976710656)  # v = 0 adds -2**48, any other v adds v
        elif b != trash:
            lost[n_lost] = start + i
            n_lost += 1
    return n_lost


@compiled
def empty_packed(packed: Any, floor: float, sums: Any, variances: Any) -> None:
    """Move what packed accumulators hold to the sums and variances."""
    for b in range(sums.size):
        counts = np.float64(packed[b] & 281474976710655)
        sums[b] += counts
        variances[b] += counts - floor * np.float64(packed[b] >> 48)
        packed[b] = 0


@compiled
def count_pixels(
    frame: Any, bins: Any, low: int, high: int, block: int, floor: float, sums: Any, variances: Any, lost: Any
) -> int:
    """Add the counts and Poisson variances of an integer frame to its bins, exactly.

    Parameters
    ----------
    frame : ndarray of int, shape (n_pixels,)
        Raw counts, at most 32 bits wide, native byte order; read-only and unaligned are welcome.
    bins : ndarray of uint16 or int32, shape (n_pixels,)
        Bin of each pixel; ``sums.size - 1`` is the trash bin.
    low, high : int
        A pixel counts when ``low <= value < high``; ``low`` must not be negative.
    block : int
        Pixels between two emptyings of the packed accumulator: no bin may get more than
        ``MAX_PIXELS_PER_BLOCK`` pixels of one block.
    floor : float
        Variance of a pixel that holds zero (counts squared).
    sums, variances : ndarray of float64, shape (n_bins + 1,)
        Added to: whole numbers, exact up to 2**53.
    lost : ndarray of int64, shape (n_pixels,)
        Receives the indices of the binned pixels that did not count.

    Returns
    -------
    int
        How many entries of ``lost`` were written.
    """
    packed = np.zeros(sums.size, np.int64)
    n_lost = 0
    for start in range(0, frame.size, block):
        stop = min(start + block, frame.size)
        n_lost = add_counts(frame, bins, start, stop, low, high, packed, lost, n_lost)
        empty_packed(packed, floor, sums, variances)
    return n_lost


@compiled
def weigh_pixels(
    frame: Any,
    bins: Any,
    low: float,
    high: float,
    tau: float,
    floor: float,
    sums: Any,
    variances: Any,
    lost: Any,
) -> int:
    """Add values and Poisson variances of any real frame to its bins, with dead time if ``tau`` is not zero.

    A counter that is blind for a time after each event (non-paralysable) shows v = c / (1 + c tau); so
    c = v / (1 - v tau), and by first-order propagation var(c) = var(v) / (1 - v tau)^4 with
    var(v) = max(v, floor) (Knoll, Radiation Detection and Measurement, 4th ed., ch. 4 VII).

    Parameters
    ----------
    frame, bins, lost
        As :func:`count_pixels`, but the frame may be of any real type; non-finite values do not count.
    low, high : float
        A pixel counts when ``low <= value < high``.
    tau : float
        Dead time over exposure time (1/counts); 0 for no correction.
    floor : float
        Least variance of one pixel (counts squared).
    sums, variances : ndarray of float64, shape (n_bins + 1,)
        Added to.

    Returns
    -------
    int
        How many entries of ``lost`` were written.
    """
    trash = sums.size - 1
    n_lost = 0
    for i in range(frame.size):
        v = np.float64(frame[i])
        b = bins[i]
        if v >= low and v < high:
            if tau > 0.0:
                live = 1.0 / (1.0 - v * tau)
                sums[b] += v * live
                variances[b] += max(v, floor) * live**4
            else:
                sums[b] += v
                variances[b] += max(v, floor)
        elif b != trash:
            lost[n_lost] = i
            n_lost += 1
    return n_lost


@compiled
def split_pixels(
    frame: Any,
    first: Any,
    bins: Any,
    shares: Any,
    low: float,
    high: float,
    tau: float,
    floor: float,
    sums: Any,
    variances: Any,
    lost: Any,
) -> int:
    """Add each pixel to the several bins it covers: value times share, variance times share squared.

    Parameters
    ----------
    frame, low, high, tau, floor, sums, variances, lost
        As :func:`weigh_pixels`.
    first : ndarray of int64, shape (n_pixels + 1,)
        Entries ``first[i]`` to ``first[i + 1]`` of ``bins`` and ``shares`` belong to pixel i.
    bins : ndarray of uint16 or int32, shape (n_entries,)
        Bin of each entry.
    shares : ndarray of float32, shape (n_entries,)
        Part of the pixel that lies in the bin.

    Returns
    -------
    int
        How many entries of ``lost`` were written.
    """
    n_lost = 0
    for i in range(frame.size):
        begin, end = first[i], first[i + 1]
        if begin == end:
            continue
        v = np.float64(frame[i])
        if v >= low and v < high:
            variance = max(v, floor)
            if tau > 0.0:
                live = 1.0 / (1.0 - v * tau)
                v *= live
                variance *= live**4
            for k in range(begin, end):
                share = np.float64(shares[k])
                sums[bins[k]] += share * v
                variances[bins[k]] += share * share * variance
        else:
            lost[n_lost] = i
            n_lost += 1
    return n_lost


@compiled
def normalise(
    signal: Any, variance: Any, norm: Any, counts: Any, factor: float, intensity: Any, intensity_variance: Any
) -> None:
    """Write ``factor * signal / norm`` and its variance (1-D float64 arrays); NaN where no pixel counted."""
    for b in range(signal.size):
        if counts[b] > 1e-9:  # shares that were taken out again may leave a rounding error
            weight = factor / norm[b]
            intensity[b] = signal[b] * weight
            intensity_variance[b] = variance[b] * weight * weight
        else:
            intensity[b] = np.nan
            intensity_variance[b] = np.nan
