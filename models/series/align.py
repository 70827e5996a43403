"""What moves, stretches or scales a pattern as a whole, told apart from what changes in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

__all__ = ["Aligned", "Alignment"]

Array = npt.NDArray[np.float64]

_SMOOTH = 12
"""Degree of the polynomials (over the whole axis) that are background: no line is as broad."""

_REACH = 16
"""Patterns are moved by at most one part in so many of their length, and stretched by half of that."""

_TURNS = 8
_NEAR_ENOUGH = 1e-3
"""Channels; the noise of a shift is larger."""

_WEAK = 1e-3
"""Least strength of the reference's lines in a pattern (then they are not there)."""


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """A pattern laid on a reference.

    Attributes
    ----------
    moved : ndarray, shape (channels,)
        The pattern, moved and stretched to lie on the reference.
    shift : float
        Channels by which it lies higher than the reference, at the middle of the axis.
    stretch : float
        Channels by which it lies higher still at the upper end of the axis (and lower at the lower end).
    scale : float
        Log of the strength of the reference's lines in it.
    """

    moved: Array
    shift: float
    stretch: float
    scale: float


class Alignment:
    """Lays patterns on a reference: shift and stretch of the axis, strength, smooth background.

    An instrument, a sample that is displaced or that expands evenly, and a beam that fades change a pattern
    by just these. What is left cannot be explained so: lines split or merge, appear or vanish, change their
    widths, or their strengths among each other.

    Parameters
    ----------
    channels : int
        Length of a pattern.
    """

    def __init__(self, channels: int) -> None:
        self._u = np.linspace(-1.0, 1.0, channels)
        self._at = np.arange(channels, dtype=float)
        self._reach = max(3, channels // _REACH)
        degree = min(_SMOOTH, max(channels // 50, 1))
        self._smooth = np.linalg.qr(np.polynomial.legendre.legvander(self._u, degree))[0]

    def flat(self, y: Array) -> Array:
        """Return a pattern, or several, shape (..., channels), without its smooth background."""
        return np.asarray(y - (y @ self._smooth) @ self._smooth.T)

    def on(self, reference: Array, y: Array) -> Aligned:
        """Lay a pattern on a reference.

        Least squares of the difference would be drawn to half channels, where interpolating evens out noise.
        So what is brought to zero is how much the slopes of either correlate with the other, one less the
        other: the noise of the two is independent, and a pattern on itself is at zero.

        Parameters
        ----------
        reference, y : ndarray, shape (channels,)
            Equal noise in all channels (as square roots of counts have).
        """
        spline = CubicSpline(self._at, y)
        target = self.flat(reference)
        own = self._slopes(np.gradient(reference))
        stiff = own.T @ own
        norm = max(float(target @ target), 1e-300)
        start = np.array([self._coarse(y, reference), 0.0])
        by = start
        for _ in range(_TURNS):
            moved = self._moved(spline, by)
            scale = max(float(moved @ target) / norm, _WEAK)
            pull = (self._slopes(spline(self._places(by), 1)).T @ target - own.T @ moved) / 2
            step = np.linalg.lstsq(stiff, pull, rcond=None)[0] / scale
            by = np.clip(by + np.clip(step, -1.0, 1.0), -self._reach, self._reach)
            if np.abs(step).max() < _NEAR_ENOUGH:
                break
        if self._apart(spline, by, target) > self._apart(spline, start, target):
            by = start
        scale = max(float(self._moved(spline, by) @ target) / norm, _WEAK)
        return Aligned(self._raw(spline, by), float(by[0]), float(by[1]), float(np.log(scale)))

    def _apart(self, spline: CubicSpline, by: Array, target: Array) -> float:
        """How unlike the moved pattern and the reference are: 1 less their cosine."""
        moved = self._moved(spline, by)
        sizes = max(float(np.sqrt((moved @ moved) * (target @ target))), 1e-300)
        return 1.0 - float(moved @ target) / sizes

    def _places(self, by: Array) -> Array:
        return np.asarray(np.clip(self._at + by[0] + by[1] * self._u, 0, self._at[-1]))

    def _raw(self, spline: CubicSpline, by: Array) -> Array:
        return np.asarray(spline(self._places(by)))

    def _moved(self, spline: CubicSpline, by: Array) -> Array:
        return self.flat(self._raw(spline, by))

    def _slopes(self, slope: Array) -> Array:
        """How a pattern of this slope changes with shift and stretch, shape (channels, 2)."""
        return self.flat(np.stack([slope, self._u * slope])).T

    def _coarse(self, y: Array, reference: Array) -> float:
        """Shift of greatest overlap, to a channel."""
        reach = self._reach
        inner = self.flat(reference)[reach:-reach]
        whole = self.flat(y)
        lags = range(-reach, reach + 1)
        overlap = [float(whole[reach + lag : y.size - reach + lag] @ inner) for lag in lags]
        return float(np.argmax(overlap) - reach)
