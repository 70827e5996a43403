"""Grains where the run knows a line: a frame that shows no line of its own may hold a few of its grains."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.reduction.flags.rings import LEAST_PIXELS, SHARE, STANDS_OUT, comb_differences
from streamproc.reduction.kernels import compiled

__all__ = ["few_grains", "lines_gone"]

_GONE = 0.5
"""Lines of which less than this is left in the middle mean of the quadrants have gone from most quadrants."""

_HELD = 0.05
"""Of the lines' intensity, at least this must be on them still, in few places: else the sample is gone."""

_BETWEEN = 0.25
"""A ring is no line where the run has less than this of the floor above the floor."""

_ELSEWHERE = 0.1
"""Hits lie anywhere: they add to the rings between the lines at least this of what they add to lines."""


@compiled
def few_grains(
    signal: Any, variance: Any, norm: Any, counts: Any, there: Any, y: Any, floor: Any, known: Any
) -> Any:
    """Measure spottiness along the lines of the run, where they have gone from a frame but for a few places.

    With so few grains that most quadrants have none, no line stands out of the frame's own pattern. Where the
    run has lines, and less than half of them is left in the frame's middle mean of the quadrants (of the
    combs, on rings that only two quadrants see, or one), the
    difference of the two combs, counting noise taken off, is taken over the height of the run's lines, as
    :func:`~streamproc.reduction.flags.rings.spottiness` does over the frame's own; all heights alike are made
    those of the mean of all quadrants, which holds the grains. Nothing is left out: the few parts that hold a
    grain are all there is.

    Parameters
    ----------
    signal, variance, norm, counts : ndarray, shape (bins, parts)
        Parts of the frame.
    there : ndarray of bool, shape (bins,)
        Rings that the pattern holds; empty: all.
    y, floor : ndarray of float64, shape (n,)
        The frame's pattern, of the middle mean of the quadrants, and its floor, which stands for that of the
        run as well.
    known : ndarray of float64, shape (n,)
        Pattern of the run's readings before, on the same axis.

    Returns
    -------
    spottiness : float
        Relative standard uncertainty of a ring's intensity. NaN where the lines have not gone, the run knows
        too few, few places on them hold less than a
        twentieth of what they had (the sample has left the beam), or what is high
        lies between them as well (hits).
    first, last : int
        Channels of the line that tells most.
    """
    n, usual = signal.shape[0], lines_gone(signal, norm, there, y, floor, known)
    if not usual > 0.0:
        return np.nan, 0, 0
    held, on, off, n_on, n_off = 0.0, 0.0, 0.0, 0.0, 0.0
    lines, low, place, b = np.zeros(n), np.zeros(n), np.zeros(n, np.int64), -1
    for k in range(y.size):
        b, over = _next(there, b), known[k] - floor[k]
        lines[b], low[b], place[b] = known[k], floor[k], k
        total, weight = _ring_sum(signal, b), _ring_sum(norm, b)
        beyond = total - _of_most(signal, norm, b, y[k]) * weight  # what few places add to the mean of all
        if over > STANDS_OUT * max(floor[k], 0.0):
            held += total - floor[k] * weight
            on += beyond
            n_on += weight
        elif over < _BETWEEN * floor[k]:
            off += beyond
            n_off += weight
    if not on > _HELD * usual or n_off == 0.0 or off * n_on > _ELSEWHERE * on * n_off:
        return np.nan, 0, 0
    terms, ends = np.empty(2 * n + 8), np.zeros(2, np.int64)
    found = comb_differences(
        signal, variance, norm, counts, lines, low, STANDS_OUT, LEAST_PIXELS, terms, ends
    )
    if found < signal.shape[1] // 2:
        return np.nan, 0, 0
    height = max(held, on) / usual  # of what is there over what the run has
    spotty = np.sqrt(max(terms[:found].mean(), 0.0) / signal.shape[1]) / height
    return spotty, place[ends[0]], place[ends[1]]


@compiled
def lines_gone(signal: Any, norm: Any, there: Any, y: Any, floor: Any, known: Any) -> float:
    """Return the intensity of the lines of the run if less than half of it is left in most places; mostly
    more is, then 0. Parameters as :func:`few_grains` takes them."""
    left, usual, rings, lines = 0.0, 0.0, np.flatnonzero(there), np.empty(y.size + 1, np.int64)
    for i in range(_channels_of_lines(floor, known, lines)):
        k = lines[i]
        b, over = rings[k] if rings.size > 0 else k, known[k] - floor[k]
        # written out: what is handed an array costs more than all the rest
        w0, w1 = norm[b, 0] + norm[b, 1], norm[b, 2] + norm[b, 3]
        w2, w3 = norm[b, 4] + norm[b, 5], norm[b, 6] + norm[b, 7]
        total = (w0 + w1) + (w2 + w3)
        most = y[k] if _middle_counts(w0, w1, w2, w3, total) else _of_combs(signal, norm, b, total, y[k])
        usual += over * total
        left += min(most - floor[k], over) * total
    return usual if left < _GONE * usual else 0.0


@compiled
def _channels_of_lines(floor: Any, known: Any, lines: Any) -> int:
    """Write in which channels the run has lines; return of how many. No branch: lines are few."""
    n = 0
    for k in range(known.size):
        lines[n] = k
        n += known[k] - floor[k] > STANDS_OUT * max(floor[k], 0.0)
    return n


@compiled
def _next(there: Any, b: int) -> int:
    """Return the ring after ``b`` that the pattern holds."""
    b += 1
    while there.size > 0 and not there[b]:
        b += 1
    return b


@compiled
def _of_most(signal: Any, norm: Any, b: int, middle: float) -> float:
    """Intensity of most places of a ring: the middle mean of its quadrants, or that of their combs."""
    w0, w1 = norm[b, 0] + norm[b, 1], norm[b, 2] + norm[b, 3]
    w2, w3 = norm[b, 4] + norm[b, 5], norm[b, 6] + norm[b, 7]
    total = (w0 + w1) + (w2 + w3)
    return middle if _middle_counts(w0, w1, w2, w3, total) else _of_combs(signal, norm, b, total, middle)


@compiled
def _middle_counts(w0: float, w1: float, w2: float, w3: float, total: float) -> bool:
    """Whether enough quadrants have their share of a ring (a tenth) that they have a middle."""
    least = SHARE * total
    return (w0 > least) + (w1 > least) + (w2 > least) + (w3 > least) > 2


@compiled
def _of_combs(signal: Any, norm: Any, b: int, total: float, middle: float) -> float:
    """Mean of the combs without the highest and the lowest.

    Two quadrants or one, as in the corners of a detector, have no middle, and their mean holds every grain; a
    grain lies in one comb. Of two combs the darker one counts. Parts with less than half the share of the
    ring that a quadrant must have do not count.
    """
    combs, sums, low, high = 0, 0.0, np.inf, -np.inf
    for j in range(norm.shape[1]):
        if norm[b, j] > 0.5 * SHARE * total:
            v = signal[b, j] / norm[b, j]
            combs, sums, low, high = combs + 1, sums + v, min(low, v), max(high, v)
    if combs < 2:
        return middle
    return (sums - low - high) / (combs - 2) if combs > 2 else low


@compiled
def _ring_sum(parts: Any, b: int) -> float:
    total = 0.0
    for i in range(parts.shape[1]):
        total += parts[b, i]
    return total
