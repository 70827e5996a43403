"""What the network reads of a cake: statistics that neither a turn of the detector nor its gaps change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.cake.heights import AZIMUTHS, RingHeights

__all__ = ["COHERENT", "LAGS", "QUANTILES", "WAVES", "Statistics", "points_of", "statistics_of"]

Array = npt.NDArray[np.floating]

LAGS = (1, 2, 3, 4, 6, 9, 12, 18, 24, 30, 36, 45, 54, 63, 72)
"""Distances along the ring (cells) at which heights are compared: short ones for grains, long for texture."""

QUANTILES = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 1.0)

WAVES = (1, 2, 3, 4, 5, 6)
"""Waves over the circle whose amplitudes are read: texture is smooth, grains are not."""

COHERENT = (2, 4)
"""Waves that are compared between rings: a texture turns all rings together."""

_RIDGE = 3.0
"""Cells' worth of prior that waves are small, where a ring is seen in part."""

_LEAST_COVERED = 0.25
_LEAST_SIGMA = 8.0
_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """What is read.

    Attributes
    ----------
    x : ndarray of float32, shape (..., points)
        The network's input.
    seen : ndarray of bool, shape (..., rings)
        Rings that are covered and strong enough; the others are left out of ``x``.
    odd : ndarray, shape (...)
        In how far the rings share a wave of one period, over what their own scatter would give: crystals
        are alike on opposite sides of a ring (but for large angles), shadows and a misplaced centre are not.
    """

    x: npt.NDArray[np.float32]
    seen: npt.NDArray[np.bool_]
    odd: Array


def points_of(rings: int) -> int:
    """Return the number of statistics for so many rings."""
    per_ring = 3 + 2 * len(LAGS) + len(QUANTILES) + 2 * len(WAVES)
    return rings * per_ring + rings * (rings - 1) // 2 * len(COHERENT) + 1


def statistics_of(heights: RingHeights, expected: Array, sine: Array) -> Statistics:
    """Read rings.

    Parameters
    ----------
    heights : RingHeights
        Shape (..., k, AZIMUTHS).
    expected : ndarray, shape (..., k)
        Heights of the rings without texture, in any unit.
    sine : ndarray, shape (...)
        sin(theta) of the first ring.

    Notes
    -----
    Per ring: the covered share; the counting noise of a cell over the ring's mean height; half the mean
    squared difference of cells at each of ``LAGS``, by itself and over the noise; quantiles of the cells; the
    ring's height against the others'; the amplitudes of ``WAVES``, by themselves and over what the scatter of
    neighbouring cells alone would give. Per pair of rings: in how far their waves go together. All but the
    first compressed.
    """
    valid = heights.valid
    number = np.maximum(valid.sum(-1), 1)
    mean = heights.height.sum(-1) / number
    error = np.sqrt(heights.variance.sum(-1)) / number
    covered = valid.mean(-1)
    seen = (covered >= _LEAST_COVERED) & (mean > _LEAST_SIGMA * error)
    valid = valid & seen[..., None]
    unit = np.where(seen, mean, 1.0)[..., None]
    y = np.where(valid, heights.height / unit, 0.0)
    noise = np.where(valid, heights.variance / unit**2, 0.0)
    mean_noise = noise.sum(-1) / number + _TINY
    columns = [covered * seen, np.log10(mean_noise) / 3]
    scatter = np.maximum(_structure(y, valid, 1), mean_noise)
    for lag in LAGS:
        total = _structure(y, valid, lag) + _TINY
        columns += [np.log10(total) / 3, np.log10(np.clip(total / mean_noise, 0.1, 1e6))]
    columns += [np.log10(0.05 + np.maximum(v, 0.0)) for v in _quantiles(y, valid, number)]
    columns.append(_against_each_other(mean, expected, seen))
    waves = _waves(y, valid)
    for place in range(len(WAVES)):
        high = np.abs(waves[..., place])
        columns += [np.log1p(high / 0.02) / 3, np.log10(0.03 + high**2 * number / (4 * scatter + _TINY)) / 2]
    per_ring = np.stack(columns, -1) * seen[..., None]
    pairs = _coherences(waves, seen)
    flat = per_ring.reshape(*per_ring.shape[:-2], -1)
    x = np.concatenate([flat, pairs, np.asarray(sine)[..., None]], -1)
    return Statistics(x.astype(np.float32), seen, _odd(waves, 4 * scatter / number, seen))


def _structure(y: Array, valid: npt.NDArray[np.bool_], lag: int) -> Array:
    """Half the mean squared difference of cells ``lag`` apart on the circle."""
    both = valid & np.roll(valid, -lag, -1)
    squared = np.where(both, (y - np.roll(y, -lag, -1)) ** 2, 0.0)
    return np.asarray(0.5 * squared.sum(-1) / np.maximum(both.sum(-1), 1))


def _quantiles(y: Array, valid: npt.NDArray[np.bool_], number: Array) -> list[Array]:
    ordered = np.sort(np.where(valid, y, np.inf), axis=-1)
    found = []
    for level in QUANTILES:
        place = np.minimum(np.rint(level * (number - 1)).astype(np.int64), AZIMUTHS - 1)
        value = np.take_along_axis(ordered, place[..., None], -1)[..., 0]
        found.append(np.where(np.isfinite(value), value, 1.0))
    return found


def _against_each_other(mean: Array, expected: Array, seen: npt.NDArray[np.bool_]) -> Array:
    """Logarithm of each height over what is expected, less its mean over the rings that are seen."""
    ratio = np.where(seen, np.log(np.where(seen, mean, 1.0) / np.asarray(expected)), 0.0)
    middle = ratio.sum(-1, keepdims=True) / np.maximum(seen.sum(-1, keepdims=True), 1)
    return np.where(seen, ratio - middle, 0.0)


def _basis() -> npt.NDArray[np.float64]:
    """One, and cosine and sine of each wave, shape (AZIMUTHS, 1 + 2 waves)."""
    turn = np.arange(AZIMUTHS)[:, None] * np.array(WAVES) * 2 * np.pi / AZIMUTHS
    return np.concatenate([np.ones((AZIMUTHS, 1)), np.cos(turn), np.sin(turn)], 1)


_BASIS = _basis()
_PRODUCTS = (_BASIS[:, :, None] * _BASIS[:, None, :]).reshape(AZIMUTHS, -1)


def _waves(y: Array, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.complex128]:
    """Complex amplitudes of the waves by least squares over the seen cells, shape (..., k, waves)."""
    size = _BASIS.shape[1]
    matrix = (valid.astype(float) @ _PRODUCTS).reshape(*valid.shape[:-1], size, size)
    ridge = np.full(size, _RIDGE)
    ridge[0] = 1e-3
    right = np.where(valid, y, 0.0) @ _BASIS
    found = np.linalg.solve(matrix + np.diag(ridge), right[..., None])[..., 0]
    return np.asarray(found[..., 1 : 1 + len(WAVES)] - 1j * found[..., 1 + len(WAVES) :])


def _odd(waves: npt.NDArray[np.complex128], noise: Array, seen: npt.NDArray[np.bool_]) -> Array:
    """Sum over pairs of rings of their first waves' products, over its standard deviation by chance."""
    first = np.where(seen, waves[..., WAVES.index(1)], 0.0)
    noise = np.where(seen, noise, 0.0)
    shared = np.abs(first.sum(-1)) ** 2 - (np.abs(first) ** 2).sum(-1)
    chance = noise.sum(-1) ** 2 - (noise**2).sum(-1)
    return np.asarray(shared / np.sqrt(chance + _TINY))


def _coherences(waves: npt.NDArray[np.complex128], seen: npt.NDArray[np.bool_]) -> Array:
    """Signed root of the real part of one ring's wave times the other's conjugate, for each pair."""
    rings, found = waves.shape[-2], []
    for wave in COHERENT:
        part = waves[..., WAVES.index(wave)]
        for first in range(rings):
            for second in range(first + 1, rings):
                value = (part[..., first] * np.conj(part[..., second])).real
                both = seen[..., first] & seen[..., second]
                found.append(np.where(both, np.sign(value) * np.log1p(np.sqrt(np.abs(value)) / 0.02) / 3, 0))
    return np.stack(found, -1)
