"""The quadratic Hamiltonian of the magnons, as matrices per parameter and wave vector.

Local frames and notation as in Toth & Lake, J. Phys.: Condens. Matter 27, 166002 (2015), section 3, with
S_i = v (S - b^+ b) + sqrt(S/2) (conj(u) b + u b^+), u = e1 + i e2, v the ordered direction.
H = 1/2 sum_q X^+ h(q) X with X = (b_q, b^+_-q).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.spinmodel.structure import SpinModel

from streamproc.errors import ConfigurationError

__all__ = ["Frames", "QuadraticForm", "check_stationary", "local_frames", "quadratic_form"]

Array = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

_STATIONARY = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Local frames of n sites.

    Attributes
    ----------
    u : ndarray of complex, shape (n, 3)
        e1 + i e2.
    v : ndarray, shape (n, 3)
        Ordered direction, unit length.
    spin : ndarray, shape (n,)
        S of each site.
    """

    u: ComplexArray
    v: Array
    spin: Array


@dataclass(frozen=True, slots=True, eq=False)
class QuadraticForm:
    """h(q) = sum over parameters p of x_p h_p(q).

    Attributes
    ----------
    names : tuple of str
        The p parameters.
    parts : ndarray, shape (p, m, 2 n, 2 n)
        h_p at the m wave vectors (meV per meV); real where every element is.
    """

    names: tuple[str, ...]
    parts: npt.NDArray[np.inexact] = field(repr=False)

    def at(self, values: Mapping[str, float]) -> npt.NDArray[np.inexact]:
        """Return h for parameter values (meV), shape (m, 2 n, 2 n)."""
        missing = [n for n in self.names if n not in values]
        if missing:
            raise ConfigurationError(f"no value for {', '.join(missing)} of the spin model")
        x = np.array([values[n] for n in self.names])
        return np.tensordot(x, self.parts, 1)


def local_frames(model: SpinModel) -> Frames:
    """Return frames; those of antiparallel spins are chosen so that collinear structures give real matrices."""
    v = np.array([s.direction for s in model.sites], dtype=float)
    length = np.linalg.norm(v, axis=1)
    if (length < 1e-9).any():
        at = model.sites[int(np.argmin(length))].name
        raise ConfigurationError(f"site {at}: the direction of its spin has no length")
    v /= length[:, None]
    helper = _helper(v)
    e1 = helper - (v @ helper)[:, None] * v
    e1 /= np.linalg.norm(e1, axis=1)[:, None]
    return Frames(e1 + 1j * np.cross(v, e1), v, np.array([s.spin for s in model.sites], dtype=float))


def _helper(v: Array) -> Array:
    """Return a direction along no spin: a cartesian axis, or a skew one where spins lie along all three."""
    tries = [*np.eye(3), np.array([0.48, 0.6, 0.64])]
    clear = [float(np.abs(v @ t).max()) for t in tries]
    return tries[int(np.argmin(clear))]


def quadratic_form(model: SpinModel, q_rlu: Array) -> QuadraticForm:
    """Build the matrices at some wave vectors.

    Parameters
    ----------
    model : SpinModel
        All sites of the magnetic cell.
    q_rlu : ndarray, shape (m, 3)
        Wave vectors, reciprocal lattice units of the chemical cell.

    Returns
    -------
    QuadraticForm
        Of all parameters.
    """
    q = np.atleast_2d(np.asarray(q_rlu, dtype=float))
    frames, names = local_frames(model), model.parameters
    n = len(model.sites)
    parts = np.zeros((len(names), len(q), 2 * n, 2 * n), dtype=complex)
    for coupling, away in zip(model.couplings, model.displacements, strict=True):
        part = parts[names.index(coupling.name)]
        phases = np.exp(2j * np.pi * (q @ away.T))
        for b, (bond, matrix) in enumerate(zip(coupling.bonds, coupling.matrices, strict=True)):
            _add_bond(part, frames, bond.i, bond.j, matrix, phases[:, b])
    for term in model.onsite:
        part = parts[names.index(term.name)]
        for i in term.sites:
            _add_onsite(part, frames, i, term.matrix)
    real = np.abs(parts.imag).max(initial=0.0) < 1e-12
    return QuadraticForm(names, np.ascontiguousarray(parts.real) if real else parts)


def _add_bond(h: ComplexArray, f: Frames, i: int, j: int, matrix: Array, phase: ComplexArray) -> None:
    """Add one bond: hopping, pair creation, and the mean field on both ends."""
    n, root = len(f.spin), np.sqrt(f.spin[i] * f.spin[j])
    hop = root / 2 * (f.u[i] @ matrix @ f.u[j].conj())
    pair = root / 2 * (f.u[i] @ matrix @ f.u[j])
    field_ij = f.v[i] @ matrix @ f.v[j]
    # b_i^+ b_j of h(q) and, at -q and conjugated, b_i b_j^+ of the lower right block
    h[:, i, j] += hop * phase
    h[:, j, i] += np.conj(hop * phase)
    h[:, n + i, n + j] += np.conj(hop) * phase
    h[:, n + j, n + i] += hop * phase.conj()
    h[:, i, n + j] += pair * phase
    h[:, j, n + i] += pair * phase.conj()
    h[:, n + j, i] += np.conj(pair * phase)
    h[:, n + i, j] += np.conj(pair) * phase
    for a, other in ((i, j), (j, i)):
        h[:, a, a] -= f.spin[other] * field_ij
        h[:, n + a, n + a] -= f.spin[other] * field_ij


def _add_onsite(h: ComplexArray, f: Frames, i: int, matrix: Array) -> None:
    n, spin = len(f.spin), f.spin[i]
    diagonal = spin * (f.u[i].conj() @ matrix @ f.u[i]) - 2 * spin * (f.v[i] @ matrix @ f.v[i])
    pair = spin * (f.u[i] @ matrix @ f.u[i])
    h[:, i, i] += diagonal
    h[:, n + i, n + i] += diagonal
    h[:, i, n + i] += pair
    h[:, n + i, i] += np.conj(pair)


def check_stationary(model: SpinModel, values: Mapping[str, float]) -> None:
    """Refuse a structure in which the field on some spin does not point along it.

    Raises
    ------
    NotAMinimum
        Names the site and how far the field is off.
    """
    f = local_frames(model)
    force = np.zeros((len(model.sites), 3))
    for coupling in model.couplings:
        for bond, matrix in zip(coupling.bonds, values[coupling.name] * coupling.matrices, strict=True):
            force[bond.i] += f.spin[bond.j] * matrix @ f.v[bond.j]
            force[bond.j] += f.spin[bond.i] * matrix.T @ f.v[bond.i]
    for term in model.onsite:
        for i in term.sites:
            force[i] += values[term.name] * f.spin[i] * (term.matrix + term.matrix.T) @ f.v[i]
    along = (force * f.v).sum(1)
    across = np.linalg.norm(force - along[:, None] * f.v, axis=1)
    worst = int(np.argmax(across))
    if across[worst] > _STATIONARY * max(1e-12, float(np.linalg.norm(force, axis=1).max())):
        raise NotAMinimum(
            f"this state is not a minimum: the field on site {model.sites[worst].name} is "
            f"{np.rad2deg(np.arctan2(across[worst], abs(along[worst]))):.1f} degrees off its spin; "
            "give the directions that the couplings favour"
        )
