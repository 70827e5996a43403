"""What the evidence amounts to: figures per quantity, per item, pooled, each with its spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.report.evidence import Presence, Quantities, Signals
from streamproc.models.report.metrics import (
    auroc,
    bootstrap_spread,
    confusion_counts,
    detection_at,
    errors_of,
    f1,
)

__all__ = [
    "BANDS",
    "Score",
    "combined_signal",
    "coverage90",
    "item_aurocs",
    "pooled_f1",
    "quantity_scores",
    "share_bands",
    "unit_groups",
]

Array = npt.NDArray[Any]

BANDS = ((0.0, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0))
"""Foreign shares, above the first number up to the second."""


@dataclass(frozen=True, slots=True)
class Score:
    """A figure with its 95 % spread over patterns drawn anew, and what it was counted over."""

    name: str
    value: float
    low: float
    high: float
    units: str
    counted: str


def unit_groups(found: Quantities) -> dict[str, list[int]]:
    """Return the columns of each unit, in order; only these may be pooled."""
    groups: dict[str, list[int]] = {}
    for column, units in enumerate(found.units):
        groups.setdefault(units, []).append(column)
    return groups


def quantity_scores(found: Quantities, patterns: str) -> list[Score]:
    """Return mean size and largest size of the error for each unit, and what the 90 % intervals cover."""
    scores = []
    groups = unit_groups(found)
    for units, columns in groups.items():
        of = "" if len(groups) == 1 else f", {_some([found.names[c] for c in columns])}"
        scores += _error_scores(found, columns, units, of, patterns)
    inside, used = coverage90(found)
    scores += _coverage_scores(found, inside, used)
    return scores


def _error_scores(found: Quantities, columns: list[int], units: str, of: str, patterns: str) -> list[Score]:
    used = found.scored()[:, columns]
    error = np.where(used, np.abs(found.value[:, columns] - found.truth[:, columns]), 0.0)
    there = used & (found.truth[:, columns] > 0)
    kinds = [("", used)] + ([(" of what is there", there)] if there.sum() < used.sum() else [])
    scores = []
    for kind, where in kinds:
        value, low, high = _ratio(np.where(where, error, 0.0), where)
        counted = f"{int(where.sum())} values in {int(where.any(1).sum())} {patterns}"
        scores.append(Score(f"mean error{of}{kind}", value, low, high, units, counted))
    largest = errors_of(np.zeros(int(used.sum())), error[used]).largest
    scores.append(Score(f"largest error{of}", largest, np.nan, np.nan, units, f"{int(used.sum())} values"))
    return scores


def _coverage_scores(found: Quantities, inside: Array, used: Array) -> list[Score]:
    there = used & (found.truth > 0)
    kinds = [("truth in the 90 % interval", used)]
    if there.sum() < used.sum():
        kinds.append(("truth in the 90 % interval, of what is there", there))
    scores = []
    for name, where in kinds:
        value, low, high = _ratio((inside & where).astype(float), where)
        scores.append(Score(name, 100 * value, 100 * low, 100 * high, "%", f"{int(where.sum())} values"))
    return scores


def _ratio(amount: Array, where: Array) -> tuple[float, float, float]:
    """Mean of ``amount`` over ``where`` (n, q), with its spread over rows drawn anew."""
    sums, counts = amount.sum(1), where.sum(1)

    def ratio(rows: Array) -> float:
        total = counts[rows].sum()
        return float(sums[rows].sum() / total) if total else float("nan")

    return ratio(np.arange(len(sums))), *bootstrap_spread(ratio, len(sums))


def coverage90(found: Quantities) -> tuple[Array, Array]:
    """Return where the truth lies in the published 90 % interval and where that counts, each (n, q)."""
    used = found.scored() & np.isfinite(found.low90) & np.isfinite(found.high90)
    # The intervals may have gone through float32: a truth at its very edge is inside.
    edge = 1e-6 * np.maximum(1e-6, np.abs(found.truth))
    with np.errstate(invalid="ignore"):
        inside = (found.low90 - edge <= found.truth) & (found.truth <= found.high90 + edge)
    return inside & used, used


def item_aurocs(found: Presence) -> Array:
    """Return the AUROC of each item, shape (p,): there with at least ``least_amount`` against not there."""
    found = found.finite()
    enough = found.truth & (found.amount >= found.least_amount)
    columns = range(len(found.names))
    return np.array(
        [auroc(found.probability[~found.truth[:, k], k], found.probability[enough[:, k], k]) for k in columns]
    )


def pooled_f1(found: Presence, name: str) -> Score:
    """Return F1 over all items and patterns at the threshold."""
    found = found.finite()
    claimed = found.probability >= found.threshold

    def score(rows: Array) -> float:
        hits, false_claims, misses, _ = confusion_counts(found.truth[rows], claimed[rows]).sum(1)
        return float(f1(hits, false_claims, misses))

    n = len(found.truth)
    value = score(np.arange(n)) if n else float("nan")
    there = int(found.truth.sum())
    return Score(name, value, *bootstrap_spread(score, n), "", f"{there} presences in {n}")


def combined_signal(found: Signals, values: Array) -> Array:
    """Return one suspicion from all signals with a limit, (k,): above 0 just where one is over its limit.

    Each signal counts as its distance from its limit, in units of limit less median of the usual
    patterns; the largest decides. Moving a threshold on it is loosening or tightening all limits together.
    """
    use = np.isfinite(found.limits)
    if not use.any() or not len(values):
        return np.full(len(values), np.nan)
    limits, usual = found.limits[use], found.usual[:, use]
    middle = np.array([np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else np.nan for c in usual.T])
    scale = np.maximum(np.nan_to_num(limits - middle, nan=1.0), 1e-12)
    over = (values[:, use] - limits) / scale
    # A signal that was not computed for a pattern cannot raise an alarm there.
    return np.where(np.isfinite(values[:, use]), over, -np.inf).max(1)


def share_bands(found: Signals, signal_usual: Array, signal_foreign: Array) -> list[tuple[str, int, float]]:
    """Return band, number of patterns and share detected at 1 % false alarms, for the bands that occur."""
    usual = signal_usual[~np.isnan(signal_usual)]
    rows = []
    for low, high in BANDS:
        inside = (found.foreign_share > low) & (found.foreign_share <= high) & ~np.isnan(signal_foreign)
        if inside.any():
            rows.append(
                (
                    f"{100 * low:g}-{100 * high:g} %",
                    int(inside.sum()),
                    detection_at(usual, signal_foreign[inside]),
                )
            )
    return rows


def _some(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"
