"""Write a version folder: the graph with its card inside, and the golden vectors."""

from __future__ import annotations

import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.phase_map.calibrate import OnnxRunner, abstention, calibrate, hold_out, scores
from streamproc.models.phase_map.export import OUTPUTS, to_onnx
from streamproc.models.phase_map.interpret import interpret
from streamproc.models.phase_map.library import AXIS, Library, build_library
from streamproc.models.phase_map.mixtures import PLAIN, Mixer
from streamproc.models.phase_map.network import Ensemble
from streamproc.models.phase_qpa.validate import measured_patterns
from streamproc.models.powder.fit import QuickFitter, reference_of
from streamproc.models.powder.pattern import prepare
from streamproc.models.powder.priors import PRIOR_RANGES
from streamproc.models.powder.structures import HELD_OUT, KNOWN
from streamproc.models.powder.tables import CU_KA1_A, CU_KA2_A, phase_table

from streamproc.inference.card import CARD_KEY, Axis, Calibration, ModelCard
from streamproc.inference.onnxfile import inspect_onnx, replace_metadata

__all__ = ["PHYSICS_VERSION", "release"]

PHYSICS_VERSION = "1"
"""Raised whenever the simulator's physics or the training's priors change."""

_MIN_COVERAGE = 0.5
_GOLDEN = 12
"""Golden patterns of known phases, and as many of all kinds."""


def release(
    out: Path,
    ensemble: Ensemble,
    centre: npt.NDArray[np.float32],
    whiten: npt.NDArray[np.float32],
    data_sha256: str,
    settings: dict[str, Any],
    began_s: float,
    validate: Path | None,
) -> ModelCard:
    """Export, calibrate on held-out simulations, score and write ``model.onnx`` and ``golden.npz``.

    Parameters
    ----------
    out : Path
        Version folder.
    ensemble : Ensemble
        Trained members.
    centre, whiten : ndarray of float32
        Feature statistics for the distance.
    data_sha256 : str
        Hash of the training library.
    settings : dict
        Training settings, for the record.
    began_s : float
        Monotonic time training began (s).
    validate : Path, optional
        Folder of measured patterns to score on.
    """
    data = to_onnx(ensemble, centre, whiten)
    run = OnnxRunner(data)
    reference = reference_of({n: phase_table(n, CU_KA1_A) for n in KNOWN}, CU_KA1_A, CU_KA2_A)
    fitter = QuickFitter(reference, KNOWN, float(AXIS[0]), float(AXIS[-1]), AXIS.size)
    seed, n = int(settings["seed"]), int(settings["hold_out"])
    rows = max(100, n // 4)
    library = build_library(rows, seed + 1000)
    foreign = build_library(rows, seed + 2000, HELD_OUT, drawn_share=0.0)
    plain = hold_out(run, library, seed + 1, n, PLAIN)
    calibration = calibrate(hold_out(run, library, seed + 2, n), plain, KNOWN, fitter, int(settings["fits"]))
    simulated = scores(hold_out(run, library, seed + 3, n), calibration, KNOWN)
    unseen = hold_out(run, foreign, seed + 4, n)
    card = _card(out.name, data, reference, calibration, settings, data_sha256)
    figures: dict[str, Any] = {
        "simulated": simulated,
        "abstains_on_unseen_materials": abstention(unseen, calibration),
    }
    if validate is not None:
        figures["measured"] = _score_measured(run, card, fitter, validate)
    training = card.training | {"duration_s": round(time.monotonic() - began_s)}
    card = card.model_copy(update={"scores": figures, "training": training})
    _write(out, replace_metadata(data, {CARD_KEY: card.to_json()}), run, library, seed)
    print(f"{out / 'model.onnx'}: {figures}", file=sys.stderr)
    return card


def _card(
    version_name: str,
    data: bytes,
    reference: dict[str, Any],
    calibration: Calibration,
    settings: dict[str, Any],
    data_sha256: str,
) -> ModelCard:
    info = inspect_onnx(data)
    return ModelCard(
        name="phase_qpa",
        version=version_name,
        task="phase-fractions",
        input_name="x",
        axis=Axis(
            kind="two_theta_deg",
            start=float(AXIS[0]),
            stop=float(AXIS[-1]),
            n=AXIS.size,
            wavelength_A=CU_KA1_A,
            min_coverage=_MIN_COVERAGE,
        ),
        normalisation="sqrt_max",
        outputs=OUTPUTS,
        labels=KNOWN,
        valid_domain=PRIOR_RANGES,
        calibration=calibration,
        reference=reference,
        opset=info.opset,
        weights_sha256=info.content_sha256,
        training=settings
        | {
            "data_sha256": data_sha256,
            "physics_version": PHYSICS_VERSION,
            "code_version": _code_version(),
            "limits": "99 % quantile (residual and disagreement 97 %) on held-out simulations of known "
            "phases and glass, but at least unknown 0.10, residual 0.25, disagreement 4, spread 0.05, "
            "distance 1.7 (measured samples are never quite as simulated); amorphous fixed at 0.9",
        },
        scores={},
        licence="BSD-3-Clause",
    )


def _code_version() -> str:
    try:
        return version("streamproc")
    except PackageNotFoundError:
        return "unknown"


def _score_measured(run: OnnxRunner, card: ModelCard, fitter: QuickFitter, folder: Path) -> dict[str, Any]:
    """Score on measured patterns: network and classical fit side by side (wt%)."""
    network, classical, inside, answered = {}, {}, [], 0
    for pattern in measured_patterns(folder):
        x, coverage = prepare(pattern.two_theta_deg, pattern.intensity, card)
        fit = fitter.fit(x)
        answer = interpret(run(x[None]), card, 0, coverage, fit)
        truth = dict(zip(KNOWN, pattern.fractions, strict=True))
        network[pattern.name] = round(
            100 * float(np.mean([abs(answer.phases[n].value - truth[n]) for n in KNOWN])), 3
        )
        classical[pattern.name] = round(
            100 * float(np.mean([abs(fit.fractions[n] - truth[n]) for n in KNOWN])), 3
        )
        inside += [
            q.interval90[0] - 1e-6 <= truth[n] <= q.interval90[1] + 1e-6 for n, q in answer.phases.items()
        ]
        answered += answer.in_domain
    mixtures = [k for k in network if k.startswith("cpd")]
    return {
        "fraction_mae_wt_percent": round(float(np.mean([network[k] for k in mixtures or network])), 3),
        "classical_mae_wt_percent": round(float(np.mean([classical[k] for k in mixtures or network])), 3),
        "coverage90": round(float(np.mean(inside)), 3),
        "in_domain": f"{answered} of {len(network)}",
        "by_pattern": network,
    }


def _write(out: Path, data: bytes, run: OnnxRunner, library: Library, seed: int) -> None:
    """Golden vectors: known phases, patterns of all kinds, an empty one and a flat one."""
    import torch

    rows = torch.arange(_GOLDEN) % len(library)
    plain, mixed = (Mixer(library, seed + 5, s).batch(rows).x.numpy() for s in (PLAIN, None))
    x = np.concatenate([plain, mixed, np.zeros((1, AXIS.size)), np.ones((1, AXIS.size))])
    x = np.round(x, 4).astype(np.float32)
    arrays: dict[str, Any] = {"x": x} | run(x)
    np.savez_compressed(out / "golden.npz", **arrays)
    (out / "model.onnx").write_bytes(data)
