"""Lattices behind cells: primitive metric, reduction, sameness, and sub- and superlattices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["metric_of", "primitive_metric", "same_lattice", "signature", "superlattice_index"]

Array = npt.NDArray[np.float64]

_PRIMITIVE = {
    "P": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "A": ((1, 0, 0), (0, 0.5, 0.5), (0, -0.5, 0.5)),
    "B": ((0.5, 0, 0.5), (0, 1, 0), (-0.5, 0, 0.5)),
    "C": ((0.5, 0.5, 0), (-0.5, 0.5, 0), (0, 0, 1)),
    "I": ((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5)),
    "F": ((0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)),
    "R": ((2 / 3, 1 / 3, 1 / 3), (-1 / 3, 1 / 3, 1 / 3), (-1 / 3, -2 / 3, 1 / 3)),
}
_MOST_STEPS = 200
_SUBSETS = ((0,), (1,), (2,), (3,), (0, 1), (0, 2), (0, 3))


def metric_of(cell: Array) -> Array:
    """Return the metric tensor (3, 3) in square angstrom of a, b, c (angstrom) and the angles (degrees)."""
    lengths = np.asarray(cell[:3], float)
    alpha, beta, gamma = np.cos(np.deg2rad(cell[3:6]))
    cosines = np.array([[1, gamma, beta], [gamma, 1, alpha], [beta, alpha, 1]])
    return np.asarray(cosines * np.outer(lengths, lengths))


def primitive_metric(cell: Array, centring: str) -> Array:
    """Return the metric tensor of a primitive cell of the lattice."""
    basis = np.array(_PRIMITIVE[centring])
    return np.asarray(basis @ metric_of(cell) @ basis.T)


def signature(metric: Array) -> Array:
    """Return what tells lattices apart: the lengths (7,) of their Voronoi vectors, rising (angstrom).

    The basis is reduced after Selling until no two of its four vectors (with their negative sum) are at an
    acute angle; the squared lengths of the four and of the three sums of two are then properties of the
    lattice (Conway & Sloane 1992, Proc. R. Soc. A436, 55). Unlike the numbers of a Niggli cell they change
    smoothly with the cell, so that two measured cells can be compared.

    Parameters
    ----------
    metric : ndarray, shape (3, 3)
        Metric tensor of a primitive cell.
    """
    basis = np.concatenate([np.eye(3), -np.ones((1, 3))])
    scale = float(np.trace(metric))
    for _ in range(_MOST_STEPS):
        products = basis @ metric @ basis.T
        np.fill_diagonal(products, -np.inf)
        i, j = np.unravel_index(int(np.argmax(products)), (4, 4))
        if products[i, j] <= 1e-10 * scale:
            break
        moved = basis[i].copy()
        for k in range(4):
            if k not in (i, j):
                basis[k] += moved
        basis[i] = -moved  # the four still sum to zero
    sums = np.array([basis[list(chosen)].sum(0) for chosen in _SUBSETS])
    return np.asarray(np.sqrt(np.sort(np.einsum("ni,ij,nj->n", sums, metric, sums))))


def same_lattice(first: Array, second: Array, tolerance: float = 0.003) -> bool:
    """Whether two signatures are the same within a relative tolerance."""
    return bool(np.all(np.abs(first - second) <= tolerance * np.maximum(first, second)))


def superlattice_index(small: Array, large: Array, tolerance: float = 0.003, most: int = 4) -> int:
    """Return the index of ``large`` as a superlattice of ``small`` (2 to ``most``), 0 where it is none.

    Parameters
    ----------
    small, large : ndarray, shape (3, 3)
        Metric tensors of primitive cells; every vector of the large lattice shall be one of the small.
    """
    ratio = float(np.sqrt(np.linalg.det(large) / np.linalg.det(small)))
    index = round(ratio)
    if not 2 <= index <= most or abs(ratio / index - 1) > 3 * tolerance:
        return 0
    wanted = signature(large)
    for basis in _sublattice_bases(index):
        if same_lattice(signature(basis @ small @ basis.T), wanted, tolerance):
            return index
    return 0


def _sublattice_bases(index: int) -> Iterator[Array]:
    """All integer bases of that determinant, one per lattice (Hermite normal forms)."""
    for a in range(1, index + 1):
        for b in range(1, index // a + 1):
            if index % (a * b):
                continue
            c = index // (a * b)
            for i in range(b):
                for j in range(c):
                    for k in range(c):
                        yield np.array([[a, i, j], [0, b, k], [0, 0, c]], float)
