"""What is known of the couplings: draws around the minima of a fit, each weighted by the whole map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.maps.emulation import emulated
from streamproc.models.excitations.maps.fit import MapFitter
from streamproc.models.excitations.maps.fitted import MapFit
from streamproc.models.excitations.maps.prior import OFF_ZERO, off_zero, slope_of
from streamproc.models.excitations.maps.sampling import Guess, Sampled, interval_of, sample
from streamproc.models.excitations.maps.widths import Widths

__all__ = ["LARGE", "TOLD", "Posterior", "posterior_of"]

Array = npt.NDArray[np.float64]

LARGE = 8000
"""Cells of a map that tells so much that its valley is short, and straight."""

_CALIBRATED = 1.08
"""Posteriors of simulated scans are this much too narrow: few draws, and a noise that is itself estimated."""

_FEWEST_EFFECTIVE = 8.0
"""With fewer draws of weight, the curvature at the best minimum is what is said."""

TOLD = 0.12
"""Standard deviation of a parameter that a map tells, in parts of the prior's range."""

_FAR, _ALIKE = 1.6, 0.25
"""A posterior is normal where so many standard deviations along each axis lower the likelihood by what they
should, to this share."""

_PRIOR_PRECISION = 12.0
"""Inverse variance of a uniform distribution of length 1: a direction that the map does not tell."""

_FEWEST, _MOST, _MOST_SMOOTH, _WORK, _LIGHT = 96, 480, 400, 1.8e6, 3750
"""Draws: so many at least and at most (where valleys are smooth), between them such work over the map's cells
(and what each costs whatever the map)."""

_ENOUGH = 80.0
"""Effective draws that end the drawing where valleys are smooth: sigmas are then known to 8 %."""

_HALVINGS, _HELD_STEPS, _RISES = 4, 3, 3.0
"""Beside a zero it is looked where chi-square has risen by no more than this; so often half as far."""

_FORETELLING = 112
"""Draws that foretell the others."""

_NETWORK_WEIGHT, _TOLD_WEIGHT = 0.35, 0.1
"""Share of draws where the network points, over those around one minimum; and where the map tells all."""


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


def guess_of(place: Array, covariance: Array, box: tuple[Array, Array]) -> Guess:
    """Return a place with its curvature; a direction that the map does not tell is as wide as the prior."""
    prior = np.diag(_PRIOR_PRECISION / (box[1] - box[0]) ** 2)
    return Guess(place, np.linalg.inv(np.linalg.inv(covariance) + prior))


def posterior_of(
    fitter: MapFitter,
    fit: MapFit,
    minima: Sequence[MapFit],
    widths: Widths,
    network: Guess | None,
    draft: MapFitter | None = None,
) -> Posterior:
    """Draw couplings and widths around the minima and where the network points; weight each by the map.

    Where valleys are smooth and there is one minimum, a hundred draws (with a draft's model, if there is
    one: a coarser and faster one) foretell the others, if a trial of them does not say otherwise.
    """
    case = fitter.case
    p, box = len(case.parameters.free), _box(fitter)
    guesses = [guess_of(m.places, m.place_covariance, box) for m in minima]
    noise = max(1.0, fit.chi2_reduced)
    linear = fit.linear
    assert linear is not None
    guesses += [g for m in minima if (g := _beside_zero(fitter, m, widths, box, noise)) is not None]

    def likelihood_of(model: MapFitter) -> Callable[[Array], Array]:
        def log_likelihood(places: Array) -> Array:
            found = np.full(len(places), -np.inf)
            for k in np.flatnonzero(((places >= box[0]) & (places <= box[1])).all(1)):
                found[k] = -0.5 * model.chi2_at(places[k], widths, linear) / noise
            return found

        return log_likelihood

    log_likelihood = likelihood_of(fitter)

    told = case.normal_where_told and len(minima) == 1 and _is_told(fit, p)
    weight, given = _TOLD_WEIGHT if told else _NETWORK_WEIGHT, guesses
    if network is not None:
        given = [*guesses, _with_widths(network, guesses[0], box, weight)]
    most = _MOST_SMOOTH if case.normal_where_told else _MOST
    draws = int(np.clip(_WORK / (fit.model.size + _LIGHT), _FEWEST, most))

    def curvature(place: Array) -> Array:
        return guess_of(place, fitter.covariance_at(place, widths, linear) * noise, box).covariance

    if told and _is_normal(log_likelihood, fit, p, box):
        drawn = Sampled(fit.places[None], np.ones(1), log_likelihood(fit.places[None]))
        return _normal_posterior(fitter, fit, 1, drawn, box)
    bent = curvature if fit.model.size < LARGE else None
    enough = _ENOUGH if case.normal_where_told else np.inf
    found = None
    if case.normal_where_told and len(minima) == 1:
        first = sample(likelihood_of(draft or fitter), given, box, _FORETELLING, rounds=1)
        rough = draft is not None and draft is not fitter
        found = emulated(first, log_likelihood, guesses[0], box, rough)
    drawn = sample(log_likelihood, given, box, draws, bent, enough) if found is None else found
    if drawn.effective < _FEWEST_EFFECTIVE:
        return _normal_posterior(fitter, fit, len(minima), drawn, box)
    values = case.parameters.values_at(drawn.places[:, :p])
    mean = drawn.weights @ values
    away = values - mean
    covariance = _CALIBRATED**2 * (drawn.weights[:, None] * away).T @ away + 1e-18 * np.eye(p)
    # draws know the likelihood of one average over wave vectors; another would move all of them
    shift = (slope_of(case.parameters, fit.places) @ fit.shift)[:p]
    wider = _CALIBRATED * np.sqrt(1 + shift**2 / np.diag(covariance))
    covariance += np.outer(shift, shift)
    ends = np.array([interval_of(v, drawn.weights) for v in values.T])
    ends = mean[:, None] + wider[:, None] * (ends - mean[:, None])
    for k, name in enumerate(case.parameters.free):
        if 0 in (case.parameters.tables[name].range or ()):  # the order needs a sign
            ends[k] = np.clip(ends[k], *((0.0, np.inf) if mean[k] > 0 else (-np.inf, 0.0)))
    return Posterior(mean, covariance, ends, len(minima), drawn)


def _beside_zero(
    fitter: MapFitter, minimum: MapFit, widths: Widths, box: tuple[Array, Array], noise: float
) -> Guess | None:
    """Return a guess beside a minimum at the zero of a coupling, where its slope vanishes; None elsewhere.

    At the zero itself nothing tells how far the valley reaches, and which way it bends.
    """
    parameters, linear, x = fitter.case.parameters, minimum.linear, minimum.places.copy()
    p = len(parameters.free)
    assert linear is not None
    away = off_zero(parameters, x[None, :p])[0] - x[:p]
    which = np.concatenate([np.abs(away) > 0.5 * OFF_ZERO, np.zeros(len(x) - p, bool)])
    if not which.any():
        return None
    lowest = fitter.chi2_at(x, widths, linear)
    for _ in range(_HALVINGS):
        x[:p] = minimum.places[:p] + away
        found = fitter.held(x, which, widths, linear, _HELD_STEPS)
        if found is not None and fitter.chi2_at(found.x, widths, linear) < lowest + _RISES * noise:
            return guess_of(found.x, fitter.covariance_at(found.x, widths, linear) * noise, box)
        away = away / 2
    return None


def _is_told(fit: MapFit, p: int) -> bool:
    """Whether a map tells all parameters."""
    return bool((np.diag(fit.place_covariance)[:p] - fit.shift[:p] ** 2).max() <= TOLD**2)


def _is_normal(
    log_likelihood: Callable[[Array], Array], fit: MapFit, p: int, box: tuple[Array, Array]
) -> bool:
    """Whether chi-square rises along the axes of the parameters' covariance as that says.

    Widths go along as the covariance has it; how they are distributed themselves is not published.
    """
    spread = fit.place_covariance - np.outer(fit.shift, fit.shift)
    variance, axes = np.linalg.eigh(spread[:p, :p])
    along = _FAR * np.sqrt(np.maximum(variance, 1e-18))[:, None] * axes.T
    steps = along @ np.linalg.solve(spread[:p, :p], spread[:p])
    steps = np.concatenate([steps, -steps])
    places = np.clip(fit.places + steps, *box)
    if np.abs(places - fit.places - steps)[:, :p].max() > 1e-9:
        return False
    fall = (log_likelihood(fit.places[None]) - log_likelihood(places)) / (0.5 * _FAR**2)
    mean, odd = 0.5 * (fall[:p] + fall[p:]), 0.5 * (fall[:p] - fall[p:])
    return bool((np.abs(mean - 1) < _ALIKE).all() and (np.abs(odd) < _ALIKE).all())


def _normal_posterior(
    fitter: MapFitter, fit: MapFit, minima: int, drawn: Sampled, box: tuple[Array, Array]
) -> Posterior:
    """Return the best minimum with its curvature.

    What is told less than the prior tells it, as by the first columns of a scan, is as uncertain as that: a
    uniform one, seen from where the minimum is.
    """
    parameters = fitter.case.parameters
    p, size = len(parameters.free), box[1] - box[0]
    mean, covariance = fit.best[:p], fit.covariance[:p, :p]
    prior = size**2 * (1 / _PRIOR_PRECISION + ((fit.places - box[0]) / size - 0.5) ** 2)
    least = np.sqrt(np.minimum(1.0, prior / np.diag(fit.place_covariance)))
    if (least[:p] < 1).any():
        slope = slope_of(parameters, fit.places) * least
        covariance = (slope @ fit.place_covariance @ slope.T)[:p, :p]
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


def _with_widths(network: Guess, minimum: Guess, box: tuple[Array, Array], weight: float) -> Guess:
    """Return the network's answer with the widths of a minimum, loosely."""
    p, n = len(network.centre), len(minimum.centre)
    covariance = np.diag((0.2 * (box[1] - box[0])) ** 2)
    covariance[:p, :p] = network.covariance
    return Guess(np.concatenate([network.centre, minimum.centre[p:n]]), covariance, weight)
