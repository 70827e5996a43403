"""Least squares over a whole map, and the posterior of the couplings around every minimum that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.maps.container import SqeMap, averaged
from streamproc.models.excitations.maps.descent import Found
from streamproc.models.excitations.maps.fit import WIDTHS, MapFitter
from streamproc.models.excitations.maps.fitted import FitSettings, MapFit
from streamproc.models.excitations.maps.noise import variance_per_intensity
from streamproc.models.excitations.maps.prior import folded, off_zero
from streamproc.models.excitations.maps.sampling import Guess, Sampled, interval_of, sample
from streamproc.models.excitations.maps.widths import Widths
from streamproc.models.excitations.spinmodel.case import SpinCase

from streamproc.errors import FrameFailed

__all__ = ["Posterior", "Refinement", "guess_of", "posterior_of", "refine_map"]

Array = npt.NDArray[np.float64]

_COLUMNS, _POINTS, _FEW_POINTS = 220, 16, 10
"""Columns that are left of a map; points of each for its width in Q, and with many columns, which complete
each other."""

_TOLERANCE = 1e-4

_BETTER = 2.0
"""A draw whose log likelihood is so much higher than the fit's begins another descent."""

_CALIBRATED = 1.08
"""Posteriors of simulated scans are this much too narrow: few draws, and a noise that is itself estimated."""

_FEWEST_EFFECTIVE = 8.0
"""With fewer draws of weight, the curvature at the best minimum is what is said."""

_SAME = 0.04
"""Places nearer than this are one."""

_RIVAL = 25.0
"""A minimum whose chi-square is higher by more than this says nothing."""

_PRIOR_PRECISION = 12.0
"""Inverse variance of a uniform distribution of length 1: a direction that the map does not tell."""

_FEWEST, _MOST, _WORK, _LIGHT = 96, 480, 1.8e6, 3750
"""Draws: so many at least and at most, between them such work over the map's cells (and what each costs
whatever the map)."""

_LARGE = 8000
"""Cells of a map that tells so much that its valley is short, and straight."""

_NETWORK_WEIGHT = 0.35
"""Share of draws where the network points, over those around one minimum."""


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """What is known of the couplings, in the model's unit of energy.

    Attributes
    ----------
    mean : ndarray, shape (p,)
        Of the free couplings.
    covariance : ndarray, shape (p, p)
        Of them.
    interval90 : ndarray, shape (p, 2)
        Central intervals.
    minima : int
        Minima that were drawn around.
    sampled : Sampled
        The draws.
    """

    mean: Array
    covariance: Array = field(repr=False)
    interval90: Array = field(repr=False)
    minima: int
    sampled: Sampled = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """A fit of a map, the posterior around it, what fitted it and the widths it began with."""

    fit: MapFit = field(repr=False)
    posterior: Posterior
    fitter: MapFitter = field(repr=False)
    widths: Widths


def refine_map(
    case: SpinCase, measured: SqeMap, widths: Widths, starts: Sequence[Array], network: Guess | None = None
) -> Refinement:
    """Fit a map at its own resolution from each start, and draw around every minimum that counts.

    Parameters
    ----------
    case : SpinCase
        Model.
    measured : SqeMap
        Energies in the model's unit.
    widths : Widths
        To begin with.
    starts : sequence of ndarray, shape (p,)
        Free couplings.
    network : Guess, optional
        What the network says, as places in the prior.

    Raises
    ------
    FrameFailed
        Too little is measured, or the order is unstable at every start.
    """
    fine, per = averaged(measured, _COLUMNS), variance_per_intensity(measured, _COLUMNS)
    points = _POINTS if len(fine.q_rlu) <= _COLUMNS // 3 else _FEW_POINTS
    fitter = MapFitter(case, fine, FitSettings(tolerance=_TOLERANCE), points, per)
    first, *others = [np.asarray(s, dtype=float) for s in starts]
    found = fitter.descents(first[None], widths)
    for start in others:
        if not found or not _near(case, start, found):
            found += fitter.descents(start[None], widths)
    if not found:
        raise FrameFailed("the assumed magnetic order is unstable at every start of the fit")
    found += _off_zero(fitter, min(found, key=lambda f: f.chi2), widths)
    fit, minima = _minima(fitter, found, widths)
    posterior = posterior_of(fitter, fit, minima, widths, network)
    if _better(posterior.sampled, fitter, fit, widths):
        best = case.parameters.values_at(_top(posterior.sampled)[None, : len(first)])
        found += fitter.descents(best, replace(widths, **_named(fit, _top(posterior.sampled))))
        fit, minima = _minima(fitter, found, widths)
        posterior = posterior_of(fitter, fit, minima, widths, network)
    return Refinement(fit, posterior, fitter, widths)


def _top(sampled: Sampled) -> Array:
    return np.asarray(sampled.places[int(np.argmax(sampled.likelihood))])


def _better(sampled: Sampled, fitter: MapFitter, fit: MapFit, widths: Widths) -> bool:
    """Whether a draw fits better than the fit: it stopped too early, and its curvature misleads."""
    assert fit.linear is not None
    own = -0.5 * fitter.chi2_at(fit.places, widths, fit.linear) / max(1.0, fit.chi2_reduced)
    return bool(sampled.likelihood.max() > own + _BETTER)


def _named(fit: MapFit, place: Array) -> dict[str, float]:
    """Return the widths of a draw by name."""
    p = len(fit.free) - sum(n in WIDTHS for n in fit.free)
    return dict(zip(fit.free[p:], map(float, place[p:]), strict=True))


def _off_zero(fitter: MapFitter, best: Found, widths: Widths) -> list[Found]:
    """Descend once more where the best descent ended at a zero: a saddle looks like a minimum from there."""
    parameters = fitter.case.parameters
    place = folded(parameters, best.x[None, : len(parameters.free)])
    if np.allclose(off_zero(parameters, place), place):
        return []
    again = fitter.descents(parameters.values_at(2 * off_zero(parameters, place) - place), widths)
    return [f for f in again if f.chi2 < best.chi2 + _RIVAL]


def _near(case: SpinCase, start: Array, found: Sequence[Found]) -> bool:
    """Whether a start lies where a descent has ended already."""
    ends = np.stack([f.x[: len(start)] for f in found])
    return bool((np.abs(ends - case.parameters.places_of(start[None])).max(1) < _SAME).any())


def _minima(fitter: MapFitter, found: Sequence[Found], widths: Widths) -> tuple[MapFit, list[MapFit]]:
    """Return the best fit, and all that come near it with the best one's weights."""
    best, *others = fitter.settled(found, widths)
    bounds = fitter.bounds()
    fit = fitter.finished(best, widths, bounds)
    limit = best.chi2 + _RIVAL * max(1.0, fit.chi2_reduced)
    kept = [fit]
    for f in others:
        again = any(np.abs(f.x - k.places).max() < 0.5 * _SAME for k in kept)
        if f.chi2 < limit and not again:
            kept.append(fitter.finished(f, widths, bounds))
    return fit, kept


def guess_of(place: Array, covariance: Array, box: tuple[Array, Array]) -> Guess:
    """Return a place with its curvature; a direction that the map does not tell is as wide as the prior."""
    prior = np.diag(_PRIOR_PRECISION / (box[1] - box[0]) ** 2)
    return Guess(place, np.linalg.inv(np.linalg.inv(covariance) + prior))


def posterior_of(
    fitter: MapFitter, fit: MapFit, minima: Sequence[MapFit], widths: Widths, network: Guess | None
) -> Posterior:
    """Draw couplings and widths around the minima and where the network points; weight each by the map."""
    case = fitter.case
    p, box = len(case.parameters.free), _box(fitter)
    guesses = [guess_of(m.places, m.place_covariance, box) for m in minima]
    noise = max(1.0, fit.chi2_reduced)
    linear = fit.linear
    assert linear is not None

    def log_likelihood(places: Array) -> Array:
        found = np.full(len(places), -np.inf)
        for k in np.flatnonzero(((places >= box[0]) & (places <= box[1])).all(1)):
            found[k] = -0.5 * fitter.chi2_at(places[k], widths, linear) / noise
        return found

    given = [*guesses, _with_widths(network, guesses[0], box)] if network is not None else guesses
    draws = int(np.clip(_WORK / (fit.model.size + _LIGHT), _FEWEST, _MOST))

    def curvature(place: Array) -> Array:
        return guess_of(place, fitter.covariance_at(place, widths, linear) * noise, box).covariance

    bent = curvature if fit.model.size < _LARGE else None
    drawn = sample(log_likelihood, given, box, draws, bent)
    if drawn.effective < _FEWEST_EFFECTIVE:
        return _normal_posterior(fit, p, len(minima), drawn)
    values = case.parameters.values_at(drawn.places[:, :p])
    mean = drawn.weights @ values
    away = values - mean
    covariance = _CALIBRATED**2 * (drawn.weights[:, None] * away).T @ away + 1e-18 * np.eye(p)
    ends = np.array([interval_of(v, drawn.weights) for v in values.T])
    ends = mean[:, None] + _CALIBRATED * (ends - mean[:, None])
    for k, name in enumerate(case.parameters.free):
        if 0 in (case.parameters.tables[name].range or ()):  # the order needs a sign
            ends[k] = np.clip(ends[k], *((0.0, np.inf) if mean[k] > 0 else (-np.inf, 0.0)))
    return Posterior(mean, covariance, ends, len(minima), drawn)


def _normal_posterior(fit: MapFit, p: int, minima: int, drawn: Sampled) -> Posterior:
    """Return the best minimum with its curvature."""
    mean, covariance = fit.best[:p], fit.covariance[:p, :p]
    half = 1.645 * np.sqrt(np.diag(covariance))
    return Posterior(mean, covariance, np.stack([mean - half, mean + half], 1), minima, drawn)


def _box(fitter: MapFitter) -> tuple[Array, Array]:
    """Ends of the prior: the fit's bounds, and zero where a range ends there."""
    bounds, parameters = fitter.bounds(), fitter.case.parameters
    low, high = bounds.low.copy(), bounds.high.copy()
    for k, name in enumerate(parameters.free):
        ends = parameters.tables[name].range or (0.0, 1.0)
        low[k], high[k] = 0.0 if ends[0] == 0 else low[k], 1.0 if ends[1] == 0 else high[k]
    return low, high


def _with_widths(network: Guess, minimum: Guess, box: tuple[Array, Array]) -> Guess:
    """Return the network's answer with the widths of a minimum, loosely."""
    p, n = len(network.centre), len(minimum.centre)
    covariance = np.diag((0.2 * (box[1] - box[0])) ** 2)
    covariance[:p, :p] = network.covariance
    return Guess(np.concatenate([network.centre, minimum.centre[p:n]]), covariance, _NETWORK_WEIGHT)
