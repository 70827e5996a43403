"""Calibration of the ONNX graph that ships: conformal quantiles, out-of-domain limits, held-out scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from streamproc.models.phase_map.interpret import disagreement
from streamproc.models.phase_map.library import Library
from streamproc.models.phase_map.mixtures import Batch, Mixer, MixSettings
from streamproc.models.powder.fit import QuickFitter

from streamproc.inference.card import Calibration

__all__ = ["FLOOR", "Held", "OnnxRunner", "abstention", "calibrate", "hold_out", "scores"]

Array = npt.NDArray[Any]

FLOOR = 0.003
"""Added to the widths, so that certain patterns keep a finite interval (0.3 wt%)."""

_SMALL_UNKNOWN = 0.05
_FIT_LEVEL = 0.97
"""Level of the limits on the classical fit: where it goes astray itself, the pattern is doubtful anyway."""

_LEAST = {"unknown": 0.10, "residual": 0.25, "disagreement": 4.0, "spread": 0.05, "distance": 1.7}
"""Limits are not set tighter than this: measured samples hold small impurities and imperfect intensities."""


class OnnxRunner:
    """Runs a model file's bytes with onnxruntime (two threads)."""

    def __init__(self, data: bytes) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 2
        self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def __call__(self, x: Array) -> dict[str, Array]:
        """Return every output by name."""
        names = [o.name for o in self._session.get_outputs()]
        parts = [self._session.run(names, {"x": x[i : i + 256]}) for i in range(0, len(x), 256)]
        return {name: np.concatenate([p[k] for p in parts]) for k, name in enumerate(names)}


@dataclass(frozen=True, slots=True)
class Held:
    """Held-out patterns, their truth and the model's outputs."""

    x: Array
    truth: Array
    has_known: Array
    outputs: Mapping[str, Array]

    def errors(self) -> Array:
        """Absolute errors of the six quantities, shape (n, 6)."""
        columns = [
            self.outputs["fractions"],
            self.outputs["unknown"][:, None],
            self.outputs["amorphous"][:, None],
        ]
        return np.asarray(np.abs(np.concatenate(columns, 1) - self.truth))

    def widths(self) -> Array:
        """Uncalibrated widths of the six quantities, shape (n, 6)."""
        return np.asarray(self.outputs["scale"] + self.outputs["spread"] + FLOOR)

    def readable(self) -> Array:
        """Patterns whose fractions mean something: known phases, hardly any unknown, not nearly all glass."""
        return np.asarray(self.has_known & (self.truth[:, 4] < _SMALL_UNKNOWN) & (self.truth[:, 5] < 0.9))


def hold_out(
    run: OnnxRunner, library: Library, seed: int, n: int, settings: MixSettings | None = None
) -> Held:
    """Mix ``n`` patterns from a library the training never saw and run the model on them."""
    mixer = Mixer(library, seed, settings)
    generator = torch.Generator().manual_seed(seed + 1)
    batches: list[Batch] = [
        mixer.batch(torch.randint(len(library), (min(256, n - i),), generator=generator))
        for i in range(0, n, 256)
    ]
    x = np.concatenate([b.x.numpy() for b in batches])
    truth = np.concatenate(
        [torch.cat([b.fractions, b.unknown[:, None], b.amorphous[:, None]], 1).numpy() for b in batches]
    )
    return Held(x, truth, np.concatenate([b.has_known.numpy() for b in batches]), run(x))


def calibrate(mixed: Held, plain: Held, labels: Sequence[str], fitter: QuickFitter, fits: int) -> Calibration:
    """Set quantiles and limits.

    Parameters
    ----------
    mixed : Held
        Patterns as trained on, for the quantiles.
    plain : Held
        Patterns of known phases with or without glass, for the limits.
    labels : sequence of str
        Phase names.
    fitter : QuickFitter
        The classical fit; its residual and difference get limits too.
    fits : int
        Patterns of ``plain`` to fit.
    """
    ratio = mixed.errors() / mixed.widths()
    names = (*labels, "unknown", "amorphous")
    readable = mixed.readable()
    rows = [readable] * len(labels) + [np.ones(len(ratio), bool), mixed.has_known & (mixed.truth[:, 4] < 0.5)]
    limits = {k: float(np.quantile(v, 0.99)) for k, v in _signals(plain).items()}
    q68 = [_quantile(ratio[r, k], 0.68) for k, r in enumerate(rows)]
    fitted = _fit_signals(plain, fitter, labels, fits, np.array(q68[: len(labels)]))
    limits |= {k: float(np.quantile(v, _FIT_LEVEL)) for k, v in fitted.items()}
    limits = {k: max(v, _LEAST.get(k, 0.0)) for k, v in limits.items()} | {"amorphous": 0.9}
    return Calibration(
        floor=FLOOR,
        q68=dict(zip(names, q68, strict=True)),
        q90={n: _quantile(ratio[r, k], 0.90) for k, (n, r) in enumerate(zip(names, rows, strict=True))},
        limits={k: round(v, 5) for k, v in limits.items()},
    )


def _quantile(values: Array, level: float) -> float:
    """Conformal quantile: the ceil((n + 1) level)-th smallest (Vovk, Gammerman & Shafer 2005)."""
    rank = min(len(values) - 1, int(np.ceil((len(values) + 1) * level)) - 1)
    return round(float(np.sort(values)[rank]), 4)


def _signals(held: Held) -> dict[str, Array]:
    keep = held.readable()
    return {
        "unknown": held.outputs["unknown"][keep],
        "distance": held.outputs["distance"][keep],
        "spread": held.outputs["spread"][keep, :4].max(1),
    }


def _fit_signals(
    held: Held, fitter: QuickFitter, labels: Sequence[str], fits: int, q68: Array
) -> dict[str, Array]:
    """Residual and largest disagreement with the network over the first readable patterns."""
    rows = np.flatnonzero(held.readable() & (held.truth[:, 5] < 0.5))[:fits]
    results = [fitter.fit(held.x[i]) for i in rows]
    classical = np.array([[fit.fractions[n] for n in labels] for fit in results])
    esd = np.array([[fit.esd[n] for n in labels] for fit in results])
    sigma = held.widths()[rows, :4] * q68
    apart = disagreement(np.abs(classical - held.outputs["fractions"][rows]), sigma, esd).max(1)
    return {
        "residual": np.array([fit.unexplained for fit in results]),
        "disagreement": np.nan_to_num(apart, nan=99.0),
    }


def scores(held: Held, calibration: Calibration, labels: Sequence[str]) -> dict[str, float]:
    """Score on patterns that neither training nor calibration saw (shares in per cent)."""
    error, width, keep = held.errors(), held.widths(), held.readable()
    names = (*labels, "unknown", "amorphous")
    inside = error <= width * np.array([calibration.q90[n] for n in names])
    known = keep & (held.truth[:, 4] == 0)
    return {
        "fraction_mae_wt_percent": round(100 * float(error[known, :4].mean()), 3),
        "fraction_mae_no_glass_wt_percent": round(
            100 * float(error[known & (held.truth[:, 5] == 0), :4].mean()), 3
        ),
        "coverage90": round(float(inside[keep, :4].mean()), 3),
        "unknown_mae_percent": round(100 * float(error[:, 4].mean()), 3),
        "amorphous_mae_percent": round(100 * float(error[keep, 5].mean()), 3),
        "patterns": float(len(error)),
    }


def abstention(held: Held, calibration: Calibration) -> dict[str, float]:
    """Share of patterns the network alone refuses, by true unknown share."""
    limits, out = calibration.limits, held.outputs
    refused = (out["unknown"] > limits["unknown"]) | (out["distance"] > limits["distance"])
    refused |= (out["amorphous"] > limits["amorphous"]) | (out["spread"][:, :4].max(1) > limits["spread"])
    share, some = held.truth[:, 4], held.truth[:, 5] < 0.5
    bands = {
        "none": (share == 0) & some,
        "10_to_20_percent": (share > 0.1) & (share <= 0.2) & some,
        "20_to_40_percent": (share > 0.2) & (share <= 0.4) & some,
        "over_40_percent": (share > 0.4) & some,
        "only_unknown": share == 1,
    }
    return {name: round(float(refused[rows].mean()), 3) for name, rows in bands.items() if rows.any()}
