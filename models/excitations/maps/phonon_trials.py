"""A bank of trial force constants: how well each would explain a map (:mod:`...maps.bank` has the idea).

A powder's column shows bands, not lines: every trial looks at the same places of the window, each with its
own weights, which are its S(|Q|,E) less the mean over all |Q| (what is alike in all columns goes to the
network by itself). The weights are made once on a mesh of |Q| and interpolated.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lattice.born_karman import Dynamics
from streamproc.models.excitations.lattice.case import LatticeCase
from streamproc.models.excitations.lattice.density import HBAR2_2U_MEV_A2, mean_square_A2, zone_of
from streamproc.models.excitations.lattice.seen import seen_modes
from streamproc.models.excitations.maps.channels import BINS
from streamproc.models.excitations.maps.render_phonons import powder_vectors, reciprocal_invA

from streamproc.errors import ConfigurationError

__all__ = ["PhononTrials"]

Array = npt.NDArray[np.float64]

_TRIALS = {1: 96, 2: 160}
_MOST_TRIALS = 256
_NODES, _DIRECTIONS, _EVERY = 48, 36, 2
"""Places of the mesh of |Q|, directions at each, and every so many places of the window."""

_STRONG, _SOFTEST_MEV = 4.0, 0.3


class PhononTrials:
    """Trial force constants spread over the prior.

    Parameters
    ----------
    case : LatticeCase
        Model.

    Attributes
    ----------
    size, units, shared
        See :class:`~streamproc.models.excitations.maps.physics.Trials`.
    """

    def __init__(self, case: LatticeCase) -> None:
        self.case = case
        self.units, self._forces, self._u2 = _stable(case)
        self.size, self.shared = len(self.units), case.powder
        self._mesh: tuple[Array, Array] | None = None
        if case.powder:
            low, high = case.file.q.powder or (0.0, 0.0)
            nodes = np.linspace(low, high, _NODES)
            self._mesh = (nodes, self._rendered(nodes))

    def look(self, q_rlu: Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
        """Return where each trial expects phonons and how strong, over its own 99 % quantile."""
        q = np.atleast_2d(np.asarray(q_rlu, dtype=float))
        if self._mesh is not None:
            return self._look_at_bands(q[:, 0], *self._mesh)
        energy, strength = self._modes(q @ reciprocal_invA(self.case))
        place, inside = self._place(energy)
        strong = np.quantile(strength, 0.9, axis=(1, 2), keepdims=True)
        weights = np.minimum(strength / np.maximum(strong, 1e-300), _STRONG) * inside
        bins = np.where(inside, place, BINS).astype(np.uint8)
        return bins.reshape(self.size, -1), weights.reshape(self.size, -1).astype(np.float16)

    def _look_at_bands(
        self, q: Array, nodes: Array, drawn: Array
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
        at = np.clip((q - nodes[0]) / (nodes[1] - nodes[0]), 0, len(nodes) - 1.001)
        left = at.astype(int)
        share = (at - left).astype(np.float32)[None, :, None]
        found = drawn[:, left] * (1 - share) + drawn[:, left + 1] * share
        places = np.arange(_EVERY // 2, BINS, _EVERY, dtype=np.uint8)
        return np.tile(places, len(q))[None], found.reshape(self.size, -1).astype(np.float16)

    def _rendered(self, nodes: Array) -> Array:
        """S(|Q|,E) of every trial less its mean over the mesh, over its 99 % quantile; (t, nodes, places)."""
        q = powder_vectors(nodes, float(nodes[1] - nodes[0]), _DIRECTIONS).reshape(-1, 3)
        energy, strength = self._modes(q)
        place, inside = self._place(energy)
        cells = BINS // _EVERY
        found = np.zeros((self.size, len(nodes), cells), np.float32)
        row = np.repeat(np.arange(len(nodes)), len(q) // len(nodes) * energy.shape[2])
        for t in range(self.size):
            flat = row * cells + np.minimum(place[t].ravel() // _EVERY, cells - 1)
            amount = (strength[t] * inside[t]).ravel()
            found[t] = np.bincount(flat, amount, len(nodes) * cells).reshape(len(nodes), cells)
        strong = np.quantile(found, 0.99, axis=(1, 2), keepdims=True)
        found = np.minimum(found / np.maximum(strong, 1e-30), _STRONG)
        return np.asarray(found - found.mean(1, keepdims=True))

    def _modes(self, q_invA: Array) -> tuple[Array, Array]:
        """Energies and strengths of one phonon at T = 0, shape (t, q, modes)."""
        dynamics = Dynamics(self.case.crystal, self.case.number, q_invA)
        square = (q_invA**2).sum(1)[:, None]
        energies, strengths = [], []
        for forces, u2 in zip(self._forces, self._u2, strict=True):
            energy, along = seen_modes(dynamics, forces)
            energies.append(energy)
            decay = np.exp(-square * u2) * HBAR2_2U_MEV_A2
            strengths.append(decay * along / np.maximum(energy, _SOFTEST_MEV))
        return np.stack(energies), np.stack(strengths)

    def _place(self, energy: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Places in the window, and what lies in it."""
        table = self.case.file.energy
        place = (energy - table.start) / (table.stop - table.start) * BINS
        inside = (place >= 0) & (place < BINS)
        return np.where(inside, place, 0).astype(np.int64), inside


def _stable(case: LatticeCase) -> tuple[Array, Array, Array]:
    """Quasi-random places in the prior (Roberts' R_d) of stable lattices, their force constants and <u^2>."""
    free = len(case.parameters.free)
    wanted, root = _TRIALS.get(free, _MOST_TRIALS), 2.0
    for _ in range(40):
        root = (1 + root) ** (1 / (free + 1))
    units = np.mod(0.5 + np.arange(1, 6 * wanted)[:, None] * root ** -np.arange(1.0, free + 1), 1.0)
    q, weights = zone_of(case.file.crystal.a, 8)
    zone = Dynamics(case.crystal, case.number, q)
    kept, forces, squares = [], [], []
    for unit, x in zip(units, case.parameters.values_at(units), strict=True):
        values = case.parameters.values(x)
        force = [values[n] for n in zone.names]
        energy = zone.energies_meV(force)
        if energy.min() > _SOFTEST_MEV:
            share = np.repeat(weights[:, None], energy.shape[1], 1)
            squares.append(mean_square_A2(energy, float(case.crystal.masses_u.mean()), 0.0, share))
            kept.append(unit)
            forces.append(force)
        if len(kept) == wanted:
            break
    if len(kept) < wanted // 4:
        raise ConfigurationError(
            f"{case.name}: of {len(units)} force constants in the ranges only {len(kept)} make a stable "
            "lattice; check signs and ranges"
        )
    return np.array(kept), np.array(forces), np.array(squares)
