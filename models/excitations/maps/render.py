"""Draw S(Q,E) of a spin model as an instrument would see it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.lswt.waves import SpinWaves
from streamproc.models.excitations.maps.widths import (
    NUDGE,
    Widths,
    channel_width,
    directions_of,
    kernel,
    kernel_slope,
    sub_points,
)
from streamproc.models.excitations.spinmodel.case import SpinCase

from streamproc.compiling import machine_code

__all__ = ["Renderer", "deposit", "line_grid", "powder_directions"]

Array = npt.NDArray[np.float64]

_PER_SIGMA = 3.0
"""Points of the energy grid of the lines per smallest standard deviation."""

_FEWEST, _MOST, _LADDER = 200, 3000, 1.5
_MOST_WIDTHS = 4
"""Widths in Q whose wave vectors are kept."""

_POWDER_DIRECTIONS = 144

_IN_Q = ("q_fwhm", "q_across")
"""Widths that move the wave vectors."""


class Renderer:
    """Draws maps at fixed columns and channels; couplings and widths may vary.

    Lines are laid on a fine grid of energies (split between two neighbours) and spread from there by one
    matrix, which is computed when the widths change: so an evaluation is a dispersion, a histogram and a
    product.

    Parameters
    ----------
    case : SpinCase
        Model.
    q_rlu : ndarray, shape (n, 3)
        Columns; for a powder |Q| (1/angstrom) is their first component.
    energy_meV : ndarray, shape (m,)
        Channels.
    points : int
        Points per column for the resolution in Q, even.
    """

    def __init__(self, case: SpinCase, q_rlu: Array, energy_meV: Array, points: int = 24) -> None:
        self.case, self._points = case, points
        self.q_rlu = np.atleast_2d(np.asarray(q_rlu, dtype=float))
        self.energy_meV = np.asarray(energy_meV, dtype=float)
        axes = np.asarray(case.file.measurement.q_axes, dtype=float).reshape(-1, 3)
        self._directions = directions_of(self.q_rlu, axes, case.model.lattice.reciprocal())
        self._waves: OrderedDict[tuple[float, float], tuple[SpinWaves, int]] = OrderedDict()
        self._spread: tuple[Widths, Array, Array] | None = None
        self._modes: tuple[tuple[object, ...], Array, Array] | None = None

    def map(self, values: Mapping[str, float], widths: Widths) -> Array:
        """Return the intensity of the magnons, shape (n, m), per meV and chemical cell.

        Raises
        ------
        NotAMinimum
            The order is unstable for these couplings.
        """
        lines, spread = self._kernel(widths)
        return self._laid(values, widths, lines) @ spread

    def beside(self, values: Mapping[str, float], widths: Widths) -> Array:
        """Return no further shapes: magnons are all there is."""
        return np.zeros((0, len(self.q_rlu), len(self.energy_meV)))

    def slopes(
        self, values: Mapping[str, float], widths: Widths, fitted: Sequence[str]
    ) -> tuple[Array, Array] | None:
        """Return how map and :meth:`beside` change; see :class:`~...physics.MapRenderer`.

        By perturbation theory with the couplings, by a small step of the kernel or of the wave vectors with
        the widths. None where that step leads to where the order is unstable.
        """
        waves, points = self._columns(widths.q_fwhm, widths.q_across)
        (lines, spread), n = self._kernel(widths), len(self.q_rlu)
        laid = self._laid(values, widths, lines)
        moved = waves.laid_slopes(values, float(lines[1]), len(lines), n)
        rows = [m @ (spread / points) for m in moved]
        for name in fitted:
            if name not in _IN_Q:
                rows.append(laid @ kernel_slope(lines, self.energy_meV, widths, spread, name))
                continue
            wider = replace(widths, **{name: getattr(widths, name) + NUDGE})
            try:
                rows.append((self._laid(values, wider, lines) - laid) / NUDGE @ spread)
            except NotAMinimum:
                return None
        return np.stack(rows), np.zeros((len(rows), 0, n, len(self.energy_meV)))

    def exact_at(self, values: Mapping[str, float], widths: Widths) -> Renderer:
        """Return itself: the points of neighbouring columns complete each other."""
        return self

    def other(self) -> None:
        """Return None; see :meth:`exact_at`."""

    def _laid(self, values: Mapping[str, float], widths: Widths, lines: Array) -> Array:
        """All modes of each column on the grid of energies, shape (n, f)."""
        energy, intensity, points = self._lines(values, widths)
        n = len(self.q_rlu)
        return deposit(energy.reshape(n, -1), intensity.reshape(n, -1) / points, lines)

    def _lines(self, values: Mapping[str, float], widths: Widths) -> tuple[Array, Array, int]:
        """Energies and intensities; a change of the widths in energy alone needs no new ones."""
        waves, points = self._columns(widths.q_fwhm, widths.q_across)
        key = (*values.values(), widths.q_fwhm, widths.q_across)
        if self._modes is None or self._modes[0] != key:
            self._modes = (key, *waves.neutron(values))
        return self._modes[1], self._modes[2], points

    def dispersion(self, values: Mapping[str, float]) -> Array:
        """Return the energies of the modes at the columns themselves (meV), shape (n, modes)."""
        return SpinWaves(self.case.model, self.q_rlu).energies(values)

    def _columns(self, q_fwhm: float, q_across: float) -> tuple[SpinWaves, int]:
        key = (q_fwhm, q_across)
        if key not in self._waves:
            if self.case.powder:
                q = powder_directions(self.case, self.q_rlu[:, 0], q_fwhm)
            else:
                widths = np.array([q_fwhm, q_across])[: self._directions.shape[1]]
                q = self.q_rlu[:, None, :] + sub_points(self._directions, widths, self._points)
            like = next(iter(self._waves.values()))[0] if self._waves else None
            self._waves[key] = SpinWaves(self.case.model, q.reshape(-1, 3), like), q.shape[1]
            while len(self._waves) > _MOST_WIDTHS:
                self._waves.popitem(last=False)
        self._waves.move_to_end(key)
        return self._waves[key]

    def _kernel(self, widths: Widths) -> tuple[Array, Array]:
        if self._spread is None or self._spread[0] != widths:
            lines = line_grid(self.energy_meV, widths)
            self._spread = (widths, lines, kernel(lines, self.energy_meV, widths, lines[1] ** 2 / 6))
        return self._spread[1], self._spread[2]


def line_grid(energy_meV: Array, widths: Widths) -> Array:
    """Return the grid of energies on which lines are laid: fine enough for what then broadens them."""
    stop = float(energy_meV[-1])
    broad = 3 * widths.energy_fwhm + 12 * widths.damping_fwhm
    channel = channel_width(energy_meV) / np.sqrt(12)
    sigma = min(widths.sigma_at(0.0), widths.sigma_at(stop))
    narrow = np.hypot(sigma, channel) + widths.damping_fwhm / 2
    return _grid(stop + broad, max(narrow, 1e-9))


def _grid(end: float, narrow: float) -> Array:
    """Return a grid from 0 whose step is one of a fixed ladder: a fit sees no change when widths do."""
    step = _LADDER ** np.floor(np.log(narrow / _PER_SIGMA) / np.log(_LADDER))
    step = min(max(float(step), end / _MOST), end / _FEWEST)
    return np.asarray(step * np.arange(int(np.ceil(end / step)) + 1))


def deposit(energy: Array, intensity: Array, lines: Array) -> Array:
    """Lay lines on a grid, each split between its two neighbours; what lies beyond its end is left out.

    Parameters
    ----------
    energy, intensity : ndarray, shape (n, k)
        Lines of every column.
    lines : ndarray, shape (f,)
        Equidistant grid from 0.

    Returns
    -------
    ndarray, shape (n, f)
        Intensity at every point of the grid.
    """
    return _deposited(energy, intensity, float(lines[1] - lines[0]), len(lines))


@machine_code(error_model="numpy")
def _deposited(energy: Array, intensity: Array, step: float, points: int) -> Array:
    found = np.zeros((len(energy), points))
    for k in range(energy.shape[0]):
        for i in range(energy.shape[1]):
            place = energy[k, i] / step
            if place > points - 1:
                continue
            left = min(int(place), points - 2)
            found[k, left] += intensity[k, i] * (1 - (place - left))
            found[k, left + 1] += intensity[k, i] * (place - left)
    return found


def powder_directions(case: SpinCase, q_invA: Array, q_fwhm: float) -> Array:
    """Return wave vectors (r.l.u.) on spheres of radius |Q|, on a Fibonacci spiral, shape (n, directions, 3).

    The resolution in |Q| is spread over the directions: each of them gets its own offset.
    """
    i = np.arange(_POWDER_DIRECTIONS) + 0.5
    z, phi = 1 - 2 * i / _POWDER_DIRECTIONS, np.pi * (1 + 5**0.5) * i
    ring = np.sqrt(1 - z**2)
    directions = np.stack([ring * np.cos(phi), ring * np.sin(phi), z], 1)
    order = (np.arange(_POWDER_DIRECTIONS) * 55) % _POWDER_DIRECTIONS
    offset = ((order + 0.5) / _POWDER_DIRECTIONS - 0.5) * q_fwhm
    radius = np.maximum(q_invA[:, None] + offset[None], 1e-6)
    q = radius[..., None] * directions
    return np.asarray(q @ np.linalg.inv(case.model.lattice.reciprocal()))
