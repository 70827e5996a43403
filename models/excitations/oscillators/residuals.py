"""What a fit leaves over, under peaks of a given width; compiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["smoothed", "strongest"]

Array = npt.NDArray[np.float64]


@machine_code(error_model="numpy")
def smoothed(smoother: Array, counts: Array, spectrum: Array, variance: Array) -> Array:
    """Return residuals averaged over a peak, in sigmas, shape (n,).

    Parameters
    ----------
    smoother : ndarray, shape (n, n)
        Rows of unit length, one for each place of the peak.
    counts, spectrum, variance : ndarray, shape (n,)
        Measured, fitted, and the variance of the measured.
    """
    rest = np.empty(counts.size)
    for i in range(counts.size):
        rest[i] = (counts[i] - spectrum[i]) / np.sqrt(variance[i])
    return np.dot(smoother, rest)


@machine_code(error_model="numpy")
def strongest(
    smoother: Array, counts: Array, spectrum: Array, variance: Array, both: bool
) -> tuple[int, float]:
    """Return place and height of the highest smoothed residual, or of the deepest too if ``both``."""
    smooth = smoothed(smoother, counts, spectrum, variance)
    place, most = 0, -np.inf
    for i in range(smooth.size):
        height = abs(smooth[i]) if both else smooth[i]
        if height > most:
            place, most = i, height
    return place, most
