"""Bounded maximum-likelihood fits by Fisher scoring (Levenberg-Marquardt steps on the Poisson deviance)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.descent import climb, inverse
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import Composition, Mode
from streamproc.models.excitations.oscillators.spectrum import Spectrum

__all__ = ["Bounds", "Fitted", "bounds_for", "fit"]

Array = npt.NDArray[np.float64]

_SHARPEST = 0.01
_POISSON = np.empty(0)
"""Variance of counts: it is their expectation."""


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
        return np.sqrt(np.maximum(self.covariance.diagonal(), 0.0))

    @property
    def bic(self) -> float:
        """Bayesian information criterion (Schwarz 1978), but for a constant of the data."""
        return float(self.deviance + len(self.composition) * math.log(self.points))

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
    tall, c = 10 * max(most, 1.0), composition
    line = max(area, tall / forward.elastic_height) if c.elastic else area
    low = [0.05 * fwhm, _SHARPEST * fwhm, 0.0] * c.modes
    low += [0.0] * c.elastic + [-5 * zero_sigma] * c.zero + [0.0] + [-tall] * c.slope
    high = [1.2 * largest, 4 * span, area] * c.modes
    high += [line] * c.elastic + [5 * zero_sigma] * c.zero + [tall] + [tall] * c.slope
    return Bounds(np.array(low, float), np.array(high, float), zero_sigma)


def fit(
    forward: Forward, data: Spectrum, composition: Composition, start: Array, bounds: Bounds, steps: int = 40,
    *, solve: bool = False,
) -> Fitted:  # fmt: skip
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
    solve : bool
        Amplitudes, elastic line and background of the start are not read but solved for, not below zero.
    """
    p = len(composition)
    vector, spectrum, fisher = np.array(start, float), np.empty(forward.points), np.empty((p, p))
    variance = _POISSON if data.variance is None else data.variance
    precision = bounds.zero_sigma**-2 if composition.zero else 0.0
    deviance, pearson, converged, made = climb(
        forward.optics, forward.kT, composition.layout, data.counts, variance, vector, bounds.low,
        bounds.high, precision, steps, solve, spectrum, fisher,
    )  # fmt: skip
    at_bound = (vector <= bounds.low) | (vector >= bounds.high)
    energies = vector[: 3 * composition.modes : 3]
    if composition.modes > 1 and (energies[1:] < energies[:-1]).any():
        places = np.arange(p)
        order = np.argsort(energies, kind="stable")
        places[: 3 * composition.modes] = (3 * order[:, None] + np.arange(3)).ravel()
        vector, fisher, at_bound = vector[places], fisher[np.ix_(places, places)], at_bound[places]
    return Fitted(
        composition=composition,
        vector=vector,
        covariance=_inverse(fisher),
        spectrum=spectrum,
        deviance=deviance,
        pearson=pearson,
        points=data.counts.size,
        converged=converged,
        iterations=made,
        at_bound=at_bound,
    )


def _inverse(fisher: Array) -> Array:
    """Inverse in units of the diagonal; what the data do not say at all gets a very large variance."""
    covariance = np.empty_like(fisher)
    if inverse(fisher, covariance):
        return covariance
    scale = np.sqrt(np.maximum(np.diag(fisher), 1e-60))
    values, vectors = np.linalg.eigh(fisher / np.outer(scale, scale))
    found = (vectors / np.maximum(values, 1e-10)) @ vectors.T
    return np.asarray(found / np.outer(scale, scale))
