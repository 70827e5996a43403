"""What is linear in a map: intensity scales and a smooth background, solved at every step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline

from streamproc.compiling import machine_code

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
        own = self._own(signal, beside)
        return Projection(*_solved(own, self.root, self.y, self.background, *self._fixed))

    def slopes(
        self, solved: Projection, signal: Array, beside: Array, change: Array, beside_change: Array
    ) -> Array:
        """Return how weighted residuals change with some numbers, shape (numbers, cells).

        Scales and background, solved anew, change along (Golub & Pereyra 1973, SIAM J. Numer. Anal. 10,
        413): the derivative of what a step leaves over, not of the map at fixed scales.

        Parameters
        ----------
        solved : Projection
            The linear part, solved.
        signal, beside : ndarray, shapes (cells,) and (k, cells)
            What was drawn.
        change, beside_change : ndarray, shapes (numbers, cells) and (numbers, k, cells)
            Their slopes.
        """
        own, mine, told = 1 + self.tilted, self._own(signal, beside) * self.root, self._fixed[0]
        s, scales, weighted = len(mine), solved.coefficients, self.residual(solved) * self.root
        factor = scales[0] + scales[1] * self.tilt if self.tilted else scales[:1]
        lead, left = change * (factor * self.root), np.empty((len(change), s))
        left[:, 0] = change @ weighted
        if self.tilted:
            left[:, 1] = change @ (weighted * self.tilt)
        if s > own:
            lead += np.tensordot(beside_change, scales[own:s], (1, 0)) * self.root
            left[:, own:] = beside_change @ weighted
        normal, size = _normal(mine, *self._fixed[:2])
        right = -np.concatenate([left + lead @ mine.T, lead @ told.T], 1)
        along = np.linalg.solve(normal, (right / size).T).T / size
        lead += along[:, :s] @ mine
        lead += along[:, s:] @ told
        return lead

    def _own(self, signal: Array, beside: Array | None) -> Array:
        """The signal's functions, shape (s, cells)."""
        own = np.stack([signal, signal * self.tilt]) if self.tilted else signal[None]
        if beside is not None and len(beside):
            own = np.concatenate([own, beside])
        return own

    def residual(self, solved: Projection) -> Array:
        """Return weighted differences of model and data."""
        return np.asarray((solved.model - self.y) * self.root)

    def chi2(self, solved: Projection) -> float:
        """Return the sum of their squares."""
        found = self.residual(solved)
        return float(found @ found)


@machine_code(error_model="numpy")
def _normal(mine: Array, weighted: Array, gram: Array) -> tuple[Array, Array]:
    """Normal equations of weighted functions, and of the background, over the functions' sizes; those."""
    s, b = len(mine), len(gram)
    normal = np.empty((s + b, s + b))
    normal[:s, :s], normal[s:, s:] = mine @ mine.T, gram
    normal[:s, s:] = mine @ weighted.T
    normal[s:, :s] = normal[:s, s:].T
    size = np.sqrt(np.diag(normal))
    for k in range(s + b):
        if size[k] == 0.0:  # a function that is nowhere seen: the ridge keeps its coefficient at zero
            size[k] = 1.0
    normal /= size
    normal /= size.reshape(-1, 1)
    for k in range(s + b):
        normal[k, k] += _RIDGE
    return normal, size


@machine_code(error_model="numpy")
def _solved(
    own: Array, root: Array, y: Array, background: Array, weighted: Array, gram: Array, told: Array
) -> tuple[Array, Array, Array]:
    """Coefficients, model and the signal's share, by Cholesky's decomposition of the normal equations."""
    s, mine = len(own), own * root
    lower, size = _normal(mine, weighted, gram)
    x = np.concatenate((mine @ (y * root), told)) / size
    for i in range(len(x)):
        for j in range(i + 1):
            left = lower[i, j]
            for k in range(j):
                left -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(left) if i == j else left / lower[j, j]
        for k in range(i):
            x[i] -= lower[i, k] * x[k]
        x[i] /= lower[i, i]
    for i in range(len(x) - 1, -1, -1):
        for k in range(i + 1, len(x)):
            x[i] -= lower[k, i] * x[k]
        x[i] /= lower[i, i]
    x /= size
    seen = x[:s] @ own
    return x, seen + x[s:] @ background, seen
