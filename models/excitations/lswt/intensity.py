"""What a neutron sees of the magnons: S^ab(Q, w) at T = 0 and the polarisation factor."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.bogoliubov import Magnons
from streamproc.models.excitations.lswt.hamiltonian import local_frames
from streamproc.models.excitations.lswt.two_sites import seen
from streamproc.models.excitations.spinmodel.structure import SpinModel

__all__ = ["Observer", "form_factor", "observer"]

Array = npt.NDArray[np.float64]

_KEPT = 16
"""Models whose ladder operators are kept: a fit asks for them at other wave vectors at every step."""


@dataclass(frozen=True, slots=True, eq=False)
class Observer:
    """Turns amplitudes into intensities; depends on the structure and Q only.

    Attributes
    ----------
    weights : ndarray of complex, shape (m or 1, 3, 2 n)
        S^a_Q = weights . X per chemical cell, with form factors and g / 2.
    direction : ndarray, shape (m, 3)
        Unit vectors along Q (zero for Q = 0).
    """

    weights: npt.NDArray[np.complex128] = field(repr=False)
    direction: Array = field(repr=False)

    def moments(self, magnons: Magnons) -> npt.NDArray[np.complex128]:
        """Return <0|S^a_Q|magnon>, shape (m, 3, n); S^ab is the product with the conjugate."""
        return np.asarray(self.weights @ magnons.amplitudes)

    def correlations(self, magnons: Magnons) -> npt.NDArray[np.complex128]:
        """Return S^ab(Q) of each mode (a delta function at its energy), shape (m, n, 3, 3)."""
        moment = self.moments(magnons).swapaxes(-1, -2)
        return np.asarray(moment[..., :, None] * moment[..., None, :].conj())

    def neutron(self, magnons: Magnons) -> Array:
        """Return sum_ab (delta_ab - Q_a Q_b / Q^2) S^ab of each mode, shape (m, n).

        Of several models at once where amplitudes have a further axis before m.
        """
        amplitudes = magnons.amplitudes
        many = amplitudes.reshape(-1, *amplitudes.shape[-3:])
        return seen(self.weights, self.direction, many).reshape(magnons.energy_meV.shape)


def observer(model: SpinModel, q_rlu: Array) -> Observer:
    """Prepare for some wave vectors (m, 3) in reciprocal lattice units."""
    reciprocal, ladder = _ladder(model)
    q = np.atleast_2d(np.asarray(q_rlu, dtype=float)) @ reciprocal
    length = np.sqrt(np.einsum("qa,qa->q", q, q))
    # without form factors all wave vectors share one row
    lengths = length if any(s.form_factor for s in model.sites) else np.zeros(1)
    factor = np.array([s.g / 2 * form_factor(s.form_factor, lengths) for s in model.sites])
    weights = ladder[None] * np.tile(factor, (2, 1)).T[:, None, :]
    return Observer(weights, q / np.where(length > 0, length, 1.0)[:, None])


@lru_cache(_KEPT)
def _ladder(model: SpinModel) -> tuple[Array, npt.NDArray[np.complex128]]:
    """Reciprocal lattice, and what turns X into the spins' components (3, 2 n): the same at every Q."""
    frames = local_frames(model)
    root = np.sqrt(frames.spin / 2 / model.cells)
    ladder = np.concatenate([(frames.u.conj() * root[:, None]).T, (frames.u * root[:, None]).T], 1)
    return model.lattice.reciprocal(), ladder


def form_factor(coefficients: tuple[float, ...], q_invA: Array) -> Array:
    """Return <j0> at |Q| (1/angstrom); 1 for no coefficients (International Tables C, 4.4.5)."""
    if not coefficients:
        return np.ones_like(q_invA)
    s2 = (q_invA / (4 * np.pi)) ** 2
    pairs = zip(coefficients[:-1:2], coefficients[1::2], strict=True)
    return np.asarray(sum(a * np.exp(-b * s2) for a, b in pairs) + coefficients[-1])
