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


def minimise(problem: Problem, theta: Array, steps: int, tolerance: float, damping: float = 1e-2) -> Solution:
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
        Relative decrease of the cost at which to stop.
    damping : float
        First Marquardt factor on the diagonal.
    """
    low, high = problem.parameters.low, problem.parameters.high
    now = problem.linear(theta)
    normal = gradient = None
    converged = False
    tried = 0
    while tried < steps and not converged:
        tried += 1
        if normal is None:
            normal, gradient = _normal_equations(problem, theta, now)
        step = _step(problem, theta, normal, gradient, damping)
        trial = np.clip(theta + step, low, high)
        then = problem.linear(trial)
        if then.cost < now.cost:
            converged = now.cost - then.cost < tolerance * now.cost
            theta, now, normal = trial, then, None
            damping = max(damping * 0.2, 1e-9)
        else:
            # the predicted gain is nothing, or even the steepest descent does not help: this is the minimum
            converged = damping >= _MOST_DAMPING or then.cost - now.cost < 1e-9 * now.cost
            damping *= 10
    return Solution(theta, now, tried, converged)


def _normal_equations(problem: Problem, theta: Array, now: Linear) -> tuple[Array, Array]:
    """Normal matrix and gradient of the refined parameters, scales that are not zero projected out.

    Kaufman 1975, BIT 15, 49: the linear parameters move along, their second-order part is left out.
    """
    jacobian = problem.jacobian(theta, now.scales)
    residual = (problem.y - now.model) * problem.weight
    free = np.ones(len(now.background), bool) if problem.background_free else now.background > 0
    active = np.concatenate([now.design[now.scales > 0], problem.background[free]]) * problem.weight
    active /= np.maximum(np.linalg.norm(active, axis=1, keepdims=True), 1e-300)
    gram = active @ active.T
    gram[np.diag_indices_from(gram)] += 1e-9
    cross = active @ jacobian.T
    normal = jacobian @ jacobian.T - cross.T @ np.linalg.solve(gram, cross)
    gradient = jacobian @ residual
    if len(active):
        gradient = gradient - cross.T @ np.linalg.solve(gram, active @ residual)
    return normal, gradient


def _step(problem: Problem, theta: Array, normal: Array, gradient: Array, damping: float) -> Array:
    """Damped step; parameters at a bound that want to leave are held."""
    parameters = problem.parameters
    at = parameters.refined
    prior = 1 / parameters.sigma[at] ** 2
    down = gradient - prior * (theta[at] - parameters.start[at])
    held = ((theta[at] <= parameters.low[at]) & (down < 0)) | (
        (theta[at] >= parameters.high[at]) & (down > 0)
    )
    diagonal = np.diag(normal) + prior
    go = ~held & (diagonal > 0)
    step = np.zeros(theta.size)
    if not go.any():
        return step
    scale = 1 / np.sqrt(diagonal[go])
    matrix = (normal[np.ix_(go, go)] + np.diag(prior[go])) * np.outer(scale, scale)
    # parameters of phases that are not there stay: their row is the prior's alone and their gradient zero
    matrix[np.diag_indices_from(matrix)] += damping + 1e-10
    step[at[go]] = scale * np.linalg.solve(matrix, scale * down[go])
    return step
