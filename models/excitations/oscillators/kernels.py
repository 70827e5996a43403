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


@numba.njit(cache=True, nogil=True)
def _splines(t: float, value: Array, slope: Array) -> None:
    """Quintic B-splines at ``t + m``, m = 0..5, and their slopes, as polynomials in t."""
    a, b = t, 1.0 - t
    a2, b2 = a * a, b * b
    a4, b4 = a2 * a2, b2 * b2
    value[0] = a4 * a / 120
    value[1] = (((((-5 * a + 5) * a + 10) * a + 10) * a + 5) * a + 1) / 120
    value[2] = (((((10 * a - 20) * a - 20) * a + 20) * a + 50) * a + 26) / 120
    value[3] = (((-10 * a + 30) * a2 - 60) * a2 + 66) / 120
    value[4] = (((((5 * a - 20) * a + 20) * a + 20) * a - 50) * a + 26) / 120
    value[5] = b4 * b / 120
    slope[0] = a4 / 24
    slope[1] = ((((-5 * a + 4) * a + 6) * a + 4) * a + 1) / 24
    slope[2] = ((((10 * a - 16) * a - 12) * a + 8) * a + 10) / 24
    slope[3] = ((-10 * a + 24) * a2 - 24) * a / 24
    slope[4] = ((((5 * a - 16) * a + 12) * a + 8) * a - 10) / 24
    slope[5] = -b4 / 24


@numba.njit(cache=True, nogil=True)
def _bose(w: float, kT: float) -> float:
    if kT <= 0.0:
        return max(w, 0.0)
    u = w / kT
    if abs(u) < 1e-5:
        return kT * (1.0 + u / 2 + u * u / 12)
    if u > 0:
        return -w / np.expm1(-u) if u < 700 else w
    return -w / np.expm1(-u) if u > -700 else 0.0


@numba.njit(cache=True, nogil=True)
def _panel(w: float, real: float, imaginary: float, kT: float, longest: float) -> float:
    """Length of the panel that starts at ``w``."""
    away = min(abs(w - real), abs(w + real))
    near = np.sqrt(away * away + imaginary * imaginary)
    thermal = np.sqrt(w * w + (2 * np.pi * kT) ** 2)
    length = min(longest, _GRADE * min(near, thermal))
    return max(length, _SHORTEST * longest)


@numba.njit(cache=True, nogil=True)
def _poles(centre: float, width: float) -> tuple[float, float]:
    """Real part, and the smaller imaginary part, of the oscillator's poles."""
    inside = centre * centre - width * width / 4
    if inside > 0:
        return np.sqrt(inside), width / 2
    return 0.0, centre * centre / (width / 2 + np.sqrt(-inside))


@numba.njit(cache=True, nogil=True)
def deposit(
    out: Array, total: Array, first: float, step: float, shift: float,
    centre: float, width: float, amplitude: float, kT: float,
) -> None:  # fmt: skip
    """Lay one oscillator on the grid.

    Parameters
    ----------
    out : ndarray, shape (3, n)
        Gets S for amplitude 1, and ``amplitude`` times its derivatives by centre and width.
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
    value, slope = np.empty(6), np.empty(6)
    real, imaginary = _poles(centre, width)
    # two nodes are kept free at either end for the splines
    w, end = first + 3 * step - shift, first + (n - 4) * step - shift
    longest, scale = 3 * step, 2 * centre * width / np.pi
    while w < end:
        length = min(_panel(w, real, imaginary, kT, longest), end - w)
        if w < 0.0 < w + length:
            length = -w if w < -1e-12 * step else length
        for q in range(5):
            x = w + _NODES[q] * length
            apart = x * x - centre * centre
            norm = apart * apart + (width * x) ** 2
            s = _WEIGHTS[q] * length * scale * _bose(x, kT) / norm
            by_centre = amplitude * s * (1 / centre + 4 * centre * apart / norm)
            by_width = amplitude * s * (1 / width - 2 * width * x * x / norm)
            place = (x + shift - first) / step
            i = int(np.floor(place))
            _splines(place - i, value, slope)
            for m in range(6):
                j = i + 3 - m
                out[0, j] += s * value[m]
                out[1, j] += by_centre * value[m]
                out[2, j] += by_width * value[m]
                total[j] += amplitude * s * slope[m] / step
        w += length


@numba.njit(cache=True, nogil=True)
def deposit_line(out: Array, total: Array, first: float, step: float, shift: float, amplitude: float) -> None:
    """Lay the elastic line on the grid: area 1 into ``out``, its slope times ``amplitude`` onto ``total``."""
    value, slope = np.empty(6), np.empty(6)
    place = (shift - first) / step
    i = int(np.floor(place))
    if i < 2 or i > out.size - 4:
        return
    _splines(place - i, value, slope)
    for m in range(6):
        out[i + 3 - m] += value[m]
        total[i + 3 - m] += amplitude * slope[m] / step
