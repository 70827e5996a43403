"""Write a version folder: the graph with its card inside, golden vectors, evidence and report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from streamproc.models.networks.conformal import OnnxRunner
from streamproc.models.phase_map.calibrate import calibrate, widened
from streamproc.models.phase_map.check import Checker
from streamproc.models.phase_map.export import Statistics, output_heads, to_onnx
from streamproc.models.phase_map.held import FLOOR, hold_out
from streamproc.models.phase_map.interpret import STATES
from streamproc.models.phase_map.library import Library, build_library
from streamproc.models.phase_map.measured import Measured
from streamproc.models.phase_map.mixtures import PLAIN, Mixer
from streamproc.models.phase_map.network import Ensemble
from streamproc.models.phase_map.scores import Judged, judge_measured, judge_simulated
from streamproc.models.phase_map.system import System
from streamproc.models.powder.fit import reference_of

from streamproc.inference.card import CARD_KEY, Calibration, ModelCard
from streamproc.inference.onnxfile import inspect_onnx, replace_metadata

if TYPE_CHECKING:
    from streamproc.models.networks.course import Course

__all__ = ["PHYSICS_VERSION", "release"]

PHYSICS_VERSION = "3"
"""Raised whenever the simulator's physics or the training's priors change."""

_GOLDEN = 12
"""Golden patterns of known phases, and as many of all kinds."""

Progress = Callable[[str, int, int, float, str], None]


def release(
    out: Path,
    system: System,
    ensemble: Ensemble,
    statistics: Statistics,
    course: Course,
    *,
    data_sha256: str,
    settings: dict[str, Any],
    began_s: float,
    measured: Sequence[Measured],
    notes: tuple[str, ...],
    command: str,
    progress: Progress,
) -> ModelCard:
    """Export, calibrate on held-out simulations, score, and write the version folder.

    Parameters
    ----------
    out : Path
        Version folder.
    system : System
        What the model is for.
    ensemble : Ensemble
        Trained members.
    statistics : Statistics
        Features of usual patterns and spans of states.
    course : Course
        The learning curve.
    data_sha256 : str
        Hash of the training library.
    settings : dict
        Training settings, for the record.
    began_s : float
        Monotonic time training began (s).
    measured : sequence of Measured
        Patterns to score on.
    notes : tuple of str
        What card and report are to say about the phases.
    command : str
        Command line that makes the same model again.
    progress : callable
        Shows how far it is.
    """
    data = to_onnx(ensemble, statistics)
    run, seed, n = OnnxRunner(data), int(settings["seed"]), int(settings["hold_out"])
    draft = _card(out.name, data, system, settings, data_sha256, notes)
    rows = max(100, min(n // 4, int(settings["library"]) // 6))
    threads = int(settings["threads"])
    library = build_library(system, rows, seed + 1000, threads=threads)
    others = system.held_out or system.foreign
    share = 0.0 if others else 1.0
    foreign = build_library(system, rows, seed + 2000, others, drawn_share=share, threads=threads)
    checker, began = Checker(draft, threads), time.monotonic()
    checker.warm_up()
    fits = int(settings["fits"])
    total = 4 * fits
    mixed, plain = hold_out(run, library, seed + 2, n), hold_out(run, library, seed + 1, n, PLAIN)
    calibration = calibrate(
        mixed, plain, system.labels, checker, fits, _prior(statistics, system), _spans(system), seed,
        lambda done: progress("calibration", done, total, time.monotonic() - began, ""),
    )  # fmt: skip
    calibration, wider = widened(calibration, run, draft, measured)
    card = draft.model_copy(update={"calibration": calibration})
    simulated = judge_simulated(run, card, checker, library, foreign, seed, n, fits)
    judged = judge_measured(run, card, checker, measured) if measured else None
    figures: dict[str, Any] = simulated.figures | ({"measured": judged.figures} if judged else {})
    training = card.training | {"duration_s": round(time.monotonic() - began_s)}
    training |= _stopped(course, measured) | wider
    card = card.model_copy(update={"scores": figures, "training": training})
    _write(out, replace_metadata(data, {CARD_KEY: card.to_json()}), run, library, seed)
    _report(out, card, course, simulated, judged, command)
    print(f"{out / 'model.onnx'}: {figures}", file=sys.stderr)
    return card


def _prior(statistics: Statistics, system: System) -> dict[str, float]:
    """Spread of every state in training."""
    return {
        f"{name}_{state}": float(statistics.state_span[s, k])
        for s, state in enumerate(STATES)
        for k, name in enumerate(system.labels)
    }


def _spans(system: System) -> dict[str, float]:
    """Linear strain each phase was trained for."""
    return {f"{name}_strain": float(system.ranges.span_of(name).max()) for name in system.labels}


def _stopped(course: Course, measured: Sequence[Measured]) -> dict[str, Any]:
    names = [m.name for m in measured if m.use == "stop"]
    return {"stopped_by": names, "stopped_at_step": course.stopped_at} if names else {}


def _card(
    version_name: str,
    data: bytes,
    system: System,
    settings: dict[str, Any],
    data_sha256: str,
    notes: tuple[str, ...],
) -> ModelCard:
    info, ranges = inspect_onnx(data), system.ranges
    tables = dict(zip(system.labels, system.tables(system.phases), strict=True))
    return ModelCard(
        name=system.name,
        version=version_name,
        task="phase-fractions",
        input_name="x",
        axis=system.axis(),
        normalisation="sqrt_max",
        outputs=output_heads(len(system.phases)),
        labels=system.labels,
        valid_domain=ranges.card(),
        calibration=Calibration(floor=FLOOR, q68={}, q90={}, limits={}),
        reference=reference_of(
            tables, ranges.wavelength_A, system.second_A, system.grid.stop_deg + 2, ranges.geometry
        ),
        opset=info.opset,
        weights_sha256=info.content_sha256,
        training=settings
        | {
            "data_sha256": data_sha256,
            "physics_version": PHYSICS_VERSION,
            "code_version": _code_version(),
            "sources": {p.name: p.source for p in system.phases},
            "notes": list(notes),
            "limits": "99 % quantile of the joined rules on held-out simulations of known phases and glass, "
            "99.5 % of the other signals, but at least residual 0.25, disagreement 4, spread 0.05, "
            "distance 1.7, rules 0.1 (measured samples are never quite as simulated); amorphous fixed at 0.9",
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
    """Golden vectors: known phases, patterns of all kinds, an empty one and a flat one."""
    import torch

    rows = torch.arange(_GOLDEN) % len(library)
    plain, mixed = (Mixer(library, seed + 5, s).batch(rows).x.numpy() for s in (PLAIN, None))
    n = len(library.axis)
    x = np.concatenate([plain, mixed, np.zeros((1, n)), np.ones((1, n))])
    x = np.round(x, 4).astype(np.float32)
    arrays: dict[str, Any] = {"x": x} | run(x)
    np.savez_compressed(out / "golden.npz", **arrays)
    (out / "model.onnx").write_bytes(data)


def _report(
    out: Path, card: ModelCard, course: Course, simulated: Judged, measured: Judged | None, command: str
) -> None:
    from streamproc.models.phase_map.evidence import evidence_of
    from streamproc.models.report.evidence import EVIDENCE_FILE
    from streamproc.models.report.write import write_report

    evidence = evidence_of(card, course, simulated, measured, command)
    evidence.save(out / EVIDENCE_FILE)
    write_report(evidence, out)
