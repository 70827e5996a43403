"""Write a version folder: the graph with its card inside, golden vectors, evidence and report."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streamproc.models.excitations.map_training.calibrate import FLOOR, hold_out
from streamproc.models.excitations.map_training.evidence import curve_of
from streamproc.models.excitations.map_training.export import output_heads, to_onnx
from streamproc.models.excitations.map_training.network import Ensemble
from streamproc.models.excitations.map_training.publish import Progress, publish
from streamproc.models.excitations.map_training.train import Course, TrainSettings
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.inputs import Preparer
from streamproc.models.excitations.maps.library import Library
from streamproc.models.networks.conformal import OnnxRunner

from streamproc.inference.card import Axis, Calibration, ModelCard
from streamproc.inference.onnxfile import inspect_onnx

__all__ = ["PHYSICS_VERSION", "release"]

PHYSICS_VERSION = "1"
"""Raised whenever the simulator's physics or the training's priors change."""

_GOLDEN = 16


def release(
    case: MapCase, toml: str, out: Path, settings: TrainSettings, ensemble: Ensemble,
    statistics: tuple[torch.Tensor, torch.Tensor], course: Course, library: Library, began_s: float,
    command: str, progress: Progress,
) -> ModelCard:  # fmt: skip
    """Export, calibrate on held-out maps, score, and write the version folder."""
    data = to_onnx(ensemble, *statistics)
    card = _card(out.name, data, case, toml, settings, library, command)
    out.mkdir(parents=True, exist_ok=True)
    run = OnnxRunner(data)
    _golden(out, run, hold_out(run, case, library, settings.seed + 1, _GOLDEN).mixed.x.numpy())
    return publish(out, data, card, curve_of(course), case, progress, began_s)


def _card(
    version_name: str, data: bytes, case: MapCase, toml: str, settings: TrainSettings, library: Library,
    command: str,
) -> ModelCard:  # fmt: skip
    info, layout = inspect_onnx(data), Preparer(case).layout
    file = case.file
    low, high = case.parameters.bounds()
    unit = case.energy_unit if case.words.units == "meV" else case.words.units.replace("/", "_")
    domain: dict[str, str | float | tuple[float, float]] = {
        f"{n}_{unit}": (float(a), float(b)) for n, a, b in zip(case.parameters.free, low, high, strict=True)
    }
    domain |= {f"energy_{case.energy_unit}": (file.energy.start, file.energy.stop), **case.assumed}
    return ModelCard(
        name=case.name,
        version=version_name,
        task=case.words.task,
        input_name="x",
        axis=Axis(
            kind="sqe_trials", start=0.0, stop=float(layout.width - 1), n=layout.width, min_coverage=0.0
        ),
        normalisation="matched_filter_of_trials",
        outputs=output_heads(len(case.parameters.free)),
        labels=case.parameters.free,
        valid_domain=domain,
        calibration=Calibration(floor=FLOOR, q68={}, q90={}, limits={}),
        reference={
            "model_toml": toml,
            "convention": case.convention,
            "layout": asdict(layout),
            "energy_unit": "end of the measured window" if file.energy.scale_free else "meV",
        },
        opset=info.opset,
        weights_sha256=info.content_sha256,
        training=asdict(settings)
        | {
            "data_sha256": library.sha256(),
            "physics_version": PHYSICS_VERSION,
            "code_version": _code_version(),
            "command": command,
            "limits": "99 % quantile on held-out simulations, but at least distance 1.6, residual 2.5, "
            "disagreement 6 sigma, and unexplained between 0.45 and 0.5 (measured maps hold more than is "
            "simulated; those with strong spurious scattering are to be masked)",
        },
        scores={},
        licence="BSD-3-Clause",
    )


def _code_version() -> str:
    try:
        return version("streamproc")
    except PackageNotFoundError:
        return "unknown"


def _golden(out: Path, run: OnnxRunner, x: np.ndarray) -> None:
    """Golden vectors: maps, an empty one and one of ones."""
    chosen = np.concatenate([x, np.zeros((1, x.shape[1])), np.ones((1, x.shape[1]))])
    chosen = np.round(chosen, 3).astype(np.float32)
    arrays: dict[str, Any] = {"x": chosen} | run(chosen)
    np.savez_compressed(out / "golden.npz", **arrays)
