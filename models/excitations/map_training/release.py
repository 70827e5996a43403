"""Write a version folder: the graph with its card inside, golden vectors, evidence and report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streamproc.models.excitations.map_training.calibrate import (
    FLOOR,
    calibrate,
    hold_out,
    ranks,
    signals_of_rows,
)
from streamproc.models.excitations.map_training.evidence import Scored, evidence_of
from streamproc.models.excitations.map_training.export import output_heads, to_onnx
from streamproc.models.excitations.map_training.foreign import FOREIGN, foreign_library
from streamproc.models.excitations.map_training.network import Ensemble
from streamproc.models.excitations.map_training.train import Course, TrainSettings
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.check import SIGNALS, MapChecker
from streamproc.models.excitations.maps.inputs import Preparer
from streamproc.models.excitations.maps.library import Library, build_library
from streamproc.models.excitations.maps.posterior import widths_of
from streamproc.models.networks.conformal import OnnxRunner

from streamproc.inference.card import CARD_KEY, Axis, Calibration, ModelCard
from streamproc.inference.onnxfile import inspect_onnx, replace_metadata

__all__ = ["PHYSICS_VERSION", "release"]

PHYSICS_VERSION = "1"
"""Raised whenever the simulator's physics or the training's priors change."""

_GOLDEN = 16
_SHARP = 0.25
"""A number is said to be told by a map where its width is below this share of the prior's range."""

Progress = Callable[[str, int, int, float, str], None]


def release(
    case: MapCase, toml: str, out: Path, settings: TrainSettings, ensemble: Ensemble,
    statistics: tuple[torch.Tensor, torch.Tensor], course: Course, library: Library, began_s: float,
    command: str, progress: Progress,
) -> ModelCard:  # fmt: skip
    """Export, calibrate on held-out maps, score, and write the version folder."""
    data = to_onnx(ensemble, *statistics)
    run, began = OnnxRunner(data), time.monotonic()
    rows = max(60, settings.library // 8)
    apart = build_library(case, rows, settings.seed + 1000)
    first = hold_out(run, case, apart, settings.seed + 1, settings.hold_out)

    def said(done: int) -> None:
        progress("calibration", done, settings.fits, time.monotonic() - began, "")

    calibration = calibrate(first, case, settings.fits, said)
    scored = _scored(run, case, apart, settings, calibration)
    card = _card(out.name, data, case, toml, settings, calibration, library, command)
    duration = round(time.monotonic() - began_s)
    card = card.model_copy(
        update={"scores": scored.figures, "training": card.training | {"duration_s": duration}}
    )
    out.mkdir(parents=True, exist_ok=True)
    _write(out, replace_metadata(data, {CARD_KEY: card.to_json()}), run, first.mixed.x.numpy())
    from streamproc.models.report.evidence import EVIDENCE_FILE
    from streamproc.models.report.write import write_report

    evidence = evidence_of(card, case, course, scored, command)
    evidence.save(out / EVIDENCE_FILE)
    write_report(evidence, out)
    print(f"{out / 'model.onnx'}: {scored.figures}", file=sys.stderr)
    return card


def _scored(
    run: OnnxRunner, case: MapCase, apart: Library, settings: TrainSettings, calibration: Calibration
) -> Scored:
    """Score on other spoilings of held-out maps, and on foreign ones."""
    held = hold_out(run, case, apart, settings.seed + 2, settings.hold_out)
    foreign, kinds = foreign_library(case, max(45, settings.fits), settings.seed + 3)
    others = hold_out(run, case, foreign, settings.seed + 4, len(foreign))
    checker = MapChecker(case)
    count = min(settings.fits, settings.hold_out)
    usual = signals_of_rows(held, case, calibration, checker, list(range(count)))
    unusual = signals_of_rows(others, case, calibration, checker, list(range(len(foreign))))
    limits = np.array([calibration.limits[s] for s in SIGNALS])
    names = case.parameters.free
    ratio = np.abs(held.truth() - held.outputs["mean"]) / widths_of(held.outputs, FLOOR)
    q90 = np.array([calibration.q90[n] for n in names])
    width = widths_of(held.outputs, FLOOR) * np.array([calibration.q68[n] for n in names])
    told = width < _SHARP / 2
    flagged = (unusual > limits).any(1)
    error = np.abs(held.truth() - held.outputs["mean"])
    figures: dict[str, Any] = {
        "simulated": {
            "coverage90": {n: round(float((ratio[:, k] <= q90[k]).mean()), 3) for k, n in enumerate(names)},
            "median_error_of_prior_range": {
                n: round(float(np.median(error[:, k])), 4) for k, n in enumerate(names)
            },
            "told_share": {n: round(float(told[:, k].mean()), 3) for k, n in enumerate(names)},
        },
        "ranks": ranks(held, calibration, names),
        "foreign": {
            "false_alarms": round(float((usual > limits).any(1).mean()), 3),
            **{k: round(float(flagged[kinds == k].mean()), 3) for k in FOREIGN if (kinds == k).any()},
        },
    }
    return Scored(figures, held, calibration, usual, unusual, limits)


def _card(
    version_name: str, data: bytes, case: MapCase, toml: str, settings: TrainSettings,
    calibration: Calibration, library: Library, command: str,
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
        calibration=calibration,
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


def _write(out: Path, data: bytes, run: OnnxRunner, x: np.ndarray) -> None:
    """Golden vectors: held-out maps, an empty one and one of ones."""
    chosen = np.concatenate([x[:_GOLDEN], np.zeros((1, x.shape[1])), np.ones((1, x.shape[1]))])
    chosen = np.round(chosen, 3).astype(np.float32)
    arrays: dict[str, Any] = {"x": chosen} | run(chosen)
    np.savez_compressed(out / "golden.npz", **arrays)
    (out / "model.onnx").write_bytes(data)
