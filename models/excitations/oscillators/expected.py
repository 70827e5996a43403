"""Spectrum and derivatives of given parameters, compiled: modes are laid on the grid, then seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.kernels import (
    cells_of,
    deposit,
    deposit_line,
    thermal_weights,
)

from streamproc.compiling import machine_code

__all__ = ["Layout", "Optics", "expected", "laid_rows", "lay", "see"]

Array = npt.NDArray[np.float64]


class Optics(NamedTuple):
    """What lies between the sample and the points.

    Attributes
    ----------
    seen : ndarray, shape (n, points)
        Intensity at each point from splines of unit height at each node of the grid.
    begins : ndarray of int, shape (points,)
        First node that a point sees.
    band : ndarray, shape (points, width)
        What it sees of the nodes from there on; of width 0 where ``seen`` has to be taken whole.
    ramp : ndarray, shape (points,)
        Linear background of slope 1.
    first, step : float
        Node j of the grid stands at ``first + j step``.
    """

    seen: Array
    begins: npt.NDArray[np.int64]
    band: Array
    ramp: Array
    first: float
    step: float


class Layout(NamedTuple):
    """A composition in numbers: modes, and 1 or 0 for elastic line, zero and slope."""

    modes: int
    elastic: int
    zero: int
    slope: int


@machine_code(error_model="numpy")
def laid_rows(layout: Layout) -> int:
    """Return how many rows :func:`lay` fills."""
    return 4 * layout.modes + 2 * layout.elastic


@machine_code(error_model="numpy")
def lay(vector: Array, layout: Layout, optics: Optics, kT: float, laid: Array) -> None:
    """Lay modes and elastic line on the grid, all of strength 1.

    Parameters
    ----------
    vector : ndarray, shape (p,)
        Parameters; only energies, widths and zero are read.
    layout : Layout
        What they are.
    optics : Optics
        The grid.
    kT : float
        Thermal energy.
    laid : ndarray, shape (4 modes + 2 elastic, n)
        Gets for each mode its derivatives by energy and width, itself, and its derivative by the zero; then
        the line and its derivative by the zero.
    """
    m = layout.modes
    zero = vector[3 * m + layout.elastic] if layout.zero else 0.0
    weights = np.empty((5, cells_of(laid.shape[1])))
    thermal_weights(optics.first, optics.step, zero, kT, weights)
    for k in range(m):
        deposit(
            laid[4 * k : 4 * k + 4], weights, optics.first, optics.step, zero, vector[3 * k],
            vector[3 * k + 1], kT,
        )  # fmt: skip
    if layout.elastic:
        deposit_line(laid[4 * m :], optics.first, optics.step, zero)


@machine_code(error_model="numpy")
def see(
    vector: Array, layout: Layout, optics: Optics, laid: Array, spectrum: Array, derivatives: Array
) -> None:
    """Give what is laid its strengths, and see it through the resolution.

    Parameters
    ----------
    vector : ndarray, shape (p,)
        Parameters; energies, widths and zero as they were laid.
    layout, optics, laid
        As for :func:`lay`.
    spectrum : ndarray, shape (points,)
        Gets the expected intensities.
    derivatives : ndarray, shape (p, points)
        Gets them, in the order of the parameters.
    """
    m, place = layout.modes, 3 * layout.modes
    rows = place + layout.elastic + layout.zero
    source = np.empty((rows, len(optics.seen)))
    if layout.zero:
        source[rows - 1] = 0.0
    for k in range(m):
        strong = vector[3 * k + 2]
        _times(strong, laid[4 * k], source[3 * k])
        _times(strong, laid[4 * k + 1], source[3 * k + 1])
        _times(1.0, laid[4 * k + 2], source[3 * k + 2])
        if layout.zero:
            _plus(strong, laid[4 * k + 3], source[rows - 1])
    if layout.elastic:
        _times(1.0, laid[4 * m], source[place])
        if layout.zero:
            _plus(vector[place], laid[4 * m + 1], source[rows - 1])
    if optics.band.shape[1]:
        _see_near(source, optics.begins, optics.band, derivatives[:rows])
    else:
        np.dot(source, optics.seen, derivatives[:rows])
    derivatives[rows], spectrum[:] = 1.0, vector[rows]
    for k in range(m):
        _plus(vector[3 * k + 2], derivatives[3 * k + 2], spectrum)
    if layout.elastic:
        _plus(vector[place], derivatives[place], spectrum)
    if layout.slope:
        derivatives[rows + 1] = optics.ramp
        _plus(vector[rows + 1], optics.ramp, spectrum)


@machine_code(error_model="numpy")
def _times(factor: float, row: Array, out: Array) -> None:
    for j in range(row.size):
        out[j] = factor * row[j]


@machine_code(error_model="numpy", fastmath={"contract"})
def _plus(factor: float, row: Array, out: Array) -> None:
    for j in range(row.size):
        out[j] += factor * row[j]


@machine_code(error_model="numpy", fastmath={"contract", "reassoc"})
def _see_near(source: Array, begins: npt.NDArray[np.int64], band: Array, seen: Array) -> None:
    """See sources (rows, n) where each point sees a few nodes only; ``seen`` (rows, points) gets them."""
    width = band.shape[1]
    fours = len(source) // 4 * 4
    for r in range(0, fours, 4):  # four rows at once: each number of the band is fetched once for them
        for i in range(len(band)):
            here, begin = band[i], begins[i]
            one, two = source[r, begin : begin + width], source[r + 1, begin : begin + width]
            three, four = source[r + 2, begin : begin + width], source[r + 3, begin : begin + width]
            a = b = c = d = 0.0
            for j in range(width):
                a += here[j] * one[j]
                b += here[j] * two[j]
                c += here[j] * three[j]
                d += here[j] * four[j]
            seen[r, i], seen[r + 1, i], seen[r + 2, i], seen[r + 3, i] = a, b, c, d
    for r in range(fours, len(source)):
        for i in range(len(band)):
            here, one, a = band[i], source[r, begins[i] : begins[i] + width], 0.0
            for j in range(width):
                a += here[j] * one[j]
            seen[r, i] = a


@machine_code(error_model="numpy")
def expected(
    vector: Array, layout: Layout, optics: Optics, kT: float, spectrum: Array, derivatives: Array
) -> None:
    """Fill in spectrum and derivatives, as :func:`lay` and :func:`see` do."""
    laid = np.empty((laid_rows(layout), len(optics.seen)))
    lay(vector, layout, optics, kT, laid)
    see(vector, layout, optics, laid, spectrum, derivatives)
