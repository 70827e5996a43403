"""How good a graph is, by held-out simulations: calibrate it, score it, and write that down beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.answer import answer
from streamproc.models.excitations.oscillators.calibrate import calibrate, figures, limits_of
from streamproc.models.excitations.oscillators.case import SpectrumCase
from streamproc.models.excitations.oscillators.evidence import evidence_of
from streamproc.models.excitations.oscillators.foreign import KINDS, foreign_spectrum
from streamproc.models.excitations.oscillators.instruments import Library, build_library
from streamproc.models.excitations.oscillators.judge import SIGNALS, Judged, judge, zero_prior
from streamproc.models.excitations.oscillators.prepare import prepare
from streamproc.models.networks.conformal import OnnxRunner
from streamproc.models.networks.version_folder import read_version
from streamproc.models.report.evidence import EVIDENCE_FILE, Evidence
from streamproc.models.report.parts import Curve
from streamproc.models.report.version import with_duration, write_model

from streamproc.errors import ConfigurationError
from streamproc.inference.card import ModelCard

__all__ = ["Progress", "calibrate_again", "publish"]

Progress = Callable[[str, int, int, float, str], None]

_FOREIGN = 40
"""Spectra of each foreign kind in the report."""


def calibrate_again(out: Path, case: SpectrumCase, given: Mapping[str, int], progress: Progress) -> ModelCard:
    """Calibrate and score a model that is there as its training would have done; graph and limits stay.

    Parameters
    ----------
    out : Path
        Version folder.
    case : SpectrumCase
        What it was trained for.
    given : mapping of str to int
        Settings that are not those of the training: ``hold_out``.
    progress : callable
        Shows how far it is.

    Raises
    ------
    ConfigurationError
        There is no model in the folder, or it was trained for another file.
    """
    data, card = read_version(out)
    if (card.name, card.valid_domain) != (case.name, case.priors.card()):
        raise ConfigurationError(
            f"{out}: the model in it is {card.name!r} for {card.valid_domain}, the file says {case.name!r} "
            f"for {case.priors.card()}; give the file it was trained with"
        )
    evidence = Evidence.load(out / EVIDENCE_FILE)
    card = card.model_copy(update={"training": card.training | given})
    return publish(out, data, card, evidence.curve, case, evidence.facts.command, progress)


def publish(
    out: Path, data: bytes, card: ModelCard, curve: Curve | None, case: SpectrumCase, command: str,
    progress: Progress, began_s: float | None = None,
) -> ModelCard:  # fmt: skip
    """Calibrate on held-out simulations, score on others, and write model, evidence and report.

    Parameters
    ----------
    out : Path
        Version folder.
    data : bytes
        The graph.
    card : ModelCard
        Everything but calibration and scores; ``training`` has ``seed`` and ``hold_out``. Limits that it has
        stay.
    curve : Curve, optional
        The learning curve.
    case : SpectrumCase
        What it was trained for.
    command : str
        Command line that makes the same model again.
    progress : callable
        Shows how far it is.
    began_s : float, optional
        Monotonic time training began (s); without it the card keeps the duration it has.
    """
    seed, hold_out = int(card.training["seed"]), int(card.training["hold_out"])
    run, began = OnnxRunner(data), time.monotonic()

    def judged(what: str, number: int, count: int) -> Judged:
        """Spectra of spectrometers of their own: those of one share the place of its zero."""
        library = build_library(count, seed + 1000 * number, case.priors)

        def shown(done: int) -> None:
            progress(what, done, count, time.monotonic() - began, "")

        return judge(run, library, seed + number, count, case.strengths, shown)

    held = judged("calibration", 1, hold_out)
    calibration = calibrate(held, card.calibration.limits or limits_of(held))
    scored = judged("scores", 2, max(1, hold_out // 4))
    card = card.model_copy(update={"calibration": calibration, "scores": figures(scored, calibration)})
    card = with_duration(card, began_s)
    foreign = _foreign(run, scored.library, min(_FOREIGN, hold_out // 40))
    write_model(out, data, card, evidence_of(card, curve, scored, foreign, command))
    return card


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
