"""The quadratic Hamiltonian of the magnons, as matrices per parameter and wave vector.

Local frames and notation as in Toth & Lake, J. Phys.: Condens. Matter 27, 166002 (2015), section 3, with
S_i = v (S - b^+ b) + sqrt(S/2) (conj(u) b + u b^+), u = e1 + i e2, v the ordered direction.
H = 1/2 sum_q X^+ h(q) X with X = (b_q, b^+_-q).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.spinmodel.structure import Bond, SpinModel

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
    """h(q) = sum over p of x_p (K_p + sum over d of C_pd cos(2 pi q.d) + S_pd sin(2 pi q.d)).

    Attributes
    ----------
    names : tuple of str
        The p parameters.
    displacements : ndarray, shape (d, 3)
        Distinct bond vectors, one of each pair d, -d, in cell fractions.
    constant : ndarray, shape (p, 2 n, 2 n)
        K.
    cosine, sine : ndarray, shape (p, d, 2 n, 2 n)
        C and S; ``sine`` is None where it vanishes. Real where every element of all three is.
    """

    names: tuple[str, ...]
    displacements: Array
    constant: npt.NDArray[np.inexact] = field(repr=False)
    cosine: npt.NDArray[np.inexact] = field(repr=False)
    sine: npt.NDArray[np.inexact] | None = field(repr=False)

    def phases(self, q_rlu: Array) -> tuple[Array, Array | None]:
        """Return cosines and sines (m, d) at wave vectors (m, 3)."""
        angle = 2 * np.pi * (q_rlu @ self.displacements.T)
        return np.cos(angle), None if self.sine is None else np.sin(angle)

    def at(self, values: Mapping[str, float], phases: tuple[Array, Array | None]) -> npt.NDArray[np.inexact]:
        """Return h for parameter values (meV), shape (m, 2 n, 2 n)."""
        missing = [n for n in self.names if n not in values]
        if missing:
            raise ConfigurationError(f"no value for {', '.join(missing)} of the spin model")
        return self.at_many(np.array([[values[n] for n in self.names]]), phases)[0]

    def at_many(self, values: Array, phases: tuple[Array, Array | None]) -> npt.NDArray[np.inexact]:
        """Return h for several sets of values (s, p) in the order of ``names``, shape (s, m, 2 n, 2 n)."""
        size, (cosine, sine) = self.constant.shape[1], phases
        h = _summed(cosine, values, self.cosine)
        if self.sine is not None and sine is not None:
            h += _summed(sine, values, self.sine)
        h = h.reshape(len(values), len(cosine), size, size)
        h += np.tensordot(values, self.constant, 1)[:, None]
        return h


def _summed(phases: Array, values: Array, matrices: npt.NDArray[np.inexact]) -> npt.NDArray[np.inexact]:
    """Sum over parameters and bonds of value times phase times matrix, shape (s, m, 4 n^2)."""
    parts = np.tensordot(values, matrices, 1).reshape(len(values), phases.shape[1], -1)
    # phases are real: complex numbers as pairs of real ones take half as long
    return np.asarray((phases @ parts.view(np.float64)).view(parts.dtype))


def local_frames(model: SpinModel) -> Frames:
    """Return frames; antiparallel spins get such that collinear structures have real matrices."""
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


def quadratic_form(model: SpinModel) -> QuadraticForm:
    """Build the matrices of all parameters of a model that holds all sites of the magnetic cell."""
    frames, names = local_frames(model), model.parameters
    vectors, place = _distinct(model.displacements)
    size = 2 * len(model.sites)
    shape = (len(names), len(vectors), size, size)
    forward, backward = np.zeros(shape, complex), np.zeros(shape, complex)
    constant = np.zeros((len(names), size, size), complex)
    for c, coupling in enumerate(model.couplings):
        p = names.index(coupling.name)
        for b, (bond, matrix) in enumerate(zip(coupling.bonds, coupling.matrices, strict=True)):
            d, reversed_ = place[c][b]
            ways = (forward[p, d], backward[p, d])
            with_phase, without = ways[::-1] if reversed_ else ways
            _add_bond(with_phase, without, constant[p], frames, bond, matrix)
    for term in model.onsite:
        for i in term.sites:
            _add_onsite(constant[names.index(term.name)], frames, i, term.matrix)
    cosine, sine = forward + backward, 1j * (forward - backward)
    if max(np.abs(v.imag).max(initial=0.0) for v in (cosine, sine, constant)) < 1e-12:
        cosine, sine, constant = cosine.real.copy(), sine.real.copy(), constant.real.copy()
    gone = np.abs(sine).max(initial=0.0) < 1e-12
    return QuadraticForm(names, vectors, constant, cosine, None if gone else sine)


def _distinct(displacements: Sequence[Array]) -> tuple[Array, list[list[tuple[int, bool]]]]:
    """Number bond vectors, d and -d as one; say for each bond which it is and whether it is the reverse."""
    numbers: dict[tuple[float, ...], int] = {}
    vectors: list[Array] = []
    place: list[list[tuple[int, bool]]] = []
    for rows in displacements:
        of_coupling = []
        for d in rows:
            key = tuple(np.round(d, 9) + 0.0)
            back = tuple(np.round(-d, 9) + 0.0)
            if key not in numbers and back not in numbers:
                numbers[key] = len(vectors)
                vectors.append(d)
            of_coupling.append((numbers[key], False) if key in numbers else (numbers[back], True))
        place.append(of_coupling)
    return np.asarray(vectors, dtype=float).reshape(-1, 3), place


def _add_bond(
    phase: ComplexArray, conjugate: ComplexArray, constant: ComplexArray, f: Frames, bond: Bond, matrix: Array
) -> None:
    """Add a bond: hopping and pair creation with exp(2 pi i q.d) or its conjugate, mean fields."""
    n, i, j = len(f.spin), bond.i, bond.j
    root = np.sqrt(f.spin[i] * f.spin[j])
    hop = root / 2 * (f.u[i] @ matrix @ f.u[j].conj())
    pair = root / 2 * (f.u[i] @ matrix @ f.u[j])
    # b_i^+ b_j of h(q) and, at -q and conjugated, b_i b_j^+ of the lower right block
    phase[i, j] += hop
    conjugate[j, i] += np.conj(hop)
    phase[n + i, n + j] += np.conj(hop)
    conjugate[n + j, n + i] += hop
    phase[i, n + j] += pair
    conjugate[j, n + i] += pair
    conjugate[n + j, i] += np.conj(pair)
    phase[n + i, j] += np.conj(pair)
    field_ij = f.v[i] @ matrix @ f.v[j]
    for a, other in ((i, j), (j, i)):
        constant[a, a] -= f.spin[other] * field_ij
        constant[n + a, n + a] -= f.spin[other] * field_ij


def _add_onsite(h: ComplexArray, f: Frames, i: int, matrix: Array) -> None:
    n, spin = len(f.spin), f.spin[i]
    diagonal = spin * (f.u[i].conj() @ matrix @ f.u[i]) - 2 * spin * (f.v[i] @ matrix @ f.v[i])
    pair = spin * (f.u[i] @ matrix @ f.u[i])
    h[i, i] += diagonal
    h[n + i, n + i] += diagonal
    h[i, n + i] += pair
    h[n + i, i] += np.conj(pair)


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
