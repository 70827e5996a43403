"""Calibration of the ONNX graph that ships: conformal quantiles, joined rules, out-of-domain limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.networks.conformal import OnnxRunner, conformal_quantile
from streamproc.models.phase_map.check import Checked, Checker
from streamproc.models.phase_map.held import FLOOR, Held, checks_of, foreign_of, presence_of
from streamproc.models.phase_map.interpret import STATES, disagreement
from streamproc.models.phase_map.joining import fit_joined
from streamproc.models.phase_map.measured import Measured, prepared
from streamproc.models.phase_map.rules import (
    FOREIGN,
    FOREIGN_WITH_FIT,
    PRESENCE_WITH_FIT,
    apply_joined,
    apply_rule,
    fit_rule,
)

from streamproc.inference.card import Calibration, JoinedRule, ModelCard

__all__ = ["calibrate", "widened"]

Array = npt.NDArray[Any]

_FALSE_ALARMS = 0.01
_FIT_LEVEL = 0.995
"""Level of the limits on residual and disagreement, which stand beside the joined rule."""

_LEAST = {"residual": 0.25, "disagreement": 4.0, "spread": 0.05, "distance": 1.7, "foreign": 0.1,
          "foreign_with_fit": 0.1}  # fmt: skip
"""Limits are not set tighter than this: measured samples hold small impurities and imperfect intensities."""


def calibrate(
    mixed: Held,
    plain: Held,
    labels: Sequence[str],
    checker: Checker,
    fits: int,
    prior: Mapping[str, float],
    spans: Mapping[str, float],
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Calibration:
    """Set quantiles, rules and limits.

    Parameters
    ----------
    mixed : Held
        Patterns as trained on, for quantiles and rules.
    plain : Held
        Patterns of known phases with or without glass, for the limits.
    labels : sequence of str
        Phase names.
    checker : Checker
        The classical fit; its residual and difference get limits too.
    fits : int
        Usual patterns to fit for the rules, as many others for the limits, and twice as many of all kinds.
    prior : mapping of str to float
        Spread of each state (``LABEL_strain`` ...) in training.
    spans : mapping of str to float
        Lattice strain the training covers, by ``LABEL_strain``.
    seed : int
        Seed of the joined rule's training.
    progress : callable, optional
        Called with the number of fits done.
    """
    q68, q90 = _quantiles(mixed, labels)
    usual = np.flatnonzero(plain.readable() & (plain.amorphous < 0.5))[: 2 * fits]
    cases = np.arange(min(2 * fits, len(mixed.x)))
    usual_checks = checks_of(plain, checker, usual, progress)
    case_checks = checks_of(mixed, checker, cases, lambda done: progress(len(usual) + done))
    half = len(usual) // 2
    rules, joined = _rules(mixed, cases, case_checks, plain, usual[:half], usual_checks[:half], labels, seed)
    # limits come from patterns the rules were not fitted to: on their own they look better than they are
    limits = _limits(
        plain, usual[half:], usual_checks[half:], rules, joined, labels, np.array([q68[n] for n in labels])
    )
    return Calibration(
        floor=FLOOR,
        q68=q68,
        q90=q90,
        limits={k: round(v, 5) for k, v in (limits | dict(spans)).items()},
        rules=rules,
        joined={"foreign_with_fit": joined},
        prior_sigma={k: float(f"{v:.5g}") for k, v in prior.items()},
    )


def widened(
    calibration: Calibration, run: OnnxRunner, card: ModelCard, measured: Sequence[Measured]
) -> tuple[Calibration, dict[str, Any]]:
    """Widen the fractions' intervals until they hold on measured patterns kept for this.

    Simulations leave out something of every real sample. One factor on all phases' quantiles is the conformal
    quantile of error over interval on the measured phases that are there; it never narrows anything. With
    fewer than nine values the 90 % interval must hold all of them.

    Parameters
    ----------
    calibration : Calibration
        Made on simulations.
    run : OnnxRunner
        The model.
    card : ModelCard
        Its axis and labels.
    measured : sequence of Measured
        Those whose use is ``calibrate`` and whose weights are known count.

    Returns
    -------
    Calibration
        The wider one.
    dict
        What the card says of it; empty without such patterns.
    """
    kept = [m for m in measured if m.use == "calibrate" and np.isfinite(m.fractions).all()]
    if not kept:
        return calibration, {}
    o, truth = run(prepared(card.axis, kept)), np.array([m.fractions for m in kept])
    p = len(card.labels)
    width = o["scale"][:, :p] + o["spread"][:, :p] + calibration.floor
    ratio, there = np.abs(o["fractions"] - truth) / width, truth > 0
    factors, quantiles = {}, {}
    for name, level in (("q68", 0.68), ("q90", 0.90)):
        old: dict[str, float] = getattr(calibration, name)
        own = np.array([old[n] for n in card.labels])
        factors[name] = round(max(1.0, conformal_quantile((ratio / own)[there], level)), 3)
        quantiles[name] = old | {n: round(old[n] * factors[name], 4) for n in card.labels}
    said = {"calibrated_with": [m.name for m in kept], "widened_by": factors}
    return calibration.model_copy(update=quantiles), said


def _quantiles(mixed: Held, labels: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Quantiles of the errors over the widths.

    A fraction's are taken over the patterns that hold the phase (where it is absent errors are tiny and would
    make the interval of those that matter too short).
    """
    ratio, readable = mixed.errors() / mixed.widths(), mixed.readable()
    values = {name: ratio[readable & (mixed.truth[:, k] > 0), k] for k, name in enumerate(labels)}
    values["unknown"] = ratio[:, -2]
    values["amorphous"] = ratio[mixed.has_known & (mixed.unknown < 0.5), -1]
    states = mixed.state_errors()
    for k, name in enumerate(labels):
        for s, state in enumerate(STATES):
            column = states[:, s, k]
            values[f"{name}_{state}"] = column[np.isfinite(column)]
    enough = {n: v if len(v) else np.array([9.0]) for n, v in values.items()}
    return (
        {n: conformal_quantile(v, 0.68) for n, v in enough.items()},
        {n: conformal_quantile(v, 0.90) for n, v in enough.items()},
    )


def _rules(
    mixed: Held, cases: Array, case_checks: Sequence[Checked], plain: Held, usual: Array,
    usual_checks: Sequence[Checked], labels: Sequence[str], seed: int,
) -> tuple[dict[str, dict[str, float]], JoinedRule]:  # fmt: skip
    """Fit the rules on patterns with and without foreign material, nearly pure glass left out."""
    clear = (mixed.unknown[cases] == 0) | (mixed.unknown[cases] > 0.02)
    keep = np.flatnonzero(clear & (mixed.amorphous[cases] < 0.9))
    truth = np.concatenate([mixed.unknown[cases][keep] > 0, np.zeros(len(usual))])
    kept = [case_checks[k] for k in keep]
    with_fit = foreign_of(mixed, cases[keep], kept) + foreign_of(plain, usual, usual_checks)
    readable = np.flatnonzero(mixed.has_known[cases] & (mixed.unknown[cases] < 0.5))
    signals, present = presence_of(mixed, cases[readable], [case_checks[k] for k in readable], labels)
    rules = {
        "foreign": fit_rule(FOREIGN, with_fit, truth),
        "presence_with_fit": fit_rule(PRESENCE_WITH_FIT, signals, present),
    }
    return rules, fit_joined(FOREIGN_WITH_FIT, with_fit, truth, seed)


def _limits(
    plain: Held, usual: Array, checks: Sequence[Checked], rules: Mapping[str, Mapping[str, float]],
    joined: JoinedRule, labels: Sequence[str], q68: Array,
) -> dict[str, float]:  # fmt: skip
    """One per cent of usual patterns lies beyond each limit of the rules, 0.5 % beyond the others."""
    keep, p = plain.readable(), plain.phases
    every = np.flatnonzero(keep)
    network = [apply_rule(rules["foreign"], s) for s in foreign_of(plain, every)]
    with_fit = [apply_joined(joined, s) for s in foreign_of(plain, usual, checks)]
    fractions = np.array([[c.fit.fractions[n] for n in labels] for c in checks])
    esd = np.array([[c.fit.esd[n] for n in labels] for c in checks])
    sigma = plain.widths()[usual, :p] * q68
    apart = disagreement(np.abs(fractions - plain.outputs["fractions"][usual]), sigma, esd).max(1)
    limits = {
        "foreign": conformal_quantile(np.array(network), 1 - _FALSE_ALARMS),
        "foreign_with_fit": conformal_quantile(np.array(with_fit), 1 - _FALSE_ALARMS),
        "distance": float(np.quantile(plain.outputs["distance"][keep], _FIT_LEVEL)),
        "spread": float(np.quantile(plain.outputs["spread"][keep, :p].max(1), _FIT_LEVEL)),
        "residual": float(np.quantile([c.fit.unexplained for c in checks], _FIT_LEVEL)),
        "disagreement": float(np.quantile(np.nan_to_num(apart, nan=99.0), _FIT_LEVEL)),
    }
    return {k: max(v, _LEAST.get(k, 0.0)) for k, v in limits.items()} | {"amorphous": 0.9}
