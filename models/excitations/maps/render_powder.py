"""Draw S(|Q|,E) of the powder of a cubic element: one phonon coherently on a mesh, several incoherently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lattice.case import LatticeCase
from streamproc.models.excitations.lattice.crystal import Crystal
from streamproc.models.excitations.lattice.density import (
    KELVIN_MEV,
    Density,
    laid_out,
    mean_square_A2,
    smeared,
)
from streamproc.models.excitations.lattice.density_slopes import (
    laid_out_slopes,
    mean_square_slopes_A2,
    smeared_slopes,
)
from streamproc.models.excitations.lattice.powder_mesh import MeshModes, PowderMesh
from streamproc.models.excitations.lattice.several import several_phonons, several_slopes
from streamproc.models.excitations.mapmodel.errors import NotStable
from streamproc.models.excitations.maps.render import line_grid
from streamproc.models.excitations.maps.widths import (
    FWHM_TO_SIGMA,
    Widths,
    channel_width,
    kernel,
    kernel_slope,
)

__all__ = ["PowderRenderer", "column_width"]

Array = npt.NDArray[np.float64]

_SMOOTH_STEP, _SMOOTH_FWHM = 0.5, 1.5
"""Step and smearing (meV) of the density that several phonons are made of."""

_SOFTEST_MEV, _SOFTEST_DIVISIONS = 0.3, 10
"""Modes of a mesh of so many divisions below this mean that the lattice is unstable, or as good as."""

_PER_ROOT_POINT = 5.0
"""Divisions of the mesh along 2 pi / a for the root of the points asked for."""

_SHARPEST, _MOST = 32.0, 40
"""Divisions times the least resolution (meV) with which the mesh is not seen; most divisions."""

_LEAST_WIDTH = 0.02
"""Width of a column alone (1/angstrom) below which none is taken."""

_OTHER = 3
"""So many divisions less make another mesh, whose error is larger and has nothing to do with the first's."""


def column_width(q_invA: Array, usual: float) -> float:
    """Return the width of a powder's columns: the distance of neighbours, or a usual one for one alone."""
    steps = np.diff(np.sort(q_invA))
    steps = steps[steps > 1e-6]
    return float(np.median(steps)) if len(steps) else usual


_KEPT = 6
"""Meshes that are kept: those of one fit, which the next map of a run needs again."""


@lru_cache(_KEPT)
def _mesh_for(
    crystal: Crystal, number: int, edge_A: float, q: bytes, width: float, divisions: int
) -> PowderMesh:
    """Return the mesh of columns whose |Q| (float64) are given as bytes."""
    return PowderMesh(crystal, number, edge_A, np.frombuffer(q), width, divisions)


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """Phonons for some force constants at a temperature, and their mean square displacement."""

    key: tuple[float, ...]
    modes: MeshModes = field(repr=False)
    u2_A2: float


class PowderRenderer:
    """Draws maps at fixed columns and channels; force constants and widths may vary.

    Parameters
    ----------
    case : LatticeCase
        Model of a powder, with one atom in the primitive cell.
    q_rlu : ndarray, shape (n, 3)
        Columns; |Q| (1/angstrom) is their first component.
    energy_meV : ndarray, shape (m,)
        Channels.
    points : int
        How fine the mesh is: its divisions along 2 pi / a are five times the root of this.
    """

    def __init__(self, case: LatticeCase, q_rlu: Array, energy_meV: Array, points: int = 16) -> None:
        self.case = case
        self.q_rlu = np.atleast_2d(np.asarray(q_rlu, dtype=float))
        self.energy_meV = np.asarray(energy_meV, dtype=float)
        self.divisions = max(8, round(_PER_ROOT_POINT * np.sqrt(points)))
        self._width = column_width(self.q_rlu[:, 0], 0.0)
        self._mesh: tuple[float, PowderMesh] | None = None
        self._state: _State | None = None
        self._laid: tuple[tuple[float, ...], Array] | None = None
        self._several: tuple[tuple[float, ...], Array] | None = None
        self._spread: tuple[Widths, Array, Array] | None = None
        self._another: PowderRenderer | None = None

    def map(self, values: Mapping[str, float], widths: Widths) -> Array:
        """Return the intensity of the phonons per meV and atom, shape (n, m), without the elastic line.

        Raises
        ------
        NotStable
            A mode has no real energy for these force constants.
        """
        state = self._at(values, widths)
        spread = self._kernel(widths)[1]
        return np.asarray(self._laid_at(state, widths) @ spread + self._more(state, widths.kT))

    def beside(self, values: Mapping[str, float], widths: Widths) -> Array:
        """Return what is scattered more than once: the density of states over E, alike at every Q."""
        twice = self._density_of(self._at(values, widths), widths) @ self._kernel(widths)[1]
        return np.broadcast_to(twice, (1, len(self.q_rlu), len(self.energy_meV)))

    def slopes(
        self, values: Mapping[str, float], widths: Widths, fitted: Sequence[str]
    ) -> tuple[Array, Array]:
        """Return how map and :meth:`beside` change; see :class:`~...physics.MapRenderer`."""
        state, mesh = self._at(values, widths), self._mesh_of(widths)
        lines, spread = self._kernel(widths)
        laid, step, kelvin = self._laid_at(state, widths), float(lines[1]), widths.kT / KELVIN_MEV
        forces = mesh.slopes(state.modes, state.u2_A2, step, laid)
        energy, share = state.modes.energy_meV, mesh.shares
        mass = float(self.case.crystal.masses_u[0])
        u2 = mean_square_slopes_A2(energy, forces.energy, mass, kelvin, share)
        density = self._states(energy)
        change = smeared_slopes(energy, forces.energy, density, _SMOOTH_FWHM, mesh.weights)
        more = several_slopes(density, change, state.u2_A2, u2, kelvin, self.energy_meV, self.q_rlu[:, 0])
        ones = (forces.forces + u2[:, None, None] * forces.displacement) @ spread + more
        over = share / energy
        twice = laid_out_slopes(energy, over, forces.energy, -over / energy, step, len(lines)) @ spread
        order, n, m = [mesh.names.index(name) for name in values], len(self.q_rlu), len(self.energy_meV)
        bands = self._density_of(state, widths)
        wider = [kernel_slope(lines, self.energy_meV, widths, spread, name) for name in fitted]
        every = np.concatenate([ones[order], np.array([laid @ w for w in wider]).reshape(-1, n, m)])
        beside = np.concatenate([twice[order], np.array([bands @ w for w in wider]).reshape(-1, m)])
        return every, np.broadcast_to(beside[:, None, None], (len(every), 1, n, m))

    def exact_at(self, values: Mapping[str, float], widths: Widths) -> PowderRenderer:
        """Return one whose mesh is fine enough for the resolution; itself where this one is."""
        # beyond the highest phonon no resolution is seen, and a channel's own width is part of it
        top = float(self._at(values, widths).modes.energy_meV.max())
        ends = np.array([self.energy_meV[0], min(float(self.energy_meV[-1]), top)])
        channel = channel_width(self.energy_meV) / np.sqrt(12) / FWHM_TO_SIGMA
        fwhm = np.hypot(float(widths.sigma(ends).min()) / FWHM_TO_SIGMA, channel)
        narrow = fwhm + widths.damping_fwhm
        wanted = min(_MOST, int(np.ceil(_SHARPEST / max(narrow, 1e-3))))
        return self if wanted <= self.divisions else self._with(wanted)

    def other(self) -> PowderRenderer:
        """Return one with another mesh: how far its maps differ is how far these may be off."""
        if self._another is None:
            self._another = self._with(self.divisions - _OTHER)
        return self._another

    # -- inside -------------------------------------------------------------------------------------------

    def _with(self, divisions: int) -> PowderRenderer:
        found = PowderRenderer(self.case, self.q_rlu, self.energy_meV)
        found.divisions = divisions
        return found

    def _mesh_of(self, widths: Widths) -> PowderMesh:
        width = self._width or max(widths.q_fwhm, _LEAST_WIDTH)
        if self._mesh is None or self._mesh[0] != width:
            c, q = self.case, np.ascontiguousarray(self.q_rlu[:, 0])
            mesh = _mesh_for(c.crystal, c.number, c.file.crystal.a, q.tobytes(), width, self.divisions)
            self._mesh = (width, mesh)
        return self._mesh[1]

    def _at(self, values: Mapping[str, float], widths: Widths) -> _State:
        key = (*values.values(), widths.kT)
        if self._state is None or self._state.key != key:
            mesh = self._mesh_of(widths)
            modes = mesh.modes([values[n] for n in mesh.names])
            # a finer mesh comes nearer to the zone's centre, where acoustic modes end at zero
            if not modes.energy_meV.min() > _SOFTEST_MEV * min(1.0, _SOFTEST_DIVISIONS / self.divisions):
                said = ", ".join(f"{n} = {v:.4g}" for n, v in values.items())
                raise NotStable(f"{self.case.name}: with {said} N/m a mode has no real energy")
            mass = float(self.case.crystal.masses_u[0])
            u2 = mean_square_A2(modes.energy_meV, mass, widths.kT / KELVIN_MEV, mesh.shares)
            self._state = _State(key, modes, u2)
        return self._state

    def _laid_at(self, state: _State, widths: Widths) -> Array:
        """One phonon on the grid of energies, before it is spread."""
        lines = self._kernel(widths)[0]
        key = (*state.key, float(lines[1]), float(len(lines)))
        if self._laid is None or self._laid[0] != key:
            laid = self._mesh_of(widths).laid(state.modes, state.u2_A2, float(lines[1]), len(lines))
            self._laid = (key, laid)
        return self._laid[1]

    def _density_of(self, state: _State, widths: Widths) -> Array:
        """The density of states over E on the grid of energies."""
        energy, lines = state.modes.energy_meV, self._kernel(widths)[0]
        return laid_out(energy, self._mesh_of(widths).shares / energy, 0.0, float(lines[1]), len(lines))

    def _more(self, state: _State, kT: float) -> Array:
        """Two and more phonons."""
        if self._several is None or self._several[0] != state.key:
            density = self._states(state.modes.energy_meV)
            found = several_phonons(density, state.u2_A2, kT / KELVIN_MEV, self.energy_meV, self.q_rlu[:, 0])
            self._several = (state.key, found)
        return self._several[1]

    def _states(self, energy: Array) -> Density:
        """The density that several phonons are made of."""
        assert self._mesh is not None
        axis = np.arange(0.0, 1.1 * float(energy.max()) + 3.0, _SMOOTH_STEP)
        return smeared(energy, axis, _SMOOTH_FWHM, self._mesh[1].weights)

    def _kernel(self, widths: Widths) -> tuple[Array, Array]:
        if self._spread is None or self._spread[0] != widths:
            lines = line_grid(self.energy_meV, widths)
            self._spread = (widths, lines, kernel(lines, self.energy_meV, widths, lines[1] ** 2 / 6))
        return self._spread[1:]
