"""What a training found, as the report wants it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from streamproc.models.phase_map.interpret import PRESENT
from streamproc.models.phase_map.scores import Case, Judged
from streamproc.models.report.evidence import Evidence, Presence, Quantities, Signals
from streamproc.models.report.parts import Curve, Facts, Table, Words, WorstCase

from streamproc.inference.card import ModelCard

if TYPE_CHECKING:
    from streamproc.models.networks.course import Course

__all__ = ["evidence_of"]

_WORDS = Words("phase", "phases", "pattern", "patterns", "material that is not among the model's phases")
_CANNOT = (
    "Amorphous shares are silica equivalents and are read too low on a high background.",
    "Foreign material below about 2 % of the intensity usually passes unnoticed.",
    "Fractions are weights among the model's crystalline phases, not of the whole sample.",
)


def evidence_of(
    card: ModelCard, course: Course, simulated: Judged, measured: Judged | None, command: str
) -> Evidence:
    """Collect the evidence of a training.

    Parameters
    ----------
    card : ModelCard
        The finished card.
    course : Course
        The learning curve.
    simulated, measured : Judged
        Answers beside the truth.
    command : str
        Command line that makes the same model again.
    """
    limits = card.calibration.limits
    signals = Signals(
        ("network", "network and fit", "feature distance", "residual"),
        simulated.usual,
        simulated.foreign,
        simulated.foreign_share,
        np.array([np.nan, limits["foreign_with_fit"], limits["distance"], limits["residual"]]),
    )
    worst = [_drawn(c) for c in simulated.worst()[:2]]
    if measured is not None:
        worst = [_drawn(c) for c in measured.worst()] + worst
    return Evidence(
        facts=_facts(card, command),
        words=_WORDS,
        curve=_curve(course),
        simulated=_quantities(simulated.cases, card, named=False),
        measured=_quantities(measured.cases, card, named=True) if measured else None,
        presence=_presence(simulated.cases, card, named=False),
        measured_presence=_presence([c for c in measured.cases if c.counted], card, named=True)
        if measured
        else None,
        signals=signals,
        worst=tuple(worst),
        tables=(_scores(card),),
        notes=tuple(card.training.get("notes", ())),
    )


def _facts(card: ModelCard, command: str) -> Facts:
    skip = ("notes", "sources", "data_sha256", "duration_s")
    settings = {k: str(v) for k, v in card.training.items() if k not in skip}
    return Facts(
        name=card.name,
        version=card.version,
        purpose="Weight fractions, presence, lattice strain, size and texture of "
        f"{', '.join(card.labels)} from one powder pattern, or an abstention with its reason.",
        valid_for={k: str(v) for k, v in card.valid_domain.items()},
        cannot=_CANNOT,
        settings=settings,
        hashes={"graph": card.weights_sha256, "training library": str(card.training["data_sha256"])},
        duration_s=float(card.training.get("duration_s", float("nan"))),
        command=command,
    )


def _curve(course: Course) -> Curve:
    validation = {"simulated": 100 * np.array(course.simulated)}
    stopping = np.array(course.stopping)
    if np.isfinite(stopping).any():
        validation["measured, stopping"] = 100 * stopping
    return Curve(
        "mean error of the fractions",
        "wt%",
        np.array(course.step),
        np.array(course.training),
        validation,
        stopped_at=course.stopped_at,
        stopped_by="measured, stopping" if course.stopped_at is not None else "",
        step_name="batch",
    )


def _quantities(cases: Sequence[Case], card: ModelCard, named: bool) -> Quantities | None:
    rows = [c for c in cases if np.isfinite(c.fractions).all()]
    if not rows:
        return None
    parts = [[c.answer.phases[n] for n in card.labels] for c in rows]
    ends = np.array([[q.interval90 for q in row] for row in parts])
    truth = np.array([c.fractions for c in rows])
    return Quantities(
        card.labels,
        ("wt%",) * len(card.labels),
        100 * truth,
        100 * np.array([[q.value for q in row] for row in parts]),
        100 * np.array([[q.sigma for q in row] for row in parts]),
        100 * ends[..., 0],
        100 * ends[..., 1],
        np.array([c.present for c in rows]) if not named else np.ones_like(truth, bool),
        patterns=tuple(c.name for c in rows) if named else (),
        counted=np.array([c.counted for c in rows]),
        remarks=tuple("; ".join(c.answer.reasons) for c in rows),
    )


def _presence(cases: Sequence[Case], card: ModelCard, named: bool) -> Presence | None:
    if not cases:
        return None
    truth = np.array([c.present for c in cases])
    return Presence(
        card.labels,
        truth,
        np.array([[c.answer.presence[n] for n in card.labels] for c in cases]),
        100 * np.array([np.where(np.isfinite(c.fractions), c.fractions, c.present) for c in cases]),
        threshold=PRESENT,
        least_amount=2.0,
        amount_units="wt%",
        patterns=tuple(c.name for c in cases) if named else (),
    )


def _drawn(case: Case) -> WorstCase:
    fit, answer = case.checked.fit, case.answer
    table = tuple(
        (
            name,
            f"{100 * t:.2f} wt%",
            f"{100 * q.value:.2f} +- {100 * q.sigma:.2f} wt% (fit {100 * fit.fractions[name]:.2f})",
        )
        for (name, q), t in zip(answer.phases.items(), case.fractions, strict=True)
        if t > 0 or q.value > 0.005
    )
    reasons = f" ({'; '.join(answer.reasons)})" if answer.reasons else ""
    return WorstCase(
        f"{case.name}{reasons}",
        fit.two_theta_deg,
        "2theta (degrees)",
        fit.observed,
        fit.calculated,
        fit.background,
        {name: part for name, part in fit.contribution.items() if np.any(part > 0)},
        table,
    )


def _scores(card: ModelCard) -> Table:
    """The card's figures, a line each."""
    rows: list[tuple[str, str, str]] = []
    for group, figures in card.scores.items():
        rows += [(group, key, _said(value)) for key, value in figures.items()]
    return Table("Scores in the card", ("on", "figure", "value"), tuple(rows))


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
