"""From the network's raw outputs to an answer that knows its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.phase_map.check import Checked
from streamproc.models.phase_map.rules import (
    apply_rule,
    foreign_probability,
    foreign_signals,
    presence_signals,
)
from streamproc.models.powder.fit import CrossCheck

from streamproc.inference.card import ModelCard

__all__ = ["PRESENT", "STATES", "Answer", "Quantity", "disagreement", "interpret"]

Array = npt.NDArray[np.float64]

STATES = ("strain", "size_nm", "march_r")
"""States of a phase in an answer, in the order of the output ``state``."""

PRESENT = 0.5
"""Probability from which a phase counts as present."""

_SAYS_LITTLE = 0.8
"""An estimate whose sigma exceeds this share of the prior's says nothing."""

_MOSTLY = 0.5
"""Share of foreign intensity from which the whole material counts as unknown."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its calibrated uncertainty.

    Attributes
    ----------
    value : float
        In the quantity's own unit.
    sigma : float
        Half-width of the calibrated 68 % interval.
    interval90 : tuple of float
        Calibrated 90 % interval.
    """

    value: float
    sigma: float
    interval90: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is in the pattern, as far as the model may say.

    Attributes
    ----------
    phases : dict of str to Quantity
        Weight fractions among the known crystalline phases (sum 1).
    presence : dict of str to float
        Probability that each phase is there.
    states : dict of str to dict of str to Quantity or None
        Per phase ``strain`` (linear, against the reference cell), ``size_nm`` and ``march_r``; None where
        the phase is not there or the pattern does not say.
    amorphous : Quantity
        Weight share of glass (silica equivalent) in glass and known phases.
    unknown : Quantity
        Share of unknown material in the crystalline intensity.
    foreign : float
        Probability that there is foreign material, all signals joined.
    in_domain : bool
        Whether the fractions may be used.
    reasons : tuple of str
        Why not; empty when ``in_domain``: ``bad-frame: ...``, ``unknown-phase``, ``unknown-material``,
        ``no-crystalline``, ``outside-training-range: KNOB``, ``residual``, ``disagrees-with-fit``.
    residual : dict of str to float
        Figures of the classical fit (empty without one): ``r_wp``, ``chi2_reduced``, ``unexplained``,
        ``crystalline``, ``difference`` (largest difference of a fraction from the network's) and
        ``disagreement`` (the same in units of :func:`disagreement`).
    """

    phases: dict[str, Quantity]
    presence: dict[str, float]
    states: dict[str, dict[str, Quantity | None]]
    amorphous: Quantity
    unknown: Quantity
    foreign: float
    in_domain: bool
    reasons: tuple[str, ...]
    residual: dict[str, float] = field(default_factory=dict)


def interpret(
    outputs: Mapping[str, npt.NDArray[Any]],
    card: ModelCard,
    index: int,
    coverage: float,
    checked: Checked | None = None,
) -> Answer:
    """Turn one row of the model's raw outputs into an answer.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        Output tensors by name, batch first.
    card : ModelCard
        The model's card (calibration and limits).
    index : int
        Row in the batch.
    coverage : float
        Measured share of the axis, from :func:`~streamproc.models.powder.pattern.prepare`.
    checked : Checked, optional
        Fit of the same pattern; adds the residual and the comparison to the judgement.

    Returns
    -------
    Answer
        Values are given also where ``in_domain`` is false, for the record.
    """
    row = {name: values[index] for name, values in outputs.items()}
    width = np.asarray(row["scale"] + row["spread"] + card.calibration.floor, float)
    names = (*card.labels, "unknown", "amorphous")
    values = [*map(float, row["fractions"]), float(row["unknown"]), float(row["amorphous"])]
    quantities = {
        name: _quantity(value, float(w), card, name)
        for name, value, w in zip(names, values, width, strict=True)
    }
    fit = checked.fit if checked is not None else None
    residual = _residual(quantities, card, fit)
    presence = _presence(row, card, fit)
    foreign = _foreign(row, card, checked)
    reasons = (
        *_network_reasons(quantities, presence, row, card, coverage, foreign, checked is not None),
        *_fit_reasons(residual, presence, card, fit),
    )
    return Answer(
        phases={name: quantities[name] for name in card.labels},
        presence=presence,
        states={name: _states(row, k, name, presence[name], card) for k, name in enumerate(card.labels)},
        amorphous=quantities["amorphous"],
        unknown=quantities["unknown"],
        foreign=foreign,
        in_domain=not reasons,
        reasons=reasons,
        residual=residual,
    )


def _quantity(value: float, width: float, card: ModelCard, name: str) -> Quantity:
    half = card.calibration.q90[name] * width
    interval = (max(0.0, value - half), min(1.0, value + half))
    return Quantity(value, card.calibration.q68[name] * width, interval)


def _presence(row: Mapping[str, Any], card: ModelCard, fit: CrossCheck | None) -> dict[str, float]:
    """Join the network's probability with what the fit found; phases that were not fitted are absent."""
    network = dict(zip(card.labels, map(float, row["presence"]), strict=True))
    rule = card.calibration.rules.get("presence_with_fit")
    if fit is None or rule is None:
        return network
    return {
        name: apply_rule(rule, presence_signals(p, fit.fractions[name], fit.esd[name]))
        for name, p in network.items()
    }


def _foreign(row: Mapping[str, Any], card: ModelCard, checked: Checked | None) -> float:
    spread = float(np.max(row["spread"][: len(card.labels)]))
    signals = foreign_signals(
        float(row["unknown"]),
        float(row["distance"]),
        spread,
        checked.fit if checked else None,
        checked.excess if checked else None,
    )
    return foreign_probability(card.calibration, signals, with_fit=checked is not None)


def _states(
    row: Mapping[str, Any], k: int, label: str, presence: float, card: ModelCard
) -> dict[str, Quantity | None]:
    """Strain, size and texture of one phase, as far as the pattern says anything about them."""
    found: dict[str, Quantity | None] = {}
    for s, state in enumerate(STATES):
        name = f"{label}_{state}"
        width = float(row["state_scale"][s, k] + row["state_spread"][s, k])
        sigma = card.calibration.q68[name] * width
        if presence < PRESENT or not sigma < _SAYS_LITTLE * card.calibration.prior_sigma[name]:
            found[state] = None
            continue
        value, half = float(row["state"][s, k]), card.calibration.q90[name] * width
        found[state] = _in_units(state, value, sigma, half)
    return found


def _in_units(state: str, value: float, sigma: float, half: float) -> Quantity:
    """Sizes and March r are read as logarithms."""
    if state == "strain":
        return Quantity(value, sigma, (value - half, value + half))
    centre = float(np.exp(value))
    return Quantity(centre, centre * sigma, (float(np.exp(value - half)), float(np.exp(value + half))))


def _residual(
    quantities: Mapping[str, Quantity], card: ModelCard, fit: CrossCheck | None
) -> dict[str, float]:
    if fit is None:
        return {}
    differences = np.array([abs(fit.fractions[n] - quantities[n].value) for n in card.labels])
    sigmas = [quantities[n].sigma for n in card.labels]
    esds = [fit.esd[n] for n in card.labels]
    return {
        "r_wp": fit.r_wp,
        "chi2_reduced": fit.chi2_reduced,
        "unexplained": fit.unexplained,
        "crystalline": fit.crystalline,
        "difference": float(np.max(differences)),
        "disagreement": float(np.max(disagreement(differences, np.array(sigmas), np.array(esds)))),
    }


def disagreement(difference: Array, sigma: Array, esd: Array) -> Array:
    """Return differences between network and classical fit over their joint uncertainty.

    Parameters
    ----------
    difference, sigma, esd : ndarray
        Absolute difference, network's sigma and fit's standard deviation (shares); two weight per cent
        are added for what both leave out (texture, microabsorption).
    """
    return np.asarray(difference / np.sqrt(0.02**2 + sigma**2 + esd**2))


def _network_reasons(
    quantities: Mapping[str, Quantity],
    presence: Mapping[str, float],
    row: Mapping[str, Any],
    card: ModelCard,
    coverage: float,
    foreign: float,
    with_fit: bool,
) -> list[str]:
    limits = card.calibration.limits
    reasons = []
    if coverage < card.axis.min_coverage:
        reasons.append(f"bad-frame: axis coverage {coverage:.2f} < {card.axis.min_coverage:g}")
    if quantities["amorphous"].value > limits["amorphous"]:
        reasons.append("no-crystalline")
    if foreign > limits["foreign_with_fit" if with_fit else "foreign"]:
        none = max(presence.values()) < PRESENT
        mostly = none or quantities["unknown"].value > _MOSTLY
        reasons.append("unknown-material" if mostly else "unknown-phase")
    if not float(row["distance"]) <= limits["distance"]:
        reasons.append("outside-training-range: features")
    if float(np.max(row["spread"][: len(card.labels)])) > limits["spread"]:
        reasons.append("outside-training-range: ensemble")
    return reasons


def _fit_reasons(
    residual: Mapping[str, float], presence: Mapping[str, float], card: ModelCard, fit: Any
) -> list[str]:
    """What the fit objects to: residual, other fractions, cells beyond the trained span."""
    if not residual:
        return []
    limits = card.calibration.limits
    reasons = []
    if residual["unexplained"] > limits["residual"]:
        reasons.append("residual")
    # NaN (no known phase found at all) must count as disagreement
    if not residual["disagreement"] <= limits["disagreement"]:
        reasons.append("disagrees-with-fit")
    for name in card.labels:
        strain = fit.phases[name].strain
        beyond = limits.get(f"{name}_strain")
        if presence[name] < PRESENT or beyond is None or not np.isfinite(strain.value):
            continue
        if abs(strain.value) - 3 * strain.esd > beyond:
            reasons.append(f"outside-training-range: {name}_strain")
    return reasons
