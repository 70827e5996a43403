"""Magnons of two sites in closed form, and what a neutron sees of any, compiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["blocks_of", "halves_of_two", "hermitian_of_two", "seen"]

Array = npt.NDArray[np.float64]


@machine_code(error_model="numpy")
def blocks_of(h: npt.NDArray[np.inexact]) -> tuple[float, float, float]:
    """Return the largest element of h (m, 2 n, 2 n), of its pair blocks, and of what its other two differ."""
    m, size, _ = h.shape
    n, largest, pair, apart = size // 2, 0.0, 0.0, 0.0
    for k in range(m):
        for i in range(n):
            for j in range(n):
                pair = max(pair, _square(h[k, i, n + j]))
                apart = max(apart, _square(h[k, i, j] - h[k, n + i, n + j]))
                largest = max(largest, _square(h[k, i, j]), _square(h[k, n + i, n + j]))
    return np.sqrt(max(largest, pair)), np.sqrt(pair), np.sqrt(apart)


@machine_code(error_model="numpy")
def _square(number: complex) -> float:
    return number.real * number.real + number.imag * number.imag


@machine_code(error_model="numpy")
def halves_of_two(h: Array, shift: float) -> tuple[bool, Array, Array]:
    """Return whether A - B and A + B are positive definite, and energies and amplitudes of both magnons.

    (A + B)(u + v) = w (u - v) and (A - B)(u - v) = w (u + v), u.u - v.v = 1: with A - B = L L^T, the
    eigenvalues of L^T (A + B) L are w^2.

    Parameters
    ----------
    h : ndarray, shape (m, 4, 4)
        Symmetric, (A, B) above (B, A).
    shift : float
        Added to its diagonal.

    Returns
    -------
    good : bool
        If not, the others mean nothing.
    energy : ndarray, shape (m, 2)
        Rising.
    amplitudes : ndarray, shape (m, 4, 2)
        u above v.
    """
    m = len(h)
    energy, amplitudes = np.empty((m, 2)), np.empty((m, 4, 2))
    for k in range(m):
        a00, a10, a11 = h[k, 0, 0] + shift, h[k, 1, 0], h[k, 1, 1] + shift
        b00, b10, b11 = h[k, 0, 2], h[k, 1, 2], h[k, 1, 3]
        first, cross = a00 - b00, a10 - b10
        rest = a11 - b11 - cross * cross / first
        if not (first > 0 and rest > 0):
            return False, energy, amplitudes
        l00, l11 = np.sqrt(first), np.sqrt(rest)
        l10 = cross / l00
        p00, p10, p11 = a00 + b00, a10 + b10, a11 + b11
        x0, x1 = p00 * l00 + p10 * l10, p10 * l00 + p11 * l10
        low, high, cosine, sine = _rotation(l00 * x0 + l10 * x1, l11 * x1, l11 * p11 * l11)
        if not low > 0:
            return False, energy, amplitudes
        for i in range(2):
            square, y0, y1 = (low, -sine, cosine) if i == 0 else (high, cosine, sine)
            own = np.sqrt(square)
            size = 1 / np.sqrt(own)
            s0, s1 = l00 * y0 * size, (l10 * y0 + l11 * y1) * size
            d0, d1 = (p00 * s0 + p10 * s1) / own, (p10 * s0 + p11 * s1) / own
            energy[k, i] = own
            amplitudes[k, 0, i], amplitudes[k, 1, i] = (s0 + d0) / 2, (s1 + d1) / 2
            amplitudes[k, 2, i], amplitudes[k, 3, i] = (s0 - d0) / 2, (s1 - d1) / 2
    return True, energy, amplitudes


@machine_code(error_model="numpy")
def hermitian_of_two(matrix: npt.NDArray[np.inexact]) -> tuple[Array, npt.NDArray[np.inexact]]:
    """Return eigenvalues (m, 2), rising, and eigenvectors as columns of Hermitian matrices (m, 2, 2)."""
    m = len(matrix)
    values, vectors = np.empty((m, 2)), np.empty_like(matrix)
    for k in range(m):
        cross = matrix[k, 1, 0]
        size = abs(cross)
        values[k, 0], values[k, 1], cosine, sine = _rotation(matrix[k, 0, 0].real, size, matrix[k, 1, 1].real)
        phase = cross / size if size > 0 else cross + 1.0
        vectors[k, 0, 0], vectors[k, 0, 1] = -sine, cosine
        vectors[k, 1, 0], vectors[k, 1, 1] = cosine * phase, sine * phase
    return values, vectors


@machine_code(error_model="numpy")
def _rotation(a: float, cross: float, c: float) -> tuple[float, float, float, float]:
    """Eigenvalues of ((a, cross), (cross, c)), and the vector (cosine, sine) of the higher one."""
    half = (a - c) / 2
    radius = np.sqrt(half * half + cross * cross)
    high = (a + c) / 2 + radius
    low = (a * c - cross * cross) / (high if high > 0 else 1.0)
    if radius <= 0.0:
        return low, high, 1.0, 0.0
    # by the larger of two equal forms: the other loses digits
    x, y = (half + radius, cross) if half > 0 else (cross, radius - half)
    size = 1 / np.sqrt(x * x + y * y)
    return low, high, x * size, y * size


@machine_code(error_model="numpy")
def seen(weights: npt.NDArray[np.complex128], direction: Array, amplitudes: npt.NDArray[np.inexact]) -> Array:
    """Return sum_ab (delta_ab - Q_a Q_b / Q^2) S^ab of each mode, shape (t, m, n).

    Parameters
    ----------
    weights : ndarray, shape (m or 1, 3, 2 n)
        S^a_Q = weights . X.
    direction : ndarray, shape (m, 3)
        Unit vectors along Q.
    amplitudes : ndarray, shape (t, m, 2 n, n)
        Of the modes of t models.
    """
    t, m, size, n = amplitudes.shape
    found = np.empty((t, m, n))
    for model in range(t):
        for k in range(m):
            own = weights[k if len(weights) > 1 else 0]
            for i in range(n):
                along, whole = 0j, 0.0
                for c in range(3):
                    moment = 0j
                    for s in range(size):
                        moment += own[c, s] * amplitudes[model, k, s, i]
                    along += direction[k, c] * moment
                    whole += moment.real**2 + moment.imag**2
                found[model, k, i] = whole - along.real**2 - along.imag**2
    return found
