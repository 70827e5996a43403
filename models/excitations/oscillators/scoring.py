"""A step of Fisher scoring, compiled: its matrices are small; calls of numpy would be most of its time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["propose", "score_counts", "score_errors"]

Array = npt.NDArray[np.float64]


@machine_code(error_model="numpy")
def score_counts(
    spectrum: Array, derivatives: Array, counts: Array, floor: float, gradient: Array, fisher: Array
) -> float:
    """Return the Poisson deviance of counts; fill in the score and the Fisher information.

    Parameters
    ----------
    spectrum : ndarray, shape (n,)
        Expected counts; what is below ``floor`` is raised to it.
    derivatives : ndarray, shape (p, n)
        By each parameter.
    counts : ndarray, shape (n,)
        What was counted.
    floor : float
        Least expected count.
    gradient, fisher : ndarray, shapes (p,) and (p, p)
        Get the derivative of the log-likelihood, and its expected curvature.
    """
    deviance = 0.0
    weight = np.empty(spectrum.size)
    for k in range(spectrum.size):
        mu = spectrum[k] = max(spectrum[k], floor)
        weight[k] = 1.0 / mu
        deviance += mu - counts[k]
        if counts[k] > 0.0:
            deviance += counts[k] * np.log(counts[k] / mu)
    _moments(spectrum, derivatives, counts, weight, gradient, fisher)
    return 2 * deviance


@machine_code(error_model="numpy")
def score_errors(
    spectrum: Array, derivatives: Array, intensity: Array, variance: Array, gradient: Array, fisher: Array
) -> float:
    """Return chi-square of intensities with variances; the rest as :func:`score_counts`."""
    deviance, weight = 0.0, np.empty(spectrum.size)
    for k in range(spectrum.size):
        weight[k] = 1.0 / variance[k]
        deviance += (intensity[k] - spectrum[k]) ** 2 * weight[k]
    _moments(spectrum, derivatives, intensity, weight, gradient, fisher)
    return deviance


@machine_code(error_model="numpy", fastmath={"contract", "reassoc"})
def _moments(
    spectrum: Array, derivatives: Array, intensity: Array, weight: Array, gradient: Array, fisher: Array
) -> None:
    weighted = np.empty(spectrum.size)
    for i in range(len(derivatives)):
        slope, along = derivatives[i], 0.0
        for k in range(spectrum.size):
            weighted[k] = slope[k] * weight[k]
            along += weighted[k] * (intensity[k] - spectrum[k])
        gradient[i] = along
        for j in range(i + 1):
            other, total = derivatives[j], 0.0
            for k in range(spectrum.size):
                total += weighted[k] * other[k]
            fisher[i, j] = fisher[j, i] = total


@machine_code(error_model="numpy")
def propose(
    fisher: Array, gradient: Array, vector: Array, low: Array, high: Array, damping: float, proposed: Array
) -> float:
    """Return the deviance that a damped step promises; fill in where it ends, within the limits.

    Parameters on a limit that are pushed against it stay.

    Parameters
    ----------
    fisher, gradient : ndarray, shapes (p, p) and (p,)
        Of the log-likelihood.
    vector, low, high : ndarray, shape (p,)
        Where it is, and its limits.
    damping : float
        Added to the diagonal of the information in units of itself.
    proposed : ndarray, shape (p,)
        Gets the end of the step.
    """
    p, free = len(vector), 0
    place = np.empty(p, np.int64)
    for i in range(p):
        proposed[i] = vector[i]
        held = (vector[i] <= low[i] and gradient[i] <= 0) or (vector[i] >= high[i] and gradient[i] >= 0)
        if not held:
            place[free] = i
            free += 1
    if free == 0:
        return 0.0
    scale, right, unit = np.empty(free), np.empty(free), np.empty((free, free))
    for a in range(free):
        scale[a] = np.sqrt(max(fisher[place[a], place[a]], 1e-300))
        right[a] = gradient[place[a]] / scale[a]
    for a in range(free):
        for b in range(free):
            unit[a, b] = fisher[place[a], place[b]] / (scale[a] * scale[b])
        unit[a, a] += damping + 1e-12
    promise = _solved(unit, right)
    for a in range(free):
        i = place[a]
        proposed[i] = min(max(vector[i] + right[a] / scale[a], low[i]), high[i])
    return promise


@machine_code(error_model="numpy")
def _solved(matrix: Array, right: Array) -> float:
    """Put the solution x of ``matrix x = right`` in its place and return ``x right`` (Cholesky).

    The damping on the unit diagonal keeps pivots far above what rounding takes from them.
    """
    n, square = len(right), 0.0
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = np.sqrt(rest) if i == j else rest / matrix[j, j]
        for k in range(i):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]
        square += right[i] ** 2
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            right[i] -= matrix[k, i] * right[k]
        right[i] /= matrix[i, i]
    return square
