"""A powder's average of one phonon, for cubic elements, on a mesh that suits the reciprocal lattice.

All wave vectors of a mesh whose step divides 2 pi / a are, up to reciprocal lattice vectors and the cubic
symmetries, those of the 48th part of one zone. So a few thousand small eigenproblems serve every column, and
what a column needs of each is one tensor: the sum of Q Q over all its wave vectors that look alike. Since
the mesh is even and shells have soft edges, the average converges as an integral over a smooth periodic
function does, far faster than over directions on a sphere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lattice.born_karman import MEV_PER_ROOT_NM_U, Dynamics
from streamproc.models.excitations.lattice.crystal import Crystal
from streamproc.models.excitations.lattice.density import HBAR2_2U_MEV_A2, zone_of
from streamproc.models.excitations.lattice.eigen import modes_of_three, signed_roots
from streamproc.models.excitations.lattice.mesh_slopes import laid_slopes

from streamproc.compiling import machine_code

__all__ = ["MeshModes", "MeshSlopes", "PowderMesh"]

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class MeshModes:
    """Phonons at the wave vectors of a mesh's zone.

    Attributes
    ----------
    energy_meV : ndarray, shape (z, 3)
        Negative where the square of the frequency is.
    vectors : ndarray, shape (z, 3, 3)
        Polarisation vectors as rows, in the order of the energies.
    """

    energy_meV: Array
    vectors: Array = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class MeshSlopes:
    """How phonons, and what :meth:`PowderMesh.laid` returns, change with p force constants.

    Attributes
    ----------
    energy : ndarray, shape (p, z, 3)
        Energies (meV per N/m).
    forces : ndarray, shape (p, n, f)
        What is laid on the grid (per N/m), at a fixed mean square displacement.
    displacement : ndarray, shape (n, f)
        The same with the mean square displacement (per square angstrom).
    """

    energy: Array = field(repr=False)
    forces: Array = field(repr=False)
    displacement: Array = field(repr=False)


class PowderMesh:
    """One-phonon scattering of the powder of a cubic element, for any force constants.

    Parameters
    ----------
    crystal : Crystal
        Cubic, with one atom in its primitive cell.
    number : int
        Shells of neighbours with force constants.
    edge_A : float
        Edge of the cubic cell (angstrom).
    q_invA : ndarray, shape (n,)
        Middles of the columns (1/angstrom).
    width_invA : float
        Width of each; every modulus in it counts alike.
    divisions : int
        Points of the mesh along 2 pi / a.
    """

    def __init__(
        self, crystal: Crystal, number: int, edge_A: float, q_invA: Array, width_invA: float, divisions: int
    ) -> None:
        q, self.weights = zone_of(edge_A, divisions)
        self._dynamics, self._mass = Dynamics(crystal, number, q), float(crystal.masses_u[0])
        step = 2 * np.pi / edge_A / divisions
        # a shell's edge, softened by a step, is seen alike wherever the mesh lies; its variance stays
        soft = min(step, width_invA / np.sqrt(2))
        flat = np.sqrt(max(width_invA**2 - soft**2, soft**2))
        found = _gathered(divisions, step, np.asarray(q_invA, float), 0.5 * (flat + soft), soft)
        self._tensor, self._square = found
        self.shares, self.names = np.repeat(self.weights[:, None] / 3, 3, 1), self._dynamics.names

    def modes(self, forces_N_m: Sequence[float] | Array) -> MeshModes:
        """Return the phonons of the zone; ``weights`` (z,) are its weights, ``shares`` (z, 3) the modes'."""
        squares, vectors = modes_of_three(self._dynamics.matrix(forces_N_m))
        return MeshModes(signed_roots(squares, MEV_PER_ROOT_NM_U), vectors)

    def laid(self, modes: MeshModes, u2_A2: float, step_meV: float, points: int) -> Array:
        """Return hbar^2/2M |Q.e|^2 / E exp(-Q^2 <u^2>), averaged, on a grid of energies from 0.

        Parameters
        ----------
        modes : MeshModes
            All energies positive.
        u2_A2 : float
            Mean square displacement along one direction (square angstrom).
        step_meV : float
            Step of the grid (meV); each mode is shared between two neighbours.
        points : int
            Points f of the grid; what lies beyond is left out.

        Returns
        -------
        ndarray, shape (n, f)
            At T = 0, per atom; it sums to the whole intensity.
        """
        found = _laid(self._tensor, modes.vectors, modes.energy_meV, step_meV, u2_A2, points)
        return np.asarray((found * self._decay(u2_A2)).T)

    def slopes(self, modes: MeshModes, u2_A2: float, step_meV: float, laid: Array) -> MeshSlopes:
        """Return how all of it changes with each of the p force constants, given what it is."""
        per, points = MEV_PER_ROOT_NM_U**2, laid.shape[1]
        parts = (self._tensor, modes.vectors, modes.energy_meV, self._dynamics.parts, per, step_meV)
        energy, forces, u2 = laid_slopes(*parts, u2_A2, points)
        decay = self._decay(u2_A2)
        return MeshSlopes(
            energy, (forces * decay).transpose(1, 2, 0), (u2 * decay).T - laid * self._square[:, None]
        )

    def _decay(self, u2_A2: float) -> Array:
        return np.asarray(np.exp(-self._square * u2_A2) * HBAR2_2U_MEV_A2 / self._mass)


@machine_code()
def _gathered(divisions: int, step: float, q: Array, half: float, soft: float) -> tuple[Array, Array]:
    """Sum Q Q, and Q Q (Q^2 - its mean), of every column over wave vectors of one place in the zone.

    Returns tensors (z, 12, n), with columns last so that all of them are added to at once, and mean Q^2 (n,).
    """
    columns, zone = len(q), divisions * (divisions + 1) * (divisions + 2) // 6
    total, square = np.zeros(columns), np.zeros(columns)
    sums = np.zeros((zone, 12, columns))
    order = np.argsort(q)
    rising = q[order]
    top, least = rising[-1] + half, max(rising[0] - half, 0.0)
    j, v = np.empty(3, np.int64), np.empty(3)
    for turn in range(2):
        for ix in range(int(top / step) + 1):
            for iy in range(ix + 1):
                flat2 = step * step * ((ix + 0.5) ** 2 + (iy + 0.5) ** 2)
                first = max(0, int(np.sqrt(max(least * least - flat2, 0.0)) / step - 0.5))
                for iz in range(first, iy + 1):
                    v[0], v[1], v[2] = (ix + 0.5) * step, (iy + 0.5) * step, (iz + 0.5) * step
                    length2 = flat2 + v[2] * v[2]
                    if length2 > top * top:
                        break
                    length, place = np.sqrt(length2), -1
                    alike = int(ix == iy) + int(iy == iz)
                    many = 6.0 if alike == 0 else (3.0 if alike == 1 else 1.0)
                    for n in range(np.searchsorted(rising, length - half), columns):
                        c, away = order[n], abs(length - rising[n])
                        if rising[n] >= length + half:
                            break
                        # over Q^2: every modulus of a column counts alike
                        weight = min(1.0, (half - away) / soft) * many / length2
                        if turn == 0:
                            total[c] += weight
                            square[c] += weight * length2
                            continue
                        if place < 0:
                            j[0], j[1], j[2] = ix, iy, iz
                            place = _reduced(j, v, divisions)
                        weight /= total[c]
                        k = 0
                        for a in range(3):
                            for b in range(a, 3):
                                product = weight * v[a] * v[b]
                                sums[place, k, c] += product
                                sums[place, k + 6, c] += product * (length2 - square[c])
                                k += 1
        if turn == 0:
            for c in range(columns):
                square[c] /= max(total[c], 1e-300)
    return sums, square


@machine_code()
def _reduced(j: Places, v: Array, divisions: int) -> int:
    """Bring a point of the mesh into the 48th part of the zone, its wave vector with it; return its place.

    By reciprocal lattice vectors (twice 2 pi / a along an axis, in every cubic lattice), mirrors and
    exchanges of axes. The order of places is that of :func:`~...density.zone_of`.
    """
    for k in range(3):
        j[k] %= 2 * divisions
        if j[k] >= divisions:
            j[k], v[k] = 2 * divisions - 1 - j[k], -v[k]
    for a, b in ((0, 1), (1, 2), (0, 1)):
        if j[a] < j[b]:
            j[a], j[b] = j[b], j[a]
            v[a], v[b] = v[b], v[a]
    return j[0] * (j[0] + 1) * (j[0] + 2) // 6 + j[1] * (j[1] + 1) // 2 + j[2]


@machine_code(error_model="numpy", fastmath={"contract"})
def _laid(tensor: Array, vectors: Array, energy: Array, step: float, u2: float, points: int) -> Array:
    """Lay |Q.e|^2 / E of all modes on a grid, without what decays with Q, (f, n)."""
    zone, columns = tensor.shape[0], tensor.shape[2]
    found, amount = np.zeros((points, columns)), np.empty((3, columns))
    # of each mode: its tensor over E (what lies off the diagonal counts twice), place and share of the next
    e, left, share = np.empty((3, 6)), np.empty(3, np.int64), np.empty(3)
    for r in range(zone):
        for i in range(3):
            x, y, z = vectors[r, i, 0], vectors[r, i, 1], vectors[r, i, 2]
            place, per = energy[r, i] / step, 1.0 / energy[r, i]
            left[i] = int(place)
            share[i] = place - left[i]
            if left[i] >= points - 1:  # beyond the grid: counts nothing
                left[i], per = 0, 0.0
            e[i, 0], e[i, 1], e[i, 2] = per * x * x, 2.0 * per * x * y, 2.0 * per * x * z
            e[i, 3], e[i, 4], e[i, 5] = per * y * y, 2.0 * per * y * z, per * z * z
        # all in one loop without branches: it is done for several columns at once
        a0, a1, a2, a3, a4, a5 = e[0, 0], e[0, 1], e[0, 2], e[0, 3], e[0, 4], e[0, 5]
        b0, b1, b2, b3, b4, b5 = e[1, 0], e[1, 1], e[1, 2], e[1, 3], e[1, 4], e[1, 5]
        c0, c1, c2, c3, c4, c5 = e[2, 0], e[2, 1], e[2, 2], e[2, 3], e[2, 4], e[2, 5]
        for n in range(columns):
            # exp(-Q^2 u2) within a column, to the first order about its mean
            t0, t1 = tensor[r, 0, n] - u2 * tensor[r, 6, n], tensor[r, 1, n] - u2 * tensor[r, 7, n]
            t2, t3 = tensor[r, 2, n] - u2 * tensor[r, 8, n], tensor[r, 3, n] - u2 * tensor[r, 9, n]
            t4, t5 = tensor[r, 4, n] - u2 * tensor[r, 10, n], tensor[r, 5, n] - u2 * tensor[r, 11, n]
            amount[0, n] = a0 * t0 + a1 * t1 + a2 * t2 + a3 * t3 + a4 * t4 + a5 * t5
            amount[1, n] = b0 * t0 + b1 * t1 + b2 * t2 + b3 * t3 + b4 * t4 + b5 * t5
            amount[2, n] = c0 * t0 + c1 * t1 + c2 * t2 + c3 * t3 + c4 * t4 + c5 * t5
        for i in range(3):
            j, part = left[i], share[i]
            for n in range(columns):
                right = amount[i, n] * part
                found[j, n] += amount[i, n] - right
                found[j + 1, n] += right
    return found
