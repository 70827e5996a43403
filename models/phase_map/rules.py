"""Rules that join signals to one probability: fitted on held-out simulations, kept in the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from streamproc.models.phase_map.excess import Excess
from streamproc.models.powder.fit import CrossCheck

from streamproc.inference.card import Calibration, JoinedRule

__all__ = [
    "FOREIGN",
    "FOREIGN_WITH_FIT",
    "PRESENCE_WITH_FIT",
    "apply_joined",
    "apply_rule",
    "fit_rule",
    "foreign_probability",
    "foreign_signals",
    "presence_signals",
]

Array = npt.NDArray[np.float64]

FOREIGN = ("unknown", "distance", "spread")
"""Signals of the network about foreign material."""

FOREIGN_WITH_FIT = (
    *FOREIGN, "highest", "lines", "share", "clear_1", "clear_2", "clear_3", "clear_4", "clear_count",
    "near_1", "near_2", "near_3", "near_4", "near_count", "deficit", "unexplained", "noise",
)  # fmt: skip
"""The same with what the fit leaves over: what a residual means depends on how noisy the pattern is and
on how well the fit went, so that a joined rule finds far more than a logistic one."""

PRESENCE_WITH_FIT = ("network", "significance", "amount")
"""Signals about one phase being there."""

_MOST_SURE = 1e9
_RIDGE = 1e-3
_ROUNDS = 50


def _logit(p: float) -> float:
    clipped = min(max(p, 1e-6), 1 - 1e-6)
    return float(np.log(clipped / (1 - clipped)))


def foreign_signals(
    unknown: float,
    distance: float,
    spread: float,
    fit: CrossCheck | None = None,
    excess: Excess | None = None,
) -> dict[str, float]:
    """Return the signals about foreign material on scales that suit a linear rule."""
    signals = {
        "unknown": _logit(unknown),
        "distance": float(np.log(max(distance, 1e-3))),
        "spread": float(np.log(max(spread, 1e-4))),
    }
    if fit is None or excess is None:
        return signals
    return signals | excess.signals() | {"unexplained": fit.unexplained}


def presence_signals(probability: float, fraction: float, esd: float) -> dict[str, float]:
    """Return the signals about a phase: the network's probability, the fit's fraction and how sure it is."""
    found = fraction if np.isfinite(fraction) else 0.0
    sure = found / esd if np.isfinite(esd) and esd > 0 else 0.0
    return {
        "network": _logit(probability),
        "significance": float(np.log1p(min(max(sure, 0.0), _MOST_SURE))),
        "amount": float(np.log(max(found, 0.0) + 1e-3)),
    }


def apply_rule(rule: Mapping[str, float], signals: Mapping[str, float]) -> float:
    """Return the probability a rule gives.

    Raises
    ------
    KeyError
        When a signal that the rule needs is missing.
    """
    total = rule["bias"] + sum(w * signals[name] for name, w in rule.items() if name != "bias")
    return float(1 / (1 + np.exp(-np.clip(total, -40, 40))))


def apply_joined(rule: JoinedRule, signals: Mapping[str, float]) -> float:
    """Return the probability a joined rule gives.

    Parameters
    ----------
    rule : JoinedRule
        From a model's card.
    signals : mapping of str to float
        NaN counts as far above the centre (a signal that could not be had is no good sign).

    Raises
    ------
    KeyError
        When a signal that the rule needs is missing.
    """
    raw = np.array([signals[name] for name in rule.signals])
    z = np.nan_to_num((raw - np.array(rule.centre)) / np.array(rule.scale), nan=rule.clip)
    hidden = np.tanh(np.array(rule.hidden) @ np.clip(z, -rule.clip, rule.clip) + np.array(rule.offset))
    total = rule.bias + float(np.array(rule.output) @ hidden)
    return float(1 / (1 + np.exp(-np.clip(total, -40, 40))))


def foreign_probability(calibration: Calibration, signals: Mapping[str, float], *, with_fit: bool) -> float:
    """Return the probability of foreign material.

    Parameters
    ----------
    calibration : Calibration
        From a model's card.
    signals : mapping of str to float
        From :func:`foreign_signals`.
    with_fit : bool
        Whether they hold what a fit leaves over.
    """
    if with_fit:
        return apply_joined(calibration.joined["foreign_with_fit"], signals)
    return apply_rule(calibration.rules["foreign"], signals)


def fit_rule(names: Sequence[str], signals: Sequence[Mapping[str, float]], truth: Array) -> dict[str, float]:
    """Fit a logistic rule by Newton steps with a small ridge on standardised signals.

    Parameters
    ----------
    names : sequence of str
        Signals to use.
    signals : sequence of mapping, n long
        Signals of each case.
    truth : ndarray of bool or 0/1, shape (n,)
        What was the case.
    """
    raw = np.array([[s[n] for n in names] for s in signals])
    mean, spread = raw.mean(0), np.maximum(raw.std(0), 1e-6)
    x = np.column_stack([np.ones(len(raw)), (raw - mean) / spread])
    y, w = np.asarray(truth, float), np.zeros(x.shape[1])
    ridge = _RIDGE * len(y) * np.diag([0.0] + [1.0] * len(names)) + 1e-9 * np.eye(x.shape[1])
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -40, 40)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge
        step = np.linalg.solve(hessian, x.T @ (y - p) - ridge @ w)
        w += step
        if np.abs(step).max() < 1e-8:
            break
    weights = w[1:] / spread
    bias = float(w[0] - weights @ mean)
    rounded = {n: round(float(v), 6) for n, v in zip(names, weights, strict=True)}
    return rounded | {"bias": round(bias, 6)}
