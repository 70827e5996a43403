"""A posterior from few draws: the log likelihood between them by a Gaussian process, tried where it matters.

Near a minimum the log likelihood of a map is a paraboloid, bent a little and smoothly. A hundred draws tell
enough of the bend to say it in between (Rasmussen & Williams 2006, Gaussian Processes for Machine Learning,
eq. 2.25), where three or four hundred had to be weighted for the same accuracy. The answer is tried: further
draws are taken where it says that the posterior lies, and where the map does not say of them what was
foretold, more are taken, or there is no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from streamproc.models.excitations.maps.sampling import Guess, Sampled, quasi

__all__ = ["emulated"]

Array = npt.NDArray[np.float64]

_LENGTH, _BEND = 7.0, 10.0
"""Of the process: over how many standard deviations of the posterior the bend changes; how large it is."""

_LEVEL, _TILT = 10.0, 1.0
"""Standard deviations of the mean: its height, and its slope per standard deviation of the posterior."""

_NOISE, _ROUGH = 0.1, 0.25
"""What no smooth function says of a log likelihood (the mesh's share), and of that of a coarser model."""

_LOW, _LOOSE, _NOTHING = 8.0, 0.5, 60.0
"""Draws so far below the best are known the less the further (this share), and these tell nothing."""

_POOL, _WIDE = 2000, ((1.1, 0.7), (2.0, 0.3))
"""Places where the likelihood is foretold; how much wider than the posterior they lie, and their shares."""

_TRIED, _TIMES, _MET, _STABLE = 24, 6, 0.8, 0.8
"""Draws of a trial, and trials at most; the standard deviation of map less foretold in one that is passed,
and the least share of its draws for which there is a model."""

_FEWEST = 150.0
"""Places of equal weight that must be left."""

_PSEUDO = 16.0
"""So many draws the curvature at the minimum counts, beside those that were weighed."""


def emulated(
    so_far: Sampled,
    log_likelihood: Callable[[Array], Array],
    minimum: Guess,
    box: tuple[Array, Array],
    rough: bool = False,
) -> Sampled | None:
    """Return a posterior from draws and a few more; None where they do not foretell what a map says.

    Parameters
    ----------
    so_far : Sampled
        Draws.
    log_likelihood : callable
        Of places (n, p); -inf where there is none.
    minimum : Guess
        The best minimum, with its curvature.
    box : pair of ndarray, shape (p,)
        Ends of the prior.
    rough : bool
        The draws' likelihoods are those of a coarser model, so that the trials' count more.

    Returns
    -------
    Sampled or None
        Places with weights; draws that were compared with a map come first, without any, and only they have
        a likelihood.
    """
    inside = ((so_far.places >= box[0]) & (so_far.places <= box[1])).all(1)
    places, likelihood = so_far.places[inside], so_far.likelihood[inside]
    error = np.full(len(places), _ROUGH if rough else _NOISE)
    frame = _Frame.of(*_spread_of(so_far, minimum))
    for turn in range(_TIMES):
        process = _Process.of(frame, places, likelihood, error)
        ahead = _Frame.of(*_moments(*_foretold(process, frame, box)))
        pool, weights = _foretold(process, ahead, box)
        if 1 / (weights**2).sum() < _TRIED:
            return None
        at = np.searchsorted(np.cumsum(weights), (np.arange(_TRIED) + 0.5) / _TRIED)
        tried = pool[np.minimum(at, len(pool) - 1)]
        said = log_likelihood(tried)
        there = np.isfinite(said)
        if not there.any():
            return None
        away = said[there] - process(tried[there])
        if rough and turn == 0:  # as a whole, another model may say more or less
            likelihood = likelihood + away.mean()
        places, likelihood = np.concatenate([places, tried]), np.concatenate([likelihood, said])
        error = np.concatenate([error, np.full(len(tried), _NOISE)])
        frame = ahead
        if there.mean() < _STABLE or away.std() > _MET:
            continue
        pool, weights = _foretold(_Process.of(frame, places, likelihood, error), frame, box)
        if 1 / (weights**2).sum() > _FEWEST:
            return Sampled(
                np.concatenate([places, pool]),
                np.concatenate([np.zeros(len(places)), weights]),
                np.concatenate([likelihood, np.full(len(pool), -np.inf)]),
            )
    return None


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """Where a posterior lies and how wide: numbers within it have the mean 0 and the covariance 1."""

    mean: Array
    root: Array

    @classmethod
    def of(cls, mean: Array, covariance: Array) -> _Frame:
        return cls(mean, np.linalg.cholesky(covariance + 1e-12 * np.eye(len(mean))))

    def within(self, places: Array) -> Array:
        return np.asarray(np.linalg.solve(self.root, (places - self.mean).T).T)


@dataclass(frozen=True, slots=True, eq=False)
class _Process:
    """The log likelihood: a paraboloid, and a Gaussian process for what differs from that."""

    frame: _Frame
    top: float
    at: Array = field(repr=False)
    weight: Array = field(repr=False)
    barred: Array = field(repr=False)

    @classmethod
    def of(cls, frame: _Frame, places: Array, likelihood: Array, error: Array) -> _Process:
        top, barred = float(likelihood.max()), frame.within(places[~np.isfinite(likelihood)])
        kept = likelihood > top - _NOTHING
        at, said = frame.within(places[kept]), likelihood[kept] - top
        error = error[kept] + _LOOSE * np.maximum(-_LOW - said, 0.0)
        known = _alike(at, at) + np.diag(error**2)
        return cls(frame, top, at, np.linalg.solve(known, said + 0.5 * (at**2).sum(1)), barred)

    def __call__(self, places: Array) -> Array:
        at = self.frame.within(places)
        return np.asarray(self.top + _alike(at, self.at) @ self.weight - 0.5 * (at**2).sum(1))

    def allows(self, places: Array) -> npt.NDArray[np.bool_]:
        """Whether the nearest draw has a model: lattices are unstable beyond a border."""
        if not len(self.barred):
            return np.ones(len(places), bool)
        at = self.frame.within(places)
        return np.asarray(_apart(at, self.at).min(1) < _apart(at, self.barred).min(1))


def _apart(a: Array, b: Array) -> Array:
    """Squared distances, shape (a, b)."""
    return np.asarray((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T)


def _alike(a: Array, b: Array) -> Array:
    """Covariance of the process, shape (a, b)."""
    bend = _BEND**2 * np.exp(-0.5 * _apart(a, b) / _LENGTH**2)
    return np.asarray(bend + _LEVEL**2 + _TILT**2 * (a @ b.T))


def _spread_of(so_far: Sampled, minimum: Guess) -> tuple[Array, Array]:
    """Mean and covariance of weighted draws; the fewer of them count, the more the curvature does."""
    mean, covariance = _moments(so_far.places, so_far.weights)
    share = so_far.effective / (so_far.effective + _PSEUDO)
    apart = mean - minimum.centre
    mixed = share * covariance + (1 - share) * (minimum.covariance + share * np.outer(apart, apart))
    return minimum.centre + share * apart, mixed


def _moments(places: Array, weights: Array) -> tuple[Array, Array]:
    mean = weights @ places
    away = places - mean
    return mean, (weights[:, None] * away).T @ away


def _foretold(process: _Process, about: _Frame, box: tuple[Array, Array]) -> tuple[Array, Array]:
    """Places about where the posterior is thought to lie, and their weights by the process."""
    wide, shares = np.array(_WIDE).T
    z, dimensions = _normal_pool(len(about.mean)), len(about.mean)
    places = about.mean + z @ about.root.T
    inside = ((places >= box[0]) & (places <= box[1])).all(1)
    places, square = places[inside], (z[inside] ** 2).sum(1)
    density = (shares * np.exp(-0.5 * square[:, None] / wide**2) / wide**dimensions).sum(1)
    log = np.where(process.allows(places), process(places) - np.log(density), -np.inf)
    weights = np.exp(log - log.max(initial=-np.inf))
    return places, weights / weights.sum()


@cache
def _normal_pool(dimensions: int) -> Array:
    """Standard normal numbers, of the widths and shares of a pool."""
    z = ndtri(np.clip(quasi(_POOL, dimensions), 1e-6, 1 - 1e-6))
    wide = np.arange(_POOL) % 10 >= round(10 * _WIDE[0][1])
    return np.asarray(z * np.where(wide, _WIDE[1][0], _WIDE[0][0])[:, None])
