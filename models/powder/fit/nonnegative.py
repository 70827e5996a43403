"""Least squares with coefficients that are not negative, from the normal equations.

SciPy's ``nnls`` gives the same minimum; it comes with a package that every start of a service would wait for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["non_negative"]

Array = npt.NDArray[np.float64]

_ROUNDING = 1e-14
_ROUNDS = 30


@machine_code(error_model="numpy")
def non_negative(gram: Array, right: Array) -> Array:
    """Minimise ``x' gram x / 2 - right' x`` over ``x >= 0``.

    The active set method of Lawson & Hanson (1974, Solving Least Squares Problems, chapter 23) on the normal
    equations, as Bro & de Jong (1997, J. Chemometrics 11, 393) have it: a coefficient is freed where the
    gradient says so, until none is left; one that would become negative on the way is held at zero again.

    Parameters
    ----------
    gram : ndarray, shape (m, m)
        Symmetric, positive definite, with a diagonal near 1.
    right : ndarray, shape (m,)
        Right side.

    Returns
    -------
    ndarray, shape (m,)
        The minimum; after 30 m rounds, which only rounding can need, the best found. Not a number where
        ``right`` is none.
    """
    m = right.size
    x, trial, forward = np.zeros(m), np.zeros(m), np.zeros(m)
    tried, freed = np.zeros(m, np.bool_), np.zeros(m, np.bool_)
    free = np.empty(m, np.int64)  # in the order in which they were freed, so that the factor only grows
    factor = np.empty((m, m))
    least = _ROUNDING * m * np.max(np.abs(right))
    n = 0
    if not np.isfinite(least):
        return np.full(m, np.nan)
    for _ in range(_ROUNDS * m):
        newest, steepest = -1, least
        for j in range(m):
            if freed[j] or tried[j]:
                continue
            slope = right[j]
            for k in range(n):
                slope -= gram[j, free[k]] * x[free[k]]
            if slope > steepest:
                newest, steepest = j, slope
        if newest < 0:
            break
        free[n] = newest
        _solve(gram, right, free, n, n + 1, factor, forward, trial)
        if trial[newest] <= 0.0:
            # rounding alone called for it; it is not asked again until another step was made
            tried[newest] = True
            continue
        tried[:] = False
        freed[newest] = True
        n += 1
        while True:
            step, first = 1.0, -1
            for k in range(n):
                j = free[k]
                if trial[j] <= 0.0 and x[j] <= step * (x[j] - trial[j]):
                    step, first = x[j] / (x[j] - trial[j]), j
            if first < 0:
                break
            kept, lowest = 0, n
            for k in range(n):
                j = free[k]
                x[j] += step * (trial[j] - x[j])
                if j == first or x[j] <= 0.0:
                    x[j], freed[j], lowest = 0.0, False, min(lowest, k)
                else:
                    free[kept] = j
                    kept += 1
            n = kept
            _solve(gram, right, free, lowest, n, factor, forward, trial)
        for k in range(n):
            x[free[k]] = trial[free[k]]
    return x


@machine_code(error_model="numpy")
def _solve(
    gram: Array,
    right: Array,
    free: npt.NDArray[np.int64],
    known: int,
    n: int,
    factor: Array,
    forward: Array,
    out: Array,
) -> None:
    """Solve for the first ``n`` free coefficients into ``out``; ``known`` rows of the factor stand."""
    for i in range(known, n):
        value = right[free[i]]
        for j in range(i + 1):
            total = gram[free[i], free[j]]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            factor[i, j] = total / factor[j, j] if j < i else np.sqrt(max(total, _ROUNDING))
        for k in range(i):
            value -= factor[i, k] * forward[k]
        forward[i] = value / factor[i, i]
    for i in range(n - 1, -1, -1):
        value = forward[i]
        for k in range(i + 1, n):
            value -= factor[k, i] * out[free[k]]
        out[free[i]] = value / factor[i, i]
