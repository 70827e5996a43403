"""Eigenvalues and eigenvectors of many symmetric 3 x 3 matrices in closed form, compiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["modes_of_three", "rising_roots_of_three", "signed_roots"]

Array = npt.NDArray[np.float64]


@machine_code(error_model="numpy", fastmath={"contract"})
def modes_of_three(matrix: Array) -> tuple[Array, Array]:
    """Return eigenvalues (n, 3), in no order, and eigenvectors as rows (n, 3, 3) of symmetric matrices.

    The eigenvalue that lies apart from the other two in closed form with its vector, the others from the
    plane at right angles to it, so that nothing is lost where two are alike (Eberly 2014, "A robust
    eigensolver for 3 x 3 symmetric matrices").
    """
    n = len(matrix)
    values, vectors = np.empty((n, 3)), np.empty((n, 3, 3))
    for k in range(n):
        a, b, c = matrix[k, 0, 0], matrix[k, 1, 1], matrix[k, 2, 2]
        d, e, f = matrix[k, 0, 1], matrix[k, 0, 2], matrix[k, 1, 2]
        middle = (a + b + c) / 3.0
        da, db, dc = a - middle, b - middle, c - middle
        size = np.sqrt((da * da + db * db + dc * dc + 2.0 * (d * d + e * e + f * f)) / 6.0)
        if size <= 1e-14 * abs(middle):
            values[k, :] = middle
            vectors[k] = np.eye(3)
            continue
        det = da * (db * dc - f * f) - d * (d * dc - f * e) + e * (d * f - db * e)
        half = min(max(0.5 * det / size**3, -1.0), 1.0)
        turn = np.arccos(half) / 3.0
        apart = 2.0 * size * (np.cos(turn) if half >= 0.0 else np.cos(turn + 2.0 * np.pi / 3.0))
        wx, wy, wz = _vector(da - apart, db - apart, dc - apart, d, e, f)
        # two vectors across it
        if abs(wx) > abs(wy):
            length = np.sqrt(wx * wx + wz * wz)
            ux, uy, uz = -wz / length, 0.0, wx / length
        else:
            length = np.sqrt(wy * wy + wz * wz)
            ux, uy, uz = 0.0, wz / length, -wy / length
        vx, vy, vz = wy * uz - wz * uy, wz * ux - wx * uz, wx * uy - wy * ux
        au, bu, cu = da * ux + d * uy + e * uz, d * ux + db * uy + f * uz, e * ux + f * uy + dc * uz
        av, bv, cv = da * vx + d * vy + e * vz, d * vx + db * vy + f * vz, e * vx + f * vy + dc * vz
        uu, uv = ux * au + uy * bu + uz * cu, ux * av + uy * bv + uz * cv
        vv = vx * av + vy * bv + vz * cv
        gap = 0.5 * (uu - vv)
        spread = np.sqrt(gap * gap + uv * uv)
        mean = 0.5 * (uu + vv)
        cosine = np.sqrt(0.5 * (1.0 + gap / spread)) if spread > 0.0 else 1.0
        sine = np.sqrt(max(0.0, 1.0 - cosine * cosine))
        sine = -sine if uv < 0.0 else sine
        own = vectors[k]
        values[k, 0], own[0, 0], own[0, 1], own[0, 2] = middle + apart, wx, wy, wz
        values[k, 1], values[k, 2] = middle + mean + spread, middle + mean - spread
        own[1, 0], own[1, 1], own[1, 2] = (
            cosine * ux + sine * vx, cosine * uy + sine * vy, cosine * uz + sine * vz,
        )  # fmt: skip
        own[2, 0], own[2, 1], own[2, 2] = (
            cosine * vx - sine * ux, cosine * vy - sine * uy, cosine * vz - sine * uz,
        )  # fmt: skip
    return values, vectors


@machine_code(error_model="numpy")
def rising_roots_of_three(matrix: Array, unit: float) -> Array:
    """Return roots of eigenvalues, times a unit and rising, (n, 3); negative where the eigenvalue is."""
    found = modes_of_three(matrix)[0]
    for k in range(len(found)):
        a, b, c = found[k]
        low, high = min(a, b, c), max(a, b, c)
        middle = max(min(a, b), min(max(a, b), c))
        for i, square in enumerate((low, middle, high)):
            found[k, i] = unit * np.sqrt(square) if square >= 0.0 else -unit * np.sqrt(-square)
    return found


@machine_code(error_model="numpy")
def signed_roots(squares: Array, unit: float) -> Array:
    """Return roots of numbers (n, m) times a unit; negative where a number is."""
    found = np.empty(squares.shape)
    for k in range(squares.shape[0]):
        for i in range(squares.shape[1]):
            found[k, i] = np.copysign(unit * np.sqrt(abs(squares[k, i])), squares[k, i])
    return found


@machine_code(error_model="numpy", fastmath={"contract"})
def _vector(a: float, b: float, c: float, d: float, e: float, f: float) -> tuple[float, float, float]:
    """The unit vector that a singular symmetric matrix takes to zero: across two of its rows."""
    x0, y0, z0 = d * f - e * b, e * d - a * f, a * b - d * d
    x1, y1, z1 = d * c - e * f, e * e - a * c, a * f - d * e
    x2, y2, z2 = b * c - f * f, f * e - d * c, d * f - b * e
    s0, s1, s2 = x0 * x0 + y0 * y0 + z0 * z0, x1 * x1 + y1 * y1 + z1 * z1, x2 * x2 + y2 * y2 + z2 * z2
    if s0 >= s1 and s0 >= s2:
        r = np.sqrt(s0)
        return x0 / r, y0 / r, z0 / r
    if s1 >= s2:
        r = np.sqrt(s1)
        return x1 / r, y1 / r, z1 / r
    r = np.sqrt(s2)
    return x2 / r, y2 / r, z2 / r
