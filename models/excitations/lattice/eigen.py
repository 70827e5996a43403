"""Eigenvalues and eigenvectors of many symmetric 3 x 3 matrices in closed form, compiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["modes_of_three", "rising_roots_of_three", "signed_roots"]

Array = npt.NDArray[np.float64]


_MANY = 64
"""Matrices of a block: few enough to stay near, and a number that is known when code is compiled."""


@machine_code(error_model="numpy", fastmath={"contract"})
def modes_of_three(matrix: Array) -> tuple[Array, Array]:
    """Return eigenvalues (n, 3), in no order, and eigenvectors as rows (n, 3, 3) of symmetric matrices.

    The eigenvalue that lies apart from the other two in closed form with its vector, the others from the
    plane at right angles to it, so that nothing is lost where two are alike (Eberly 2014, "A robust
    eigensolver for 3 x 3 symmetric matrices").
    """
    n = len(matrix)
    values, vectors = np.empty((n, 3)), np.empty((n, 3, 3))
    given, found = np.ones(6 * _MANY), np.empty(12 * _MANY)
    for start in range(0, n, _MANY):
        many = min(_MANY, n - start)
        for k in range(many):
            own = matrix[start + k]
            given[k], given[_MANY + k], given[2 * _MANY + k] = own[0, 0], own[1, 1], own[2, 2]
            given[3 * _MANY + k], given[4 * _MANY + k] = own[0, 1], own[0, 2]
            given[5 * _MANY + k] = own[1, 2]
        _block(given, found)
        for k in range(many):
            for i in range(3):
                values[start + k, i] = found[i * _MANY + k]
                for j in range(3):
                    vectors[start + k, i, j] = found[(3 + 3 * i + j) * _MANY + k]
    return values, vectors


@machine_code(error_model="numpy", fastmath={"contract", "nnan", "nsz"})
def _block(given: Array, found: Array) -> None:
    """Solve a block of matrices: xx, yy, zz, xy, xz, yz of all; then values, and vectors one after another.

    Without calls or branches, so that several are solved at once.
    """
    for k in range(_MANY):
        a, b, c = given[k], given[_MANY + k], given[2 * _MANY + k]
        d, e, f = given[3 * _MANY + k], given[4 * _MANY + k], given[5 * _MANY + k]
        middle = (a + b + c) / 3.0
        da, db, dc = a - middle, b - middle, c - middle
        size = np.sqrt((da * da + db * db + dc * dc + 2.0 * (d * d + e * e + f * f)) / 6.0)
        alike = size <= 1e-14 * abs(middle)
        size = 1.0 if alike else size
        det = da * (db * dc - f * f) - d * (d * dc - f * e) + e * (d * f - db * e)
        half = 0.5 * det / (size * size * size)
        # cos(arccos(half) / 3), the root of 4 x^3 - 3 x = half, from within 1e-3 by three of Newton's steps
        part = abs(half)
        part = 1.0 if part > 1.0 else part
        x = 0.8660254037844386 + part * (0.16666666666666666 - 0.032692 * part)
        x -= ((4.0 * x * x - 3.0) * x - part) / (12.0 * x * x - 3.0)
        x -= ((4.0 * x * x - 3.0) * x - part) / (12.0 * x * x - 3.0)
        x -= ((4.0 * x * x - 3.0) * x - part) / (12.0 * x * x - 3.0)
        apart = 2.0 * size * (x if half >= 0.0 else -x)
        # what the matrix less that eigenvalue takes to zero lies across two of its rows
        a, b, c = da - apart, db - apart, dc - apart
        x0, y0, z0 = d * f - e * b, e * d - a * f, a * b - d * d
        x1, y1, z1 = d * c - e * f, e * e - a * c, a * f - d * e
        x2, y2, z2 = b * c - f * f, f * e - d * c, d * f - b * e
        s0, s1 = x0 * x0 + y0 * y0 + z0 * z0, x1 * x1 + y1 * y1 + z1 * z1
        s2, second = x2 * x2 + y2 * y2 + z2 * z2, s1 > s0
        square, wx = s1 if second else s0, x1 if second else x0
        wy, wz = y1 if second else y0, z1 if second else z0
        third = s2 > square
        square, wx = s2 if third else square, x2 if third else wx
        wy, wz = y2 if third else wy, z2 if third else wz
        size = 1.0 / np.sqrt(square if square > 0.0 else 1.0)
        wx, wy, wz = wx * size, wy * size, wz * size
        # two vectors across it
        flat = abs(wx) > abs(wy)
        p = wx if flat else wy
        square = p * p + wz * wz
        size = 1.0 / np.sqrt(square if square > 0.0 else 1.0)
        q, p = wz * size, p * size
        ux, uy, uz = -q if flat else 0.0, 0.0 if flat else q, p if flat else -p
        vx, vy, vz = wy * uz - wz * uy, wz * ux - wx * uz, wx * uy - wy * ux
        au, bu, cu = da * ux + d * uy + e * uz, d * ux + db * uy + f * uz, e * ux + f * uy + dc * uz
        av, bv, cv = da * vx + d * vy + e * vz, d * vx + db * vy + f * vz, e * vx + f * vy + dc * vz
        uu, uv = ux * au + uy * bu + uz * cu, ux * av + uy * bv + uz * cv
        vv = vx * av + vy * bv + vz * cv
        gap, mean = 0.5 * (uu - vv), 0.5 * (uu + vv)
        spread = np.sqrt(gap * gap + uv * uv)
        cosine = np.sqrt(0.5 * (1.0 + gap / (spread if spread > 0.0 else 1.0)))
        cosine = cosine if spread > 0.0 else 1.0
        rest = 1.0 - cosine * cosine
        sine = np.sqrt(rest if rest > 0.0 else 0.0)
        sine = -sine if uv < 0.0 else sine
        found[k] = middle if alike else middle + apart
        found[_MANY + k] = middle if alike else middle + mean + spread
        found[2 * _MANY + k] = middle if alike else middle + mean - spread
        found[3 * _MANY + k] = 1.0 if alike else wx
        found[4 * _MANY + k] = 0.0 if alike else wy
        found[5 * _MANY + k] = 0.0 if alike else wz
        found[6 * _MANY + k] = 0.0 if alike else cosine * ux + sine * vx
        found[7 * _MANY + k] = 1.0 if alike else cosine * uy + sine * vy
        found[8 * _MANY + k] = 0.0 if alike else cosine * uz + sine * vz
        found[9 * _MANY + k] = 0.0 if alike else cosine * vx - sine * ux
        found[10 * _MANY + k] = 0.0 if alike else cosine * vy - sine * uy
        found[11 * _MANY + k] = 1.0 if alike else cosine * vz - sine * uz


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
