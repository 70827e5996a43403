"""The two steps of the factorisation, compiled: activations and shifts of a pattern, and the components."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["fit_activations", "products", "update_components"]

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@machine_code(fastmath=False)
def _bounds(n: int, lag: int) -> tuple[int, int]:
    """Channels of the pattern that a component moved by ``lag`` reaches."""
    return max(lag, 0), n + min(lag, 0)


@machine_code()
def _add(rest: Array, component: Array, lag: int, factor: float) -> None:
    low, high = _bounds(rest.size, lag)
    for x in range(low, high):
        rest[x] += factor * component[x - lag]


@machine_code()
def _overlap(rest: Array, component: Array, lag: int) -> tuple[float, float]:
    """Scalar product of rest and component moved by ``lag``, and the component's squared length there."""
    low, high = _bounds(rest.size, lag)
    num, den = 0.0, 0.0
    for x in range(low, high):
        c = component[x - lag]
        num += c * rest[x]
        den += c * c
    return num, den


@machine_code()
def _best_lag(rest: Array, component: Array, first: int, last: int, pull: float) -> tuple[int, float, float]:
    """Lag at which the component takes most off the rest; its overlap and squared length there."""
    stride = max(1, (last - first) // 12)
    best, best_gain, best_num, best_den = 0, -1e300, 0.0, 1.0
    low, high, step = first, last, stride
    for _again in range(2):  # coarse, then every lag around the best
        for lag in range(low, high + 1, step):
            num, den = _overlap(rest, component, lag)
            if den <= 0:
                continue
            gain = (num * num / den if num > 0 else 0.0) - pull * lag * lag
            if gain > best_gain:
                best, best_gain, best_num, best_den = lag, gain, num, den
        if stride == 1:
            break
        low, high, step = max(first, best - stride + 1), min(last, best + stride - 1), 1
    return best, best_num, best_den


@machine_code()
def fit_activations(
    patterns: Array, components: Array, activations: Array, shifts: Ints,
    reach: int, near: int, pull: float, sweeps: int, target: Array, stiffness: float,
    total: float, hard: float,
) -> Array:  # fmt: skip
    """Improve activations and shifts of each pattern in place, one component after the other.

    Parameters
    ----------
    patterns : ndarray, shape (m, n)
    components : ndarray, shape (k, n)
    activations : ndarray, shape (m, k)
        Changed in place.
    shifts : ndarray of int, shape (m, k)
        Channels by which the component lies higher in the pattern; changed in place.
    reach, near : int
        Lags within ``near`` of the present one are tried, never beyond ``reach``.
    pull : float
        A lag s costs ``pull * s**2 * |pattern|**2`` of what it explains.
    sweeps : int
        Rounds over the components.
    target, stiffness : ndarray (m, k), float
        Activations are drawn to ``target`` as by so many more patterns (smoothness over the map).
    total, hard : float
        The sum of activations is drawn to ``total`` with this weight; 0: it is free.

    Returns
    -------
    ndarray, shape (m,)
        Squared length of what is left over of each pattern.
    """
    m, n = patterns.shape
    k = components.shape[0]
    left = np.empty(m)
    for i in range(m):
        rest = patterns[i].copy()
        size = 0.0
        for x in range(n):
            size += rest[x] * rest[x]
        for j in range(k):
            if activations[i, j] > 0:
                _add(rest, components[j], shifts[i, j], -activations[i, j])
        for _ in range(sweeps):
            for j in range(k):
                _add(rest, components[j], shifts[i, j], activations[i, j])
                middle = shifts[i, j] if activations[i, j] > 0 else 0
                low, high = max(-reach, middle - near), min(reach, middle + near)
                lag, num, den = _best_lag(rest, components[j], low, high, pull * size)
                others = 0.0
                for other in range(k):
                    if other != j:
                        others += activations[i, other]
                num += stiffness * den * target[i, j] + hard * (total - others)
                value = max(num / (den * (1 + stiffness) + hard), 0.0)
                activations[i, j], shifts[i, j] = value, lag
                _add(rest, components[j], lag, -value)
        left[i] = 0.0
        for x in range(n):
            left[i] += rest[x] * rest[x]
    return left


@machine_code()
def update_components(
    patterns: Array, components: Array, activations: Array, shifts: Ints, weight: Array
) -> None:
    """Improve each component in place: the mean of what the others leave of the patterns, moved back.

    Hierarchical alternating least squares (Cichocki & Phan 2009) with a shift for each pattern and component.
    """
    m, n = patterns.shape
    k = components.shape[0]
    rest = patterns.copy()
    for i in range(m):
        for j in range(k):
            if activations[i, j] > 0:
                _add(rest[i], components[j], shifts[i, j], -activations[i, j])
    for j in range(k):
        num, den = np.zeros(n), np.full(n, 1e-12)
        for i in range(m):
            a, lag = activations[i, j], shifts[i, j]
            if a <= 0:
                continue
            low, high = _bounds(n, lag)
            for x in range(low, high):
                num[x - lag] += weight[i] * a * (rest[i, x] + a * components[j, x - lag])
                den[x - lag] += weight[i] * a * a
        fresh = np.maximum(num / den, 0.0)
        if fresh.max() <= 0:
            continue
        change = fresh - components[j]
        for i in range(m):
            if activations[i, j] > 0:
                _add(rest[i], change, shifts[i, j], -activations[i, j])
        components[j] = fresh


@machine_code()
def products(row: Array, rows: Array) -> Array:
    """Return the scalar product of a row with each of ``rows``: the same bits whatever stands beside them."""
    out = np.zeros(rows.shape[0])
    for i in range(rows.shape[0]):
        total = 0.0
        for x in range(row.size):
            total += row[x] * rows[i, x]
        out[i] = total
    return out
