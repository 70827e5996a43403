"""What a neutron sees of the magnons: S^ab(Q, w) at T = 0 and the polarisation factor."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.bogoliubov import Magnons
from streamproc.models.excitations.lswt.hamiltonian import local_frames
from streamproc.models.excitations.spinmodel.structure import SpinModel

__all__ = ["Observer", "form_factor", "observer"]

Array = npt.NDArray[np.float64]


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
        """Return sum_ab (delta_ab - Q_a Q_b / Q^2) S^ab of each mode, shape (m, n)."""
        moment = self.moments(magnons)
        along = (self.direction[:, None, :] @ moment)[..., 0, :]
        return np.asarray((np.abs(moment) ** 2).sum(-2) - np.abs(along) ** 2)


def observer(model: SpinModel, q_rlu: Array) -> Observer:
    """Prepare for some wave vectors (m, 3) in reciprocal lattice units."""
    q = np.atleast_2d(np.asarray(q_rlu, dtype=float)) @ model.lattice.reciprocal()
    length = np.linalg.norm(q, axis=1)
    frames = local_frames(model)
    root = np.sqrt(frames.spin / 2 / model.cells)
    ladder = np.concatenate([(frames.u.conj() * root[:, None]).T, (frames.u * root[:, None]).T], 1)
    factor = np.array([s.g / 2 * np.ones(len(q)) * form_factor(s.form_factor, length) for s in model.sites])
    same = np.allclose(factor, factor[:, :1])
    factor = np.tile(factor[:, :1] if same else factor, (2, 1))
    weights = ladder[None] * factor.T[:, None, :]
    return Observer(weights, q / np.where(length > 0, length, 1.0)[:, None])


def form_factor(coefficients: tuple[float, ...], q_invA: Array) -> Array:
    """Return <j0> at |Q| (1/angstrom); 1 for no coefficients (International Tables C, 4.4.5)."""
    if not coefficients:
        return np.ones_like(q_invA)
    s2 = (q_invA / (4 * np.pi)) ** 2
    pairs = zip(coefficients[:-1:2], coefficients[1::2], strict=True)
    return np.asarray(sum(a * np.exp(-b * s2) for a, b in pairs) + coefficients[-1])
