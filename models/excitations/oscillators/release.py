"""Write the version folder of a trained network: graph and card, golden vectors, how good it is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streamproc.models.excitations.oscillators.calibrate import FALSE_ALARMS, LEAST_LIMITS
from streamproc.models.excitations.oscillators.case import SpectrumCase
from streamproc.models.excitations.oscillators.evidence import curve_of
from streamproc.models.excitations.oscillators.export import to_onnx
from streamproc.models.excitations.oscillators.instruments import Library
from streamproc.models.excitations.oscillators.mixtures import Mixer
from streamproc.models.excitations.oscillators.network import Network
from streamproc.models.excitations.oscillators.parameters import PER_MODE
from streamproc.models.excitations.oscillators.prepare import CONDITIONS, GRID
from streamproc.models.excitations.oscillators.publish import Progress, publish
from streamproc.models.excitations.oscillators.slots import output_heads
from streamproc.models.networks.conformal import OnnxRunner
from streamproc.models.networks.course import Course
from streamproc.models.networks.ensemble import feature_statistics

from streamproc.inference.card import Axis, Calibration, ModelCard
from streamproc.inference.onnxfile import inspect_onnx

__all__ = ["PHYSICS_VERSION", "TASK", "release"]

TASK = "excitation-spectrum"
PHYSICS_VERSION = "2"
"""Raised whenever the simulator's physics or the training's priors change."""

_GOLDEN = 16
_ROWS_PER_BATCH = 250
"""Spectrometers of the library for each batch whose features set the scale of ``distance``."""

_CONVENTION = (
    "S(w) = Z (2 W G / pi) w / (1 - exp(-w/kT)) / ((w^2 - W^2)^2 + G^2 w^2); energy W, width G (FWHM), "
    "amplitude Z: area on the loss side at T = 0 of a sharp mode; amplitude of chi'' A = 2 W Z / pi; "
    "overdamped where G > 2 W"
)


def release(
    out: Path, network: Network, library: Library, course: Course, *, case: SpectrumCase,
    settings: dict[str, Any], began_s: float, command: str, progress: Progress,
) -> ModelCard:  # fmt: skip
    """Export, calibrate on held-out simulations, score, and write the version folder.

    Parameters
    ----------
    out : Path
        Version folder.
    network : Network
        Trained members.
    library : Library
        What they were trained on.
    course : Course
        The learning curve.
    case : SpectrumCase
        What it was trained for.
    settings : dict
        Training settings; ``hold_out`` spectra for calibration, and a quarter as many for the scores.
    began_s : float
        Monotonic time training began (s).
    command : str
        Command line that makes the same model again.
    progress : callable
        Shows how far it is.
    """
    mixer = Mixer(library, int(settings["seed"]) + 100, case.strengths)
    batches = max(2, min(20, len(library) // _ROWS_PER_BATCH))
    some = (torch.from_numpy(mixer.batch(256).x) for _ in range(batches))
    centre, whiten = feature_statistics(network, some)
    data = to_onnx(network, centre, whiten)
    card = _card(out.name, case, data, library, settings)
    _golden(out, OnnxRunner(data), library, int(settings["seed"]))
    return publish(out, data, card, curve_of(course), case, command, progress, began_s)


def _card(
    version_name: str, case: SpectrumCase, data: bytes, library: Library, settings: dict[str, Any]
) -> ModelCard:
    info = inspect_onnx(data)
    return ModelCard(
        name=case.name,
        version=version_name,
        task=TASK,
        input_name="x",
        axis=Axis(kind="energy_window", start=0.0, stop=1.0, n=GRID),
        conditions=CONDITIONS,
        normalisation="log1p_counts_over_2",
        outputs=output_heads(),
        labels=PER_MODE,
        valid_domain=case.priors.card(),
        calibration=Calibration(floor=0.0, q68={}, q90={}, limits={}),
        reference={"kind": "spectrum", "convention": _CONVENTION},
        opset=info.opset,
        weights_sha256=info.content_sha256,
        training=settings
        | {
            "data_sha256": library.sha256(),
            "physics_version": PHYSICS_VERSION,
            "code_version": _code_version(),
            "limits": f"{1 - FALSE_ALARMS:.1%} quantile on held-out simulations with the right number "
            f"of modes, at least {LEAST_LIMITS}",
        },
        scores={},
        licence="BSD-3-Clause",
    )


def _code_version() -> str:
    try:
        return version("streamproc")
    except PackageNotFoundError:
        return "unknown"


def _golden(out: Path, run: OnnxRunner, library: Library, seed: int) -> None:
    """Golden vectors: spectra of all kinds, an empty one and a flat one."""
    x = Mixer(library, seed + 5).batch(_GOLDEN).x
    x = np.concatenate([x, np.zeros((1, x.shape[1])), np.ones((1, x.shape[1]))])
    x = np.round(x, 4).astype(np.float32)
    arrays: dict[str, Any] = {"x": x} | run(x)
    np.savez_compressed(out / "golden.npz", **arrays)
