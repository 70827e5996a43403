"""How the one-phonon scattering of a mesh changes with each force constant: perturbation theory, compiled.

What a column sees is, for every wave vector, the trace of its tensor times f(D), where D is the dynamical
matrix and f lays an energy on the grid, over itself. The change of such a trace with D needs no derivative of
any eigenvector: sum over pairs of modes of T_ij dD_ij (f_i - f_j) / (l_i - l_j), with the slope of f where
both are alike (Daleckii & Krein 1965, AMS Transl. 47, 1). So nothing is lost where modes cross, and all
force constants cost as much as two maps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["laid_slopes"]

Array = npt.NDArray[np.float64]

_ALIKE = 1e-7
"""Eigenvalues whose difference is less than this share of them are one: their quotient is a slope."""


@machine_code(error_model="numpy", fastmath={"contract"})
def laid_slopes(
    tensor: Array, vectors: Array, energy: Array, parts: Array, unit2: float, step: float, u2: float,
    points: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return slopes of energies, and of what is laid on a grid of energies.

    Parameters
    ----------
    tensor : ndarray, shape (z, 12, n)
        Sums of Q Q (xx, xy, xz, yy, yz, zz), and of Q Q (Q^2 - its mean), of every column.
    vectors, energy : ndarray, shapes (z, 3, 3) and (z, 3)
        Modes: polarisation vectors as rows, energies (meV).
    parts : ndarray, shape (p, z, 3, 3)
        Dynamical matrices of each force constant.
    unit2 : float
        Squared energy (square meV) of an eigenvalue of 1.
    step : float
        Of the grid (meV).
    u2 : float
        Mean square displacement (square angstrom).
    points : int
        Points f of the grid.

    Returns
    -------
    energies : ndarray, shape (p, z, 3)
        Slopes of the energies (meV per N/m).
    forces : ndarray, shape (f, p, n)
        Of the sum over modes of |Q.e|^2 / E, on the grid, at fixed u2.
    displacement : ndarray, shape (f, n)
        Of the same with u2.
    """
    zone, columns, p = tensor.shape[0], tensor.shape[2], len(parts)
    slopes = np.empty((p, zone, 3))
    found, moved = np.zeros((points, p, columns)), np.zeros((points, columns))
    # columns' tensors between modes: 00, 11, 22, 01, 02, 12; and within a column against Q^2
    pairs, within = np.empty((6, columns)), np.empty((3, columns))
    e, h, left = np.empty((6, 6)), np.empty((p, 6)), np.empty(3, np.int64)
    # what lies at a mode's place and at the next, and their slopes with the eigenvalue
    low, high, low_slope, high_slope = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    at_low, at_high = np.empty(3), np.empty(3)
    for r in range(zone):
        for i in range(3):
            own = energy[r, i]
            j = int(own / step)
            left[i] = j
            low[i], high[i] = (1.0 + j) / own - 1.0 / step, 1.0 / step - j / own
            # d/dl of f is d/dE over 2 E, l in square meV
            cubed = 0.5 / (own * own * own)
            low_slope[i], high_slope[i] = -(1.0 + j) * cubed, j * cubed
            if j >= points - 1:  # beyond the grid: counts nothing
                left[i], low[i], high[i], low_slope[i], high_slope[i] = 0, 0.0, 0.0, 0.0, 0.0
        for k in range(6):
            i, o = (k, k) if k < 3 else ((0, k - 2) if k < 5 else (1, 2))
            x, y, z = vectors[r, i, 0], vectors[r, i, 1], vectors[r, i, 2]
            u, v, w = vectors[r, o, 0], vectors[r, o, 1], vectors[r, o, 2]
            e[k, 0], e[k, 1], e[k, 2] = x * u, x * v + y * u, x * w + z * u
            e[k, 3], e[k, 4], e[k, 5] = y * v, y * w + z * v, z * w
            for f in range(p):
                d = parts[f, r]
                h[f, k] = unit2 * (
                    e[k, 0] * d[0, 0] + e[k, 1] * d[0, 1] + e[k, 2] * d[0, 2]
                    + e[k, 3] * d[1, 1] + e[k, 4] * d[1, 2] + e[k, 5] * d[2, 2]
                )  # fmt: skip
        for f in range(p):
            for i in range(3):
                slopes[f, r, i] = 0.5 * h[f, i] / energy[r, i]
        for k in range(6):
            e0, e1, e2, e3, e4, e5 = e[k, 0], e[k, 1], e[k, 2], e[k, 3], e[k, 4], e[k, 5]
            for n in range(columns):
                t0, t1 = tensor[r, 0, n] - u2 * tensor[r, 6, n], tensor[r, 1, n] - u2 * tensor[r, 7, n]
                t2, t3 = tensor[r, 2, n] - u2 * tensor[r, 8, n], tensor[r, 3, n] - u2 * tensor[r, 9, n]
                t4, t5 = tensor[r, 4, n] - u2 * tensor[r, 10, n], tensor[r, 5, n] - u2 * tensor[r, 11, n]
                pairs[k, n] = e0 * t0 + e1 * t1 + e2 * t2 + e3 * t3 + e4 * t4 + e5 * t5
        for i in range(3):
            e0, e1, e2, e3, e4, e5 = e[i, 0], e[i, 1], e[i, 2], e[i, 3], e[i, 4], e[i, 5]
            for n in range(columns):
                within[i, n] = (
                    e0 * tensor[r, 6, n] + e1 * tensor[r, 7, n] + e2 * tensor[r, 8, n]
                    + e3 * tensor[r, 9, n] + e4 * tensor[r, 10, n] + e5 * tensor[r, 11, n]
                )  # fmt: skip
        for i in range(3):
            # the two pairs of this mode with another, and what each leaves at the mode's own two places
            first, second = (3, 4) if i == 0 else ((3, 5) if i == 1 else (4, 5))
            for k in range(2):
                other = (1 if i == 0 else 0) if k == 0 else (1 if i == 2 else 2)
                apart = energy[r, i] ** 2 - energy[r, other] ** 2
                if abs(apart) > _ALIKE * energy[r, i] ** 2:
                    at_low[k], at_high[k] = 2.0 * low[i] / apart, 2.0 * high[i] / apart
                else:  # half the slope at each of the two
                    at_low[k], at_high[k] = low_slope[i], high_slope[i]
            j = left[i]
            for f in range(p):
                own_low, own_high = h[f, i] * low_slope[i], h[f, i] * high_slope[i]
                a_low, a_high = h[f, first] * at_low[0], h[f, first] * at_high[0]
                b_low, b_high = h[f, second] * at_low[1], h[f, second] * at_high[1]
                for n in range(columns):
                    own, a, b = pairs[i, n], pairs[first, n], pairs[second, n]
                    found[j, f, n] += own_low * own + a_low * a + b_low * b
                    found[j + 1, f, n] += own_high * own + a_high * a + b_high * b
            for n in range(columns):
                moved[j, n] -= low[i] * within[i, n]
                moved[j + 1, n] -= high[i] * within[i, n]
    return slopes, found, moved
