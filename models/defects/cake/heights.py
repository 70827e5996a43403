"""From the zones of each ring to its height over the background, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["AZIMUTHS", "ZONES", "RingHeights", "ring_heights"]

Array = npt.NDArray[np.floating]

ZONES = 3
"""The line itself, and the background below and above it in q."""

AZIMUTHS = 144
"""Cells of a whole ring: 2.5 degrees each."""

_REACH = 4
"""The background of a cell is the mean over this many cells on either side: it is smooth."""

_LEAST_SHARE = 0.3
"""A cell counts with this part of the pixels that a cell of its ring has on average."""

_MOST = 9.0
_MEAN_OF_CLIPPED = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class RingHeights:
    """Rings over azimuth; arrays of shape (..., rings, azimuths).

    ``height`` is the line's mean intensity over the background, ``variance`` that of its counting noise, and
    ``valid`` says where both were measured (elsewhere they are 0).
    """

    height: Array
    variance: Array
    valid: npt.NDArray[np.bool_]


def ring_heights(signal: Array, variance: Array, norm: Array) -> RingHeights:
    """Take the background off.

    Parameters
    ----------
    signal, variance, norm : ndarray, shape (..., rings, ZONES, azimuths)
        Sums over the pixels of each cell: counts, their Poisson variance, and the normalisation.

    Notes
    -----
    A detector's counts need not be photons: the scatter between neighbouring cells of the background, over
    what was said to be its variance, scales all variances.
    """
    variance = variance * _gain(signal, variance, norm)
    line, own = signal[..., 0, :], norm[..., 0, :]
    usual = own.sum(-1, keepdims=True) / np.maximum((own > 0).sum(-1, keepdims=True), 1)
    around = _windowed(np.stack([a[..., 1:, :] for a in (signal, variance, norm)]))
    known = around[2] > 0
    weight = known / np.maximum(known.sum(-2, keepdims=True), 1)
    safe = np.where(known, around[2], 1.0)
    ground = (weight * around[0] / safe).sum(-2)
    ground_variance = (weight**2 * around[1] / safe**2).sum(-2)
    valid = (own > _LEAST_SHARE * usual) & known.any(-2)
    own = np.where(valid, own, 1.0)
    height = np.where(valid, line / own - ground, 0.0)
    return RingHeights(height, np.where(valid, variance[..., 0, :] / own**2 + ground_variance, 0.0), valid)


def _windowed(values: Array) -> Array:
    """Sum over the neighbouring cells of the circle (the last axis)."""
    ends = [values[..., -_REACH:], values, values[..., :_REACH]]
    sums = np.cumsum(np.concatenate([np.zeros_like(values[..., :1]), *ends], axis=-1), axis=-1)
    return sums[..., 2 * _REACH + 1 :] - sums[..., : -(2 * _REACH + 1)]


def _gain(signal: Array, variance: Array, norm: Array) -> Array:
    """Variance over what it was said to be, from neighbouring cells of the background; 1 where none tell."""
    mean = signal[..., 1:, :] / np.where(norm[..., 1:, :] > 0, norm[..., 1:, :], 1.0)
    noise = variance[..., 1:, :] / np.where(norm[..., 1:, :] > 0, norm[..., 1:, :], 1.0) ** 2
    both = (norm[..., 1:, :-1] > 0) & (norm[..., 1:, 1:] > 0)
    total = noise[..., :-1] + noise[..., 1:]
    both &= total > 0
    ratio = np.where(both, np.diff(mean, axis=-1) ** 2 / np.where(both, total, 1.0), 0.0)
    axes = (-3, -2, -1)
    number = np.maximum(both.sum(axes, keepdims=True), 1)
    # twice: clipped at a multiple of the first, so that grains in the tails of lines count little
    first = ratio.sum(axes, keepdims=True) / number
    second = np.minimum(ratio, _MOST * first).sum(axes, keepdims=True) / number / _MEAN_OF_CLIPPED
    return np.asarray(np.where(both.sum(axes, keepdims=True) > 0, np.maximum(second, 1e-6), 1.0))
