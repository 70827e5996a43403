"""How good a model is: its answers to patterns that neither training nor calibration saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.networks.conformal import OnnxRunner
from streamproc.models.phase_map.check import Checked, Checker
from streamproc.models.phase_map.held import Held, checks_of, foreign_of, hold_out
from streamproc.models.phase_map.interpret import PRESENT, STATES, Answer, interpret
from streamproc.models.phase_map.library import Library
from streamproc.models.phase_map.measured import Measured, prepared
from streamproc.models.phase_map.mixtures import PLAIN, MixSettings
from streamproc.models.phase_map.rules import foreign_probability
from streamproc.models.report.metrics import auroc

from streamproc.inference.card import ModelCard

__all__ = ["Case", "Judged", "judge_measured", "judge_simulated"]

Array = npt.NDArray[Any]

_KNOWN_AND_FOREIGN = MixSettings(unknown_share=1.0, amorphous_share=0.2, only_unknown_share=0.0,
                                 only_amorphous_share=0.0, empty_share=0.0)  # fmt: skip
_BANDS = ((0.02, 0.1), (0.1, 0.3), (0.3, 1.0))
_LEAST_WEIGHT = 0.02
_WORST = 4


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One judged pattern."""

    name: str
    answer: Answer
    checked: Checked
    fractions: Array
    present: Array
    counted: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Answers beside the truth.

    Attributes
    ----------
    cases : tuple of Case
        Patterns of known phases with the whole judgement.
    usual, foreign : ndarray, shape (n, s), (m, s)
        Out-of-domain signals: network rule, joined rule, distance, residual; empty for measured patterns.
    foreign_share : ndarray, shape (m,)
        Share of foreign intensity.
    figures : dict
        What goes into the card.
    """

    cases: tuple[Case, ...]
    usual: Array
    foreign: Array
    foreign_share: Array
    figures: dict[str, Any]

    def worst(self) -> list[Case]:
        """Return the cases with the largest error of a fraction."""
        scored = [c for c in self.cases if np.isfinite(c.fractions).all()]
        return sorted(scored, key=lambda c: -_largest(c))[:_WORST]


def _largest(case: Case) -> float:
    values = np.array([q.value for q in case.answer.phases.values()])
    return float(np.abs(values - case.fractions).max())


def judge_simulated(
    run: OnnxRunner,
    card: ModelCard,
    checker: Checker,
    library: Library,
    foreign: Library,
    seed: int,
    n: int,
    fits: int,
) -> Judged:
    """Judge on held-out simulations: known phases with glass, and with materials never seen in training."""
    plain = hold_out(run, library, seed + 3, n, PLAIN)
    rows = np.flatnonzero(plain.readable() & (plain.amorphous < 0.5))[:fits]
    cases = tuple(
        _case(f"simulated {i}", plain, i, card, checked)
        for i, checked in zip(rows, checks_of(plain, checker, rows), strict=True)
    )
    strange = hold_out(run, foreign, seed + 4, n, _KNOWN_AND_FOREIGN)
    chosen = np.flatnonzero(strange.amorphous < 0.5)[:fits]
    checks = checks_of(strange, checker, chosen)
    usual = _signals(plain, rows, [c.checked for c in cases], card)
    other = _signals(strange, chosen, checks, card)
    share = strange.unknown[chosen]
    mixed = hold_out(run, library, seed + 6, n)
    figures = {
        "simulated": _fraction_figures(mixed, card)
        | _network_presence(mixed, card)
        | _state_figures(mixed, card),
        "with_fit": _case_figures(cases, card),
        "foreign": _foreign_figures(usual, other, share, card),
    }
    return Judged(cases, usual, other, share, figures)


def judge_measured(
    run: OnnxRunner, card: ModelCard, checker: Checker, measured: Sequence[Measured]
) -> Judged:
    """Judge on measured patterns; those that stopped the training or calibrated it are shown, not counted."""
    x = prepared(card.axis, measured)
    outputs = run(x)
    cases = []
    for i, one in enumerate(measured):
        checked = checker.check(x[i], outputs["presence"][i])
        coverage = float((x[i] > 0).mean())
        answer = interpret(outputs, card, i, coverage, checked)
        cases.append(Case(one.name, answer, checked, one.fractions, one.present, one.use == "score"))
    none = np.zeros((0, 4))
    return Judged(tuple(cases), none, none, np.zeros(0), _measured_figures(cases, card))


def _case(name: str, held: Held, i: int, card: ModelCard, checked: Checked) -> Case:
    answer = interpret(held.outputs, card, i, float((held.x[i] > 0).mean()), checked)
    return Case(name, answer, checked, held.truth[i, : held.phases], held.present()[i])


def _signals(held: Held, rows: Array, checks: Sequence[Checked], card: ModelCard) -> Array:
    """Network rule, joined rule, distance, residual of some patterns, shape (n, 4)."""
    said = card.calibration
    network = [foreign_probability(said, s, with_fit=False) for s in foreign_of(held, rows)]
    joined = [foreign_probability(said, s, with_fit=True) for s in foreign_of(held, rows, checks)]
    residual = [c.fit.unexplained for c in checks]
    return np.column_stack([network, joined, held.outputs["distance"][rows], residual])


def _fraction_figures(held: Held, card: ModelCard) -> dict[str, float]:
    """Scores of the network's shares (per cent)."""
    error, width, keep, p = held.errors(), held.widths(), held.readable(), held.phases
    names = (*card.labels, "unknown", "amorphous")
    inside = error <= width * np.array([card.calibration.q90[n] for n in names])
    known = keep & (held.unknown == 0)
    there = held.present() & keep[:, None]
    return {
        "fraction_mae_wt_percent": round(100 * float(error[known, :p].mean()), 3),
        "fraction_mae_no_glass_wt_percent": round(
            100 * float(error[known & (held.amorphous == 0), :p].mean()), 3
        ),
        "coverage90": round(float(inside[:, :p][there].mean()), 3),
        "unknown_mae_percent": round(100 * float(error[:, p].mean()), 3),
        "amorphous_mae_percent": round(100 * float(error[keep, p + 1].mean()), 3),
        "patterns": float(len(error)),
    }


def _network_presence(held: Held, card: ModelCard) -> dict[str, float]:
    """AUROC of each phase's presence at 2 wt% and more, from the network alone."""
    keep = held.has_known & (held.unknown < 0.5) & (held.amorphous < 0.5)
    scores = []
    for k in range(len(card.labels)):
        share = held.truth[:, k]
        rows = keep & ((share == 0) | (share >= _LEAST_WEIGHT))
        truth = share[rows] > 0
        if truth.any() and not truth.all():
            said = held.outputs["presence"][rows, k]
            scores.append(auroc(said[~truth], said[truth]))
    if not scores:
        return {}
    return {
        "presence_auroc_least": round(float(np.min(scores)), 5),
        "presence_auroc_mean": round(float(np.mean(scores)), 5),
    }


def _state_figures(held: Held, card: ModelCard) -> dict[str, float]:
    """Share of states within their 90 % interval, and mean strain error."""
    ratio, figures = held.state_errors(), {}
    for s, state in enumerate(STATES):
        q90 = np.array([card.calibration.q90[f"{n}_{state}"] for n in card.labels])
        seen = np.isfinite(ratio[:, s])
        if seen.any():
            figures[f"{state}_coverage90"] = round(float((ratio[:, s] <= q90)[seen].mean()), 3)
    seen = np.isfinite(ratio[:, 0])
    off = np.abs(held.outputs["state"][:, 0] - held.state[:, 0])
    if seen.any():
        figures["strain_mae"] = float(f"{off[seen].mean():.3g}")
    return figures


def _case_figures(cases: Sequence[Case], card: ModelCard) -> dict[str, float]:
    """Scores of the whole answer, network and fit together."""
    values = np.array([[q.value for q in c.answer.phases.values()] for c in cases])
    fits = np.array([[c.checked.fit.fractions[n] for n in card.labels] for c in cases])
    truth = np.array([c.fractions for c in cases])
    presence = np.array([list(c.answer.presence.values()) for c in cases])
    there = np.array([c.present for c in cases])
    enough = (truth >= _LEAST_WEIGHT) | ~there
    scores = [
        auroc(presence[~there[:, k], k], presence[enough[:, k] & there[:, k], k])
        for k in range(len(card.labels))
        if 0 < there[enough[:, k], k].sum() < enough[:, k].sum()
    ]
    return {
        "network_mae_wt_percent": round(100 * float(np.abs(values - truth).mean()), 3),
        "fit_mae_wt_percent": round(100 * float(np.nanmean(np.abs(fits - truth))), 3),
        "presence_auroc_least": round(float(np.min(scores)), 5) if scores else float("nan"),
        "presence_f1": round(_f1(there, presence > PRESENT, enough), 4),
        "in_domain": round(float(np.mean([c.answer.in_domain for c in cases])), 3),
        "patterns": float(len(cases)),
    }


def _f1(truth: Array, said: Array, counted: Array) -> float:
    right = float((truth & said & counted).sum())
    return right / max(1.0, right + 0.5 * float(((truth != said) & counted).sum()))


def _foreign_figures(usual: Array, other: Array, share: Array, card: ModelCard) -> dict[str, Any]:
    """What is detected at one per cent of false alarms on other usual patterns, by share of the intensity."""
    limits = card.calibration.limits
    figures: dict[str, Any] = {
        "false_alarms": round(float((usual[:, 1] > limits["foreign_with_fit"]).mean()), 4),
        "auroc": round(auroc(usual[:, 1], other[share > 0.02, 1]), 4),
    }
    level = float(np.quantile(usual[:, 1], 0.99))
    for low, high in _BANDS:
        rows = (share > low) & (share <= high)
        if rows.any():
            name = f"{round(100 * low)}_to_{round(100 * high)}_percent"
            figures[f"detected_{name}"] = round(float((other[rows, 1] > level).mean()), 3)
            figures[f"refused_{name}"] = round(float((other[rows, 1] > limits["foreign_with_fit"]).mean()), 3)
            figures[f"network_{name}"] = round(float((other[rows, 0] > limits["foreign"]).mean()), 3)
    return figures


def _measured_figures(cases: Sequence[Case], card: ModelCard) -> dict[str, Any]:
    """Network and fit side by side on measured patterns (wt%), presence, what was counted."""
    counted = [c for c in cases if c.counted]
    weighed = [c for c in counted if np.isfinite(c.fractions).all()]
    figures: dict[str, Any] = {"not_counted": [c.name for c in cases if not c.counted]}
    if weighed:
        figures |= _weighed_figures(weighed, card)
    if counted:
        there = np.array([c.present for c in counted])
        said = np.array([list(c.answer.presence.values()) for c in counted]) > PRESENT
        figures["presence_f1"] = round(_f1(there, said, np.ones_like(there)), 3)
        figures["in_domain"] = f"{sum(c.answer.in_domain for c in counted)} of {len(counted)}"
    return figures


def _weighed_figures(cases: Sequence[Case], card: ModelCard) -> dict[str, Any]:
    """Mixtures count; pure phases (whose error is nearly always zero) are listed beside them."""
    mixtures = [c for c in cases if c.present.sum() > 1] or list(cases)
    truth = np.array([c.fractions for c in mixtures])
    network = np.array([[q.value for q in c.answer.phases.values()] for c in mixtures])
    fit = np.array([[c.checked.fit.fractions[n] for n in card.labels] for c in mixtures])
    ends = np.array([[q.interval90 for q in c.answer.phases.values()] for c in mixtures])
    inside = (ends[..., 0] - 1e-6 <= truth) & (truth <= ends[..., 1] + 1e-6)
    error = 100 * np.abs(network - truth)
    return {
        "fraction_mae_wt_percent": round(float(error.mean()), 3),
        "fraction_max_wt_percent": round(float(error.max()), 3),
        "classical_mae_wt_percent": round(100 * float(np.nanmean(np.abs(fit - truth))), 3),
        "coverage90": round(float(inside[truth > 0].mean()), 3),
        "by_pattern": {
            c.name: round(100 * float(np.mean([abs(q.value - t) for q, t in
                          zip(c.answer.phases.values(), c.fractions, strict=True)])), 3)
            for c in cases
        },
    }  # fmt: skip
