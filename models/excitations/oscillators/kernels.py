"""Oscillators laid on a uniform grid, compiled: graded Gauss-Legendre panels, quintic B-splines."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["deposit", "deposit_line"]

Array = npt.NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
_NODES, _WEIGHTS = (1 + _NODES) / 2, _WEIGHTS / 2
_GRADE = 0.5
"""Length of a panel over its distance to the nearest pole; 5 nodes then integrate to about 1e-8."""

_SHORTEST = 1e-3
"""Of the grid's step: panels get no shorter (only the kink at w = 0 and T = 0 asks for it)."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _splines(t: float) -> tuple[float, ...]:
    """Quintic B-splines at ``t + m``, m = 0..5, then their slopes, as polynomials in t."""
    a, b = t, 1.0 - t
    a2, b2 = a * a, b * b
    a4, b4 = a2 * a2, b2 * b2
    return (
        a4 * a / 120,
        (((((-5 * a + 5) * a + 10) * a + 10) * a + 5) * a + 1) / 120,
        (((((10 * a - 20) * a - 20) * a + 20) * a + 50) * a + 26) / 120,
        (((-10 * a + 30) * a2 - 60) * a2 + 66) / 120,
        (((((5 * a - 20) * a + 20) * a + 20) * a - 50) * a + 26) / 120,
        b4 * b / 120,
        a4 / 24,
        ((((-5 * a + 4) * a + 6) * a + 4) * a + 1) / 24,
        ((((10 * a - 16) * a - 12) * a + 8) * a + 10) / 24,
        ((-10 * a + 24) * a2 - 24) * a / 24,
        ((((5 * a - 16) * a + 12) * a + 8) * a - 10) / 24,
        -b4 / 24,
    )


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _add(
    node: Array, value: float, slope: float, centre: float, width: float, s: float, shift: float
) -> None:
    node[0] += centre * value
    node[1] += width * value
    node[2] += s * value
    node[3] += shift * slope


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _bose(w: float, kT: float) -> float:
    if kT <= 0.0:
        return max(w, 0.0)
    u = w / kT
    if abs(u) < 1e-5:
        return kT * (1.0 + u / 2 + u * u / 12)
    if u > 0:
        return -w / np.expm1(-u) if u < 700 else w
    return -w / np.expm1(-u) if u > -700 else 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _panel(w: float, real: float, imaginary: float, kT: float, longest: float) -> float:
    """Length of the panel that starts at ``w``."""
    away = min(abs(w - real), abs(w + real))
    near = np.sqrt(away * away + imaginary * imaginary)
    thermal = np.sqrt(w * w + (2 * np.pi * kT) ** 2)
    length = min(longest, _GRADE * min(near, thermal))
    return max(length, _SHORTEST * longest)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _poles(centre: float, width: float) -> tuple[float, float]:
    """Real part, and the smaller imaginary part, of the oscillator's poles."""
    inside = centre * centre - width * width / 4
    if inside > 0:
        return np.sqrt(inside), width / 2
    return 0.0, centre * centre / (width / 2 + np.sqrt(-inside))


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def deposit(
    out: Array, total: Array, first: float, step: float, shift: float,
    centre: float, width: float, amplitude: float, kT: float,
) -> None:  # fmt: skip
    """Lay one oscillator on the grid.

    Parameters
    ----------
    out : ndarray, shape (3, n)
        Gets ``amplitude`` times the derivatives of S by centre and width, and S for amplitude 1: the
        derivatives by the parameters in their order.
    total : ndarray, shape (n,)
        Derivative by ``shift`` of all that was laid down; added to.
    first, step : float
        Grid: node j stands at ``first + j step`` on the axis of the data.
    shift : float
        Where energy loss 0 is on that axis.
    centre, width, amplitude, kT : float
        The oscillator.
    """
    n = out.shape[1]
    laid = np.zeros((n, 4))  # what a node gets lies side by side, and is added at once
    real, imaginary = _poles(centre, width)
    # two nodes are kept free at either end for the splines
    w, end = first + 3 * step - shift, first + (n - 4) * step - shift
    longest, scale = 3 * step, 2 * centre * width / np.pi
    per_step, per_centre, per_width = 1 / step, 1 / centre, 1 / width
    while w < end:
        length = min(_panel(w, real, imaginary, kT, longest), end - w)
        if w < 0.0 < w + length:
            length = -w if w < -1e-12 * step else length
        for q in range(5):
            x = w + _NODES[q] * length
            apart = x * x - centre * centre
            over = 1 / (apart * apart + (width * x) ** 2)
            s = _WEIGHTS[q] * length * scale * _bose(x, kT) * over
            strong = amplitude * s
            c = strong * (per_centre + 4 * centre * apart * over)
            d = strong * (per_width - 2 * width * x * x * over)
            moved = strong * per_step
            place = (x + shift - first) * per_step
            i = int(place)  # not below 2, so this rounds down
            v0, v1, v2, v3, v4, v5, g0, g1, g2, g3, g4, g5 = _splines(place - i)
            _add(laid[i + 3], v0, g0, c, d, s, moved)
            _add(laid[i + 2], v1, g1, c, d, s, moved)
            _add(laid[i + 1], v2, g2, c, d, s, moved)
            _add(laid[i], v3, g3, c, d, s, moved)
            _add(laid[i - 1], v4, g4, c, d, s, moved)
            _add(laid[i - 2], v5, g5, c, d, s, moved)
        w += length
    for j in range(n):
        for row in range(3):
            out[row, j] += laid[j, row]
        total[j] += laid[j, 3]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def deposit_line(out: Array, total: Array, first: float, step: float, shift: float, amplitude: float) -> None:
    """Lay the elastic line on the grid: area 1 into ``out``, its slope times ``amplitude`` onto ``total``."""
    place = (shift - first) / step
    i = int(np.floor(place))
    if i < 2 or i > out.size - 4:
        return
    found = _splines(place - i)
    for m in range(6):
        out[i + 3 - m] += found[m]
        total[i + 3 - m] += amplitude * found[6 + m] / step
