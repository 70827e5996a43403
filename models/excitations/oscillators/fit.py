"""Bounded maximum-likelihood fits by Fisher scoring (Levenberg-Marquardt steps on the Poisson deviance)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import Composition, Mode
from streamproc.models.excitations.oscillators.scoring import propose, score_counts, score_errors
from streamproc.models.excitations.oscillators.spectrum import Spectrum

__all__ = ["Bounds", "Fitted", "bounds_for", "fit"]

Array = npt.NDArray[np.float64]

_FLOOR = 1e-3
"""Least expected count of a channel: an empty background must not weigh without end."""

_SHARPEST = 0.01
_TOLERANCE = 2e-3
"""The descent ends when a step promises less than this of deviance."""


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Limits of the parameters, and what is known of the zero beforehand.

    Attributes
    ----------
    low, high : ndarray, shape (p,)
        Least and largest value of each.
    zero_sigma : float
        Standard deviation of the zero's place about 0 before any data.
    """

    low: Array
    high: Array
    zero_sigma: float


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A maximum of the likelihood.

    Attributes
    ----------
    composition : Composition
        What was fitted.
    vector : ndarray, shape (p,)
        Parameters, in counts of the spectrum; modes in rising energy.
    covariance : ndarray, shape (p, p)
        Inverse Fisher information at the maximum, all parameters free.
    spectrum : ndarray, shape (n,)
        Expected counts.
    deviance : float
        Twice the log-likelihood ratio to the data themselves, with the prior of the zero.
    pearson : float
        Sum of squared residuals over variance.
    points : int
        Number of points.
    converged : bool
        The descent ended by itself.
    iterations : int
        Steps made.
    at_bound : ndarray of bool, shape (p,)
        Parameters that lie on a limit.
    """

    composition: Composition
    vector: Array
    covariance: Array
    spectrum: Array
    deviance: float
    pearson: float
    points: int
    converged: bool
    iterations: int
    at_bound: npt.NDArray[np.bool_]

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The oscillators."""
        return self.composition.modes_of(self.vector)

    @property
    def sigma(self) -> Array:
        """Standard deviation of each parameter."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    @property
    def bic(self) -> float:
        """Bayesian information criterion (Schwarz 1978), but for a constant of the data."""
        return float(self.deviance + len(self.composition) * np.log(self.points))

    @property
    def chi2_reduced(self) -> float:
        """Pearson's chi-square per degree of freedom."""
        return float(self.pearson / max(1, self.points - len(self.composition)))


def bounds_for(forward: Forward, composition: Composition, zero_sigma: float, most: float) -> Bounds:
    """Return limits that follow from the axis and the resolution.

    Parameters
    ----------
    forward : Forward
        Axis and resolution.
    composition : Composition
        What is to be fitted.
    zero_sigma : float
        Prior of the zero (unit of the axis).
    most : float
        Largest intensity of the data; no amplitude makes a peak a hundred times as high.
    """
    fwhm, span = forward.resolution.fwhm, forward.span
    largest = max(abs(forward.energy[0]), abs(forward.energy[-1]))
    area = 100 * max(most, 1.0) * span
    low = np.tile([0.05 * fwhm, _SHARPEST * fwhm, 0.0], composition.modes)
    high = np.tile([1.2 * largest, 4 * span, area], composition.modes)
    rest_low = [0.0] * composition.elastic + [-5 * zero_sigma] * composition.zero + [0.0]
    rest_high = [area] * composition.elastic + [5 * zero_sigma] * composition.zero + [10 * max(most, 1.0)]
    slopes = [10 * max(most, 1.0)] * composition.slope
    return Bounds(
        np.concatenate([low, rest_low, [-s for s in slopes]]),
        np.concatenate([high, rest_high, slopes]),
        zero_sigma,
    )


def fit(
    forward: Forward, data: Spectrum, composition: Composition, start: Array, bounds: Bounds, steps: int = 40
) -> Fitted:
    """Climb to the nearest maximum of the likelihood.

    Parameters
    ----------
    forward : Forward
        Model on the axis of the data.
    data : Spectrum
        What was measured.
    composition : Composition
        What to fit.
    start : ndarray, shape (p,)
        Where to begin; moved inside the limits.
    bounds : Bounds
        Limits.
    steps : int
        At most so many.
    """
    vector = np.clip(start, bounds.low, bounds.high)
    state = _evaluate(forward, data, composition, vector, bounds)
    damping, converged, made = 1e-3, False, 0
    while made < steps:
        proposed = np.empty_like(vector)
        promise = propose(state.fisher, state.gradient, vector, bounds.low, bounds.high, damping, proposed)
        if promise < _TOLERANCE:
            converged = True
            break
        made += 1
        tried = _evaluate(forward, data, composition, proposed, bounds)
        if tried.deviance < state.deviance:
            converged = state.deviance - tried.deviance < _TOLERANCE
            vector, state, damping = proposed, tried, max(damping * 0.2, 1e-9)
            if converged:
                break
        else:
            damping *= 8
            if damping > 1e8:
                break
    return _finish(data, composition, vector, state, bounds, converged, made)


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    spectrum: Array
    deviance: float
    gradient: Array
    fisher: Array
    variance: Array


def _evaluate(forward: Forward, data: Spectrum, c: Composition, vector: Array, bounds: Bounds) -> _State:
    spectrum, derivatives = forward(c, vector)
    gradient, fisher = np.empty(len(c)), np.empty((len(c), len(c)))
    if data.variance is None:
        deviance = score_counts(spectrum, derivatives, data.counts, _FLOOR, gradient, fisher)
        variance = spectrum
    else:
        variance = data.variance
        deviance = score_errors(spectrum, derivatives, data.counts, variance, gradient, fisher)
    if c.zero:
        k = 3 * c.modes + c.elastic
        precision = bounds.zero_sigma**-2
        deviance += vector[k] ** 2 * precision
        gradient[k] -= vector[k] * precision
        fisher[k, k] += precision
    return _State(spectrum, float(deviance), gradient, fisher, variance)


def _finish(
    data: Spectrum, c: Composition, vector: Array, state: _State, bounds: Bounds, converged: bool, made: int
) -> Fitted:
    order = np.argsort(vector[: 3 * c.modes : 3], kind="stable")
    places = np.arange(len(c))
    places[: 3 * c.modes] = (3 * order[:, None] + np.arange(3)).ravel()
    return Fitted(
        composition=c,
        vector=vector[places],
        covariance=_inverse(state.fisher[np.ix_(places, places)]),
        spectrum=state.spectrum,
        deviance=state.deviance,
        pearson=float(((data.counts - state.spectrum) ** 2 / state.variance).sum()),
        points=data.counts.size,
        converged=converged,
        iterations=made,
        at_bound=((vector <= bounds.low) | (vector >= bounds.high))[places],
    )


def _inverse(fisher: Array) -> Array:
    """Inverse in units of the diagonal; what the data do not say at all gets a very large variance."""
    scale = np.sqrt(np.maximum(np.diag(fisher), 1e-60))
    values, vectors = np.linalg.eigh(fisher / np.outer(scale, scale))
    inverse = (vectors / np.maximum(values, 1e-10)) @ vectors.T
    return np.asarray(inverse / np.outer(scale, scale))
