"""What the parts of the rings show: intensity in spite of one bad quadrant, and the number of grains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.middle import ranked
from streamproc.reduction.flags.parts import QUADRANTS, Parts
from streamproc.reduction.kernels import compiled, compiled_sums

__all__ = [
    "LEAST_PIXELS", "SHARE", "STANDS_OUT", "RingView", "comb_differences", "every_of", "near_lines", "spots",
    "spottiness", "spread_of", "view", "view_rings",
]  # fmt: skip

Float = npt.NDArray[np.float64]

LEAST_PIXELS = 4.0

SHARE = 0.1
"""A quadrant tells of a ring if it has at least this share of it."""

_TRIMMED = 0.368
"""Mean of the lower three quarters of a chi-square variable of one degree."""

STANDS_OUT = 1.0
"""A ring is a line where it is at least this much of the floor above the floor."""


_FEWEST = 125
"""Rings that tell the dispersion, at least; of many, every eighth does."""

_MEDIAN = 0.4549
"""Median of a chi-square variable of one degree."""


@dataclass(frozen=True, slots=True, eq=False)
class RingView:
    """The rings of one frame, seen by quadrants.

    Attributes
    ----------
    quadrants : ndarray, shape (bins, QUADRANTS)
        Intensity of each quadrant; NaN where no pixel is.
    sturdy : ndarray, shape (2, bins)
        What one or two bad quadrants do not move: ``sturdy[0]`` is the middle mean of four quadrants, the
        middle one of three, the mean of fewer; ``sturdy[1]`` is the second lowest. A quadrant counts with at
        least a tenth of the ring. NaN without pixels.
    level : float
        Mean intensity of all pixels, dark subtracted; NaN without any.
    spread : float
        Variance of the pixels over that of counting, at least 1: from the two combs of each quadrant, by the
        median, which grains, lines and bad pixels do not move. Above 1 for integrating detectors (gain,
        read-out noise).
    """

    quadrants: Float
    sturdy: Float
    level: float
    spread: float


def view_rings(parts: Parts) -> RingView:
    """See the rings of a frame by quadrants."""
    n = len(parts.signal)
    every = every_of(n)
    quadrants, sturdy, ratios = (
        np.empty((n, QUADRANTS)),
        np.empty((2, n)),
        np.empty((n // every + 1) * QUADRANTS),
    )
    signal, norm, found = view(
        parts.signal, parts.variance, parts.norm, parts.counts, every, quadrants, sturdy, ratios
    )
    level = signal / norm if norm > 0 else float("nan")
    return RingView(quadrants, sturdy, level, spread_of(ratios, found))


@compiled
def every_of(n: int) -> int:
    """Return every which of so many rings tells the dispersion."""
    return int(min(max(n // _FEWEST, 1), 8))


@compiled
def spread_of(ratios: Any, found: int) -> float:
    """Return the variance over that of counting, at least 1, from the median of ``found`` ratios."""
    if found < 16:
        return 1.0
    return float(max(ranked(ratios[:found], found // 2) / _MEDIAN, 1.0))


@compiled
def view(
    signal: Any, variance: Any, norm: Any, counts: Any, every: int, quadrants: Any, sturdy: Any, ratios: Any
) -> Any:
    """Write the figures of each ring; return the sums of signal and norm, and how many ratios there are."""
    found, all_signal, all_norm = 0, 0.0, 0.0
    for b in range(signal.shape[0]):
        s0, s1 = signal[b, 0] + signal[b, 1], signal[b, 2] + signal[b, 3]
        s2, s3 = signal[b, 4] + signal[b, 5], signal[b, 6] + signal[b, 7]
        w0, w1, w2, w3 = (
            norm[b, 0] + norm[b, 1],
            norm[b, 2] + norm[b, 3],
            norm[b, 4] + norm[b, 5],
            norm[b, 6] + norm[b, 7],
        )
        total = (w0 + w1) + (w2 + w3)
        all_norm += total
        all_signal += (s0 + s1) + (s2 + s3)
        if min(min(w0, w1), min(w2, w3)) > SHARE * total:
            a, c, d, e = s0 / w0, s1 / w1, s2 / w2, s3 / w3
            middle, second = _middle(a, c, d, e)
        else:
            a, c, d, e, middle, second = _fewer(
                (s0, s1, s2, s3), (w0, w1, w2, w3),
                (
                    counts[b, 0] + counts[b, 1] > 0.5,
                    counts[b, 2] + counts[b, 3] > 0.5,
                    counts[b, 4] + counts[b, 5] > 0.5,
                    counts[b, 6] + counts[b, 7] > 0.5,
                ),
                total,
            )  # fmt: skip
        quadrants[b, 0], quadrants[b, 1], quadrants[b, 2], quadrants[b, 3] = a, c, d, e
        sturdy[0, b], sturdy[1, b] = middle, second
    for b in range(0, signal.shape[0], every):
        for i in range(0, signal.shape[1], 2):
            j = i + 1
            if counts[b, i] >= 4.0 and counts[b, j] >= 4.0:
                one, other = 1.0 / norm[b, i], 1.0 / norm[b, j]
                d = signal[b, i] * one - signal[b, j] * other
                noise = variance[b, i] * (one * one) + variance[b, j] * (other * other)
                if noise > 0.0:
                    ratios[found] = d * d / noise
                    found += 1
    return all_signal, all_norm, found


@compiled_sums
def _middle(a: float, b: float, c: float, d: float) -> Any:
    """Mean of the middle two of four, and the second lowest: without branches, which chance would decide."""
    low, below = min(a, b), max(a, b)
    other, above = min(c, d), max(c, d)
    least, most = min(low, other), max(below, above)
    return 0.5 * (a + b + c + d - least - most), min(max(low, other), min(below, above))


@compiled
def _fewer(s: Any, w: Any, there: Any, total: float) -> Any:
    """The same where a quadrant has less than its share of the ring, or no pixel: the intensity of each
    quadrant (NaN: nothing is there) and the two.

    Takes numbers only, four of each: to hand over arrays here takes longer than all that is done with them.
    """
    least = SHARE * total
    a, b = s[0] / w[0] if there[0] else np.nan, s[1] / w[1] if there[1] else np.nan
    c, d = s[2] / w[2] if there[2] else np.nan, s[3] / w[3] if there[3] else np.nan
    in_a, in_b = there[0] and w[0] > least, there[1] and w[1] > least
    in_c, in_d = there[2] and w[2] > least, there[3] and w[3] > least
    n = in_a + in_b + in_c + in_d
    if n > 2:
        at_a, at_b = a if in_a else np.inf, b if in_b else np.inf
        at_c, at_d = c if in_c else np.inf, d if in_d else np.inf
        low, below, other, above = min(at_a, at_b), max(at_a, at_b), min(at_c, at_d), max(at_c, at_d)
        high = max(
            max(a if in_a else -np.inf, b if in_b else -np.inf),
            max(c if in_c else -np.inf, d if in_d else -np.inf),
        )
        values = (a if in_a else 0.0) + (b if in_b else 0.0) + (c if in_c else 0.0) + (d if in_d else 0.0)
        middle = (values - min(low, other) - high) / (n - 2)
        return a, b, c, d, middle, min(max(low, other), min(below, above))
    sums = (s[0] if in_a else 0.0) + (s[1] if in_b else 0.0)
    sums += (s[2] if in_c else 0.0) + (s[3] if in_d else 0.0)
    mean = sums / total if n > 0 else np.nan
    return a, b, c, d, mean, mean


def spottiness(parts: Parts, sturdy: Float, floor: Float) -> tuple[float, tuple[int, int]]:
    """Measure how much the small number of grains makes a ring's intensity uncertain.

    Neighbouring teeth of a comb have the same texture and background, but other grains. The line's sum in one
    comb differs from that in the other by counting noise and grains; what is above counting noise, over the
    line's height, is the relative variance of a part, and an eighth of it that of the ring. The quarter of
    the lines and quadrants that differs most is left out: hits and single large grains are there.

    Returns
    -------
    float
        Relative standard uncertainty of a ring's intensity; NaN without lines.
    (int, int)
        First and last ring of the line that tells most.
    """
    found, first, last = spots(parts.signal, parts.variance, parts.norm, parts.counts, sturdy, floor)
    return float(found), (int(first), int(last))


@compiled
def spots(signal: Any, variance: Any, norm: Any, counts: Any, sturdy: Any, floor: Any) -> Any:
    """Spottiness as :func:`spottiness` has it, first and last ring of the line that tells most."""
    terms, ends = np.empty(2 * signal.shape[0] + 8), np.zeros(2, np.int64)
    n = comb_differences(signal, variance, norm, counts, sturdy, floor, STANDS_OUT, LEAST_PIXELS, terms, ends)
    if n < signal.shape[1] // 2:
        return np.nan, ends[0], ends[1]
    kept = np.sort(terms[:n])[: max(n * 3 // 4, 1)]
    return np.sqrt(max(kept.mean() / _TRIMMED, 0.0) / signal.shape[1]), ends[0], ends[1]


@compiled
def comb_differences(
    signal: Any, variance: Any, norm: Any, counts: Any, sturdy: Any, floor: Any, stands_out: float,
    least_pixels: float, terms: Any, ends: Any,
) -> int:  # fmt: skip
    """Write, for each line and quadrant, the squared difference above noise over twice the squared height."""
    n, best, b, found = signal.shape[0], 0.0, 0, 0
    while b < n:
        first = b
        while b < n and sturdy[b] > (1.0 + stands_out) * max(floor[b], 0.0) and sturdy[b] > 0.0:
            b += 1
        mine = 0.0
        for q in range(signal.shape[1] // 2 if b > first else 0):
            difference, noise, height = 0.0, 0.0, 0.0
            for r in range(first, b):
                i, j = 2 * q, 2 * q + 1
                if counts[r, i] >= least_pixels and counts[r, j] >= least_pixels:
                    difference += signal[r, i] / norm[r, i] - signal[r, j] / norm[r, j]
                    noise += variance[r, i] / norm[r, i] ** 2 + variance[r, j] / norm[r, j] ** 2
                    height += sturdy[r] - floor[r]
            if height > 0.0 and noise < 0.02 * height * height and found < terms.size:
                terms[found] = (difference * difference - noise) / (2.0 * height * height)
                mine += terms[found]
                found += 1
        if mine > best:
            best, ends[0], ends[1] = mine, first, b - 1
        b += 1
    return found


@compiled
def near_lines(rings: Any, floor: Any, variance: Any, width: float, near: Any) -> None:
    """Mark the rings that are lines, or lie within a line's width of one; ``near`` is False to begin with.

    A line is a quarter of the floor above it, and three sigma more: of a weak pattern noise is no line.
    """
    reach = int(min(max(1.5 * width, 2.0), 24.0)) if width == width else 2
    for b in range(rings.size):
        if rings[b] > 1.25 * max(floor[b], 0.0) + 3.0 * np.sqrt(variance[b]):
            near[max(b - reach, 0) : b + reach + 1] = True
