"""The classical cross-check: a full-pattern least-squares fit, and what of the pattern it cannot explain.

Scales and background are solved linearly with non-negative least squares; widths, shifts, cells and texture
follow in a few damped Gauss-Newton steps with Gaussian priors (variable projection, Golub & Pereyra 1973). It
needs only the reflection tables in the model's card, numpy and scipy, and is deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from streamproc.models.powder.lines import Drawn, Lines, lines_of

__all__ = ["ClassicalFit", "ClassicalFitter"]

Array = npt.NDArray[np.float64]

_MODEL_ERROR = 0.03
"""Relative error of calculated intensities (texture, graininess, profile); keeps strong lines from ruling."""

_BACKGROUND_DEGREE = 7
_STEPS = 8
_STARTS_FWHM_DEG = (0.12, 0.35)
"""Widths to start from; the second is tried where the fit is still bad."""

_GOOD_CHI2 = 3.0


@dataclass(frozen=True, slots=True)
class ClassicalFit:
    """What the fit says.

    Attributes
    ----------
    fractions, esd : dict of str to float
        Weight fractions among the known phases and their standard deviations.
    r_wp : float
        Weighted profile R factor on counting weights (0 to 1).
    chi2_reduced : float
        Weighted mean square residual; weights hold counting noise and 3 % error of calculated intensities.
    unexplained : float
        Share of the intensity above background (and of its noise) that the fit leaves over, noise taken off.
    crystalline : float
        Share of all measured intensity that the known phases explain.
    """

    fractions: dict[str, float]
    esd: dict[str, float]
    r_wp: float
    chi2_reduced: float
    unexplained: float
    crystalline: float


class ClassicalFitter:
    """Fits patterns prepared for the model.

    Parameters
    ----------
    reference : mapping
        The card's ``reference`` field.
    labels : sequence of str
        Phase names in order.
    start, stop : float
        Ends of the model's axis (degrees 2theta).
    n : int
        Points of the axis.
    """

    def __init__(
        self, reference: Mapping[str, Any], labels: tuple[str, ...], start: float, stop: float, n: int
    ) -> None:
        self._labels = labels
        self._axis = np.linspace(start, stop, n)
        self._lines: Lines = lines_of(reference, labels, self._axis)
        self._background = _background_basis(self._axis)

    def fit(self, x: npt.NDArray[np.float32]) -> ClassicalFit:
        """Fit one pattern.

        Parameters
        ----------
        x : ndarray of float32, shape (n,)
            Pattern as :func:`~streamproc.models.powder.pattern.prepare` gives it: square roots of the
            intensities over their maximum, zeros where nothing was measured.
        """
        measured = _measured(x)
        root = np.asarray(x, float)
        y = root**2
        noise = _noise(root[measured])
        counting = np.maximum(4 * _smooth(y) * noise**2, 1e-10)
        weight = np.where(measured, 1 / np.sqrt(counting + (_MODEL_ERROR * _smooth(y)) ** 2 + 1e-8), 0.0)
        best = None
        for fwhm_deg in _STARTS_FWHM_DEG:
            found = self._refine(y, weight, fwhm_deg)
            best = found if best is None or found[0] < best[0] else best
            if best[0] < _GOOD_CHI2 * measured.sum() or not np.any(best[1][: len(self._labels)]):
                break
        assert best is not None
        _, scales, design = best
        return self._report(y, weight, counting, measured, scales, design)

    def _refine(self, y: Array, weight: Array, fwhm_deg: float) -> tuple[float, Array, Array]:
        """Alternate linear solution and damped steps; returns cost, scales and design rows."""
        start, prior = self._lines.start, self._lines.prior_sigma
        parameters = self._lines.started(fwhm_deg)
        scales, design, drawn = self._linear(y, weight, parameters)
        cost = _cost(y, weight, scales @ design, (parameters - start) / prior)
        damping = 1e-2
        for _ in range(_STEPS):
            step = self._step(y, weight, parameters - start, scales, design, drawn, damping)
            trial = self._lines.bound(parameters + step)
            solution = self._linear(y, weight, trial)
            new_cost = _cost(y, weight, solution[0] @ solution[1], (trial - start) / prior)
            if new_cost < cost:
                done = cost - new_cost < 5e-3 * cost
                parameters, cost, (scales, design, drawn) = trial, new_cost, solution
                damping *= 0.2
                if done:
                    break
            else:
                damping *= 10
        return cost, scales, design

    def _linear(self, y: Array, weight: Array, parameters: Array) -> tuple[Array, Array, Drawn]:
        """Non-negative scales of phases and background; the design matrix by rows."""
        drawn = self._lines.draw(parameters)
        design = np.concatenate([self._lines.profiles(drawn), self._background])
        norm = np.maximum(design.max(1), 1e-12)
        weighted = design * (weight / norm[:, None])
        # the normal equations' Cholesky factor has the same minimiser and 15 rows instead of 2000
        gram = weighted @ weighted.T + 1e-9 * np.eye(len(design))
        factor = np.linalg.cholesky(gram).T
        solution, _ = nnls(factor, np.linalg.solve(factor.T, weighted @ (weight * y)), maxiter=200)
        return solution / norm, design, drawn

    def _step(
        self,
        y: Array,
        weight: Array,
        moved: Array,
        scales: Array,
        design: Array,
        drawn: Drawn,
        damping: float,
    ) -> Array:
        """Gauss-Newton step of the nonlinear parameters; the scales that are not zero move along."""
        jacobian = self._lines.jacobian(drawn, scales[: len(self._labels)]) * weight
        residual = (y - scales @ design) * weight
        active = design[scales > 0] * weight
        active /= np.linalg.norm(active, axis=1, keepdims=True)
        gram = active @ active.T + 1e-9 * np.eye(len(active))
        jacobian = jacobian - np.linalg.solve(gram, active @ jacobian.T).T @ active
        prior = 1 / self._lines.prior_sigma**2
        normal = jacobian @ jacobian.T
        gradient = jacobian @ residual - prior * moved
        normal[np.diag_indices_from(normal)] += prior + damping * np.diag(normal)
        return np.asarray(np.linalg.solve(normal, gradient))

    def _report(
        self,
        y: Array,
        weight: Array,
        counting: Array,
        measured: npt.NDArray[np.bool_],
        scales: Array,
        design: Array,
    ) -> ClassicalFit:
        n = len(self._labels)
        model = scales @ design
        difference = np.where(measured, y - model, 0.0)
        chi2 = float(np.sum((difference * weight) ** 2) / max(1, measured.sum() - len(scales)))
        total = float(scales[:n].sum())
        fractions = scales[:n] / total if total > 0 else np.full(n, np.nan)
        covariance = _covariance(design * weight)[:n, :n]
        esd = _fraction_esd(fractions, total, covariance * max(1.0, chi2))
        counts_weight = np.where(measured, 1 / np.maximum(counting, 1e-7), 0.0)
        background = scales[n:] @ design[n:]
        above = float(np.where(measured, np.maximum(y - background, 0), 0).sum())
        expected = float(np.where(measured, np.sqrt(counting) * np.sqrt(2 / np.pi), 0).sum())
        left_over = max(0.0, float(np.abs(difference).sum() - expected))
        total_weight = float(np.sum(counts_weight * y**2))
        return ClassicalFit(
            fractions=dict(zip(self._labels, map(float, fractions), strict=True)),
            esd=dict(zip(self._labels, map(float, esd), strict=True)),
            r_wp=float(np.sqrt(np.sum(counts_weight * difference**2) / total_weight))
            if total_weight
            else 1.0,
            chi2_reduced=chi2,
            unexplained=min(1.0, left_over / (above + expected)) if above > 0 else 1.0,
            crystalline=float((scales[:n] @ design[:n])[measured].sum() / max(y[measured].sum(), 1e-9)),
        )


def _measured(x: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Points between the first and last that are not zero."""
    inside = np.flatnonzero(x)
    measured = np.zeros(x.size, bool)
    if inside.size:
        measured[inside[0] : inside[-1] + 1] = True
    return measured


def _noise(root: Array) -> float:
    """Standard deviation of the square root of counts, from the median of second differences."""
    if root.size < 8:
        return 0.5
    second = root[2:] - 2 * root[1:-1] + root[:-2]
    return float(max(1e-4, np.median(np.abs(second)) / 0.6745 / np.sqrt(6)))


def _smooth(y: Array) -> Array:
    """Mean over three points, so that weights do not follow single counts."""
    padded = np.concatenate([y[:1], y, y[-1:]])
    return np.asarray((padded[:-2] + padded[1:-1] + padded[2:]) / 3)


def _background_basis(axis: Array) -> Array:
    """Bernstein polynomials (non-negative), air scatter and the humps of common glasses, shape (m, n)."""
    from scipy.special import comb

    t = (axis - axis[0]) / (axis[-1] - axis[0])
    d = _BACKGROUND_DEGREE
    rows = [comb(d, k) * t**k * (1 - t) ** (d - k) for k in range(d + 1)]
    rows.append(np.exp(-t / 0.06))
    rows.extend(np.exp(-4 * np.log(2) * ((axis - c) / w) ** 2) for c, w in ((21.5, 9.0), (28.0, 12.0)))
    return np.array(rows)


def _cost(y: Array, weight: Array, model: Array, prior_pull: Array) -> float:
    return float(np.sum(((y - model) * weight) ** 2) + np.sum(prior_pull**2))


def _covariance(weighted: Array) -> Array:
    """Inverse of the normal matrix of weighted rows, scaled so that small columns keep their digits."""
    norm = np.maximum(np.linalg.norm(weighted, axis=1), 1e-12)
    gram = (weighted / norm[:, None]) @ (weighted / norm[:, None]).T
    return np.asarray(np.linalg.pinv(gram, hermitian=True) / np.outer(norm, norm))


def _fraction_esd(fractions: Array, total: float, covariance: Array) -> Array:
    """Propagate the scales' covariance to fractions s_i / sum(s)."""
    if total <= 0:
        return np.full(fractions.size, np.nan)
    jacobian = (np.eye(fractions.size) - fractions[:, None]) / total
    return np.asarray(np.sqrt(np.clip(np.diag(jacobian @ covariance @ jacobian.T), 0, None)))
