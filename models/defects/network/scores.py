"""Figures of a defect network on held-out simulations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.inference.card import ModelCard

__all__ = ["auroc", "scored"]

Array = npt.NDArray[Any]

_PRESENT = 0.005
"""A kind of fault is there from this probability on."""


def auroc(scores: Array, truth: Array) -> float:
    """Return the area under the receiver operating characteristic (Mann-Whitney)."""
    order = np.argsort(np.concatenate([scores[truth], scores[~truth]]), kind="stable")
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return float("nan")
    return float((ranks[:positive].sum() - positive * (positive + 1) / 2) / (positive * negative))


def scored(outputs: Mapping[str, Array], truth: Array, card: ModelCard) -> dict[str, Any]:
    """Return errors, coverage of the 90 % intervals, and what the fault estimates tell apart.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        What the graph says, batch first.
    truth : ndarray, shape (n, k)
        Targets.
    card : ModelCard
        With its calibration.
    """
    names = card.labels
    values, width = outputs["values"], outputs["scale"] + outputs["spread"]
    q90 = np.array([card.calibration.q90[n] for n in names])
    error = np.abs(values - truth)
    column = {n: k for k, n in enumerate(names)}
    covered = (error <= q90 * width).mean(0)
    figures: dict[str, Any] = {
        "patterns": len(truth),
        "mean_error": _rounded(names, error.mean(0)),
        "error_68": _rounded(names, np.quantile(error, 0.68, axis=0)),
        "coverage_90": _rounded(names, covered),
    }
    density = column["ln_density"]
    many = truth[:, density] > np.log(1e14)
    small = truth[:, column["ln_size"]] < np.log(200)
    figures["density_factor_68"] = _factor(error[many, density])
    figures["density_factor_mean"] = round(float(np.exp(error[many, density].mean())), 3)
    figures["size_error_68"] = round(_factor(error[small, column["ln_size"]]) - 1, 3)
    if "deformation" in column:
        figures |= _faults(values, truth, error, column)
    return figures


def _faults(values: Array, truth: Array, error: Array, column: Mapping[str, int]) -> dict[str, Any]:
    alpha, beta = column["deformation"], column["growth"]
    few = truth[:, alpha] <= 0.05
    only_alpha = (truth[:, alpha] > _PRESENT) & (truth[:, beta] == 0)
    only_beta = (truth[:, beta] > _PRESENT) & (truth[:, alpha] == 0)
    either = only_alpha | only_beta
    apart = (values[:, beta] - values[:, alpha])[either]
    return {
        "alpha_error_mean": round(float(error[few, alpha].mean()), 5),
        "alpha_error_68": round(float(np.quantile(error[few, alpha], 0.68)), 5),
        "alpha_error_90": round(float(np.quantile(error[few, alpha], 0.90)), 5),
        "twin_against_fault_auroc": round(auroc(apart, only_beta[either]), 4),
        "deformation_auroc": round(auroc(values[:, alpha], truth[:, alpha] > 0), 4),
        "growth_auroc": round(auroc(values[:, beta], truth[:, beta] > 0), 4),
    }


def _rounded(names: tuple[str, ...], values: Array) -> dict[str, float]:
    return {n: round(float(v), 4) for n, v in zip(names, values, strict=True)}


def _factor(errors: Array) -> float:
    return round(float(np.exp(np.quantile(errors, 0.68))), 3) if len(errors) else float("nan")
