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
    """Write the middle mean of four quadrants to ``sturdy``; of three the middle, of fewer the mean.

    A quadrant counts with at least a tenth of the ring. NaN in a ring without pixels.
    """
    for b in range(intensity.shape[0]):
        total = norms[b, 0] + norms[b, 1] + norms[b, 2] + norms[b, 3]
        low, high, s, n, w = np.inf, -np.inf, 0.0, 0, 0.0
        for q in range(4):
            if norms[b, q] > 0.1 * total:
                v = intensity[b, q]
                low, high = min(low, v), max(high, v)
                s += v
                n += 1
                w += norms[b, q] * v
        if n > 2:
            sturdy[b] = (s - low - high) / (n - 2)
        else:
            sturdy[b] = w / total if n > 0 else np.nan


def spottiness(parts: Parts, sturdy: Float, floor: Float) -> tuple[float, tuple[int, int]]:
    """Measure how much the small number of grains makes a ring's intensity uncertain.

    Neighbouring teeth of a comb have the same texture and background, but other grains. The line's sum in one
    comb differs from that in the other by counting noise and grains; what is above counting noise, over the
    line's height, is the relative variance of a part, and an eighth of it that of the ring.

    Returns
    -------
    float
        Relative standard uncertainty of a ring's intensity, two sigma of its own noise taken off; NaN without
        lines.
    (int, int)
        First and last ring of the line that tells most.
    """
    out = np.zeros(5)
    _comb_differences(
        parts.signal, parts.variance, parts.norm, parts.counts, sturdy, floor, _STANDS_OUT, _LEAST_PIXELS, out
    )
    excess, noise, square, first, last = out
    if square <= 0.0:
        return float("nan"), (0, 0)
    variance = (excess - 2.0 * np.sqrt(noise)) / square
    return float(np.sqrt(max(variance, 0.0) / PARTS)), (int(first), int(last))


@compiled
def _comb_differences(
    signal: Any, variance: Any, norm: Any, counts: Any, sturdy: Any, floor: Any, stands_out: float,
    least_pixels: float, out: Any,
) -> None:  # fmt: skip
    n, best, b = signal.shape[0], 0.0, 0
    while b < n:
        if not sturdy[b] > (1.0 + stands_out) * max(floor[b], 0.0):
            b += 1
            continue
        first = b
        while b < n and sturdy[b] > (1.0 + stands_out) * max(floor[b], 0.0):
            b += 1
        mine = 0.0
        for q in range(signal.shape[1] // 2):
            difference, noise, height, used = 0.0, 0.0, 0.0, 0
            for r in range(first, b):
                i, j = 2 * q, 2 * q + 1
                if counts[r, i] >= least_pixels and counts[r, j] >= least_pixels:
                    difference += signal[r, i] / norm[r, i] - signal[r, j] / norm[r, j]
                    noise += variance[r, i] / norm[r, i] ** 2 + variance[r, j] / norm[r, j] ** 2
                    height += sturdy[r] - floor[r]
                    used += 1
            if used > 0:
                out[0] += difference * difference - noise
                out[1] += 2.0 * noise * noise
                out[2] += 2.0 * height * height
                mine += difference * difference - noise
        if mine > best:
            best, out[3], out[4] = mine, first, b - 1
