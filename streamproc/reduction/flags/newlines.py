"""Lines that were not there before, and parts of the axis that have lost their floor."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.reading import ranges
from streamproc.reduction.kernels import compiled

__all__ = ["new_line", "shaded_share"]

Float = npt.NDArray[np.float64]

_SIGMAS, _AGAIN = 8.0, 5.0
_LEAST_CHANNELS = 3
_BLOCKS = 16
_SHADED, _SAME, _GONE, _ALIKE, _LINES = 0.8, 0.05, 0.05, 0.15, 4.0


def new_line(
    y: Float, variance: Float, reference: Float, floor: Float, width: float, known: int = -1
) -> tuple[float, int, int]:
    """Find the strongest line where the reference has none, while nothing else has gone.

    A foil or a window adds lines; a phase that appears takes them from another; another sample changes all.

    Parameters
    ----------
    y, variance : ndarray, shape (n,)
        Pattern and variance.
    reference : ndarray, shape (n,)
        Pattern of the readings before.
    floor : ndarray, shape (n,)
        Floor of the pattern.
    width : float
        Width of a line (channels).
    known : int
        Channel at which the reading before had such a line: there 5 sigma are enough. -1: it had none.

    Returns
    -------
    share : float
        Its area over that of all peaks; 0 without one of 8 sigma; NaN where over 5 % of the peaks are gone,
        or it fills the axis.
    first, last : int
        Its channels.
    """
    reach = max(int(2 * width), 3) if width == width else 3
    total = float(reference.sum())
    if not total > 0:
        return float("nan"), 0, 0
    calculated = reference * (float(y.sum()) / total)
    area, first, last = _strongest(y, variance, calculated, floor, reach, _SIGMAS, 0.25)
    if area <= 0 <= known:
        area, first, last = _strongest(y, variance, calculated, floor, reach, _AGAIN, 1.0)
        area = area if first - reach <= known <= last + reach else 0.0
    if area <= 0:
        return 0.0, 0, 0
    rest = np.ones(y.size, bool)
    rest[max(first - reach, 0) : last + reach + 1] = False
    if np.count_nonzero(rest) < _BLOCKS:  # nothing is left to compare with
        return float("nan"), 0, 0
    calculated = reference * _same_scale(y[rest], reference[rest])
    peak = float(np.maximum(y - floor, 0.0).sum())
    gone = float(_gone(y, variance, calculated, rest, reach))
    if not peak > 0 or gone > _GONE * peak:
        return float("nan"), 0, 0
    return float(area) / peak, int(first), int(last)


def _same_scale(y: Float, reference: Float) -> float:
    """Ratio of the two where most of the axis agrees: the middle of 16 blocks."""
    starts = np.linspace(0, y.size, _BLOCKS + 1).astype(int)[:-1]
    sums, expected = np.add.reduceat(y, starts), np.add.reduceat(reference, starts)
    return float(np.median(sums / np.where(expected > 0, expected, np.inf)))


@compiled
def _gone(y: Any, variance: Any, calculated: Any, rest: Any, reach: int) -> float:
    """Area that has gone by more than noise, each channel judged with what lies within ``reach`` of it.

    So a line that has moved or broadened a little has not gone: its area is still there.
    """
    n, total = y.size, 0.0
    missing, noise, marked = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1, np.int64)
    for i in range(n):
        missing[i + 1] = missing[i] + (calculated[i] - y[i])
        noise[i + 1] = noise[i] + variance[i]
        marked[i + 1] = marked[i] + (not rest[i])
    for i in range(n):
        a, b = max(i - reach, 0), min(i + reach + 1, n)
        if marked[b] == marked[a]:
            over = missing[b] - missing[a] - 2.0 * np.sqrt(noise[b] - noise[a])
            total += max(over, 0.0) / (b - a)
    return total


@compiled
def _strongest(
    y: Any, variance: Any, calculated: Any, floor: Any, reach: int, sigmas: float, most: float
) -> Any:
    """Runs of channels above the reference; one counts if it is narrow and no line was there.

    A line was there where the reference has ``most`` of the height within half a line's width.
    """
    n, best, first, last, i = y.size, 0.0, 0, 0, 0
    while i < n:
        if not y[i] - calculated[i] > 3.0 * np.sqrt(variance[i]):
            i += 1
            continue
        start, area, noise = i, 0.0, 0.0
        while i < n and y[i] - calculated[i] > 2.0 * np.sqrt(variance[i]):
            area += y[i] - calculated[i]
            noise += variance[i]
            i += 1
        no_line = i - start < _LEAST_CHANNELS or i - start > 3 * reach  # a hit, or a hump
        if no_line or area <= best or area < sigmas * np.sqrt(noise):
            i += 1
            continue
        line, top, near = 0.0, 0.0, max(reach // 4, 2)
        for k in range(max(start - near, 0), min(i + near, n)):
            line = max(line, calculated[k] - floor[k])
        for k in range(start, i):
            top = max(top, y[k] - calculated[k])
        if line < most * top:
            best, first, last = area, start, i - 1
        i += 1
    return best, first, last


def shaded_share(y: Float, variance: Float, reference: Float, width: float) -> tuple[float, list[int]]:
    """Return which share of the axis has lost part of its intensity while the rest has not changed.

    The axis is cut in 16 blocks. Where at least half of them agree with the reference, within 5 % of their
    middle ratio, a block is shaded whose dim and bright channels (by the reference's median) both lie below
    80 % of it, by more than noise, and by the same factor: a line that goes leaves the dim ones. A stretch
    that is not wider than four widths of a line may lie in one line, and tells nothing.

    Parameters
    ----------
    y, variance, reference : ndarray, shape (n,)
        Pattern, its variance, pattern of the readings before.
    width : float
        Width of a line (channels); NaN where none is known.

    Returns
    -------
    share : float
    blocks : list of int
        First channel of each shaded block.
    """
    starts = np.linspace(0, y.size, _BLOCKS + 1).astype(np.int64)
    sums = np.zeros((3, _BLOCKS, 2))
    _halves(y, reference, variance, starts, sums)
    now, before, noise = sums
    if not (before > 0).all():
        return 0.0, []
    ratio = now.sum(1) / before.sum(1)
    middle = float(np.median(ratio))
    if middle <= 0 or np.count_nonzero(np.abs(ratio / middle - 1) < _SAME) * 2 < _BLOCKS:
        return 0.0, []
    parts, sigma = now / (middle * before), np.sqrt(noise) / (middle * before)
    clearly = 1.0 - parts > _SIGMAS * sigma
    low = (ratio < _SHADED * middle) & (parts < _SHADED).all(1) & clearly[:, 0]
    alike = np.abs(parts[:, 0] - parts[:, 1]) < _ALIKE + 3.0 * np.hypot(sigma[:, 0], sigma[:, 1])
    low &= alike
    # lines that move leave or enter at the ends of the axis
    low[0], low[-1] = low[0] and low[1], low[-1] and low[-2]
    for first, last in ranges(np.flatnonzero(low)):
        if (last - first + 1) * y.size < _LINES * width * _BLOCKS:
            low[first : last + 1] = False
    return float(low.mean()), [int(v) for v in starts[:-1][low]]


@compiled
def _halves(y: Any, reference: Any, variance: Any, starts: Any, sums: Any) -> None:
    """Sums of y, reference and variance over the dim and the bright channels of each block."""
    for k in range(starts.size - 1):
        first, last = starts[k], starts[k + 1]
        middle = np.median(reference[first:last])
        for i in range(first, last):
            half = 1 if reference[i] > middle else 0
            sums[0, k, half] += y[i]
            sums[1, k, half] += reference[i]
            sums[2, k, half] += variance[i]
