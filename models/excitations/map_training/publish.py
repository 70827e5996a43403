"""How good a graph is, by held-out maps: calibrate it, score it, and write that down beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from streamproc.models.excitations.map_training.calibrate import (
    FLOOR,
    Held,
    calibrate,
    held_out,
    hold_out,
    limits_of,
    signals_of_rows,
)
from streamproc.models.excitations.map_training.evidence import Scored, evidence_of
from streamproc.models.excitations.map_training.foreign import FOREIGN, foreign_library
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.calibration import PlaceCalibration, widths_of
from streamproc.models.excitations.maps.check import SIGNALS, MapChecker
from streamproc.models.networks.conformal import OnnxRunner
from streamproc.models.networks.pulls import uniformity
from streamproc.models.networks.version_folder import read_version
from streamproc.models.report.evidence import EVIDENCE_FILE, Evidence
from streamproc.models.report.parts import Curve
from streamproc.models.report.version import with_duration, write_model

from streamproc.errors import ConfigurationError
from streamproc.inference.card import Calibration, ModelCard

__all__ = ["Progress", "calibrate_again", "publish"]

Progress = Callable[[str, int, int, float, str], None]

_SHARP = 0.25
"""A number is said to be told by a map where its width is below this share of the prior's range."""


def calibrate_again(
    out: Path, case: MapCase, toml: str, given: Mapping[str, int], progress: Progress
) -> ModelCard:
    """Calibrate and score a model that is there as its training would have done; graph and limits stay.

    Parameters
    ----------
    out : Path
        Version folder.
    case : MapCase
        Model.
    toml : str
        Text of its file.
    given : mapping of str to int
        Settings that are not those of the training: ``hold_out``, ``fits``.
    progress : callable
        Shows how far it is.

    Raises
    ------
    ConfigurationError
        There is no model in the folder, or it was trained for another file.
    """
    data, card = read_version(out)
    if card.reference.get("model_toml") != toml:
        raise ConfigurationError(
            f"{out}: the model in it is {card.name!r}, and was trained with another file than the one of "
            f"{case.name!r} that was given; give the file it was trained with, or train it anew"
        )
    card = card.model_copy(update={"training": card.training | given})
    return publish(out, data, card, Evidence.load(out / EVIDENCE_FILE).curve, case, progress)


def publish(
    out: Path, data: bytes, card: ModelCard, curve: Curve | None, case: MapCase, progress: Progress,
    began_s: float | None = None,
) -> ModelCard:  # fmt: skip
    """Calibrate on held-out maps, score on others, and write model, evidence and report.

    Parameters
    ----------
    out : Path
        Version folder.
    data : bytes
        The graph.
    card : ModelCard
        Everything but calibration and scores; ``training`` has ``seed``, ``hold_out``, ``fits``, ``command``.
        Limits that it has stay.
    curve : Curve, optional
        The learning curve.
    case : MapCase
        Model.
    progress : callable
        Shows how far it is.
    began_s : float, optional
        Monotonic time training began (s); without it the card keeps the duration it has.
    """
    seed, count, fits = (int(card.training[k]) for k in ("seed", "hold_out", "fits"))
    run, began = OnnxRunner(data), time.monotonic()

    def shown(what: str, total: int) -> Callable[[int], None]:
        return lambda done: progress(what, done, total, time.monotonic() - began, "")

    def held(number: int, count: int) -> Held:
        return held_out(run, case, count, seed, number, shown("held out", count))

    first, limits = held(1, count), card.calibration.limits
    calibration = calibrate(first, case)
    limits = limits or limits_of(first, case, calibration, fits, shown("limits", fits))
    calibration = calibration.model_copy(update={"limits": limits})
    scored = _scored(run, case, held(2, max(1, count // 4)), calibration, fits, seed)
    card = card.model_copy(update={"calibration": calibration, "scores": scored.figures})
    card = with_duration(card, began_s)
    write_model(out, data, card, evidence_of(card, case, curve, scored, str(card.training["command"])))
    return card


def _scored(
    run: OnnxRunner, case: MapCase, held: Held, calibration: Calibration, fits: int, seed: int
) -> Scored:
    """Score on other held-out maps, and on foreign ones."""
    foreign, kinds = foreign_library(case, max(45, fits), seed + 3)
    others = hold_out(run, case, foreign, seed + 4, len(foreign))
    checker = MapChecker(case)
    count = min(fits, len(held.truth()))
    usual = signals_of_rows(held, case, calibration, checker, list(range(count)))
    unusual = signals_of_rows(others, case, calibration, checker, list(range(len(foreign))))
    limits = np.array([calibration.limits[s] for s in SIGNALS])
    names = case.parameters.free
    known = PlaceCalibration(calibration, names)
    covered = known.covers(held.truth(), held.outputs)
    told = widths_of(held.outputs, FLOOR) * known.factor < _SHARP / 2
    flagged = (unusual > limits).any(1)
    error = np.abs(held.truth() - held.outputs["mean"])
    figures: dict[str, Any] = {
        "simulated": {
            "coverage90": {n: round(float(covered[:, k].mean()), 3) for k, n in enumerate(names)},
            "median_error_of_prior_range": {
                n: round(float(np.median(error[:, k])), 4) for k, n in enumerate(names)
            },
            "told_share": {n: round(float(told[:, k].mean()), 3) for k, n in enumerate(names)},
        },
        "ranks": uniformity(known.ranks(held.truth(), held.outputs), names),
        "foreign": {
            "false_alarms": round(float((usual > limits).any(1).mean()), 3),
            **{k: round(float(flagged[kinds == k].mean()), 3) for k in FOREIGN if (kinds == k).any()},
        },
    }
    return Scored(figures, held, calibration, usual, unusual, limits)
