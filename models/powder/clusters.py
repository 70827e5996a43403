"""Clusters of unexplained patterns: their mean, where they were seen, and how alike two patterns are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from streamproc.models.powder.floor import smooth_floor

__all__ = ["Cluster", "ClusterAxis", "likeness"]

Array = npt.NDArray[np.float64]
Small = npt.NDArray[np.float32]

_STEP_LNQ = 0.0008
_BLUR_STEPS = 2.0
_SHIFTS = 15
"""Stretches compared: 15 steps of 0.08 %, that is 1.2 % either way."""

_FLOOR_DEG = 9.0
_MOST_POINTS = 20_000


class ClusterAxis:
    """The axis of a run's clusters: that of its first pattern, and ln(q) for comparing.

    Parameters
    ----------
    x : ndarray, shape (n,)
        2theta (degrees), rising.
    """

    def __init__(self, x: Array) -> None:
        n = min(x.size, _MOST_POINTS)
        self.x = x.copy() if n == x.size else np.linspace(x[0], x[-1], n)
        ln_q = np.log(np.sin(np.deg2rad(np.maximum(self.x, 0.5)) / 2))
        self.grid = np.arange(ln_q[0], ln_q[-1], _STEP_LNQ)
        self._at = ln_q
        self._length = _FLOOR_DEG / float(np.median(np.diff(self.x)))

    def bring(self, x: Array, y: Array, v: Array) -> tuple[Array, Array]:
        """Bring another pattern onto the axis; what it lacks is 0 with a large variance."""
        good = np.isfinite(y) & np.isfinite(v) & np.isfinite(x)
        x, y, v = x[good], y[good], np.maximum(v[good], 0.0)
        least = max(1e-3 * float(np.median(v)), 1e-300)
        outside = (self.x < x[0] - 1e-9) | (self.x > x[-1] + 1e-9)
        new_y = np.where(outside, 0.0, np.interp(self.x, x, y))
        new_v = np.where(outside, 1e3 * float(v.max()), np.maximum(np.interp(self.x, x, v), least))
        return new_y, new_v

    def lines(self, y: Array, v: Array) -> Array:
        """Return a pattern without its floor."""
        return y - smooth_floor(y, v, self._length)

    def picture(self, y: Array, v: Array) -> tuple[Array, float]:
        """Return what is compared: lines above the floor on ln(q), and the share of noise in its length."""
        lines = self.lines(y, v)
        # where little is known, little is compared: lines weigh as the square root of their significance
        weight = 1 / (1 + v / np.median(v))
        on_grid = np.interp(self.grid, self._at, lines * weight)
        noise = np.interp(self.grid, self._at, v * weight**2)
        drawn = gaussian_filter1d(on_grid, _BLUR_STEPS)
        # points of the grid that one point of the pattern feeds share its noise
        shared = np.interp(self.grid, self._at[:-1], np.diff(self._at)) / _STEP_LNQ
        spread = np.minimum(1.0, np.maximum(shared, 1.0) / (2 * np.sqrt(np.pi) * _BLUR_STEPS))
        return drawn, float(np.sum(noise * spread))

    def moved(self, y: Array, steps: int) -> Array:
        """Return a pattern stretched by a number of steps of ln(q)."""
        if steps == 0:
            return y
        return np.interp(self._at - steps * _STEP_LNQ, self._at, y)


def likeness(first: tuple[Array, float], second: tuple[Array, float]) -> tuple[float, int]:
    """Return the largest cosine over small stretches, noise taken off, and by how much to move the second.

    Parameters
    ----------
    first, second : (ndarray, float)
        As :meth:`ClusterAxis.picture` gives them.
    """
    (a, noise_a), (b, noise_b) = first, second
    lengths = [max(float(v @ v) - n, 0.05 * float(v @ v), 1e-300) for v, n in ((a, noise_a), (b, noise_b))]
    from scipy.signal import correlate  # brings scipy.stats, half a second of a service's start

    products = correlate(a, b, mode="same", method="fft")
    middle = a.size // 2
    low, high = max(0, middle - _SHIFTS), min(a.size, middle + _SHIFTS + 1)
    best = int(np.argmax(products[low:high])) + low
    return float(products[best] / np.sqrt(lengths[0] * lengths[1])), best - middle


@dataclass(slots=True)
class Cluster:
    """One cluster: mean and variance of its patterns (float32), and its points.

    ``motors`` holds per motor: smallest, largest, weighted sum, sum of weights.
    """

    first: int
    last: int
    points: int
    mean: Small
    variance: Small
    motors: dict[str, list[float]] = field(default_factory=dict)
    _picture: tuple[Array, float] | None = None

    @classmethod
    def of(cls, seq_num: int, y: Array, v: Array, weight: float, readings: Mapping[str, Any]) -> Self:
        """Found a cluster with its first pattern."""
        cluster = cls(seq_num, seq_num, 1, y.astype(np.float32), v.astype(np.float32))
        cluster._seen(weight, readings)
        return cluster

    def add(
        self, axis: ClusterAxis, seq_num: int, y: Array, v: Array, steps: int, weight: float,
        readings: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Average a pattern in, moved by ``steps``."""
        y, v = axis.moved(y, steps), axis.moved(v, steps)
        n = self.points
        self._picture = None
        self.mean = ((n * self.mean.astype(float) + y) / (n + 1)).astype(np.float32)
        self.variance = ((n * n * self.variance.astype(float) + v) / (n + 1) ** 2).astype(np.float32)
        self.points, self.last = n + 1, seq_num
        self._seen(weight, readings)

    def picture(self, axis: ClusterAxis) -> tuple[Array, float]:
        """Return the mean pattern as it is compared."""
        if self._picture is None:
            self._picture = axis.picture(
                self.mean.astype(float), np.maximum(self.variance.astype(float), 1e-300)
            )
        return self._picture

    def _seen(self, weight: float, readings: Mapping[str, Any]) -> None:
        for name in sorted(readings):
            value = readings[name]
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float | np.number)
                or not np.isfinite(value)
            ):
                continue
            number = float(value)
            low, high, total, weights = self.motors.get(name, [number, number, 0.0, 0.0])
            self.motors[name] = [
                min(low, number),
                max(high, number),
                total + weight * number,
                weights + weight,
            ]

    def where(self) -> dict[str, dict[str, float]]:
        """Return range and centroid of each motor."""
        return {
            name: {"min": low, "max": high, "centroid": min(max(total / weights, low), high)}
            for name, (low, high, total, weights) in self.motors.items()
        }

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "first": self.first,
            "last": self.last,
            "points": self.points,
            "mean": self.mean.astype("<f4").tobytes(),
            "variance": self.variance.astype("<f4").tobytes(),
            "motors": {name: list(values) for name, values in self.motors.items()},
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """Take up a state that :meth:`snapshot` gave."""
        return cls(
            int(state["first"]),
            int(state["last"]),
            int(state["points"]),
            np.frombuffer(state["mean"], "<f4").astype(np.float32),
            np.frombuffer(state["variance"], "<f4").astype(np.float32),
            {str(k): [float(v) for v in values] for k, values in state["motors"].items()},
        )
