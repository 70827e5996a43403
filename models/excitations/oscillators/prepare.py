"""What the network reads: counts over the window, and the conditions they were measured under."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.spectrum import Spectrum

from streamproc.compiling import machine_code

__all__ = ["CONDITIONS", "GRID", "conditions_of", "prepare", "resample"]

Array = npt.NDArray[np.float64]

GRID = 192
"""Channels of the window."""

CONDITIONS = (
    "log_window_over_fwhm",
    "zero_in_window",
    "lorentzian_share",
    "log10_kT_over_fwhm",
    "log10_points",
    "log10_most_counts",
)
"""Scalars appended to the channels, each scaled to about -1 to 1 by :func:`conditions_of`."""


def resample(energy: Array, counts: Array, channels: int = GRID) -> Array:
    """Return mean counts per point in equal channels; each point fills the way to its neighbours.

    Parameters
    ----------
    energy : ndarray, shape (n,)
        Rising.
    counts : ndarray, shape (n,)
        Not negative.
    channels : int
        How many.
    """
    return _resampled(np.ascontiguousarray(energy, float), np.ascontiguousarray(counts, float), channels)


@machine_code(error_model="numpy")
def _resampled(energy: Array, counts: Array, channels: int) -> Array:
    n, first, last = energy.size, energy[0], energy[-1]
    width = (last - first) / channels
    out = np.empty(channels)
    # summed: counts times energy up to ``low``, where point i begins
    i, low, high, summed = 0, first, (first + energy[1]) / 2, 0.0
    before = 0.0
    for k in range(channels):
        wanted = first + (k + 1) * width if k < channels - 1 else last
        while wanted > high and i < n - 1:
            summed += counts[i] * (high - low)
            i, low = i + 1, high
            high = (energy[i] + energy[i + 1]) / 2 if i < n - 1 else last
        here = summed + counts[i] * (wanted - low)
        out[k] = (here - before) / width
        before = here
    return out


def conditions_of(
    energy: Array, fwhm: float, lorentzian: float, kT: float, most: float
) -> npt.NDArray[np.float32]:
    """Return the scalars of :data:`CONDITIONS`.

    Parameters
    ----------
    energy : ndarray, shape (n,)
        Axis.
    fwhm, lorentzian : float
        Width of the resolution and its Lorentzian share.
    kT : float
        Thermal energy.
    most : float
        Largest counts of a channel.
    """
    window = float(energy[-1] - energy[0])
    return np.array(
        [
            math.log(window / fwhm) - 3.4,
            -2.0 * float(energy[0]) / window,
            2.0 * lorentzian - 0.5,
            math.log10(min(max(kT / fwhm, 0.01), 100.0)) / 1.5,
            2.0 * (math.log10(energy.size) - 2.1),
            math.log10(most + 1.0) - 2.5,
        ],
        np.float32,
    )


def prepare(data: Spectrum, fwhm: float, lorentzian: float, kT: float) -> npt.NDArray[np.float32]:
    """Return the network's input for a spectrum, shape (GRID + conditions,)."""
    counts = np.maximum(data.effective_counts, 0.0)
    channels = resample(data.energy, counts)
    conditions = conditions_of(data.energy, fwhm, lorentzian, kT, float(channels.max()))
    x = np.empty(GRID + len(CONDITIONS), np.float32)
    x[:GRID], x[GRID:] = np.log1p(channels) / 2, conditions
    return x
