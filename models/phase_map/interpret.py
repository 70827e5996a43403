"""From the network's raw outputs to an answer that knows its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit import CrossCheck

from streamproc.inference.card import ModelCard

__all__ = ["Answer", "Quantity", "disagreement", "interpret"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its calibrated uncertainty.

    Attributes
    ----------
    value : float
        Share, 0 to 1.
    sigma : float
        Half-width of the calibrated 68 % interval.
    interval90 : tuple of float
        Calibrated 90 % interval, within 0 and 1.
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
    amorphous : Quantity
        Weight share of glass (silica equivalent) in glass and known phases.
    unknown : Quantity
        Share of unknown material in the crystalline intensity.
    in_domain : bool
        Whether the fractions may be used.
    reasons : tuple of str
        Why not; empty when ``in_domain``. ``axis coverage C < L``, ``unknown material``, ``amorphous only``,
        ``feature distance``, ``member spread``, ``residual``, ``disagrees with classical fit``.
    residual : dict of str to float
        Figures of the classical fit (empty without one): ``r_wp``, ``chi2_reduced``, ``unexplained``,
        ``crystalline``, ``difference`` (largest difference of a fraction from the network's) and
        ``disagreement`` (the same in units of :func:`disagreement`).
    """

    phases: dict[str, Quantity]
    amorphous: Quantity
    unknown: Quantity
    in_domain: bool
    reasons: tuple[str, ...]
    residual: dict[str, float]


def interpret(
    outputs: Mapping[str, npt.NDArray[Any]],
    card: ModelCard,
    index: int,
    coverage: float,
    classical: CrossCheck | None = None,
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
    classical : CrossCheck, optional
        Fit of the same pattern; adds the residual and the comparison to the judgement.

    Returns
    -------
    Answer
        Values are given also where ``in_domain`` is false, for the record.
    """
    width = _widths(outputs, card, index)
    names = (*card.labels, "unknown", "amorphous")
    fractions = outputs["fractions"][index]
    values = [*map(float, fractions), float(outputs["unknown"][index]), float(outputs["amorphous"][index])]
    quantities = {
        name: _quantity(value, float(w), card, name)
        for name, value, w in zip(names, values, width, strict=True)
    }
    residual = _residual(quantities, card, classical)
    reasons = (
        *_network_reasons(quantities, outputs, card, index, coverage),
        *_classical_reasons(residual, card),
    )
    return Answer(
        phases={name: quantities[name] for name in card.labels},
        amorphous=quantities["amorphous"],
        unknown=quantities["unknown"],
        in_domain=not reasons,
        reasons=reasons,
        residual=residual,
    )


def _widths(outputs: Mapping[str, npt.NDArray[Any]], card: ModelCard, index: int) -> Array:
    """Aleatoric plus epistemic width plus floor of the six quantities."""
    return np.asarray(outputs["scale"][index] + outputs["spread"][index] + card.calibration.floor, float)


def _quantity(value: float, width: float, card: ModelCard, name: str) -> Quantity:
    half = card.calibration.q90[name] * width
    interval = (max(0.0, value - half), min(1.0, value + half))
    return Quantity(value, card.calibration.q68[name] * width, interval)


def _residual(
    quantities: Mapping[str, Quantity], card: ModelCard, classical: CrossCheck | None
) -> dict[str, float]:
    if classical is None:
        return {}
    differences = np.array([abs(classical.fractions[n] - quantities[n].value) for n in card.labels])
    sigmas = [quantities[n].sigma for n in card.labels]
    esds = [classical.esd[n] for n in card.labels]
    return {
        "r_wp": classical.r_wp,
        "chi2_reduced": classical.chi2_reduced,
        "unexplained": classical.unexplained,
        "crystalline": classical.crystalline,
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
    outputs: Mapping[str, npt.NDArray[Any]],
    card: ModelCard,
    index: int,
    coverage: float,
) -> list[str]:
    limits = card.calibration.limits
    reasons = []
    if coverage < card.axis.min_coverage:
        reasons.append(f"axis coverage {coverage:.2f} < {card.axis.min_coverage:g}")
    if quantities["unknown"].value > limits["unknown"]:
        reasons.append("unknown material")
    if quantities["amorphous"].value > limits["amorphous"]:
        reasons.append("amorphous only")
    if not float(outputs["distance"][index]) <= limits["distance"]:
        reasons.append("feature distance")
    if float(np.max(outputs["spread"][index][: len(card.labels)])) > limits["spread"]:
        reasons.append("member spread")
    return reasons


def _classical_reasons(residual: Mapping[str, float], card: ModelCard) -> list[str]:
    if not residual:
        return []
    limits = card.calibration.limits
    reasons = []
    if residual["unexplained"] > limits["residual"]:
        reasons.append("residual")
    # NaN (no known phase found at all) must count as disagreement
    if not residual["disagreement"] <= limits["disagreement"]:
        reasons.append("disagrees with classical fit")
    return reasons
