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

import numba
import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lattice.born_karman import MEV_PER_ROOT_NM_U, Dynamics
from streamproc.models.excitations.lattice.crystal import Crystal
from streamproc.models.excitations.lattice.density import HBAR2_2U_MEV_A2, zone_of
from streamproc.models.excitations.lattice.eigen import modes_of_three

__all__ = ["MeshModes", "PowderMesh"]

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
        self._start, self._at, self._tensor, self._square = found
        self.names = self._dynamics.names

    def modes(self, forces_N_m: Sequence[float] | Array) -> MeshModes:
        """Return the phonons of the zone; its weights are ``weights``, shape (z,)."""
        squares, vectors = modes_of_three(self._dynamics.matrix(forces_N_m))
        return MeshModes(MEV_PER_ROOT_NM_U * np.sign(squares) * np.sqrt(np.abs(squares)), vectors)

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
        decay = np.exp(-self._square * u2_A2) * HBAR2_2U_MEV_A2 / self._mass
        parts = (self._start, self._at, self._tensor, modes.vectors, modes.energy_meV, step_meV)
        return np.asarray(_laid(*parts, decay, u2_A2, points))


@numba.njit(cache=True, nogil=True)
def _gathered(
    divisions: int, step: float, q: Array, half: float, soft: float
) -> tuple[Places, Places, Array, Array]:
    """Sum Q Q, and Q Q (Q^2 - its mean), of every column over wave vectors of one place in the zone.

    Returns where each column's places begin, (n + 1,), the places (k,), tensors (k, 12) and mean Q^2 (n,).
    """
    columns, zone = len(q), divisions * (divisions + 1) * (divisions + 2) // 6
    total, square = np.zeros(columns), np.zeros(columns)
    sums = np.zeros((columns, zone, 12))
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
                        own, k = sums[c, place], 0
                        for a in range(3):
                            for b in range(a, 3):
                                product = weight * v[a] * v[b]
                                own[k] += product
                                own[k + 6] += product * (length2 - square[c])
                                k += 1
        if turn == 0:
            for c in range(columns):
                square[c] /= max(total[c], 1e-300)
    start = np.zeros(columns + 1, np.int64)
    for c in range(columns):
        start[c + 1] = start[c] + np.count_nonzero(sums[c, :, 0])
    at, tensor = np.empty(start[-1], np.int64), np.empty((start[-1], 12))
    for c in range(columns):
        k = start[c]
        for place in range(zone):
            if sums[c, place, 0] != 0.0:
                at[k], tensor[k] = place, sums[c, place]
                k += 1
    return start, at, tensor, square


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _laid(
    start: Places, at: Places, tensor: Array, vectors: Array, energy: Array, step: float, decay: Array,
    u2: float, points: int,
) -> Array:  # fmt: skip
    found = np.zeros((len(start) - 1, points))
    # of each mode: its tensor (what lies off the diagonal counts twice) over E, and shares of two neighbours
    squares, left = np.empty((len(vectors), 3, 6)), np.empty((len(vectors), 3), np.int64)
    share = np.empty((len(vectors), 3))
    for r in range(len(vectors)):
        for i in range(3):
            x, y, z = vectors[r, i, 0], vectors[r, i, 1], vectors[r, i, 2]
            place, per = energy[r, i] / step, 1.0 / energy[r, i]
            left[r, i] = int(place)
            share[r, i] = place - left[r, i]
            if left[r, i] >= points - 1:  # beyond the grid: counts nothing
                left[r, i], per = 0, 0.0
            own = squares[r, i]
            own[0], own[1], own[2] = per * x * x, 2.0 * per * x * y, 2.0 * per * x * z
            own[3], own[4], own[5] = per * y * y, 2.0 * per * y * z, per * z * z
    for c in range(len(start) - 1):
        row = found[c]
        for k in range(start[c], start[c + 1]):
            r, t = at[k], tensor[k]
            # exp(-Q^2 u2) within a column, to the first order about its mean
            xx, xy, xz = t[0] - u2 * t[6], t[1] - u2 * t[7], t[2] - u2 * t[8]
            yy, yz, zz = t[3] - u2 * t[9], t[4] - u2 * t[10], t[5] - u2 * t[11]
            for i in range(3):
                e = squares[r, i]
                amount = e[0] * xx + e[1] * xy + e[2] * xz + e[3] * yy + e[4] * yz + e[5] * zz
                right, j = amount * share[r, i], left[r, i]
                row[j] += amount - right
                row[j + 1] += right
        for j in range(points):
            row[j] *= decay[c]
    return found
