"""S(Q,E): spectra at wave vectors, on one axis of energies, with what was not measured masked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed

__all__ = ["SqeMap", "averaged", "estimated_sigma"]

Array = npt.NDArray[np.float64]

_HALF_ENERGY, _HALF_COLUMNS = 8, 2
"""Neighbourhood over which noise is estimated."""

_TO_SIGMA = 1.4826 / np.sqrt(1.5)
"""Median of |y_i - (y_i-1 + y_i+1) / 2| to standard deviation, for normal noise."""


@dataclass(frozen=True, slots=True, eq=False)
class SqeMap:
    """A measured or simulated map.

    Attributes
    ----------
    q_rlu : ndarray, shape (n, 3)
        Wave vector of each column, reciprocal lattice units; for a powder |Q| (1/angstrom), 0, 0.
    energy_meV : ndarray, shape (m,)
        Rising.
    intensity : ndarray, shape (n, m)
        Any unit.
    sigma : ndarray, shape (n, m)
        Standard deviation, positive where measured.
    measured : ndarray of bool, shape (n, m)
        False where there is no detector, no coverage or a bad value.
    """

    q_rlu: Array
    energy_meV: Array
    intensity: Array = field(repr=False)
    sigma: Array = field(repr=False)
    measured: npt.NDArray[np.bool_] = field(repr=False)

    @classmethod
    def of(
        cls, q_rlu: npt.ArrayLike, energy_meV: npt.ArrayLike, intensity: npt.ArrayLike,
        sigma: npt.ArrayLike | None = None, measured: npt.ArrayLike | None = None,
    ) -> SqeMap:  # fmt: skip
        """Check and complete: bad values are masked, a missing sigma is estimated from neighbours.

        Raises
        ------
        FrameFailed
            Shapes do not fit, energies do not rise, or nothing is measured.
        """
        q, e, y = (np.asarray(v, dtype=float) for v in (q_rlu, energy_meV, intensity))
        q = q.reshape(-1, 3) if q.size % 3 == 0 and q.ndim != 2 else np.atleast_2d(q)
        if q.shape[1] != 3 or y.shape != (len(q), len(e)):
            raise FrameFailed(
                f"a map of shape {y.shape} with wave vectors {q.shape} and {len(e)} energies; expected "
                "(n, m) with (n, 3) and m"
            )
        if len(e) < 4 or not (np.diff(e) > 0).all():
            raise FrameFailed("the energies of a map must rise, and be at least 4")
        seen = np.isfinite(y) & (np.abs(y) < 1e19)
        seen &= True if measured is None else np.asarray(measured, dtype=bool)
        if sigma is not None:
            s = np.asarray(sigma, dtype=float)
            if s.shape != y.shape:
                raise FrameFailed(f"sigma of shape {s.shape} for a map of shape {y.shape}")
            seen &= np.isfinite(s) & (s >= 0)
        if not seen.any():
            raise FrameFailed("nothing of the map is measured: all values are masked or not finite")
        y = np.where(seen, y, 0.0)
        if sigma is None:
            s = estimated_sigma(y, seen)
        else:  # no count at all gives no error bar: take that of the smallest real one
            s = np.where(seen, s, 1.0)
            positive = s[seen & (s > 0)]
            s = np.where(s > 0, s, positive.min() if positive.size else 1.0)
        return cls(q, e, y, s, seen)

    def window(self, low_meV: float, high_meV: float) -> SqeMap:
        """Return the part between two energies."""
        keep = (self.energy_meV >= low_meV) & (self.energy_meV <= high_meV)
        parts = (self.intensity[:, keep], self.sigma[:, keep], self.measured[:, keep])
        return SqeMap(self.q_rlu, self.energy_meV[keep], *parts)

    def columns(self, chosen: npt.ArrayLike) -> SqeMap:
        """Return some columns, by index or mask."""
        at = np.asarray(chosen)
        parts = (self.intensity[at], self.sigma[at], self.measured[at])
        return SqeMap(self.q_rlu[at], self.energy_meV, *parts)

    def scaled(self, energy_factor: float) -> SqeMap:
        """Return it with energies multiplied by a factor."""
        return replace(self, energy_meV=self.energy_meV * energy_factor)


def estimated_sigma(y: Array, measured: npt.NDArray[np.bool_]) -> Array:
    """Estimate the noise of every cell from how much neighbours in energy differ.

    A median of |y_i - (y_i-1 + y_i+1) / 2| over nearby cells; peaks that are wider than a channel hardly
    count.

    Parameters
    ----------
    y : ndarray, shape (n, m)
        Intensities.
    measured : ndarray of bool, shape (n, m)
        Which of them count.
    """
    n, m = y.shape
    difference = np.full((n, m), np.nan)
    inner = measured[:, 1:-1] & measured[:, :-2] & measured[:, 2:]
    second = np.abs(y[:, 1:-1] - (y[:, :-2] + y[:, 2:]) / 2)
    difference[:, 1:-1] = np.where(inner, second, np.nan)
    padded = np.pad(difference, ((_HALF_COLUMNS,) * 2, (_HALF_ENERGY,) * 2), constant_values=np.nan)
    shape = (2 * _HALF_COLUMNS + 1, 2 * _HALF_ENERGY + 1)
    nearby = np.lib.stride_tricks.sliding_window_view(padded, shape)
    strided = nearby[:, :, :, ::2].reshape(n, m, -1)
    with np.errstate(all="ignore"):
        found = _TO_SIGMA * _nan_median(strided)
    usual = float(np.nanmedian(found)) if np.isfinite(found).any() else float(y[measured].std())
    floor = 0.05 * usual or 1.0
    return np.asarray(np.maximum(np.where(np.isfinite(found), found, usual), floor))


def _nan_median(values: Array) -> Array:
    """Median over the last axis without NaN (faster than numpy's): sorted, NaN come last."""
    ordered = np.sort(values, axis=-1)
    count = np.isfinite(ordered).sum(-1)
    at = np.maximum(count - 1, 0) // 2
    upper = np.minimum(at + (count % 2 == 0), np.maximum(count - 1, 0))
    pick = (np.take_along_axis(ordered, k[..., None], -1)[..., 0] for k in (at, upper))
    return np.asarray(sum(pick) / 2)


def averaged(whole: SqeMap, columns: int, channels: int = 0) -> SqeMap:
    """Average neighbouring columns, and channels, so that no more than so many are left.

    Only neighbours along the path are joined: a jump in Q begins a new group.

    Parameters
    ----------
    whole : SqeMap
        Any map.
    columns : int
        Most columns to leave.
    channels : int
        Most channels to leave; 0: all stay.
    """
    groups = _groups(whole.q_rlu, columns)
    found = _joined(whole, groups, 0) if groups.max() + 1 < len(whole.q_rlu) else whole
    m = len(found.energy_meV)
    if 0 < channels < m:
        found = _joined(found, np.arange(m) * channels // m, 1)
    return found


def _groups(q: Array, most: int) -> npt.NDArray[np.int64]:
    """Number neighbouring columns of a path in equal steps of index, breaking at jumps."""
    n = len(q)
    if n <= most:
        return np.arange(n)
    step = np.linalg.norm(np.diff(q, axis=0), axis=1)
    jumps = np.concatenate([[0], np.cumsum(step > 6 * max(float(np.median(step)), 1e-9))])
    size = -(-n // most)
    while True:
        place = np.zeros(n, dtype=np.int64)
        for k in range(jumps[-1] + 1):
            inside = np.flatnonzero(jumps == k)
            place[inside] = np.arange(len(inside)) // size
        change = np.concatenate([[0], (np.diff(place) != 0) | (np.diff(jumps) != 0)])
        groups = np.cumsum(change).astype(np.int64)
        if groups[-1] < most or size >= n:
            return np.minimum(groups, most - 1)
        size += 1


def _joined(whole: SqeMap, groups: npt.NDArray[np.int64], axis: int) -> SqeMap:
    """Mean over groups along an axis of what is measured; measured where half of the group is."""
    count = int(groups.max()) + 1

    def summed(values: Array) -> Array:
        moved = np.moveaxis(values, axis, 0)
        out = np.zeros((count, *moved.shape[1:]))
        np.add.at(out, groups, moved)
        return np.moveaxis(out, 0, axis)

    seen = whole.measured.astype(float)
    total = summed(seen)
    safe = np.maximum(total, 1.0)
    y = summed(whole.intensity * seen) / safe
    sigma = np.sqrt(summed(whole.sigma**2 * seen)) / safe
    number = np.bincount(groups)
    measured = total >= 0.5 * number.reshape(-1, *([1] * (1 - axis)))
    q, e = whole.q_rlu, whole.energy_meV
    if axis == 0:
        q = summed_rows(q, groups, count)
    else:
        e = summed_rows(e[:, None], groups, count)[:, 0]
    return SqeMap(q, e, np.where(measured, y, 0.0), np.where(measured, sigma, 1.0), measured)


def summed_rows(rows: Array, groups: npt.NDArray[np.int64], count: int) -> Array:
    """Return the mean of rows by group, shape (count, k)."""
    out = np.zeros((count, rows.shape[1]))
    np.add.at(out, groups, rows)
    return out / np.bincount(groups, minlength=count)[:, None]
