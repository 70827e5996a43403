"""A whole fit, compiled: start, damped steps to the maximum of the likelihood, and its covariance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.expected import Layout, Optics, laid_rows, lay, see
from streamproc.models.excitations.oscillators.scoring import propose, score_counts, score_errors
from streamproc.models.powder.fit.nonnegative import non_negative

from streamproc.compiling import machine_code

__all__ = ["climb", "inverse"]

Array = npt.NDArray[np.float64]

_FLOOR = 1e-3
"""Least expected count of a channel: an empty background must not weigh without end."""

_TOLERANCE = 2e-3
"""The descent ends when a step promises less than this of deviance."""

_DAMPED = 0.3
"""Damping after a step that led astray, at least: less of it would hardly change the step."""

_WORST = 1e8
"""Sum of the inverse's diagonal, in units of the information's, from which an inverse is not trusted."""


@machine_code(error_model="numpy")
def climb(
    optics: Optics, kT: float, layout: Layout, counts: Array, variance: Array, vector: Array, low: Array,
    high: Array, precision: float, steps: int, solve: bool, spectrum: Array, fisher: Array,
) -> tuple[float, float, bool, int]:  # fmt: skip
    """Climb to the nearest maximum of the likelihood.

    Parameters
    ----------
    optics, kT, layout
        The model, as :func:`~.expected.expected` takes it.
    counts, variance : ndarray, shape (points,)
        What was measured; a variance of no points: counts by Poisson's law.
    vector : ndarray, shape (p,)
        Where to begin; gets the maximum.
    low, high : ndarray, shape (p,)
        Limits; the start is moved inside.
    precision : float
        Of what is known of the zero beforehand: one over its variance.
    steps : int
        At most so many.
    solve : bool
        Everything linear but a slope is solved for before the first step, and not read from ``vector``.
    spectrum : ndarray, shape (points,)
        Gets the expected counts at the maximum.
    fisher : ndarray, shape (p, p)
        Gets the information there.

    Returns
    -------
    deviance : float
        With the prior of the zero.
    pearson : float
        Sum of squared residuals over variance.
    converged : bool
        The descent ended by itself.
    made : int
        Steps made.
    """
    p = len(vector)
    laid = np.empty((laid_rows(layout), len(optics.seen)))
    derivatives, slope = np.empty((p, counts.size)), np.empty(p)
    _clip(vector, low, high)
    lay(vector, layout, optics, kT, laid)
    if solve:
        _solve_linear(vector, layout, optics, laid, counts, variance, spectrum, derivatives)
        _clip(vector, low, high)
    see(vector, layout, optics, laid, spectrum, derivatives)
    deviance = _score(spectrum, derivatives, counts, variance, vector, layout, precision, slope, fisher)
    proposed, tried = np.empty(p), np.empty(counts.size)
    next_slope, next_fisher = np.empty(p), np.empty((p, p))
    damping, converged, made = 1e-3, False, 0
    while made < steps:
        if propose(fisher, slope, vector, low, high, damping, proposed) < _TOLERANCE:
            converged = True
            break
        made += 1
        lay(proposed, layout, optics, kT, laid)
        see(proposed, layout, optics, laid, tried, derivatives)
        reached = _score(
            tried, derivatives, counts, variance, proposed, layout, precision, next_slope, next_fisher
        )
        if reached < deviance:
            converged = deviance - reached < _TOLERANCE
            deviance, damping = reached, max(damping * 0.2, 1e-9)
            vector[:], spectrum[:] = proposed, tried
            slope[:], fisher[:] = next_slope, next_fisher
            if converged:
                break
        else:
            damping = max(8 * damping, _DAMPED)
            if damping > 1e8:
                break
    pearson = 0.0
    for i in range(counts.size):
        pearson += (counts[i] - spectrum[i]) ** 2 / (variance[i] if variance.size else spectrum[i])
    return deviance, pearson, converged, made


@machine_code(error_model="numpy")
def inverse(fisher: Array, covariance: Array) -> bool:
    """Fill in the inverse of the information; return whether it can be trusted.

    By Cholesky in units of the diagonal. Its trace bounds the largest eigenvalue of the inverse: beyond
    ``1e8`` (or where a pivot is not above 0) the data do not tell some parameter, and nothing is promised.
    """
    p = len(fisher)
    factor, scale = np.zeros((p, p)), np.empty(p)
    for i in range(p):
        scale[i] = np.sqrt(max(fisher[i, i], 1e-60))
    for i in range(p):
        for j in range(i + 1):
            rest = fisher[i, j] / (scale[i] * scale[j])
            for k in range(j):
                rest -= factor[i, k] * factor[j, k]
            if i == j:
                if not rest > 0.0:
                    return False
                factor[i, i] = np.sqrt(rest)
            else:
                factor[i, j] = rest / factor[j, j]
    for j in range(p):  # the factor's own inverse, in its place
        factor[j, j] = 1 / factor[j, j]
        for i in range(j + 1, p):
            rest = 0.0
            for k in range(j, i):
                rest -= factor[i, k] * factor[k, j]
            factor[i, j] = rest / factor[i, i]
    trace = 0.0
    for i in range(p):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, p):
                total += factor[k, i] * factor[k, j]
            trace += total if i == j else 0.0
            covariance[i, j] = covariance[j, i] = total / (scale[i] * scale[j])
    return trace < _WORST


@machine_code(error_model="numpy")
def _clip(vector: Array, low: Array, high: Array) -> None:
    for i in range(len(vector)):
        vector[i] = min(max(vector[i], low[i]), high[i])


@machine_code(error_model="numpy")
def _score(
    spectrum: Array, derivatives: Array, counts: Array, variance: Array, vector: Array, layout: Layout,
    precision: float, slope: Array, fisher: Array,
) -> float:  # fmt: skip
    """Deviance; slope and information are filled in, with what is known of the zero."""
    if variance.size:
        deviance = score_errors(spectrum, derivatives, counts, variance, slope, fisher)
    else:
        deviance = score_counts(spectrum, derivatives, counts, _FLOOR, slope, fisher)
    if layout.zero:
        k = 3 * layout.modes + layout.elastic
        deviance += vector[k] ** 2 * precision
        slope[k] -= vector[k] * precision
        fisher[k, k] += precision
    return deviance


@machine_code(error_model="numpy")
def _solve_linear(
    vector: Array, layout: Layout, optics: Optics, laid: Array, counts: Array, variance: Array,
    spectrum: Array, derivatives: Array,
) -> None:  # fmt: skip
    """Amplitudes, elastic line and background that fit best and are not negative."""
    m, n = layout.modes, layout.modes + layout.elastic + 1
    linear = np.empty(n, np.int64)
    for k in range(m):
        linear[k] = 3 * k + 2
    if layout.elastic:
        linear[m] = 3 * m
    linear[n - 1] = 3 * m + layout.elastic + layout.zero
    see(vector, layout, optics, laid, spectrum, derivatives)
    chosen, right, gram = np.empty((n, counts.size)), np.empty(n), np.empty((n, n))
    for a in range(n):
        chosen[a] = derivatives[linear[a]]
    weights = variance if variance.size else np.maximum(counts, 1.0)
    spectrum[:] = 0.0
    score_errors(spectrum, chosen, counts, weights, right, gram)
    scale = np.empty(n)
    for a in range(n):
        scale[a] = np.sqrt(max(gram[a, a], 1e-300))
        right[a] /= scale[a]
        for b in range(a + 1):
            gram[a, b] /= scale[a] * scale[b]
            gram[b, a] = gram[a, b]
    found = non_negative(gram, right)
    for a in range(n):
        vector[linear[a]] = found[a] / scale[a]
