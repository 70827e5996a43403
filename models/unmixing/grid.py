"""Grid: patterns of a run on one even axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Grid"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """An even axis from ``start`` to ``stop`` with ``points`` channels."""

    start: float
    stop: float
    points: int

    @property
    def axis(self) -> Array:
        """Channel centres, shape (points,)."""
        return np.linspace(self.start, self.stop, self.points)

    @property
    def step(self) -> float:
        """Distance of neighbouring channels."""
        return (self.stop - self.start) / (self.points - 1)

    @classmethod
    def of(cls, axis: Array, points: int) -> Grid:
        """Return a grid over all of a measured axis."""
        usable = axis[np.isfinite(axis)]
        return cls(float(usable.min()), float(usable.max()), points)

    def rebin(self, axis: Array, y: Array) -> tuple[Array, float]:
        """Bring a pattern onto the grid: the mean over each channel, linear where the source is coarser.

        Parameters
        ----------
        axis : ndarray, shape (m,)
            Rising; NaN where it is not defined.
        y : ndarray, shape (m,)
            Intensities.

        Returns
        -------
        values : ndarray, shape (points,)
            0 where nothing was measured.
        coverage : float
            Share of the channels that were measured.
        """
        usable = np.isfinite(axis)
        axis, y = axis[usable], y[usable]
        if axis.size < 2:
            return np.zeros(self.points), 0.0
        gaps = np.diff(axis)
        edges = np.concatenate(
            [[axis[0] - gaps[0] / 2], (axis[1:] + axis[:-1]) / 2, [axis[-1] + gaps[-1] / 2]]
        )
        centres = self.axis
        inside = (centres >= edges[0]) & (centres <= edges[-1])
        # a hole in the source (masked bins) is not bridged
        local = np.clip(np.searchsorted(axis, centres), 1, axis.size - 1)
        neighbours = np.minimum(gaps[np.maximum(local - 2, 0)], gaps[np.minimum(local, gaps.size - 1)])
        inside &= gaps[local - 1] <= 3 * np.maximum(neighbours, self.step)
        total = np.concatenate([[0.0], np.cumsum(y * np.diff(edges))])
        low = np.clip(centres - self.step / 2, edges[0], edges[-1])
        high = np.clip(centres + self.step / 2, edges[0], edges[-1])
        mean = (np.interp(high, edges, total) - np.interp(low, edges, total)) / np.maximum(high - low, 1e-300)
        linear = np.interp(centres, axis, y)
        values = np.where(gaps[local - 1] >= self.step, linear, mean)
        return np.where(inside, values, 0.0), float(inside.mean())
