"""What the parts of the rings show: intensity in spite of one bad quadrant, and the number of grains."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.parts import COMBS, PARTS, QUADRANTS, Parts
from streamproc.reduction.kernels import compiled

__all__ = ["quadrant_profiles", "spottiness", "sturdy_profile"]

Float = npt.NDArray[np.float64]

_LEAST_PIXELS = 4.0
_TRIMMED = 0.368
"""Mean of the lower three quarters of a chi-square variable of one degree."""

_STANDS_OUT = 1.0
"""A ring is a line where it is at least this much of the floor above the floor."""


def quadrant_profiles(parts: Parts) -> tuple[Float, Float]:
    """Return intensity and normalisation of each quadrant, shape (bins, QUADRANTS); NaN where no pixel is."""
    n = len(parts.signal)
    intensity, norm = np.empty((n, QUADRANTS)), np.empty((n, QUADRANTS))
    _quadrants(parts.signal, parts.norm, parts.counts, COMBS, intensity, norm)
    return intensity, norm


@compiled
def _quadrants(signal: Any, norm: Any, counts: Any, combs: int, intensity: Any, norms: Any) -> None:
    for b in range(signal.shape[0]):
        for q in range(intensity.shape[1]):
            s, w, n = 0.0, 0.0, 0.0
            for c in range(q * combs, (q + 1) * combs):
                s += signal[b, c]
                w += norm[b, c]
                n += counts[b, c]
            intensity[b, q] = s / w if n > 0.5 else np.nan
            norms[b, q] = w if n > 0.5 else 0.0


@compiled
def sturdy_profile(intensity: Any, norms: Any, sturdy: Any) -> None:
    """Write ring by ring what one or two bad quadrants do not move, shape (2, bins); NaN without pixels.

    ``sturdy[0]`` is the middle mean of four quadrants, the middle one of three, the mean of fewer;
    ``sturdy[1]`` is the second lowest. A quadrant counts with at least a tenth of the ring.
    """
    for b in range(intensity.shape[0]):
        total = norms[b, 0] + norms[b, 1] + norms[b, 2] + norms[b, 3]
        low, second, high, s, n, w = np.inf, np.inf, -np.inf, 0.0, 0, 0.0
        for q in range(4):
            if norms[b, q] > 0.1 * total:
                v = intensity[b, q]
                if v < low:
                    low, second = v, low
                else:
                    second = min(second, v)
                high = max(high, v)
                s += v
                n += 1
                w += norms[b, q] * v
        if n > 2:
            sturdy[0, b], sturdy[1, b] = (s - low - high) / (n - 2), second
        else:
            sturdy[0, b] = sturdy[1, b] = w / total if n > 0 else np.nan


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
    terms, ends = np.empty(2 * len(sturdy) + 8), np.zeros(2, np.int64)
    n = _comb_differences(
        parts.signal, parts.variance, parts.norm, parts.counts, sturdy, floor, _STANDS_OUT, _LEAST_PIXELS,
        terms, ends,
    )  # fmt: skip
    if n < QUADRANTS:
        return float("nan"), (0, 0)
    kept = np.sort(terms[:n])[: max(n * 3 // 4, 1)]
    return float(np.sqrt(max(float(kept.mean()) / _TRIMMED, 0.0) / PARTS)), (int(ends[0]), int(ends[1]))


@compiled
def _comb_differences(
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
