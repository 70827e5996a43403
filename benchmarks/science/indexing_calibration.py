"""Fit of the structure hints' calibration, and whether what is stated comes true; used by indexing.py."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.stats import beta
from streamproc.models.powder.indexing.calibration import Calibration, chances_of

BINS = (0.0, 0.5, 0.7, 0.9, 0.98, 1.001)
PRIOR = {"temperature": (np.log(2.0), 1.0), "none": (2.0, 3.0), "lapse": (-3.0, 1.5)}
"""Mean and standard deviation of the log, the value, and the log-odds. Weak: a few dozen patterns weigh more,
but without errors in the sample no temperature runs to zero."""

NOT_EXCLUDED = 0.975
"""Share of the patterns in which the true system shall not be excluded."""


class Case:
    """A trial as the fit needs it: the evidence of its lattices, and which is right."""

    def __init__(self, trial: Any) -> None:
        weighed = trial.weighed
        lattices = chances_of(weighed, Calibration(2.0, 2.0)).lattices
        evidence = np.array([f.log_evidence for f in weighed.fitted])
        self.none = weighed.log_none
        self.right = np.array([_is_right(trial, members) for members in lattices])
        self.evidence = evidence[[i for members in lattices for i in members]]
        self.first = np.cumsum([0, *map(len, lattices)])[:-1]
        self.deficit = _deficit(trial, lattices[int(self.right.argmax())]) if self.right.any() else None

    def loss(self, calibration: Calibration) -> float:
        """Log loss of "this lattice is right", or of none where the right one is not among them."""
        logs = np.logaddexp.reduceat(self.evidence / calibration.temperature, self.first)
        nothing = self.none / calibration.temperature + calibration.none
        whole = np.logaddexp(np.logaddexp.reduce(logs), nothing)
        kept = 1 - calibration.lapse
        if self.right.any():
            chance = kept * float(np.exp(np.logaddexp.reduce(logs[self.right]) - whole))
        else:
            chance = kept * float(np.exp(nothing - whole)) + calibration.lapse
        return -float(np.log(max(chance, 1e-300)))


def _is_right(trial: Any, members: Sequence[int]) -> bool:
    fitted = trial.weighed.fitted
    return any(trial.right(fitted[j].cell, fitted[j].centring) for j in members)


def _deficit(trial: Any, members: Sequence[int]) -> float | None:
    """By how much the true system's evidence lies below the best of lower ones; None: it was not tried."""
    fitted = [trial.weighed.fitted[i] for i in members]
    true = [f for f in fitted if f.system.name in {name for name, _ in trial.truths}]
    if not true:
        return None
    lower = [f.log_evidence for f in fitted if f.system.free > true[0].system.free]
    return max(max(lower, default=-np.inf) - max(f.log_evidence for f in true), 0.0)


def fit(trials: Sequence[Any]) -> Calibration:
    """Most probable temperature, handicap and lapse under the prior; then what excludes a system."""
    weight = weights(trials)
    cases = [(w, Case(t)) for w, t in zip(weight, trials, strict=True) if t.weighed and t.weighed.fitted]
    start = np.array([mean for mean, _ in PRIOR.values()])
    width = np.array([deviation for _, deviation in PRIOR.values()])

    def calibration_of(values: np.ndarray, excluded: float = 0.0) -> Calibration:
        lapse = float(1 / (1 + np.exp(-values[2])))
        return Calibration(float(np.exp(values[0])), float(values[1]), lapse, excluded, 1 - NOT_EXCLUDED)

    def cost(values: np.ndarray) -> float:
        total = sum(w * case.loss(calibration_of(values)) for w, case in cases)
        return total + 0.5 * float((((values - start) / width) ** 2).sum())

    best = minimize(cost, start, method="Nelder-Mead", options={"xatol": 0.01, "fatol": 0.01})
    known = sorted((case.deficit, w) for w, case in cases if case.deficit is not None)
    share = np.cumsum([w for _, w in known]) / (sum(w for _, w in known) + 1)
    at = min(int(np.searchsorted(share, NOT_EXCLUDED)), len(known) - 1)
    return calibration_of(best.x, float(known[at][0]))


def weights(trials: Sequence[Any]) -> np.ndarray:
    """Every kind counts alike, whatever the number of patterns of it; the mean is one."""
    kinds = [trial.kind for trial in trials]
    each = np.array([1.0 / kinds.count(kind) for kind in kinds])
    return each * len(trials) / each.sum()


def held_out(trials: Sequence[Any]) -> list[tuple[Any, Calibration]]:
    """Each trial with the calibration fitted to all other seeds."""
    out = []
    for seed in sorted({t.seed for t in trials}):
        calibration = fit([t for t in trials if t.seed != seed])
        out += [(t, calibration) for t in trials if t.seed == seed]
    return out


def reliability(outcomes: Sequence[Any], title: str = "") -> None:
    """Print stated probability against hits, with the central 90 % for the true share (Jeffreys)."""
    print(f"stated probability against hits, where something is said{title}")
    print(f"{'stated':>12}{'systems':>9}{'mean':>7}{'hits':>6}{'90 %':>13}{'cells':>8}{'mean':>7}{'hits':>6}")
    told = [o for o in outcomes if o.said != "abstains"]
    for low, high in pairwise(BINS):
        row = f"{low:6.2f}-{min(high, 1):.2f} "
        for stated, hit in (("probability", "system_or_lower"), ("cell_probability", "cell_right")):
            here = [o for o in told if low <= getattr(o, stated) < high]
            mean = np.mean([getattr(o, stated) for o in here]) if here else float("nan")
            hits = sum(getattr(o, hit) for o in here)
            share = hits / len(here) if here else float("nan")
            band = beta.ppf((0.05, 0.95), hits + 0.5, len(here) - hits + 0.5)
            row += f"{len(here):>9}{mean:7.2f}{share:6.2f}{f'{band[0]:.2f} to {band[1]:.2f}':>14}"
        print(row)
    for name, stated, hit in (
        ("systems, or lower", "probability", "system_or_lower"), ("systems", "probability", "system_right"),
        ("lattices", "cell_probability", "cell_right"),
    ):  # fmt: skip
        p, y = (np.array([getattr(o, what) for o in told], float) for what in (stated, hit))
        # of a sum of hits with these probabilities
        z = float((y - p).sum() / np.sqrt(max((p * (1 - p)).sum(), 1e-12))) if told else float("nan")
        print(
            f"  {name}: {len(told)} stated, mean {p.mean() if told else float('nan'):.3f}, right "
            f"{y.mean() if told else float('nan'):.3f} (z {z:+.1f})"
        )
