"""Draw S(Q,E) of a lattice as an instrument would see it: one phonon coherently, several incoherently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lattice.born_karman import Dynamics
from streamproc.models.excitations.lattice.case import LatticeCase
from streamproc.models.excitations.lattice.density import (
    HBAR2_2U_MEV_A2,
    KELVIN_MEV,
    mean_square_A2,
    smeared,
    zone_of,
)
from streamproc.models.excitations.lattice.scattering import directions
from streamproc.models.excitations.lattice.seen import seen_modes
from streamproc.models.excitations.lattice.several import several_phonons
from streamproc.models.excitations.mapmodel.errors import NotStable
from streamproc.models.excitations.maps.render import deposit, line_grid
from streamproc.models.excitations.maps.render_powder import column_width
from streamproc.models.excitations.maps.widths import Widths, directions_of, kernel, sub_points

__all__ = ["PhononRenderer", "powder_vectors", "reciprocal_invA"]

Array = npt.NDArray[np.float64]

_GOLDEN = (np.sqrt(5.0) - 1) / 2
_PER_POINT = 24
"""Directions of a powder for each point asked for."""

_EXACT, _MOST_VECTORS = 1600, 80_000
"""Directions where it must be exact, and most wave vectors of all columns then."""

_DIVISIONS, _SMOOTH_STEP, _SMOOTH_FWHM = 10, 0.5, 1.5
"""Mesh of the zone; step and smearing (meV) of the density that several phonons are made of."""

_SOFTEST_MEV = 0.3
"""Modes of a mesh point below this mean that the lattice is unstable, or as good as."""

_AXES = np.eye(3)

_Lines = tuple[Array, Array]
"""Energies and weights of all modes of every column, each (n, k)."""


def reciprocal_invA(case: LatticeCase) -> Array:
    """Return the reciprocal vectors of the cubic cell (1/angstrom) as rows: what r.l.u. are units of."""
    return np.asarray(2 * np.pi / case.file.crystal.a * _AXES)


def powder_vectors(q_invA: Array, width: float, number: int) -> Array:
    """Return wave vectors of every column, shape (n, directions, 3), 1/angstrom.

    Directions of the irreducible part of a cubic crystal, each at its own modulus within the column's width.

    Parameters
    ----------
    q_invA : ndarray, shape (n,)
        Middles of the columns.
    width : float
        Of each.
    number : int
        About so many directions.
    """
    around = directions(number, True)
    share = np.mod(np.arange(len(around)) * _GOLDEN + 0.5, 1.0) - 0.5
    moduli = np.maximum(q_invA[:, None] + width * share, 1e-3)
    return np.asarray(moduli[..., None] * around)


class PhononRenderer:
    """Draws maps at fixed columns and channels; force constants and widths may vary.

    Parameters
    ----------
    case : LatticeCase
        Model.
    q_rlu : ndarray, shape (n, 3)
        Columns; for a powder |Q| (1/angstrom) is their first component.
    energy_meV : ndarray, shape (m,)
        Channels.
    points : int
        Wave vectors for each column's width in Q; of a powder 24 directions for each.
    """

    def __init__(self, case: LatticeCase, q_rlu: Array, energy_meV: Array, points: int = 24) -> None:
        self.case, self._points = case, points
        self.q_rlu = np.atleast_2d(np.asarray(q_rlu, dtype=float))
        self.energy_meV = np.asarray(energy_meV, dtype=float)
        q, self._weights = zone_of(case.file.crystal.a, _DIVISIONS)
        self._zone = Dynamics(case.crystal, case.number, q)
        self._columns: tuple[tuple[float, float], Dynamics, int] | None = None
        self._spread: tuple[Widths, Array, Array] | None = None
        self._drawn: tuple[tuple[object, ...], Array, Array, Array] | None = None
        self._several: tuple[tuple[object, ...], Array] | None = None
        self._directions = _PER_POINT * points
        self._anchor: tuple[_Lines, _Lines] | None = None
        self._off: tuple[float, Array] | None = None

    def map(self, values: Mapping[str, float], widths: Widths) -> Array:
        """Return the intensity of the phonons per meV and atom, shape (n, m), without the elastic line.

        Raises
        ------
        NotStable
            A mode has no real energy for these force constants.
        """
        energy, weight, zone = self._lines(values, widths)
        lines, spread = self._kernel(widths)
        n = len(self.q_rlu)
        laid = deposit(energy.reshape(n, -1), weight.reshape(n, -1), lines) + self._error(lines)
        return np.asarray(laid @ spread + self._more(values, widths, zone))

    def slopes(self, values: Mapping[str, float], widths: Widths, fitted: Sequence[str]) -> None:
        """Return None: differences tell."""

    def exact_at(self, values: Mapping[str, float], widths: Widths) -> PhononRenderer:
        """Return one that adds what many directions see more than its own do, at these force constants.

        An average over few directions is off by more than the noise of a good map, but hardly otherwise for
        force constants near by: so a fit needs the many only once or twice.
        """
        if not self.case.powder:
            return self
        n = len(self.q_rlu)
        fine = PhononRenderer(self.case, self.q_rlu, self.energy_meV, self._points)
        fine._directions = max(self._directions, min(_EXACT, _MOST_VECTORS // n))
        found = copy(self)
        parts = (fine._lines(values, widths), self._lines(values, widths))
        found._anchor = tuple((e.reshape(n, -1), w.reshape(n, -1)) for e, w, _ in parts)  # type: ignore[assignment]
        found._off = None
        return found

    def other(self) -> None:
        """Return None: :meth:`exact_at` has taken off what would be seen."""

    def _error(self, lines: Array) -> Array | float:
        """What many directions see more than the usual ones at the anchor, laid on a grid."""
        if self._anchor is None:
            return 0.0
        step = float(lines[1])
        if self._off is None or self._off[0] != step or self._off[1].shape[1] < len(lines):
            longer = step * np.arange(len(lines) + len(lines) // 2)
            many, few = (deposit(e, w, longer) for e, w in self._anchor)
            self._off = (step, many - few)
        return self._off[1][:, : len(lines)]

    def beside(self, values: Mapping[str, float], widths: Widths) -> Array:
        """Return what is scattered more than once: the density of states over E, alike at every Q."""
        _, _, zone = self._lines(values, widths)
        lines, spread = self._kernel(widths)
        share = np.repeat(self._weights[:, None] / zone.shape[1], zone.shape[1], 1) / zone
        twice = deposit(zone.reshape(1, -1), share.reshape(1, -1), lines) @ spread
        return np.broadcast_to(twice, (1, len(self.q_rlu), len(self.energy_meV)))

    def _lines(self, values: Mapping[str, float], widths: Widths) -> tuple[Array, Array, Array]:
        """Energies and weights of all modes, and the zone's energies; widths in energy need no new ones."""
        key = (*values.values(), widths.kT, widths.q_fwhm, widths.q_across)
        if self._drawn is not None and self._drawn[0] == key:
            return self._drawn[1:]
        forces = [values[n] for n in self._zone.names]
        zone = self._zone.energies_meV(forces)
        if not zone.min() > _SOFTEST_MEV:
            raise NotStable(f"{self.case.name}: with {_said(values)} a mode has no real energy")
        dynamics, number = self._vectors(widths)
        own, square = seen_modes(dynamics, forces)
        energy, u2 = np.maximum(own, _SOFTEST_MEV), self._u2(zone, widths.kT)
        weight = HBAR2_2U_MEV_A2 * square / energy / (number * len(self.case.crystal.masses_u))
        weight *= np.exp(-(dynamics.q_invA**2).sum(1) * u2)[:, None]
        weight[own < _SOFTEST_MEV] = 0.0
        self._drawn = (key, energy, weight, zone)
        return energy, weight, zone

    def _u2(self, zone: Array, kT: float) -> float:
        """Mean square displacement along one direction (square angstrom)."""
        share = np.repeat(self._weights[:, None], zone.shape[1], 1)
        return mean_square_A2(zone, float(self.case.crystal.masses_u.mean()), kT / KELVIN_MEV, share)

    def _more(self, values: Mapping[str, float], widths: Widths, zone: Array) -> Array:
        """Two and more phonons."""
        key = (*values.values(), widths.kT)
        if self._several is None or self._several[0] != key:
            axis = np.arange(0.0, 1.1 * float(zone.max()) + 3.0, _SMOOTH_STEP)
            density = smeared(zone, axis, _SMOOTH_FWHM, self._weights)
            found = several_phonons(
                density, self._u2(zone, widths.kT), widths.kT / KELVIN_MEV, self.energy_meV, self._lengths()
            )
            self._several = (key, found)
        return self._several[1]

    def _lengths(self) -> Array:
        if self.case.powder:
            return self.q_rlu[:, 0]
        return np.asarray(np.linalg.norm(self.q_rlu @ reciprocal_invA(self.case), axis=1))

    def _vectors(self, widths: Widths) -> tuple[Dynamics, int]:
        """Wave vectors, and how many stand for a column; a powder's do not depend on the widths."""
        key = (0.0, 0.0) if self.case.powder else (widths.q_fwhm, widths.q_across)
        if self._columns is None or self._columns[0] != key:
            if self.case.powder:
                width = column_width(self.q_rlu[:, 0], widths.q_fwhm)
                q = powder_vectors(self.q_rlu[:, 0], width, self._directions)
            else:
                axes = np.asarray(self.case.file.measurement.q_axes, dtype=float).reshape(-1, 3)
                reciprocal = reciprocal_invA(self.case)
                ways = directions_of(self.q_rlu, axes, reciprocal)
                size = np.array([widths.q_fwhm, widths.q_across])[: ways.shape[1]]
                q = (self.q_rlu[:, None, :] + sub_points(ways, size, self._points)) @ reciprocal
            dynamics = Dynamics(self.case.crystal, self.case.number, q.reshape(-1, 3))
            self._columns = (key, dynamics, q.shape[1])
        return self._columns[1:]

    def _kernel(self, widths: Widths) -> tuple[Array, Array]:
        if self._spread is None or self._spread[0] != widths:
            lines = line_grid(self.energy_meV, widths)
            self._spread = (widths, lines, kernel(lines, self.energy_meV, widths, lines[1] ** 2 / 6))
        return self._spread[1:]


def _said(values: Mapping[str, float]) -> str:
    return ", ".join(f"{n} = {v:.4g}" for n, v in values.items()) + " N/m"
