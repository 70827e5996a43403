"""Levenberg-Marquardt with priors and bounds; scales and background follow each step (variable
projection)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.problem import Linear, Problem

__all__ = ["Solution", "minimise"]

Array = npt.NDArray[np.float64]

_MOST_DAMPING = 1e8
_SLOW, _PATIENCE = 10.0, 2
"""Three steps in turn below ten times the tolerance end a descent: traces may wander in the noise."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Where a descent ended.

    Attributes
    ----------
    theta : ndarray
        Parameters.
    linear : Linear
        Scales, background and model there.
    steps : int
        Steps tried.
    converged : bool
        Whether the last accepted step changed the cost by less than the tolerance, or none could lower it.
    """

    theta: Array = field(repr=False)
    linear: Linear
    steps: int
    converged: bool


def minimise(problem: Problem, theta: Array, steps: int, tolerance: float, damping: float = 3e-3) -> Solution:
    """Lower the cost from ``theta``.

    Parameters
    ----------
    problem : Problem
        Data, phases and priors.
    theta : ndarray
        Start.
    steps : int
        Most steps to try.
    tolerance : float
        Decrease of the cost at which to stop, in units of the reduced chi-squared: 0.01 is a tenth of a
        standard deviation.
    damping : float
        First Marquardt factor on the diagonal.
    """
    problem = problem.planned()
    now = problem.linear(theta)
    equations: tuple[Array, Array] | None = None
    converged = False
    tried, slow, growth = 0, 0, 4.0
    while tried < steps and not converged:
        tried += 1
        if equations is None:
            equations = _normal_equations(problem, theta, now)
        step, foreseen, reachable = _step(problem, theta, *equations, damping)
        trial = np.clip(theta + step, problem.parameters.low, problem.parameters.high)
        then = problem.linear(trial)
        enough = tolerance * now.cost / problem.y.size
        if then.cost < now.cost:
            gain = (now.cost - then.cost) / max(foreseen, 1e-300)
            # what an undamped step would win counts: along a narrow valley damped steps are short
            slow = slow + 1 if now.cost - then.cost < _SLOW * enough else 0
            converged = max(now.cost - then.cost, reachable) < enough or slow > _PATIENCE
            theta, now, equations = trial, then, None
            # Nielsen's rule: how well the quadratic model foresaw the decrease says how far to trust it
            damping = max(damping * max(0.03, 1 - (2 * min(gain, 1.0) - 1) ** 3), 1e-9)
            growth = 4.0
        else:
            converged = damping >= _MOST_DAMPING or reachable < 1e-2 * enough
            damping *= growth
            growth *= 2
    return Solution(theta, now, tried, converged)


def _normal_equations(problem: Problem, theta: Array, now: Linear) -> tuple[Array, Array]:
    """Normal matrix and gradient of the refined parameters, scales that are not zero projected out.

    Kaufman 1975, BIT 15, 49: the linear parameters move along, their second-order part is left out.
    """
    jacobian = problem.jacobian(theta, now.scales)
    residual = (problem.y - now.model) * problem.weight
    free = np.ones(len(now.background), bool) if problem.background_free else now.background > 0
    active = np.concatenate([now.scales > 0, free])
    gram = now.gram[np.ix_(active, active)]
    norm = np.maximum(np.sqrt(np.diag(gram)), 1e-300)
    gram = gram / np.outer(norm, norm)
    gram[np.diag_indices_from(gram)] += 1e-9
    rows = now.weighted, problem.settled().background
    cross = np.concatenate([r @ jacobian.T for r in rows])[active] / norm[:, None]
    normal = jacobian @ jacobian.T - cross.T @ np.linalg.solve(gram, cross)
    gradient = jacobian @ residual
    if active.any():
        right = np.concatenate([r @ residual for r in rows])[active] / norm
        gradient = gradient - cross.T @ np.linalg.solve(gram, right)
    return normal, gradient


def _step(
    problem: Problem, theta: Array, normal: Array, gradient: Array, damping: float
) -> tuple[Array, float, float]:
    """Damped step within the bounds, and the decreases of the cost that it and an undamped one promise.

    What the step would carry beyond a bound is set on it, and the others are solved for again.
    """
    parameters = problem.parameters
    at = parameters.refined
    prior = 1 / parameters.sigma[at] ** 2
    down = gradient - prior * (theta[at] - parameters.start[at])
    full = normal + np.diag(prior)
    scale = np.sqrt(np.maximum(np.diag(full), 0.0))
    go = scale > 0
    down_room, up_room = parameters.low[at] - theta[at], parameters.high[at] - theta[at]
    step = np.zeros(at.size)
    for _ in range(4):
        if not go.any():
            break
        inverse = 1 / scale[go]
        matrix = full[np.ix_(go, go)] * np.outer(inverse, inverse)
        matrix[np.diag_indices_from(matrix)] += damping + 1e-10
        right = down[go] - full[np.ix_(go, ~go)] @ step[~go]
        step[go] = inverse * np.linalg.solve(matrix, inverse * right)
        beyond = go & ((step < down_room) | (step > up_room))
        step = np.clip(step, down_room, up_room)
        if not beyond.any():
            break
        go &= ~beyond
    foreseen = float(2 * step @ down - step @ full @ step)
    reachable = 0.0
    if go.any():
        inverse = 1 / scale[go]
        matrix = full[np.ix_(go, go)] * np.outer(inverse, inverse)
        matrix[np.diag_indices_from(matrix)] += 1e-9
        right = inverse * down[go]
        reachable = float(right @ np.linalg.solve(matrix, right))
    out = np.zeros(theta.size)
    out[at] = step
    return out, foreseen, max(reachable, foreseen)
