"""Calibrate on held-out answers and write a version folder: shared by models of patterns and of cakes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.networks.conformal import OnnxRunner, conformal_quantile
from streamproc.models.report.evidence import Evidence
from streamproc.models.report.version import write_model

from streamproc.inference.card import Calibration, ModelCard

__all__ = ["GOLDEN", "calibrated", "write_version"]

GOLDEN = 16
"""Held-out inputs that are kept with their answers; an empty one goes with them."""

_OUTSIDE = 0.01

Array = npt.NDArray[Any]


def calibrated(outputs: Mapping[str, Array], truth: Array, names: tuple[str, ...]) -> Calibration:
    """Return conformal quantiles of the error over the width, and the limit of the distance.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        Answers of the graph to inputs it has not seen.
    truth : ndarray, shape (n, k)
        What they should have been.
    names : tuple of str
        Of the k quantities.
    """
    ratio = np.abs(outputs["values"] - truth) / (outputs["scale"] + outputs["spread"])

    def quantiles(level: float) -> dict[str, float]:
        return {n: round(conformal_quantile(ratio[:, k], level), 4) for k, n in enumerate(names)}

    return Calibration(
        floor=0.0,
        q68=quantiles(0.68),
        q90=quantiles(0.90),
        limits={"distance": float(np.round(np.quantile(outputs["distance"], 1 - _OUTSIDE), 4))},
        prior_sigma=dict(zip(names, map(float, np.round(truth.std(0), 5)), strict=True)),
    )


def write_version(out: Path, data: bytes, card: ModelCard, x: Array, evidence: Evidence) -> None:
    """Write model, golden vectors, evidence and report.

    Parameters
    ----------
    out : Path
        Version folder; made where it is not there.
    data : bytes
        The graph.
    card : ModelCard
        Goes into the model file.
    x : ndarray, shape (n, points)
        Held-out inputs, of which the first ``GOLDEN`` are kept.
    evidence : Evidence
        For the report.
    """
    out.mkdir(parents=True, exist_ok=True)
    x = np.round(np.concatenate([x[:GOLDEN], np.zeros((1, x.shape[1]))]), 4).astype(np.float32)
    np.savez_compressed(out / "golden.npz", x=x, **OnnxRunner(data)(x))
    write_model(out, data, card, evidence)
