"""Calibrate a trained defect network on patterns it has not seen, score it, and write its version folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from streamproc.models.defects.material import material_of
from streamproc.models.defects.network.evidence import evidence_of, said_of_patterns
from streamproc.models.defects.network.graph import DefectEnsemble, Spans, output_heads, to_onnx
from streamproc.models.defects.network.library import DefectSystem, build_library
from streamproc.models.defects.network.mixer import Mixer
from streamproc.models.defects.network.ranges import target_names
from streamproc.models.defects.network.scores import scored
from streamproc.models.defects.network.writing import calibrated, write_version
from streamproc.models.networks.conformal import OnnxRunner
from streamproc.models.networks.graph import OPSET
from streamproc.models.powder.structures import structure

from streamproc.inference.card import Axis, Calibration, ModelCard
from streamproc.inference.onnxfile import inspect_onnx

__all__ = ["PHYSICS_VERSION", "TASK", "release"]

TASK = "defect-estimates"
PHYSICS_VERSION = "1"
"""Raised whenever physics or priors change."""

_METALS = ("aluminium", "copper", "nickel", "iron", "tungsten")
_ALIKE = 0.01
"""Cells nearer than this are within what training covers, or nearly."""

Array = npt.NDArray[Any]


def release(
    out: Path,
    system: DefectSystem,
    ensemble: DefectEnsemble,
    spans: Spans,
    *,
    name: str,
    settings: dict[str, Any],
    source: str,
    command: str,
    data_sha256: str,
    began_s: float,
    progress: Callable[[int], None],
) -> ModelCard:
    """Export, calibrate, score and write.

    Parameters
    ----------
    out : Path
        Version folder.
    system : DefectSystem
        What the model is for.
    ensemble, spans
        What was trained.
    name : str
        Name of the model.
    settings : dict
        Training settings, for the record.
    source, command : str
        Where the structure comes from; the command line that makes the model again.
    data_sha256 : str
        Hash of the training library.
    began_s : float
        Monotonic time training began (s).
    progress : callable
        Called with the number of held-out patterns rendered.
    """
    names = target_names(system.material)
    data = to_onnx(ensemble, spans, output_heads(names))
    run, seed, n = OnnxRunner(data), int(settings["seed"]), int(settings["hold_out"])
    first = _held_out(system, run, n, seed + 1000, progress)
    second = _held_out(system, run, n, seed + 2000, lambda done: progress(n + done))
    calibration = calibrated(first[1], first[2], names)
    card = _card(out.name, data, system, calibration, name, settings, source, command, data_sha256)
    foreign = _other_metals(system, run, max(n // 10, 20), seed + 3000)
    figures = scored(second[1], second[2], card)
    beyond = foreign > calibration.limits["distance"]
    figures["other_metals_noticed"] = round(float(beyond.mean()), 3)
    duration = {"duration_s": round(time.monotonic() - began_s)}
    card = card.model_copy(update={"scores": figures, "training": card.training | duration})
    signals = {"distance": (second[1]["distance"], foreign)}
    evidence = evidence_of(card, said_of_patterns(card), second[1], second[2], signals, command)
    write_version(out, data, card, first[0], evidence)
    return card


def _held_out(
    system: DefectSystem, run: OnnxRunner, n: int, seed: int, progress: Callable[[int], None]
) -> tuple[Array, dict[str, Array], Array]:
    """Inputs, outputs and truth of patterns of their own library."""
    library = build_library(system, n, seed, progress)
    x, truth = Mixer(library, system, seed).batch(torch.arange(n))
    return x.numpy(), run(x.numpy()), truth.numpy()


def _other_metals(system: DefectSystem, run: OnnxRunner, n: int, seed: int) -> Array:
    """Distances of patterns of built-in metals whose cell or lattice is another, shape (m,)."""
    own, distances = system.material, []
    for name in _METALS:
        a_nm = structure(name).cell[0] / 10
        if abs(a_nm / own.a_nm - 1) < _ALIKE:
            continue
        other = material_of(structure(name), system.instrument.wavelength_A, own.a_nm * 10 / own.norm[-1])
        _, outputs, _ = _held_out(replace(system, material=other), run, n, seed, lambda done: None)
        distances.append(outputs["distance"])
    return np.concatenate(distances)


def _card(
    version_name: str, data: bytes, system: DefectSystem, calibration: Calibration, name: str,
    settings: dict[str, Any], source: str, command: str, data_sha256: str,
) -> ModelCard:  # fmt: skip
    info, material, optics = inspect_onnx(data), system.material, system.instrument
    names = target_names(material)
    domain: dict[str, Any] = {}
    for key, value in asdict(system.ranges).items():
        domain[key] = value
    domain |= {"instrument": json.dumps(asdict(optics), sort_keys=True)}
    return ModelCard(
        name=name,
        version=version_name,
        task=TASK,
        input_name="x",
        axis=Axis(
            kind="two_theta_deg",
            start=system.start_deg,
            stop=system.stop_deg,
            n=system.points,
            wavelength_A=optics.wavelength_A,
            min_coverage=0.98,
        ),
        normalisation="sqrt_max",
        outputs=output_heads(names),
        labels=names,
        valid_domain=domain,
        calibration=calibration,
        reference={
            "material": material.name,
            "lattice": material.lattice,
            "a_nm": material.a_nm,
            "burgers_nm": material.burgers_nm,
            "edge": asdict(material.edge),
            "screw": asdict(material.screw),
            "size": "area-weighted mean diameter of log-normal spheres",
            "microstrain": "root mean square strain along h00 over 10 nm",
        },
        opset=OPSET,
        weights_sha256=info.content_sha256,
        training=settings
        | {
            "data_sha256": data_sha256,
            "physics_version": PHYSICS_VERSION,
            "code_version": version("streamproc"),
            "sources": {material.name: source},
            "command": command,
            "limits": "99 % quantile of the distance on held-out simulations",
        },
        scores={},
        licence="BSD-3-Clause",
    )
