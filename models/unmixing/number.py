"""How many components: repeated factorisations, the stability of their components, and what each one
explains.

After Stanev et al. 2018 (npj Comput. Mater. 4, 43) and Alexandrov & Vesselinov 2014: for each candidate
number the patterns are factorised several times from different starts and with different weights, the
components of all runs are clustered, and the silhouette says whether the runs agree. Copies of a component
that are only moved are prevented in the factorisation and joined here where they remain. The number is the
largest at which the runs agree and the last component still explains more than it would of noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from streamproc.models.unmixing.factorise import Factors, Options, factorise

__all__ = ["Candidate", "Estimated", "estimate_number", "likeness"]

Array = npt.NDArray[np.float64]

_STABLE = 0.6
"""Least mean silhouette of the worst cluster at which the runs agree."""

_COPIES = 0.95
"""Components as alike as this after a shift are one."""

_LEAST_GAIN = 0.0075
"""A component has to take away at least this share of the squared signal."""

_NOISE_TIMES = 3.0
"""... and this many times what one more component takes away of pure noise."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Evidence for one number of components.

    Attributes
    ----------
    number : int
        Candidate.
    residual : float
        Share of the squared signal that the best run leaves over.
    gain : float
        Share that the last component took away.
    noise_gain : float
        Share that it would take away of noise of this size.
    silhouette : float
        Agreement of the runs: mean silhouette of the worst cluster (-1 to 1).
    copies : float
        Greatest likeness of two of its components, shifts allowed (0 to 1).
    """

    number: int
    residual: float
    gain: float
    noise_gain: float
    silhouette: float
    copies: float

    @property
    def needed(self) -> bool:
        """The last component explains something that noise does not."""
        return self.gain >= max(_LEAST_GAIN, _NOISE_TIMES * self.noise_gain)

    @property
    def stable(self) -> bool:
        """The runs agree on the components."""
        return self.silhouette >= _STABLE and self.copies < _COPIES


@dataclass(frozen=True, slots=True, eq=False)
class Estimated:
    """The number with its evidence, and the factors that go with it.

    Attributes
    ----------
    number : int
        Components of ``factors``; where ``certain`` is false, the smaller of the numbers in question.
    certain : bool
        False: cannot tell. ``at_least`` to ``at_most`` are in question.
    reason : str
        Why it cannot be told; empty when it can.
    candidates : tuple of Candidate
        From 1 upwards.
    factors : Factors
        Best run.
    spread : ndarray, shape (number,)
        How much the runs differ in each activation (standard deviation over runs, median over patterns).
    """

    number: int
    certain: bool
    at_least: int
    at_most: int
    reason: str
    candidates: tuple[Candidate, ...]
    factors: Factors
    spread: Array


def estimate_number(
    patterns: Array, options: Options, seed: int, *, most: int = 8, runs: int = 5,
    neighbours: npt.NDArray[np.int64] | None = None,
) -> Estimated:  # fmt: skip
    """Estimate the number of components of patterns.

    Parameters
    ----------
    patterns : ndarray, shape (m, n)
        Not negative, floor subtracted.
    options : Options
        Of each factorisation.
    seed : int
        The same seed and patterns give the same answer.
    most : int
        Largest candidate.
    runs : int
        Factorisations per candidate.
    neighbours : ndarray of int, shape (m, l), optional
        Nearest patterns on the map.

    Returns
    -------
    Estimated
        The number, how certain it is, and the factors.
    """
    random = np.random.default_rng([seed, len(patterns)])
    total = float((patterns**2).sum())
    noise = _noise_share(patterns)
    candidates: list[Candidate] = []
    kept: list[tuple[Factors, Array]] = []
    before = 1.0
    useless = 0
    for k in range(1, min(most, max(len(patterns) - 1, 1)) + 1):
        found = [
            factorise(
                patterns, k, random, options, weight=random.exponential(size=len(patterns)),
                neighbours=neighbours,
            )
            for _ in range(runs)
        ]  # fmt: skip
        best = min(found, key=lambda f: float(f.left.sum()))
        residual = float(best.left.sum()) / total if total > 0 else 0.0
        silhouette, spread = _agreement(found, best, options.reach)
        one = Candidate(
            k, residual, before - residual, noise * _noise_gain(*patterns.shape), silhouette,
            _copies(best.components, options.reach),
        )  # fmt: skip
        candidates.append(one)
        kept.append((best, spread))
        before = residual
        useless = 0 if one.needed else useless + 1
        if useless == 2:
            break
    return _decided(candidates, kept, most)


def _decided(candidates: list[Candidate], kept: list[tuple[Factors, Array]], most: int) -> Estimated:
    needed = [c.number for c in candidates if c.needed and c.copies < _COPIES] or [1]
    stable = [c.number for c in candidates if c.needed and (c.stable or c.number == 1)] or [1]
    low, high = max(stable), max(needed)
    reason = ""
    if low < high:
        reason = f"{high} components explain more, but repeated factorisations agree only up to {low}"
    elif high == most:
        low, high, reason = most, most, f"the largest number tried ({most}) is still needed"
    factors, spread = kept[low - 1]
    return Estimated(low, not reason, low, high, reason, tuple(candidates), factors, spread)


def _noise_share(patterns: Array) -> float:
    """Share of the squared signal that is noise, from the second differences along the channels."""
    second = patterns[:, 2:] - 2 * patterns[:, 1:-1] + patterns[:, :-2]
    # where the floor was, half of the noise was cut to zero: what differs from zero tells its size
    second = np.where((patterns[:, 1:-1] > 0) | (patterns[:, 2:] > 0), second, np.nan)
    with np.errstate(all="ignore"):
        sigma = 1.4826 * np.nanmedian(np.abs(second), axis=1) / np.sqrt(6.0)
    sigma = np.nan_to_num(sigma)
    total = float((patterns**2).sum())
    return min(float((sigma**2).sum()) * patterns.shape[1] / total, 1.0) if total > 0 else 0.0


def _noise_gain(m: int, n: int) -> float:
    """Share of pure noise that its strongest component takes: (sqrt m + sqrt n)^2 / (m n)."""
    return float((np.sqrt(m) + np.sqrt(n)) ** 2 / (m * n))


def likeness(a: Array, b: Array, reach: int) -> Array:
    """Return the cosine of each row of ``a`` with each row of ``b``, at the best shift within ``reach``.

    Parameters
    ----------
    a, b : ndarray, shapes (k, n) and (l, n)
        Curves.
    reach : int
        Largest shift (channels).

    Returns
    -------
    ndarray, shape (k, l)
    """
    best = np.zeros((len(a), len(b)))
    for lag in range(-reach, reach + 1):
        left = a[:, max(lag, 0) : a.shape[1] + min(lag, 0)]
        right = b[:, max(-lag, 0) : b.shape[1] + min(-lag, 0)]
        best = np.maximum(best, left @ right.T)
    sizes = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
    return np.asarray(best / np.maximum(sizes, 1e-300))


def _copies(components: Array, reach: int) -> float:
    alike = likeness(components, components, reach)
    np.fill_diagonal(alike, 0.0)
    return float(alike.max(initial=0.0))


def _agreement(found: list[Factors], best: Factors, reach: int) -> tuple[float, Array]:
    """Silhouette of the worst cluster of components, and the spread of the activations over the runs."""
    k = len(best.components)
    orders = []
    for one in found:
        _, order = linear_sum_assignment(-likeness(best.components, one.components, reach))
        orders.append(order)
    activations = np.stack([f.activations[:, o] for f, o in zip(found, orders, strict=True)])
    spread = np.median(activations.std(axis=0), axis=0)
    if k == 1:
        return 1.0, spread
    everything = np.concatenate([f.components[o] for f, o in zip(found, orders, strict=True)])
    distance = 1.0 - likeness(everything, everything, reach)
    label = np.tile(np.arange(k), len(found))
    between = np.stack([distance[:, label == c].sum(axis=1) for c in range(k)], 1)
    runs = len(found)
    own = between[np.arange(label.size), label] / max(runs - 1, 1)
    between[np.arange(label.size), label] = np.inf
    other = between.min(axis=1) / runs
    values = (other - own) / np.maximum(np.maximum(other, own), 1e-12)
    return float(min(values[label == c].mean() for c in range(k))), spread
