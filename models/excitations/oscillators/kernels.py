"""Oscillators laid on a uniform grid, compiled: graded Gauss-Legendre panels, quintic B-splines.

The grid is cut into cells of three steps. A cell far from the oscillator's poles is one panel, whose nodes
lie in all cells alike, so that many are laid at once; a cell near a pole gets shorter panels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.splines import splines

from streamproc.compiling import machine_code

__all__ = ["cells_of", "deposit", "deposit_line", "thermal_weights"]

Array = npt.NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
_NODES, _WEIGHTS = (1 + _NODES) / 2, _WEIGHTS / 2
_GRADE = 0.5
"""Length of a panel over its distance to the nearest pole; 5 nodes then integrate to about 1e-8."""

_CELL = 3
"""Grid steps of a cell, the longest panel."""

_SHORTEST = 1e-3
"""Of a cell: panels get no shorter (only the kink at w = 0 and T = 0 asks for it)."""

_FREE = 3
"""Nodes of the grid kept free at either end for the splines."""

_TOUCHED = _CELL + 5
"""Nodes that the splines of a cell reach; the first is two before the cell."""


def _tables() -> tuple[Array, Array]:
    """Splines, and their slopes, of the nodes of a cell that is one panel, shapes (touched, 5)."""
    value, slope = np.zeros((_TOUCHED, len(_NODES))), np.zeros((_TOUCHED, len(_NODES)))
    for q, place in enumerate(_CELL * _NODES):
        found, i = splines.py_func(place - int(place)), int(place)
        value[i : i + 6, q], slope[i : i + 6, q] = found[5::-1], found[:5:-1]
    return value, slope


_VALUE, _SLOPE = _tables()


@machine_code(error_model="numpy")
def cells_of(n: int) -> int:
    """Return how many whole cells a grid of ``n`` nodes has."""
    return (n - 2 * _FREE - 1) // _CELL


@machine_code(error_model="numpy", fastmath={"contract"})
def _add(
    node: Array, value: float, slope: float, centre: float, width: float, s: float, shift: float
) -> None:
    node[0] += centre * value
    node[1] += width * value
    node[2] += s * value
    node[3] += shift * slope


@machine_code(error_model="numpy")
def _bose(w: float, kT: float) -> float:
    if kT <= 0.0:
        return max(w, 0.0)
    u = w / kT
    if abs(u) < 1e-5:
        return kT * (1.0 + u / 2 + u * u / 12)
    if u > 0:
        return -w / np.expm1(-u) if u < 700 else w
    return -w / np.expm1(-u) if u > -700 else 0.0


@machine_code(error_model="numpy")
def _panel(w: float, real: float, imaginary: float, kT: float, longest: float) -> float:
    """Length of the panel that starts at ``w``."""
    away = min(abs(w - real), abs(w + real))
    near = np.sqrt(away * away + imaginary * imaginary)
    thermal = np.sqrt(w * w + (2 * np.pi * kT) ** 2)
    length = min(longest, _GRADE * min(near, thermal))
    return max(length, _SHORTEST * longest)


@machine_code(error_model="numpy")
def _poles(centre: float, width: float) -> tuple[float, float]:
    """Real part, and the smaller imaginary part, of the oscillator's poles."""
    inside = centre * centre - width * width / 4
    if inside > 0:
        return np.sqrt(inside), width / 2
    return 0.0, centre * centre / (width / 2 + np.sqrt(-inside))


@machine_code(error_model="numpy")
def thermal_weights(first: float, step: float, shift: float, kT: float, weights: Array) -> None:
    """Fill in ``w / (1 - exp(-w / kT))`` at the nodes of cells that are one panel.

    Parameters
    ----------
    first, step, shift, kT : float
        As :func:`deposit` takes them.
    weights : ndarray, shape (5, cells)
        Gets them.
    """
    length = _CELL * step
    start = first + _FREE * step - shift
    if length > 100 * kT:  # also at T = 0; powers of exp(-length / kT) would leave the range of numbers
        for k in range(weights.shape[1]):
            for q in range(5):
                weights[q, k] = _bose(start + (k + _NODES[q]) * length, kT)
        return
    within = np.exp(-_NODES * (length / kT))
    for k in range(weights.shape[1]):
        begin = start + k * length
        decay = np.exp(-begin / kT)
        for q in range(5):
            x = begin + _NODES[q] * length
            # beyond, 1 - exp(-u) loses less than two of sixteen digits; an infinite exponential gives 0
            weights[q, k] = x / (1 - decay * within[q]) if abs(x) > 0.05 * kT else _bose(x, kT)


@machine_code(error_model="numpy", fastmath={"contract"})
def deposit(
    out: Array, weights: Array, first: float, step: float, shift: float,
    centre: float, width: float, kT: float,
) -> None:  # fmt: skip
    """Lay one oscillator of amplitude 1 on the grid.

    Parameters
    ----------
    out : ndarray, shape (4, n)
        Gets its derivatives by centre and width, itself, and its derivative by ``shift``.
    weights : ndarray, shape (5, cells)
        Of :func:`thermal_weights`.
    first, step : float
        Grid: node j stands at ``first + j step`` on the axis of the data.
    shift : float
        Where energy loss 0 is on that axis.
    centre, width, kT : float
        The oscillator.
    """
    n, cells, length = out.shape[1], weights.shape[1], _CELL * step
    laid = np.zeros((n, 4))  # what a node gets lies side by side, and is added at once
    out[:] = 0.0
    real, imaginary = _poles(centre, width)
    start, end = first + _FREE * step - shift, first + (n - _FREE - 1) * step - shift
    begun = 0
    for k in range(cells + 1):
        w = start + k * length
        last = min(w + length, end)
        kink = w < 0.0 < last
        if k < cells and not kink and _panel(w, real, imaginary, kT, length) >= length:
            continue
        _lay_cells(out, weights, begun, k, start, step, centre, width)
        begun = k + 1
        if kink:
            _lay_finely(laid, w, 0.0, first, step, shift, centre, width, kT)
            w = 0.0
        _lay_finely(laid, w, last, first, step, shift, centre, width, kT)
    for j in range(n):
        for row in range(4):
            out[row, j] += laid[j, row]


@machine_code(error_model="numpy", fastmath={"contract"})
def _lay_cells(
    out: Array, weights: Array, begin: int, end: int, start: float, step: float, centre: float, width: float
) -> None:
    """Lay the cells ``begin`` to ``end``, each one panel."""
    m = end - begin
    if m <= 0:
        return
    length, scale = _CELL * step, 2 * centre * width / np.pi
    value = np.empty((3, 5, m))
    for q in range(5):
        place, strength = start + (begin + _NODES[q]) * length, _WEIGHTS[q] * length * scale
        for k in range(m):
            x = place + k * length
            squared = x * x
            apart = squared - centre * centre
            over = 1 / (apart * apart + width * width * squared)
            s = strength * weights[q, begin + k] * over
            value[0, q, k] = s * (1 / centre + 4 * centre * apart * over)
            value[1, q, k] = s * (1 / width - 2 * width * squared * over)
            value[2, q, k] = s
    gathered = np.empty((4, m))
    for r in range(_TOUCHED):
        for row in range(4):
            part, table = value[min(row, 2)], _VALUE if row < 3 else _SLOPE
            unit = 1.0 if row < 3 else 1 / step
            a, b, c, d, e = table[r, 0], table[r, 1], table[r, 2], table[r, 3], table[r, 4]
            for k in range(m):
                gathered[row, k] = unit * (
                    a * part[0, k] + b * part[1, k] + c * part[2, k] + d * part[3, k] + e * part[4, k]
                )
        j = _FREE - 2 + r + _CELL * begin
        for k in range(m):
            for row in range(4):
                out[row, j + _CELL * k] += gathered[row, k]


@machine_code(error_model="numpy", fastmath={"contract"})
def _lay_finely(
    laid: Array, w: float, end: float, first: float, step: float, shift: float, centre: float, width: float,
    kT: float,
) -> None:  # fmt: skip
    """Lay what is between ``w`` and ``end`` in panels as short as the poles ask for."""
    real, imaginary = _poles(centre, width)
    scale = 2 * centre * width / np.pi
    per_step, per_centre, per_width = 1 / step, 1 / centre, 1 / width
    while w < end:
        length = min(_panel(w, real, imaginary, kT, _CELL * step), end - w)
        for q in range(5):
            x = w + _NODES[q] * length
            apart = x * x - centre * centre
            over = 1 / (apart * apart + (width * x) ** 2)
            s = _WEIGHTS[q] * length * scale * _bose(x, kT) * over
            c = s * (per_centre + 4 * centre * apart * over)
            d = s * (per_width - 2 * width * x * x * over)
            moved = s * per_step
            place = (x + shift - first) * per_step
            i = int(place)  # not below 2, so this rounds down
            v0, v1, v2, v3, v4, v5, g0, g1, g2, g3, g4, g5 = splines(place - i)
            _add(laid[i + 3], v0, g0, c, d, s, moved)
            _add(laid[i + 2], v1, g1, c, d, s, moved)
            _add(laid[i + 1], v2, g2, c, d, s, moved)
            _add(laid[i], v3, g3, c, d, s, moved)
            _add(laid[i - 1], v4, g4, c, d, s, moved)
            _add(laid[i - 2], v5, g5, c, d, s, moved)
        w += length


@machine_code(error_model="numpy")
def deposit_line(out: Array, first: float, step: float, shift: float) -> None:
    """Lay the elastic line, of area 1: ``out`` (2, n) gets it and its derivative by ``shift``."""
    out[:] = 0.0
    place = (shift - first) / step
    i = int(np.floor(place))
    if i < 2 or i > out.shape[1] - 4:
        return
    found = splines(place - i)
    for m in range(6):
        out[0, i + 3 - m] = found[m]
        out[1, i + 3 - m] = found[6 + m] / step
