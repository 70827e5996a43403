"""Calibrate what ships, score it, and write the version folder: model with card, golden vectors, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from streamproc.models.excitations.oscillators.answer import answer
from streamproc.models.excitations.oscillators.case import SpectrumCase
from streamproc.models.excitations.oscillators.export import to_onnx
from streamproc.models.excitations.oscillators.foreign import KINDS, foreign_spectrum
from streamproc.models.excitations.oscillators.instruments import Library, build_library
from streamproc.models.excitations.oscillators.judge import SIGNALS, Judged, judge, zero_prior
from streamproc.models.excitations.oscillators.mixtures import Mixer
from streamproc.models.excitations.oscillators.network import Network
from streamproc.models.excitations.oscillators.parameters import PER_MODE
from streamproc.models.excitations.oscillators.prepare import CONDITIONS, GRID, prepare
from streamproc.models.excitations.oscillators.slots import output_heads
from streamproc.models.networks.conformal import OnnxRunner, conformal_quantile
from streamproc.models.networks.course import Course
from streamproc.models.networks.ensemble import feature_statistics

from streamproc.inference.card import CARD_KEY, Axis, Calibration, ModelCard
from streamproc.inference.onnxfile import inspect_onnx, replace_metadata

__all__ = ["PHYSICS_VERSION", "TASK", "release"]

TASK = "excitation-spectrum"
PHYSICS_VERSION = "1"
"""Raised whenever the simulator's physics or the training's priors change."""

_GOLDEN = 16
_FALSE_ALARMS = 0.003
"""Share of usual spectra beyond each limit."""

_LEAST = {"distance": 1.5, "misfit": 4.0, "leftover": 5.0, "surprise": 8.0}
"""Limits are not set tighter: measured lines are never quite as simulated."""

_SHARP = 1.0
_CONVENTION = (
    "S(w) = Z (2 W G / pi) w / (1 - exp(-w/kT)) / ((w^2 - W^2)^2 + G^2 w^2); energy W, width G (FWHM), "
    "amplitude Z: area on the loss side at T = 0 of a sharp mode; amplitude of chi'' A = 2 W Z / pi; "
    "overdamped where G > 2 W"
)

Progress = Callable[[str, int, int, float, str], None]


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
        Training settings; ``hold_out`` spectra for calibration, and again as many for the scores.
    began_s : float
        Monotonic time training began (s).
    command : str
        Command line that makes the same model again.
    progress : callable
        Shows how far it is.
    """
    seed, hold_out = int(settings["seed"]), int(settings["hold_out"])
    mixer = Mixer(library, seed + 100, case.strengths)
    centre, whiten = feature_statistics(
        network, (torch.from_numpy(mixer.batch(256).x) for _ in range(max(2, min(20, hold_out // 50))))
    )
    data = to_onnx(network, centre, whiten)
    run, rows = OnnxRunner(data), max(30, hold_out // 5)
    fresh, began = build_library(rows, seed + 1000, case.priors), time.monotonic()

    def shown(what: str) -> Callable[[int], None]:
        return lambda done: progress(what, done, hold_out, time.monotonic() - began, "")

    held = judge(run, fresh, seed + 1, hold_out, case.strengths, shown("calibration"))
    calibration = _calibration(held)
    scored = judge(run, fresh, seed + 2, hold_out, case.strengths, shown("scores"))
    card = _card(out.name, case, data, library, settings, calibration)
    training = card.training | {"duration_s": round(time.monotonic() - began_s)}
    card = card.model_copy(update={"scores": figures(scored, calibration), "training": training})
    _write(out, replace_metadata(data, {CARD_KEY: card.to_json()}), run, fresh, seed)
    _report(out, card, course, scored, _foreign(run, fresh, hold_out // 20), command)
    print(f"{out / 'model.onnx'}: {card.scores}", file=sys.stderr)
    return card


def _calibration(held: Judged) -> Calibration:
    truth, value, sigma, _ = held.matched()
    ratio = np.abs(value - truth) / np.maximum(sigma, 1e-12)
    usual = np.array([c.right_number for c in held.cases])
    signals = held.signals()[usual] if usual.any() else held.signals()
    limits = {
        s: max(_LEAST[s], float(np.quantile(signals[:, k], 1 - _FALSE_ALARMS))) for k, s in enumerate(SIGNALS)
    }

    def factors(level: float) -> dict[str, float]:
        if not len(ratio):
            return dict.fromkeys(PER_MODE, 9.0)
        return {n: round(conformal_quantile(ratio[:, k], level), 4) for k, n in enumerate(PER_MODE)}

    return Calibration(
        floor=0.0,
        q68=factors(0.68),
        q90=factors(0.90),
        limits={k: round(v, 4) for k, v in limits.items()},
    )


def figures(judged: Judged, calibration: Calibration) -> dict[str, Any]:
    """Return what the card says about held-out simulations; energies in resolution widths."""
    truth, value, sigma, peak = judged.matched()
    off, number = np.abs(value - truth), np.mean([c.right_number for c in judged.cases])
    sharp = (truth[:, 1] < _SHARP) & (peak >= 50)
    near = sharp & (off[:, 0] <= 1)
    q90 = np.array([calibration.q90[n] for n in PER_MODE])
    limits = np.array([calibration.limits[s] for s in SIGNALS])
    return {
        "spectra": len(judged.cases),
        "number_right": round(float(number), 3),
        "energy_error_over_fwhm_median": _rounded(np.median(off[:, 0])),
        "sharp_modes_of_50_counts": {
            "energy_error_over_fwhm_median": _rounded(np.median(off[sharp, 0])),
            "energy_error_over_fwhm_rms_below_1": _rounded(np.sqrt(np.mean(off[near, 0] ** 2))),
            "further_off_than_1_fwhm": _rounded(1 - near.sum() / max(1, sharp.sum())),
        },
        "coverage90": {
            n: _rounded(np.mean(off[:, k] <= q90[k] * sigma[:, k])) for k, n in enumerate(PER_MODE)
        },
        "flagged": _rounded(np.mean((judged.signals() > limits).any(1))),
    }


def _rounded(value: Any) -> float | None:
    """Four digits; None where there was nothing to take a figure of."""
    return round(float(value), 4) if np.isfinite(value) else None


def _card(
    version_name: str, case: SpectrumCase, data: bytes, library: Library, settings: dict[str, Any],
    calibration: Calibration,
) -> ModelCard:  # fmt: skip
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
        calibration=calibration,
        reference={"kind": "spectrum", "convention": _CONVENTION},
        opset=info.opset,
        weights_sha256=info.content_sha256,
        training=settings
        | {
            "data_sha256": library.sha256(),
            "physics_version": PHYSICS_VERSION,
            "code_version": _code_version(),
            "limits": f"{1 - _FALSE_ALARMS:.1%} quantile on held-out simulations with the right number "
            f"of modes, at least {_LEAST}",
        },
        scores={},
        licence="BSD-3-Clause",
    )


def _code_version() -> str:
    try:
        return version("streamproc")
    except PackageNotFoundError:
        return "unknown"


def _write(out: Path, data: bytes, run: OnnxRunner, library: Library, seed: int) -> None:
    """Golden vectors: spectra of all kinds, an empty one and a flat one."""
    x = Mixer(library, seed + 5).batch(_GOLDEN).x
    x = np.concatenate([x, np.zeros((1, x.shape[1])), np.ones((1, x.shape[1]))])
    x = np.round(x, 4).astype(np.float32)
    arrays: dict[str, Any] = {"x": x} | run(x)
    np.savez_compressed(out / "golden.npz", **arrays)
    (out / "model.onnx").write_bytes(data)


def _foreign(run: OnnxRunner, library: Library, each: int) -> npt.NDArray[np.float64]:
    """Signals of spectra that the model is not meant for."""
    found = []
    for kind in KINDS:
        for k in range(max(2, each)):
            row = k % len(library)
            data, forward = foreign_spectrum(kind, library, row, 100 + k)
            shape = forward.resolution
            outputs = run(prepare(data, shape.fwhm, shape.lorentzian, forward.kT)[None])
            said = answer(forward, data, outputs, 0, zero_prior(1.0)).signals
            found.append([getattr(said, s) for s in SIGNALS])
    return np.array(found)


def _report(
    out: Path, card: ModelCard, course: Course, scored: Judged, foreign: npt.NDArray[np.float64], command: str
) -> None:
    from streamproc.models.excitations.oscillators.evidence import evidence_of
    from streamproc.models.report.evidence import EVIDENCE_FILE
    from streamproc.models.report.write import write_report

    evidence = evidence_of(card, course, scored, foreign, command)
    evidence.save(out / EVIDENCE_FILE)
    write_report(evidence, out)
