"""Diagonalise bosons: energies and the transformation to magnons, for many wave vectors at once.

Colpa, Physica A 93, 327 (1978): h = K^+ K, then K g K^+ is an ordinary Hermitian problem. Where h is real
with equal diagonal blocks (collinear structures with inversion) the same is done at half the size, with A -
B and A + B; where no pairs are created (ferromagnets) with A alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.lswt.two_sites import blocks_of, halves_of_two, hermitian_of_two

__all__ = ["REGULARISER", "Magnons", "diagonalise"]

Array = npt.NDArray[np.float64]

REGULARISER = 1e-11
"""Added to h, in units of its largest element: a Goldstone mode gets an energy of about 5e-6 of the band."""


@dataclass(frozen=True, slots=True, eq=False)
class Magnons:
    """Modes at m wave vectors.

    Attributes
    ----------
    energy_meV : ndarray, shape (m, n)
        Rising.
    amplitudes : ndarray, shape (m, 2 n, n)
        Columns of the transformation X = T Y that belong to the n magnons created at q.
    """

    energy_meV: Array
    amplitudes: npt.NDArray[np.inexact] = field(repr=False)


def diagonalise(h: npt.NDArray[np.inexact], q_rlu: Array | None = None) -> Magnons:
    """Return magnons of h(q).

    Parameters
    ----------
    h : ndarray, shape (m, 2 n, 2 n)
        Hermitian matrices.
    q_rlu : ndarray, shape (m, 3), optional
        Wave vectors, for the error's text.

    Raises
    ------
    NotAMinimum
        h is not positive (semi)definite at some wave vector: the assumed order is unstable there.
    """
    n = h.shape[1] // 2
    largest, pair, apart = blocks_of(h)
    scale = largest or 1.0
    eye = REGULARISER * scale * np.eye(2 * n)
    try:
        if not np.iscomplexobj(h) and apart <= 1e-12 * scale:
            return _halves(h, REGULARISER * scale)
        if pair <= 1e-12 * scale:
            return _conserving(h + eye)
        return _colpa(h + eye)
    except np.linalg.LinAlgError as error:
        raise NotAMinimum(_where_unstable(h, scale, q_rlu)) from error


def _colpa(h: npt.NDArray[np.inexact]) -> Magnons:
    n = h.shape[1] // 2
    g = np.repeat([1.0, -1.0], n)
    lower = np.linalg.cholesky(h)
    upper = lower.conj().transpose(0, 2, 1)
    energy, vectors = np.linalg.eigh((upper * g) @ lower)
    positive = energy[:, n:]
    columns = vectors[:, :, n:] * np.sqrt(np.maximum(positive, 0.0))[:, None, :]
    return Magnons(positive, np.linalg.solve(upper, columns))


def _conserving(h: npt.NDArray[np.inexact]) -> Magnons:
    """No pairs are created (ferromagnets): the upper block is all, if the lower one is positive too."""
    n = h.shape[1] // 2
    _positive(h[:, n:, n:])
    energy, vectors = hermitian_of_two(h[:, :n, :n]) if n == 2 else np.linalg.eigh(h[:, :n, :n])
    if (energy[:, 0] <= 0).any():
        raise np.linalg.LinAlgError("not positive definite")
    return Magnons(energy, np.concatenate([vectors, np.zeros_like(vectors)], 1))


def _halves(h: Array, shift: float) -> Magnons:
    """(A + B)(u + v) = w (u - v) and (A - B)(u - v) = w (u + v), u.u - v.v = 1."""
    n = h.shape[1] // 2
    if n == 2:
        good, energy, amplitudes = halves_of_two(h, shift)
        if not good:
            raise np.linalg.LinAlgError("not positive definite")
        return Magnons(energy, amplitudes)
    a, b = h[:, :n, :n] + shift * np.eye(n), h[:, :n, n:]
    lower, plus = np.linalg.cholesky(a - b), a + b
    square, vectors = np.linalg.eigh(lower.transpose(0, 2, 1) @ plus @ lower)
    if (square[:, 0] <= 0).any():
        raise np.linalg.LinAlgError("not positive definite")
    energy = np.sqrt(square)
    summed = lower @ vectors / np.sqrt(energy)[:, None, :]
    less = plus @ summed / energy[:, None, :]
    amplitudes = np.empty((len(h), 2 * n, n))
    amplitudes[:, :n], amplitudes[:, n:] = (summed + less) / 2, (summed - less) / 2
    return Magnons(energy, amplitudes)


def _positive(m: npt.NDArray[np.inexact]) -> None:
    """Refuse matrices that are not positive definite; two by two by their minors."""
    if m.shape[1] != 2:
        np.linalg.cholesky(m)
        return
    first, determinant = m[:, 0, 0].real, m[:, 0, 0].real * m[:, 1, 1].real - np.abs(m[:, 1, 0]) ** 2
    if (first <= 0).any() or (determinant <= 0).any():
        raise np.linalg.LinAlgError("not positive definite")


def _where_unstable(h: npt.NDArray[np.inexact], scale: float, q_rlu: Array | None) -> str:
    lowest = np.linalg.eigvalsh(h)[:, 0]
    at = int(np.argmin(lowest))
    place = f"q = ({', '.join(f'{v:.4g}' for v in q_rlu[at])}) r.l.u." if q_rlu is not None else f"point {at}"
    return (
        f"this state is not a minimum at {place}: the Hamiltonian's lowest eigenvalue there is "
        f"{lowest[at]:.3g} meV (expected >= 0, largest element {scale:.3g} meV); these couplings favour "
        "another order"
    )
