"""Figures of merit as pure functions of arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Errors",
    "Reliability",
    "auroc",
    "binomial_band",
    "bootstrap_spread",
    "calibration_error",
    "confusion_counts",
    "detection_at",
    "errors_of",
    "f1",
    "normal_coverage",
    "reliability",
    "roc",
    "taken_for",
    "wilson",
]

Array = npt.NDArray[Any]
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of one quantity: their number, mean size, root mean square, largest size and mean."""

    n: int
    mean: float
    rms: float
    largest: float
    bias: float


def errors_of(truth: Array, value: Array) -> Errors:
    """Return the errors of ``value`` against ``truth`` (any shape, finite); NaN when there is none."""
    error = np.asarray(value, float).ravel() - np.asarray(truth, float).ravel()
    if not error.size:
        return Errors(0, _NAN, _NAN, _NAN, _NAN)
    size = np.abs(error)
    return Errors(
        error.size,
        float(size.mean()),
        float(np.sqrt((error**2).mean())),
        float(size.max()),
        float(error.mean()),
    )


def normal_coverage(truth: Array, value: Array, sigma: Array, levels: Array) -> Array:
    """Return the share of truths within ``value +- z(level) sigma``, z being the normal quantile.

    Parameters
    ----------
    truth, value, sigma : ndarray, shape (n,)
        Finite numbers.
    levels : ndarray, shape (k,)
        Nominal levels, 0 to 1.
    """
    from scipy.special import ndtri

    if not len(truth):
        return np.full(len(levels), _NAN)
    z = ndtri(0.5 + np.asarray(levels, float) / 2)
    return np.asarray((np.abs(value - truth)[:, None] <= z * np.asarray(sigma)[:, None]).mean(0))


def binomial_band(level: Array, n: int, confidence: float = 0.95) -> tuple[Array, Array]:
    """Return between which shares ``n`` independent trials of chance ``level`` end, with ``confidence``."""
    from scipy.stats import binom

    level = np.asarray(level, float)
    if n < 1:
        return np.zeros_like(level), np.ones_like(level)
    tail = (1 - confidence) / 2
    return binom.ppf(tail, n, level) / n, binom.ppf(1 - tail, n, level) / n


def wilson(hits: Array, n: Array, z: float = 1.959964) -> tuple[Array, Array]:
    """Return the 95 % interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209); 0 to 1 without any."""
    hits, n = np.asarray(hits, float), np.asarray(n, float)
    safe = np.maximum(n, 1)
    share = hits / safe
    centre = (share + z**2 / (2 * safe)) / (1 + z**2 / safe)
    half = z * np.sqrt(share * (1 - share) / safe + z**2 / (4 * safe**2)) / (1 + z**2 / safe)
    low = np.where(hits == 0, 0.0, centre - half)
    high = np.where(hits >= n, 1.0, centre + half)
    return np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)


def auroc(negative: Array, positive: Array) -> float:
    """Return the chance that a positive scores above a negative, ties counting half; NaN without both.

    Mann & Whitney's U over the number of pairs (Hanley & McNeil 1982, Radiology 143, 29).
    """
    from scipy.stats import rankdata

    n, m = len(negative), len(positive)
    if not n or not m:
        return _NAN
    ranks = rankdata(np.concatenate([negative, positive]))
    return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))


def roc(negative: Array, positive: Array) -> tuple[Array, Array]:
    """Return false-alarm and detection shares over all thresholds, from (0, 0) to (1, 1)."""
    if not len(negative) or not len(positive):
        return np.array([0.0, 1.0]), np.array([_NAN, _NAN])
    # From the highest threshold down; equal scores are one step, or a tie would look like a decision.
    cuts = np.unique(np.concatenate([negative, positive]))
    alarms = 1 - np.searchsorted(np.sort(negative), cuts) / len(negative)
    found = 1 - np.searchsorted(np.sort(positive), cuts) / len(positive)
    return np.append(alarms, 0.0)[::-1], np.append(found, 0.0)[::-1]


def detection_at(negative: Array, positive: Array, false_alarms: float = 0.01) -> float:
    """Return the share of positives above the lowest threshold that keeps to ``false_alarms``."""
    if not len(negative) or not len(positive):
        return _NAN
    allowed = int(np.floor(false_alarms * len(negative) + 1e-9))
    threshold = np.sort(negative)[::-1][allowed] if allowed < len(negative) else -np.inf
    return float((np.asarray(positive) > threshold).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Stated probability against what happened, by bins of probability.

    Attributes
    ----------
    stated : ndarray, shape (b,)
        Mean probability in each bin (NaN when empty).
    happened : ndarray, shape (b,)
        Share of cases that were true.
    count : ndarray of int, shape (b,)
        Cases in each bin.
    """

    stated: Array
    happened: Array
    count: Array


def reliability(probability: Array, truth: Array, bins: int = 10) -> Reliability:
    """Sort ``probability`` (n,) into equal bins from 0 to 1 (1 belongs to the last one)."""
    where = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    count = np.bincount(where, minlength=bins)
    safe = np.where(count, count, _NAN)
    stated = np.bincount(where, np.asarray(probability, float), bins) / safe
    return Reliability(stated, np.bincount(where, np.asarray(truth, float), bins) / safe, count)


def calibration_error(found: Reliability) -> float:
    """Return the expected calibration error: mean gap, weighted by count (Naeini et al. 2015)."""
    if not found.count.sum():
        return _NAN
    gap = np.nan_to_num(np.abs(found.stated - found.happened))
    return float((gap * found.count).sum() / found.count.sum())


def confusion_counts(truth: Array, claimed: Array) -> Array:
    """Return hits, false claims, misses and true absences, shape (4, ...), counted over the first axis."""
    truth, claimed = np.asarray(truth, bool), np.asarray(claimed, bool)
    return np.stack(
        [
            (truth & claimed).sum(0),
            (~truth & claimed).sum(0),
            (truth & ~claimed).sum(0),
            (~truth & ~claimed).sum(0),
        ]
    )


def f1(hits: Array, false_claims: Array, misses: Array) -> Array:
    """Return F1 = 2 hits / (2 hits + false claims + misses); NaN where nothing is there or claimed."""
    total = 2 * np.asarray(hits, float) + false_claims + misses
    return np.asarray(2 * np.asarray(hits, float) / np.where(total > 0, total, _NAN))


def taken_for(truth: Array, claimed: Array) -> Array:
    """Return in how many patterns item i is missed while absent item j is claimed, shape (p, p)."""
    truth, claimed = np.asarray(truth, bool), np.asarray(claimed, bool)
    return (truth & ~claimed).astype(float).T @ (~truth & claimed).astype(float)


def bootstrap_spread(
    statistic: Callable[[Array], float], n: int, *, draws: int = 200, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile interval of a statistic over rows drawn anew (Efron 1979, Ann. Stat. 7, 1).

    Parameters
    ----------
    statistic : callable
        From row numbers, shape (n,), to a figure; NaN figures are left out.
    n : int
        Rows. Whole patterns are drawn, because the quantities of one pattern err together.
    """
    if n < 2:
        return _NAN, _NAN
    random = np.random.default_rng(seed)
    found = np.array([statistic(random.integers(0, n, n)) for _ in range(draws)])
    found = found[np.isfinite(found)]
    if not found.size:
        return _NAN, _NAN
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
