"""The posterior of the couplings: draws weighted by the likelihood of the whole map.

One minimum and its curvature say too little where few columns are measured: the valley is bent, a coupling
lies at the end of its range, or another minimum fits nearly as well. So couplings are drawn from what is
known (the curvature at every minimum, the network's answer, the prior), and each draw is weighted by its
likelihood over the density it was drawn with (adaptive multiple importance sampling; Cornuet et al. 2012,
Scand. J. Stat. 39, 798). The prior is uniform over the places in the model's ranges and a little beyond.
Draws are a fixed quasi-random sequence in pairs +-z: the same map gives the same answer, and a normal
posterior its exact mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

__all__ = ["Guess", "Sampled", "interval_of", "quasi", "sample"]

Array = npt.NDArray[np.float64]

_SCALES = ((1.1, 0.7), (2.0, 0.3))
"""Each guess is drawn this much wider, and such a share of its draws."""

_PRIOR_SHARE = 0.2
_ROUNDS, _CENTRES, _NEAR, _WHOLE, _OUTSIDE = 4, 4, 0.6, 0.6, 6
"""Rounds of draws; heavy draws that are drawn around next, and how wide over the spread of all; share of the
draws over that spread; most draws for one that lies in the prior."""

_LEAST, _YIELD = 24, 0.4
"""Draws of a round at least; effective ones that each of them is taken to add, to say how many are enough."""

_EASY = 0.3
"""Where so large a share of the draws counts, the posterior is nearly normal, and no bends are looked for."""

_KERNEL = 0.35
"""Draws are smoothed by a normal kernel of such a share of their spread, which itself stays."""


@dataclass(frozen=True, slots=True, eq=False)
class Guess:
    """A normal distribution that draws are made from.

    Attributes
    ----------
    centre : ndarray, shape (p,)
        Places in the prior.
    covariance : ndarray, shape (p, p)
        Of them.
    weight : float
        Its share of the draws, over that of the others.
    """

    centre: Array = field(repr=False)
    covariance: Array = field(repr=False)
    weight: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Weighted draws.

    Attributes
    ----------
    places : ndarray, shape (n, p)
        Places in the prior.
    weights : ndarray, shape (n,)
        They sum to 1.
    likelihood : ndarray, shape (n,)
        Logarithms.
    """

    places: Array = field(repr=False)
    weights: Array = field(repr=False)
    likelihood: Array = field(repr=False)

    @property
    def effective(self) -> float:
        """Number of draws of equal weight that would tell as much."""
        return float(1 / (self.weights**2).sum())


def sample(
    log_likelihood: Callable[[Array], Array],
    guesses: Sequence[Guess],
    box: tuple[Array, Array],
    draws: int,
    curvature: Callable[[Array], Array] | None = None,
    enough: float = np.inf,
    rounds: int = _ROUNDS,
) -> Sampled:
    """Draw some, learn from them where the posterior lies, draw more there, and again; all are kept.

    Parameters
    ----------
    log_likelihood : callable
        Of places (n, p); -inf where there is none.
    guesses : sequence of Guess
        Where to begin.
    box : pair of ndarray, shape (p,)
        Ends of the prior.
    draws : int
        Evaluations.
    curvature : callable, optional
        Covariance (p, p) that the likelihood has around a place; so draws follow a bent valley. Without it
        the spread of the draws so far stands for it.
    enough : float
        No further round once so many draws of equal weight would tell as much, and none larger than that
        needs.
    rounds : int
        Of draws.
    """
    low, high = box
    spread = low + (high - low) * quasi(int(_PRIOR_SHARE * draws / rounds), len(low))
    parts, places, likelihood = [], spread, log_likelihood(spread)
    ahead: Sequence[Guess] = guesses
    used = 0
    wanted = np.inf
    for turn in range(rounds):
        if turn:
            so_far = _weighted(places, likelihood, _Mixture(parts, len(spread), box))
            if so_far.effective > enough:
                return so_far
            wanted = max(_LEAST, (enough - so_far.effective) / _YIELD)
            ahead = _learned(so_far, curvature)
        inside = int(((places >= low) & (places <= high)).all(1).sum())
        drawn = []
        for g, n in _split(ahead, int(min(wanted, (draws - inside) // (rounds - turn)))):
            drawn.append(_normal(g, n, low, high, used))
            used += len(drawn[-1])
        parts += [(g, len(d)) for g, d in zip(ahead, drawn, strict=True)]
        places = np.concatenate([places, *drawn])
        likelihood = np.concatenate([likelihood, *(log_likelihood(d) for d in drawn)])
    return _weighted(places, likelihood, _Mixture(parts, len(spread), box))


@dataclass(frozen=True, slots=True, eq=False)
class _Mixture:
    """All distributions that draws came from, and how many from each."""

    parts: Sequence[tuple[Guess, int]]
    uniform: int
    box: tuple[Array, Array]

    def log_density(self, places: Array) -> Array:
        total = self.uniform + sum(n for _, n in self.parts)
        volume = float(np.prod(self.box[1] - self.box[0]))
        found = np.full(len(places), self.uniform / total / volume)
        for guess, n in self.parts:
            root = np.linalg.cholesky(guess.covariance)
            z = np.linalg.solve(root, (places - guess.centre).T)
            square = (z**2).sum(0)
            for scale, share in _SCALES:
                size = np.prod(np.diag(root)) * (scale * np.sqrt(2 * np.pi)) ** len(root)
                found += n / total * share * np.exp(-0.5 * square / scale**2) / size
        return np.asarray(np.log(np.maximum(found, 1e-300)))


def _weighted(places: Array, likelihood: Array, mixture: _Mixture) -> Sampled:
    low, high = mixture.box
    inside = ((places >= low) & (places <= high)).all(1)
    log = np.where(inside, likelihood - mixture.log_density(places), -np.inf)
    weights = np.exp(log - log.max()) if np.isfinite(log).any() else np.ones(len(log))
    return Sampled(places, weights / weights.sum(), np.where(inside, likelihood, -np.inf))


def _learned(so_far: Sampled, curvature: Callable[[Array], Array] | None) -> list[Guess]:
    """Where to draw next: over the whole of what is left, and around some of the heavy draws (bent valleys).

    Weights are flattened first until enough draws count, so that one lucky draw does not end the search.
    """
    weights = _flattened(so_far.weights)
    mean = weights @ so_far.places
    away = so_far.places - mean
    covariance = (weights[:, None] * away).T @ away + 1e-9 * np.eye(len(mean))
    if so_far.effective > _EASY * np.count_nonzero(so_far.weights):
        return [Guess(mean, covariance)]
    at = np.searchsorted(np.cumsum(weights), (np.arange(_CENTRES) + 0.5) / _CENTRES)
    near = [so_far.places[k] for k in np.minimum(at, len(weights) - 1)]
    local = [_NEAR**2 * covariance if curvature is None else curvature(n) for n in near]
    whole = Guess(mean, covariance, _WHOLE * _CENTRES)
    return [whole, *(Guess(n, c) for n, c in zip(near, local, strict=True))]


def _flattened(weights: Array) -> Array:
    """Return weights to the largest power up to 1 that leaves enough draws of weight."""
    wanted = max(8.0, 0.12 * len(weights))
    log = np.log(np.maximum(weights, 1e-300))
    power = 1.0
    for _ in range(20):
        found = np.exp(power * (log - log.max()))
        found[weights == 0] = 0.0
        found /= found.sum()
        if 1 / (found**2).sum() >= min(wanted, float((weights > 0).sum())):
            break
        power *= 0.75
    return np.asarray(found)


def _split(guesses: Sequence[Guess], draws: int) -> list[tuple[Guess, int]]:
    total = sum(g.weight for g in guesses)
    return [(g, 2 * max(1, round(draws * g.weight / total / 2))) for g in guesses]


def _normal(guess: Guess, inside: int, low: Array, high: Array, used: int) -> Array:
    """Draws in pairs about the centre, wide ones among them: so many in the prior, and what else came.

    What lies outside has no weight and costs nothing; it counts in the density.
    """
    half = ndtri(np.clip(quasi(_OUTSIDE * (inside + 1) // 2, len(low), used), 1e-6, 1 - 1e-6))
    wide = (used + np.arange(len(half))) % 10 >= round(10 * _SCALES[0][1])
    half *= np.where(wide, _SCALES[1][0], _SCALES[0][0])[:, None]
    steps = half @ np.linalg.cholesky(guess.covariance).T
    found = np.asarray(guess.centre + np.stack([steps, -steps], 1).reshape(-1, len(low)))
    count = np.cumsum(((found >= low) & (found <= high)).all(1))
    return found[: int(np.searchsorted(count, inside)) + 1]


def quasi(count: int, dimensions: int, used: int = 0) -> Array:
    """Return Roberts' quasi-random sequence in the unit cube, shape (count, dimensions).

    From a place ``used`` in it on (https://extremelearning.com.au/unreasonable-effectiveness-of-quasirandom-
    sequences/).
    """
    root = 2.0
    for _ in range(40):
        root = (1 + root) ** (1 / (dimensions + 1))
    step = root ** -np.arange(1, dimensions + 1)
    return np.mod(0.5 + (used + np.arange(1, count + 1))[:, None] * step, 1.0)


def interval_of(values: Array, weights: Array, level: float = 0.9) -> tuple[float, float]:
    """Return the central interval of weighted draws, smoothed by a narrow normal kernel.

    Parameters
    ----------
    values, weights : ndarray, shape (n,)
        Draws of one quantity, and their weights (sum 1).
    level : float
        Probability within.
    """
    mean = float(weights @ values)
    spread = float(np.sqrt(weights @ (values - mean) ** 2))
    if spread == 0:
        return mean, mean
    centres = mean + np.sqrt(1 - _KERNEL**2) * (values - mean)
    tail = (1 - level) / 2
    return tuple(_quantile(centres, weights, _KERNEL * spread, p) for p in (tail, 1 - tail))  # type: ignore[return-value]


def _quantile(centres: Array, weights: Array, width: float, probability: float) -> float:
    low, high = float(centres.min()) - 6 * width, float(centres.max()) + 6 * width
    for _ in range(60):
        middle = (low + high) / 2
        if weights @ ndtr((middle - centres) / width) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2
