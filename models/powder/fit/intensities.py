"""Line intensities that the table does not know: texture of a film, a structure that is only a cell.

Between descents each line's intensity is multiplied by what the pattern says about it (the observed intensity
is shared out between overlapping lines as calculated, Le Bail 1988, Mater. Res. Bull. 23, 447), held back
by a prior: a line that the pattern hardly determines keeps the table's intensity.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.draw import draw
from streamproc.models.powder.fit.problem import Linear, Problem

__all__ = ["updated"]

Array = npt.NDArray[np.float64]

_LEAST = 1e-4


def updated(problem: Problem, theta: Array, linear: Linear, original: Array, sigma: Array) -> Problem:
    """Return the problem with new line intensities.

    Parameters
    ----------
    problem : Problem
        What was fitted.
    theta : ndarray
        Its parameters.
    linear : Linear
        Its scales and background.
    original : ndarray, shape (r,)
        Intensities of the table.
    sigma : ndarray, shape (phases,)
        Prior relative standard deviation of an intensity about the table's; 0 keeps a phase's table.
    """
    rows = _rows(problem, theta) * linear.scales[problem.reflections.phase][:, None]
    peaks = rows.sum(0)
    excess = np.maximum(problem.y - (linear.model - peaks), 0.0)
    seen = np.where(peaks > 1e-12 * max(float(peaks.max()), 1e-300), excess / np.maximum(peaks, 1e-300), 1.0)
    area = rows.sum(1)
    ratio = np.where(area > 0, (rows * seen).sum(1) / np.maximum(area, 1e-300), 1.0)
    factor = problem.reflections.strength / original * ratio
    # information about the factor: squared derivative of the model over its variance
    information = ((rows / np.maximum(factor, _LEAST)[:, None] * problem.weight) ** 2).sum(1)
    each = sigma[problem.reflections.phase]
    prior = 1 / np.where(each > 0, each, 1e-6) ** 2
    factor = (information * factor + prior) / (information + prior)
    factor = np.maximum(factor, _LEAST) / _mean(factor, original, problem)
    reflections = problem.reflections._replace(strength=original * factor)
    return replace(problem, reflections=reflections)


def _mean(factor: Array, original: Array, problem: Problem) -> Array:
    """Mean factor of each line's phase, weighted with intensity: the scale is the phase's, not the lines'."""
    phase = problem.reflections.phase
    total = np.bincount(phase, original * factor) / np.maximum(np.bincount(phase, original), 1e-300)
    return np.asarray(np.maximum(total, _LEAST)[phase])


def _rows(problem: Problem, theta: Array) -> Array:
    """Pattern of each reflection alone, shape (r, n)."""
    reflections = problem.reflections
    rows = np.zeros((len(reflections.strength), problem.y.size))
    for k in range(len(rows)):
        one = reflections._replace(
            phase=reflections.phase[k : k + 1],
            hkl=reflections.hkl[k : k + 1],
            strength=reflections.strength[k : k + 1],
            relative=reflections.relative[k : k + 1],
            first=reflections.first[k : k + 2],
        )
        design, _ = draw(
            theta, one, problem.beam, problem.optics, problem.nodes, problem.low_deg, problem.high_deg
        )
        rows[k] = design[reflections.phase[k]]
    return rows
