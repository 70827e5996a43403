"""What is linear in a map: intensity scales and a smooth background, solved at every step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline

__all__ = ["Linear", "Projection", "background_basis", "falling_basis", "spline_basis"]

Array = npt.NDArray[np.float64]

_RIDGE = 1e-10

_STEEPEST, _SLOWEST, _FALLS = 20.0, 0.05, 60
"""Fastest and slowest fall of a background, in e-folds over the span of the energies; how many between."""


def spline_basis(energy_meV: Array, functions: int) -> Array:
    """Return cubic B-splines over the energies, closer together where energies are low; shape (functions, m).

    A measured background falls steeply above the elastic line, so knots lie at the squares of equal steps.
    """
    m = len(energy_meV)
    x = (energy_meV - energy_meV[0]) / max(energy_meV[-1] - energy_meV[0], 1e-12)
    if functions < 5 or m < 2 * functions:
        return np.asarray(np.vander(2 * x - 1, max(1, min(functions, 3)), increasing=True).T)
    inner = np.linspace(0, 1, functions - 2) ** 1.5
    knots = np.concatenate([np.zeros(3), inner, np.ones(3)])
    return np.asarray(BSpline.design_matrix(np.clip(x, 0, 1), knots, 3).toarray().T)


def falling_basis(energy_meV: Array, functions: int) -> Array:
    """Return what falls off, from flat to a twentieth of the span of the energies; shape (functions, m).

    The functions that a family of exponentials needs most (its singular vectors). Whatever falls without a
    bend the other way is a sum of such exponentials (Bernstein 1929, Acta Math. 52, 1): five functions meet
    any of the family to 1 % of its height at the first energy.
    """
    x = (energy_meV - energy_meV[0]) / max(energy_meV[-1] - energy_meV[0], 1e-12)
    rates = np.append(0.0, np.geomspace(_SLOWEST, _STEEPEST, _FALLS))
    found = np.linalg.svd(np.exp(-x[:, None] * rates), full_matrices=False)[0]
    return np.asarray(found[:, :functions].T)


def background_basis(
    energy_meV: Array, q_length: Array, functions: int, with_q: bool, falling: bool = False
) -> Array:
    """Return background functions of a map, shape (b, n, m): of E alone, and with_q also times |Q|^2.

    Phonons grow with Q^2; everything else hardly depends on Q. What falls (see :func:`falling_basis`) has a
    flat part that grows with Q^2, splines have some that bend.
    """
    splines = (falling_basis if falling else spline_basis)(energy_meV, functions)
    flat = np.repeat(splines[:, None, :], len(q_length), 1)
    if not with_q or len(q_length) < 8 or np.ptp(q_length) < 0.1 * q_length.max():
        return flat
    rise = (q_length / q_length.max()) ** 2
    few = spline_basis(energy_meV, 1 if falling else max(3 if functions > 3 else 1, functions // 2))
    return np.concatenate([flat, few[:, None, :] * (rise - rise.mean())[None, :, None]])


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A solved linear part.

    Attributes
    ----------
    coefficients : ndarray, shape (s + b,)
        Scales, then background.
    model : ndarray, shape (cells,)
        The whole model.
    signal : ndarray, shape (cells,)
        The excitations' share of it.
    """

    coefficients: Array
    model: Array = field(repr=False)
    signal: Array = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """The linear problem of a map: fixed background functions, and the signal's own.

    Attributes
    ----------
    y : ndarray, shape (cells,)
        Measured intensities.
    root : ndarray, shape (cells,)
        1 / sigma, times a robust weight's root.
    background : ndarray, shape (b, cells)
        Background functions.
    tilt : ndarray, shape (cells,)
        E over the window's end, less its mean: the signal's second function is signal * tilt.
    tilted : bool
        Whether there is that second function.
    trust : ndarray or float
        Share of its weight that each cell has; less than 1 for outliers.
    """

    y: Array = field(repr=False)
    root: Array = field(repr=False)
    background: Array = field(repr=False)
    tilt: Array = field(repr=False)
    tilted: bool = True
    trust: Array | float = field(default=1.0, repr=False)
    _fixed: tuple[Array, Array, Array] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # the background's share of the normal equations is the same at every step of a descent
        weighted = self.background * self.root
        fixed = (weighted, weighted @ weighted.T, weighted @ (self.y * self.root))
        object.__setattr__(self, "_fixed", fixed)

    def solve(self, signal: Array, beside: Array | None = None) -> Projection:
        """Return the best scales and background for a drawn signal (cells,), and others (k, cells)."""
        own = np.stack([signal, signal * self.tilt]) if self.tilted else signal[None]
        if beside is not None and len(beside):
            own = np.concatenate([own, beside])
        s, (weighted, gram, told) = len(own), self._fixed
        mine = own * self.root
        normal = np.empty((s + len(gram),) * 2)
        normal[:s, :s], normal[s:, s:] = mine @ mine.T, gram
        normal[:s, s:] = mine @ weighted.T
        normal[s:, :s] = normal[:s, s:].T
        size = np.sqrt(np.diag(normal))
        size[size == 0] = 1.0  # a function that is nowhere seen: the ridge keeps its coefficient at zero
        normal /= np.outer(size, size)
        normal[np.diag_indices_from(normal)] += _RIDGE
        right = np.concatenate([mine @ (self.y * self.root), told]) / size
        coefficients = np.linalg.solve(normal, right) / size
        seen = coefficients[:s] @ own
        return Projection(coefficients, seen + coefficients[s:] @ self.background, seen)

    def residual(self, solved: Projection) -> Array:
        """Return weighted differences of model and data."""
        return np.asarray((solved.model - self.y) * self.root)

    def chi2(self, solved: Projection) -> float:
        """Return the sum of their squares."""
        found = self.residual(solved)
        return float(found @ found)
