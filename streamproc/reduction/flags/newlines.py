"""Lines that were not there before, and parts of the axis that have lost their floor."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.reading import ranges
from streamproc.reduction.kernels import compiled, compiled_sums

__all__ = ["any_low", "new_line", "shaded_share"]

Float = npt.NDArray[np.float64]

_SIGMAS, _AGAIN = 8.0, 5.0
_LEAST_CHANNELS = 3
_BLOCKS = 16
_SHADED, _SAME, _GONE, _ALIKE, _LINES = 0.8, 0.05, 0.05, 0.15, 4.0


@compiled
def new_line(y: Any, variance: Any, reference: Any, floor: Any, width: float, known: int) -> Any:
    """Find the strongest line where the reference has none, while nothing else has gone.

    A foil or a window adds lines; a phase that appears takes them from another; another sample changes all.

    Parameters
    ----------
    y, variance : ndarray of float64, shape (n,)
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
    n = y.size
    total, now, peak = _sums(y, reference, floor)
    if not total > 0.0:
        return np.nan, 0, 0
    calculated = reference * (now / total)
    area, first, last = _strongest(y, variance, calculated, floor, reach, _SIGMAS, 0.25)
    if area <= 0.0 and known >= 0:
        area, first, last = _strongest(y, variance, calculated, floor, reach, _AGAIN, 1.0)
        area = area if first - reach <= known <= last + reach else 0.0
    if area <= 0.0:
        return 0.0, 0, 0
    start, stop = max(first - reach, 0), min(last + reach + 1, n)
    if n - (stop - start) < _BLOCKS:  # nothing is left to compare with
        return np.nan, 0, 0
    calculated = reference * _same_scale(y, reference, start, stop)
    if not peak > 0.0 or _gone(y, variance, calculated, start, stop, reach) > _GONE * peak:
        return np.nan, 0, 0
    return area / peak, first, last


@compiled_sums
def _sums(y: Any, reference: Any, floor: Any) -> Any:
    """Sums of the reference, of the pattern, and of what stands above the floor."""
    total, now, peak = 0.0, 0.0, 0.0
    for i in range(y.size):
        over = y[i] - floor[i]
        total += reference[i]
        now += y[i]
        peak += over if over > 0.0 else 0.0
    return total, now, peak


@compiled
def _same_scale(y: Any, reference: Any, start: int, stop: int) -> float:
    """Ratio of the two where most of the axis agrees: the middle of 16 blocks of the channels that are not
    ``start`` to ``stop``."""
    n, ratios = y.size - (stop - start), np.empty(_BLOCKS)
    for k in range(_BLOCKS):
        now, before = 0.0, 0.0
        for i in range(k * n // _BLOCKS, (k + 1) * n // _BLOCKS):
            j = i if i < start else i + stop - start
            now += y[j]
            before += reference[j]
        ratios[k] = now / before if before > 0.0 else 0.0
    return float(np.median(ratios))


@compiled
def _gone(y: Any, variance: Any, calculated: Any, start: int, stop: int, reach: int) -> float:
    """Area that has gone by more than noise, each channel judged with what lies within ``reach`` of it.

    Nothing is said of channels with ``start`` to ``stop`` that near.

    So a line that has moved or broadened a little has not gone: its area is still there.
    """
    n, total = y.size, 0.0
    missing, noise = np.zeros(n + 1), np.zeros(n + 1)
    for i in range(n):
        missing[i + 1] = missing[i] + (calculated[i] - y[i])
        noise[i + 1] = noise[i] + variance[i]
    for i in range(n):
        a, b = max(i - reach, 0), min(i + reach + 1, n)
        if b <= start or a >= stop:
            over = missing[b] - missing[a] - 2.0 * np.sqrt(noise[b] - noise[a])
            total += max(over, 0.0) / (b - a)
    return total


@compiled
def _over(height: float, variance: float, squared_sigmas: float) -> bool:
    return height > 0.0 and height * height > squared_sigmas * variance


@compiled
def _strongest(
    y: Any, variance: Any, calculated: Any, floor: Any, reach: int, sigmas: float, most: float
) -> Any:
    """Runs of channels above the reference; one counts if it is narrow and no line was there.

    A line was there where the reference has ``most`` of the height within half a line's width.
    """
    n, best, first, last, i = y.size, 0.0, 0, 0, 0
    while i < n:
        if not _over(y[i] - calculated[i], variance[i], 9.0):
            i += 1
            continue
        start, area, noise = i, 0.0, 0.0
        while i < n and _over(y[i] - calculated[i], variance[i], 4.0):
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
        Pattern, its variance, pattern of the readings before. :func:`any_low` says where it is worth asking.
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
def any_low(y: Any, reference: Any) -> bool:
    """Whether a block may be shaded (mostly none): it lies clearly below the middle ratio, or has no
    reference."""
    ratios = np.empty(_BLOCKS)
    for k in range(_BLOCKS):
        now, before = 0.0, 0.0
        for i in range(int(k * (y.size / _BLOCKS)), int((k + 1) * (y.size / _BLOCKS))):
            now += y[i]
            before += reference[i]
        if not before > 0.0:
            return True
        ratios[k] = now / before
    return bool(ratios.min() < 1.001 * _SHADED * np.median(ratios))


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
