"""What a training found, as the report wants it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.calibration import ModeCalibration
from streamproc.models.excitations.oscillators.judge import SIGNALS, Case, Judged
from streamproc.models.excitations.oscillators.parameters import MOST_MODES, PER_MODE
from streamproc.models.networks.course import Course
from streamproc.models.report.evidence import Evidence, Presence, Quantities, Signals
from streamproc.models.report.parts import Curve, Facts, Table, Words, WorstCase

from streamproc.inference.card import ModelCard

__all__ = ["curve_of", "evidence_of"]

_WORDS = Words(
    "number of modes", "numbers of modes", "spectrum", "spectra", "more than four modes, or no spectrum"
)
_UNITS = ("fwhm", "fwhm", "counts fwhm")
_CANNOT = (
    "More than four modes; an elastic line of another shape than the resolution.",
    "Energy and width of an overdamped mode apart from each other: only their ratio is known well.",
    "Modes closer to each other than their widths are often read as one.",
)


def evidence_of(
    card: ModelCard, curve: Curve | None, scored: Judged, foreign: npt.NDArray[np.float64], command: str
) -> Evidence:
    """Collect the evidence of a training.

    Parameters
    ----------
    card : ModelCard
        The finished card.
    curve : Curve, optional
        The learning curve.
    scored : Judged
        Answers beside the truth.
    foreign : ndarray, shape (n, 4)
        Signals of spectra that the model is not meant for.
    command : str
        Command line that makes the same model again.
    """
    limits = np.array([card.calibration.limits[s] for s in SIGNALS])
    return Evidence(
        facts=_facts(card, command),
        words=_WORDS,
        curve=curve,
        simulated=_quantities(scored, card),
        presence=_presence(scored.cases),
        signals=Signals(SIGNALS, scored.signals(), foreign, np.ones(len(foreign)), limits),
        worst=tuple(_drawn(c, scored) for c in _worst(scored.cases)),
        tables=(_scores(card),),
        notes=(card.reference["convention"],),
    )


def _facts(card: ModelCard, command: str) -> Facts:
    skip = ("data_sha256", "duration_s")
    return Facts(
        name=card.name,
        version=card.version,
        purpose="Energies, widths and amplitudes of up to four damped oscillators in one spectrum.",
        valid_for={k: str(v) for k, v in card.valid_domain.items()},
        cannot=_CANNOT,
        settings={k: str(v) for k, v in card.training.items() if k not in skip},
        hashes={"graph": card.weights_sha256, "training library": str(card.training["data_sha256"])},
        duration_s=float(card.training.get("duration_s", float("nan"))),
        command=command,
    )


def curve_of(course: Course) -> Curve:
    """Return the learning curve as the report draws it."""
    return Curve(
        "median error of the network's energies", "fwhm", np.array(course.step), np.array(course.training),
        {"simulated": np.array(course.simulated)}, step_name="batch",
    )  # fmt: skip


def _quantities(scored: Judged, card: ModelCard) -> Quantities | None:
    truth, value, sigma, _ = scored.sound(card.calibration.limits).matched()
    if not len(truth):
        return None
    calibration = ModeCalibration(card.calibration)
    low, high = calibration.ends(value, sigma)
    return Quantities(
        PER_MODE, _UNITS, truth, value, calibration.factor * sigma, low, high, np.ones_like(truth, bool)
    )


def _presence(cases: Sequence[Case]) -> Presence:
    truth = np.array([[len(c.truth) == k for k in range(MOST_MODES + 1)] for c in cases])
    return Presence(
        tuple(f"{k} modes" for k in range(MOST_MODES + 1)),
        truth,
        np.array([c.answer.probability for c in cases]),
        truth.astype(float),
    )


def _worst(cases: Sequence[Case]) -> list[Case]:
    """Largest errors of an energy in sigmas, among right numbers."""
    right = [c for c in cases if c.right_number and len(c.truth)]

    def pull(c: Case) -> float:
        values, sigmas = c.paired()
        return float((np.abs(values[:, 0] - c.truth[:, 0]) / np.maximum(sigmas[:, 0], 1e-9)).max())

    return sorted(right, key=pull, reverse=True)[:3]


def _drawn(case: Case, scored: Judged) -> WorstCase:
    data = scored.batch.spectrum(case.place, scored.library)
    fitted, (values, sigmas) = case.answer.fitted, case.paired()
    table = tuple(
        (f"{name} {k + 1}", f"{t:.3f}", f"{v:.3f} +- {s:.3f}")
        for k in range(len(case.truth))
        for name, t, v, s in zip(PER_MODE, case.truth[k], values[k], sigmas[k], strict=True)
    )
    flat = np.full(data.energy.size, fitted.vector[fitted.composition.background])
    return WorstCase(
        f"simulated spectrum {case.place}", data.energy, "energy over fwhm", data.counts, fitted.spectrum,
        flat, {}, table,
    )  # fmt: skip


def _scores(card: ModelCard) -> Table:
    rows = tuple(("simulations", key, json.dumps(value)) for key, value in card.scores.items())
    return Table("Scores in the card", ("on", "figure", "value"), rows)
