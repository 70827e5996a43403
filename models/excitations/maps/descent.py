"""Levenberg-Marquardt with bounds for residuals whose linear part is solved inside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.maps.linear import Linear, Projection

__all__ = ["Bounds", "Found", "Problem", "descend", "inverse", "jacobian"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_STEP = 5e-5
"""Finite-difference steps, in parts of the bounds' distance."""

_FIRST_DAMP, _LEAST_DAMP, _MOST_DAMP, _FACTOR = 1e-3, 1e-7, 1e6, 8.0


class Problem(Protocol):
    """What a descent goes down on."""

    def __call__(self, x: Array, linear: Any) -> Any:
        """Solve the linear part at some numbers with some weights; None where there is no model."""

    def slopes(self, x: Array, linear: Any, solved: Any) -> Array | None:
        """Return how residuals change with each number, (numbers, cells); None: differences tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Lowest and highest values, and which numbers may move."""

    low: Array
    high: Array
    moving: Mask

    def clip(self, x: Array) -> Array:
        """Return the nearest point within the bounds."""
        return np.asarray(np.clip(x, self.low, self.high))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Where a descent ended: numbers, chi-square, weights, steps taken, whether it ended by itself."""

    x: Array
    chi2: float
    linear: Linear = field(repr=False)
    steps: int
    converged: bool


def descend(
    problem: Problem,
    renew: Callable[[Projection], Linear] | None,
    x: Array,
    linear: Linear,
    bounds: Bounds,
    iterations: int,
    tolerance: float,
) -> Found | None:
    """Go down from a point; None where there is no model.

    Parameters
    ----------
    problem : callable
        See :data:`Problem`.
    renew : callable or None
        Gives new weights after every step (those of counts, from what the model expects); None: they stay.
    x : ndarray
        Start.
    linear : Linear
        Data and weights.
    bounds : Bounds
        Bounds, and what moves.
    iterations : int
        Most steps.
    tolerance : float
        It is at rest when a step lowers chi-square by less than this share.
    """
    x = bounds.clip(x)
    solved = problem(x, linear)
    if solved is None:
        return None
    damp, chi2, step = _FIRST_DAMP, linear.chi2(solved), 0
    for step in range(1, iterations + 1):
        slope = jacobian(problem, x, linear, solved, bounds)
        gain = 0.0
        while damp < _MOST_DAMP:
            trial = bounds.clip(x + _bounded(x, slope, linear.residual(solved), damp, bounds))
            after = problem(trial, linear)
            new = np.inf if after is None else linear.chi2(after)
            if after is not None and new < chi2:
                gain, x, solved, chi2 = (chi2 - new) / chi2, trial, after, new
                damp = max(damp / _FACTOR, _LEAST_DAMP)
                break
            damp *= _FACTOR
        if renew is not None:
            linear = renew(solved)
            solved = problem(x, linear) or solved
            chi2 = linear.chi2(solved)
        if gain < tolerance or damp >= _MOST_DAMP:
            return Found(x, chi2, linear, step, True)
    return Found(x, chi2, linear, step, False)


def jacobian(problem: Problem, x: Array, linear: Linear, solved: Projection, bounds: Bounds) -> Array:
    """Return how residuals change with each number, shape (numbers, cells); zero for what does not move."""
    known = problem.slopes(x, linear, solved)
    if known is not None:
        return np.where(bounds.moving[:, None], known, 0.0)
    base = linear.residual(solved)
    rows = np.zeros((len(x), len(base)))
    for k, size in enumerate(_STEP * (bounds.high - bounds.low)):
        if not bounds.moving[k]:
            continue
        sign = -1.0 if x[k] + size > bounds.high[k] else 1.0
        for way in (sign * size, -sign * size):
            trial = x.copy()
            trial[k] += way
            moved = problem(trial, linear)
            if moved is not None:
                rows[k] = (linear.residual(moved) - base) / way
                break
    return rows


def _bounded(x: Array, slope: Array, residual: Array, damp: float, bounds: Bounds) -> Array:
    """A step of those numbers that do not push against a bound they have reached."""
    live = bounds.moving.copy()
    edge = 1e-9 * (bounds.high - bounds.low)
    for _ in range(3):
        step = _step(slope, residual, damp, live)
        stuck = ((x <= bounds.low + edge) & (step < 0)) | ((x >= bounds.high - edge) & (step > 0))
        if not stuck.any():
            break
        live &= ~stuck
    return step


def _step(slope: Array, residual: Array, damp: float, moving: Mask) -> Array:
    normal, down = slope @ slope.T, slope @ residual
    scale = np.sqrt(np.diag(normal))
    live = moving & (scale > 0)
    step = np.zeros(len(scale))
    if live.any():
        matrix = normal[np.ix_(live, live)] / np.outer(scale[live], scale[live])
        matrix[np.diag_indices_from(matrix)] += damp
        step[live] = -np.linalg.solve(matrix, down[live] / scale[live]) / scale[live]
    return step


def inverse(normal: Array, bounds: Bounds) -> Array:
    """Invert what moves; a direction that the data do not tell keeps about the width of its bounds."""
    weak = np.diag(12 / (bounds.high - bounds.low) ** 2) * 1e-4
    full = np.zeros_like(normal)
    live = np.ix_(bounds.moving, bounds.moving)
    full[live] = np.linalg.inv(normal[live] + weak[live])
    return full
