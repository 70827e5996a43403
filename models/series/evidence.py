"""How well a smooth curve, a jump and a kink explain the points of a window: marginal likelihoods."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = [
    "MOST_DEGREE",
    "log_evidence",
    "log_evidence_kinks",
    "log_evidence_smooth",
    "log_evidences_jump",
]

Array = npt.NDArray[np.float64]

MOST_DEGREE = 5
"""Highest degree of the polynomial that stands for 'nothing happens here'."""


@machine_code()
def log_evidence(design: Array, y: Array, weight: Array, wide: float, nu: float) -> tuple[float, float]:
    """Log marginal likelihood of a linear model with normal-inverse-gamma prior, and its noise variance.

    The noise of point i has the variance s / weight[i]; s is inverse-gamma around 1 with ``nu`` degrees of
    freedom, each coefficient normal around 0 with the variance s * wide (Bishop 2006, section 3.5 and
    exercise 3.12). Constants that all models of one window share are left out.
    """
    n, p = design.shape
    gram = np.zeros((p, p))
    right = np.zeros(p)
    square = 0.0
    for i in range(n):
        square += weight[i] * y[i] * y[i]
        for a in range(p):
            right[a] += weight[i] * design[i, a] * y[i]
            for b in range(a + 1):
                gram[a, b] += weight[i] * design[i, a] * design[i, b]
    for a in range(p):
        gram[a, a] += 1.0 / wide
    log_det = 0.0
    z = np.zeros(p)
    for a in range(p):  # Cholesky, in place, and forward substitution
        for b in range(a + 1):
            total = gram[a, b]
            for c in range(b):
                total -= gram[a, c] * gram[b, c]
            if a == b:
                gram[a, a] = math.sqrt(max(total, 1e-300))
                log_det += 2.0 * math.log(gram[a, a])
            else:
                gram[a, b] = total / gram[b, b]
        total = right[a]
        for c in range(a):
            total -= gram[a, c] * z[c]
        z[a] = total / gram[a, a]
    for a in range(p):
        square -= z[a] * z[a]
    quad = nu + max(square, 0.0)
    value = -0.5 * (log_det + p * math.log(wide)) - 0.5 * (nu + n) * math.log(quad)
    return value, quad / (nu + n)


@machine_code()
def _log_mean(values: Array) -> float:
    top = values.max()
    return top + math.log(np.exp(values - top).mean())


@machine_code()
def log_evidence_smooth(t: Array, y: Array, weight: Array, wide: float, nu: float) -> tuple[float, float]:
    """Return the evidence of a polynomial of degree 0 to 5 (equal odds), and the least noise variance it
    leaves.

    ``t`` lies in [-1, 1].
    """
    n = t.size
    most = min(MOST_DEGREE, n - 2)
    columns = np.ones((n, most + 1))
    if most >= 1:
        columns[:, 1] = t
    for k in range(1, most):  # Legendre polynomials
        columns[:, k + 1] = ((2 * k + 1) * t * columns[:, k] - k * columns[:, k - 1]) / (k + 1)
    found = np.empty(most + 1)
    least = 1e300
    for k in range(most + 1):
        found[k], noise = log_evidence(columns[:, : k + 1].copy(), y, weight, wide, nu)
        least = min(least, noise)
    return _log_mean(found), least


@machine_code()
def _sides(t: Array, at: float, left: int, right: int, joined: bool) -> Array:
    """Design of one curve on either side of ``at``; joined: both pass through one value there.

    Shapes: 1 a line; 2 a parabola; 3 a root and a line, as an order parameter begins (Landau, beta = 1/2).
    """
    n = t.size
    base = 1 if joined else 2
    p = base + min(left, 2) + min(right, 2)
    design = np.zeros((n, p))
    for i in range(n):
        low = t[i] < at
        u = t[i] - at
        design[i, 0 if joined or low else 1] = 1.0
        first = base if low else base + min(left, 2)
        shape = left if low else right
        design[i, first] = u
        if shape == 2:
            design[i, first + 1] = u * u
        elif shape == 3:
            design[i, first + 1] = math.sqrt(abs(u))
    return design


@machine_code()
def _broken(
    t: Array, y: Array, weight: Array, at: float, wide: float, nu: float, joined: bool
) -> tuple[float, float]:
    """Evidence of all shapes on either side (as far as the points allow), and the noise of the best."""
    below = int((t < at).sum())
    above = t.size - below
    found = np.full(9, -1e300)
    count, least, best = 0, 1e300, -1e300
    most = 3 if joined else 2
    for left in range(1, most + 1):
        for right in range(1, most + 1):
            if (left > 1 and below < 5) or (right > 1 and above < 5):
                continue
            value, noise = log_evidence(_sides(t, at, left, right, joined), y, weight, wide, nu)
            found[count] = value
            count += 1
            if value > best:
                best, least = value, noise
    if count == 0:
        return -1e300, 1e300
    return _log_mean(found[:count]), least


@machine_code()
def log_evidences_jump(
    t: Array, y: Array, weight: Array, at: Array, wide: float, nu: float
) -> tuple[Array, Array]:
    """Return evidence and noise variance of two independent sides, for every place ``at`` (in units of t)."""
    values, noises = np.empty(at.size), np.empty(at.size)
    for k in range(at.size):
        values[k], noises[k] = _broken(t, y, weight, at[k], wide, nu, False)
    return values, noises


@machine_code()
def log_evidence_kinks(
    t: Array, y: Array, weight: Array, at: Array, wide: float, nu: float
) -> tuple[Array, Array]:
    """Return evidence and noise variance of two sides that meet, for every place ``at`` (in units of t)."""
    values, noises = np.empty(at.size), np.empty(at.size)
    for k in range(at.size):
        values[k], noises[k] = _broken(t, y, weight, at[k], wide, nu, True)
    return values, noises
