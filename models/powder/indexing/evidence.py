"""How well a cell explains observed lines: Bayesian evidence.

Observed lines and predicted lines are point sets on the axis. Given a cell, each of its M distinct lines in
the measured range is seen with one unknown probability (uniform prior); n are, each displaced by a normal
error of unknown size; the other observed lines are impurities anywhere. Cell and shifts are integrated
out (Laplace), so that a cell pays for each free parameter and for each line it predicts in vain. Without a
cell all lines may be anywhere. How far the result can be trusted is measured by simulation (:mod:`.index`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, gammaln, logsumexp
from streamproc.models.powder.indexing.forms import CENTRINGS, System, allowed, cell_of, coefficients
from streamproc.models.powder.indexing.observed import Observed

__all__ = ["Fitted", "Observed", "evaluate", "log_evidence_of_none"]

Array = npt.NDArray[np.float64]

_SYSTEMATIC = np.array([0.03, 0.07, 0.15, 0.3])
"""Systematic position errors considered, in widths of a line."""

_SHIFT_WIDTHS = np.array([0.3, 0.5])
"""Standard deviations of the zero shift and of the specimen's displacement (times cos(theta)), in widths."""

_LENGTHS_A = (2.0, 40.0)
"""Cell edges looked for: no lattice has atoms nearer than the shortest, and larger cells need better data."""

_REACH_SIGMA = 3.5
_MAD = 1.4826
_IMPURITY = (0.02, 0.28)
"""Prior probability that a line is an impurity: of a strong one, and what the weakest have on top."""

_WEAK = 0.05


@dataclass(frozen=True, slots=True)
class Fitted:
    """A cell fitted to the lines.

    Attributes
    ----------
    system : System
        Lattice system.
    centring : str
        Lattice type.
    parameters, sigma : ndarray, shape (p,)
        Parameters of the quadratic form and their standard deviations.
    cell : ndarray, shape (6,)
        a, b, c (angstrom), alpha, beta, gamma (degrees).
    cell_sigma : ndarray, shape (6,)
        Standard deviations; 0 where fixed.
    shift_deg : ndarray, shape (2,)
        Zero shift, and shift by displacement at theta = 0 (degrees).
    log_evidence : float
        Natural logarithm of the evidence.
    log_fit : float
        The part of it that is no payment for parameters.
    predicted_deg : ndarray, shape (m,)
        Distinct lines predicted in the measured range.
    line_of : ndarray of int, shape (n,)
        Predicted line of each observed one; -1 for an impurity.
    """

    system: System
    centring: str
    parameters: Array
    sigma: Array
    cell: Array
    cell_sigma: Array
    shift_deg: Array
    log_evidence: float
    log_fit: float
    predicted_deg: Array
    line_of: npt.NDArray[np.int64]

    @property
    def indexed(self) -> int:
        """Number of observed lines that are explained."""
        return int((self.line_of >= 0).sum())


def log_evidence_of_none(lines: Observed) -> float:
    """Return the evidence of lines anywhere: a Poisson process of unknown rate (log-uniform prior)."""
    n = lines.x_deg.size
    return float(gammaln(n) - n * np.log(lines.range_deg) - np.log(np.log(100.0)))


def evaluate(system: System, parameters: Array, centring: str, lines: Observed) -> Fitted | None:
    """Fit a cell and the shifts of the axis to the lines, and weigh it; None where too few are explained.

    Parameters
    ----------
    system, centring
        Lattice system and type.
    parameters : ndarray, shape (p,)
        Start values.
    lines : Observed
        Lines to explain.
    """
    p, shift = np.asarray(parameters, float), np.zeros(2)
    reach_deg = 0.5 * lines.width_deg + 2 * lines.sigma_deg
    for turn in range(5):
        drawn = _predict(system, p, centring, lines, shift)
        if drawn is None:
            return None
        form, position, line, heads = drawn
        chosen, line_of = _assign(lines, position, line, reach_deg)
        use = line_of >= 0
        if use.sum() < system.free + 1:
            return None
        design = _design(form[chosen[use]], lines, use)
        if not _determined(design[:, :-2]):
            return None
        sigma = np.hypot(lines.sigma_deg[use], 0.1 * lines.width_deg)
        solution, _, _ = _solve(design, lines.q[use] / lines.slope[use], sigma, lines)
        p, shift = solution[:-2], solution[-2:]
        if not _is_cell(system, p):
            return None
        if turn >= 2:
            # a line far off, as the others go, is another phase's
            off = np.abs(lines.q[use] / lines.slope[use] - design @ solution)
            spread = np.clip(_MAD * float(np.median(off)), *(_SYSTEMATIC[[0, 2]] * lines.width_deg))
            reach_deg = _REACH_SIGMA * np.hypot(lines.sigma_deg, spread)
    return _weigh(system, p, centring, lines, shift, form[chosen], line_of, heads)


def _predict(
    system: System, p: Array, centring: str, lines: Observed, shift: Array
) -> tuple[Array, Array, npt.NDArray[np.int64], Array] | None:
    """Forms and positions of all reflections, the distinct line each belongs to, and where those are."""
    top_deg = float(lines.x_deg[-1]) + 0.5 * lines.resolution_deg
    low_deg = min(lines.first_deg, float(lines.x_deg[0]) - lines.resolution_deg)
    q_of = [
        (2 * np.sin(np.deg2rad(max(x - float(shift.sum()), 0.0)) / 2) / lines.wavelength_A) ** 2
        for x in (low_deg, top_deg)
    ]
    hkl = _reflections(system, p, q_of[1] * 1.01)
    if hkl is None:
        return None
    hkl = hkl[allowed(hkl, centring)]
    form = coefficients(system, hkl)
    q = form @ p
    inside = (q >= q_of[0]) & (q <= q_of[1] * 1.005)
    form, q = form[inside], q[inside]
    order = np.argsort(q, kind="stable")
    form, q = form[order], q[order]
    half = np.arcsin(np.clip(lines.wavelength_A * np.sqrt(q) / 2, 0, 1))
    position = np.rad2deg(2 * half) + shift[0] + shift[1] * np.cos(half)
    if not position.size:
        return None
    fresh = np.concatenate([[True], np.diff(position) > 0.5 * lines.resolution_deg])
    return form, position, np.cumsum(fresh) - 1, position[fresh]


def _reflections(system: System, p: Array, q_top: float) -> npt.NDArray[np.int64] | None:
    """Indices with 1/d^2 <= q_top, one per equivalent set at least; None for absurdly large cells."""
    cell = cell_of(system, p)
    reach = np.floor(cell[:3] * np.sqrt(q_top)).astype(int) + 1
    if np.prod(reach + 1.0) * (2 if system.name == "monoclinic" else 1) > 60_000:
        return None
    low = -reach[0] if system.name == "monoclinic" else 0
    grid = np.stack(
        np.meshgrid(
            np.arange(low, reach[0] + 1), np.arange(reach[1] + 1), np.arange(reach[2] + 1), indexing="ij"
        ),
        -1,
    ).reshape(-1, 3)
    h, k, ell = grid[:, 0], grid[:, 1], grid[:, 2]
    keep = (h != 0) | (k != 0) | (ell != 0)
    if system.name == "cubic":
        keep &= (h <= k) & (k <= ell)
    elif system.name == "tetragonal":
        keep &= h <= k
    elif system.name == "monoclinic":
        keep &= (ell > 0) | (h >= 0)
    if system.name == "hexagonal":  # obverse extinctions tell (h k l) from (k h l)
        grid = grid[keep]
        mirrored = np.stack([grid[:, 0], grid[:, 1], -grid[:, 2]], 1)
        return np.concatenate([grid, mirrored[grid[:, 2] > 0]])
    return grid[keep]


def _assign(
    lines: Observed, position: Array, line: npt.NDArray[np.int64], reach_deg: Array
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Nearest reflection of each observed line, and its distinct line; each is used once, by the nearest."""
    after = np.clip(np.searchsorted(position, lines.x_deg), 1, max(position.size - 1, 1))
    after = np.minimum(after, position.size - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(lines.x_deg - position[before]) <= np.abs(lines.x_deg - position[after])
    chosen = np.where(nearer, before, after)
    off = np.abs(lines.x_deg - position[chosen])
    line_of = np.where(off <= reach_deg, line[chosen], -1)
    for value in np.unique(line_of[line_of >= 0]):
        rivals = np.flatnonzero(line_of == value)
        if rivals.size > 1:
            line_of[np.delete(rivals, int(np.argmin(off[rivals])))] = -1
    return chosen, line_of


def _design(form: Array, lines: Observed, use: npt.NDArray[np.bool_]) -> Array:
    """Rows in degrees: 1/d^2 over its slope, zero shift and displacement (Q(x - z) = Q(x) - slope z)."""
    cosine = np.cos(np.deg2rad(lines.x_deg[use]) / 2)
    return np.concatenate([form / lines.slope[use, None], np.ones((cosine.size, 1)), cosine[:, None]], 1)


def _determined(design: Array) -> bool:
    """Whether the lines fix all parameters of the cell."""
    length = np.linalg.norm(design, axis=0)
    if not np.all(length > 0):
        return False
    unit = design / length
    return bool(np.linalg.eigvalsh(unit.T @ unit)[0] > 1e-6)


def _solve(design: Array, target: Array, sigma: Array, lines: Observed) -> tuple[Array, Array, float]:
    """Solution, covariance and log-determinant of the latter, with the priors of the shifts."""
    weighted = design / sigma[:, None]
    normal = weighted.T @ weighted
    normal[[-2, -1], [-2, -1]] += (_SHIFT_WIDTHS * lines.width_deg) ** -2.0
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    unit = normal / np.outer(scale, scale) + 1e-12 * np.eye(scale.size)
    covariance = np.linalg.inv(unit) / np.outer(scale, scale)
    log_det = -float(np.linalg.slogdet(unit)[1]) - 2 * float(np.log(scale).sum())
    return covariance @ (weighted.T @ (target / sigma)), covariance, log_det


def _is_cell(system: System, p: Array) -> bool:
    axes = p[: min(system.free, 3)]
    if not np.all(np.isfinite(p)) or np.any(axes <= _LENGTHS_A[1] ** -2):
        return False
    if system.name == "monoclinic" and p[3] ** 2 >= 3.6 * p[0] * p[2]:
        return False
    return bool(cell_of(system, p)[:3].min() >= _LENGTHS_A[0])


def _weigh(
    system: System, p: Array, centring: str, lines: Observed, shift: Array, form: Array,
    line_of: npt.NDArray[np.int64], heads: Array,
) -> Fitted:  # fmt: skip
    """Evidence of the cell, the systematic error summed over."""
    use = line_of >= 0
    n, seen = int(use.sum()), max(heads.size, int(use.sum()))
    design = _design(form[use], lines, use)
    target = lines.q[use] / lines.slope[use]
    likelihoods, corrections, spreads = [], [], []
    for systematic in _SYSTEMATIC * lines.width_deg:
        sigma = np.hypot(lines.sigma_deg[use], systematic)
        solution, covariance, log_det = _solve(design, target, sigma, lines)
        residual = (target - design @ solution) / sigma
        z = solution[-2:] / (_SHIFT_WIDTHS * lines.width_deg)
        likelihoods.append(
            -0.5 * float(residual @ residual)
            - float(np.log(sigma * np.sqrt(2 * np.pi)).sum())
            - 0.5 * float(z @ z)
        )
        corrections.append(
            0.5 * solution.size * np.log(2 * np.pi) + 0.5 * log_det
            - float(np.log(_SHIFT_WIDTHS * lines.width_deg * np.sqrt(2 * np.pi)).sum())
        )  # fmt: skip
        spreads.append((solution, covariance))
    best = int(np.argmax(np.array(likelihoods) + corrections))
    share = -np.log(_SYSTEMATIC.size)
    shared = float(betaln(n + 1, seen - n + 1)) + _impurities(lines, use)
    log_evidence = float(logsumexp(np.array(likelihoods) + corrections)) + share + shared
    solution, covariance = spreads[best]
    if _is_cell(system, solution[:-2]):
        p, shift = solution[:-2], solution[-2:]
    sigma_p = np.sqrt(np.maximum(np.diag(covariance)[:-2], 0.0))
    return Fitted(
        system, centring, p, sigma_p, cell_of(system, p), _cell_sigma(system, p, covariance[:-2, :-2]), shift,
        log_evidence + _log_prior(system, p), float(logsumexp(likelihoods)) + share + shared, heads, line_of,
    )  # fmt: skip


def _impurities(lines: Observed, use: npt.NDArray[np.bool_]) -> float:
    """Log-probability of which lines are impurities and where they lie."""
    chance = _IMPURITY[0] + _IMPURITY[1] * np.exp(-lines.strength / _WEAK)
    k = int((~use).sum())
    which = float(np.log(chance[~use]).sum() + np.log1p(-chance[use]).sum())
    return which + float(gammaln(k + 1)) - k * float(np.log(lines.range_deg))


def _log_prior(system: System, p: Array) -> float:
    """Log-density of the parameters: lengths log-uniform from 2 to 40 A, the monoclinic net reduced."""
    per_axis = np.log(2 * np.log(_LENGTHS_A[1] / _LENGTHS_A[0]))
    axes = min(system.free, 3)
    value = (
        -float(np.log(p[:axes]).sum()) - axes * float(per_axis) - float(np.log(len(CENTRINGS[system.name])))
    )
    if system.name == "orthorhombic":
        value += float(np.log(6))
    if system.name == "monoclinic":
        value += float(np.log(2)) - float(np.log(min(p[0], p[2])))
    return value


def _cell_sigma(system: System, p: Array, covariance: Array) -> Array:
    """Propagate the parameters' covariance to the cell (numerical derivatives)."""
    centre = cell_of(system, p)
    delta = 1e-4 * np.maximum(np.abs(p), 1e-3 * p[0])
    jacobian = np.stack(
        [(cell_of(system, p + d) - centre) / step for step, d in zip(delta, np.diag(delta), strict=True)], 1
    )
    return np.asarray(np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", jacobian, covariance, jacobian), 0.0)))
