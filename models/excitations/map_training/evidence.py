"""What a training found, as the report wants it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.map_training.calibrate import Held, answers_of
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.check import SIGNALS
from streamproc.models.report.evidence import Evidence, Quantities, Signals
from streamproc.models.report.parts import Curve, Facts, Table, Words

from streamproc.inference.card import Calibration, ModelCard

if TYPE_CHECKING:
    from streamproc.models.excitations.map_training.train import Course

__all__ = ["Scored", "curve_of", "evidence_of"]

Array = npt.NDArray[Any]

_SHOWN = 500


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Scores of a model.

    Attributes
    ----------
    figures : dict
        For the card.
    held : Held
        Held-out maps.
    calibration : Calibration
        Of the card.
    usual, unusual : ndarray, shape (n, signals)
        Signals of held-out and foreign maps.
    limits : ndarray, shape (signals,)
        Limits.
    """

    figures: dict[str, Any]
    held: Held = field(repr=False)
    calibration: Calibration = field(repr=False)
    usual: Array = field(repr=False)
    unusual: Array = field(repr=False)
    limits: Array = field(repr=False)


def evidence_of(
    card: ModelCard, case: MapCase, curve: Curve | None, scored: Scored, command: str
) -> Evidence:
    """Collect the evidence of a training.

    Parameters
    ----------
    card : ModelCard
        The finished card.
    case : MapCase
        The model.
    curve : Curve, optional
        The learning curve.
    scored : Scored
        Scores.
    command : str
        Command line that makes the same model again.
    """
    return Evidence(
        facts=_facts(card, case, command),
        words=Words(case.words.one, case.words.many, "map", "maps", case.words.foreign),
        curve=curve,
        simulated=_quantities(case, scored),
        signals=Signals(SIGNALS, scored.usual, scored.unusual, np.ones(len(scored.unusual)), scored.limits),
        tables=(_scores(card),),
        notes=(f"Convention: {case.convention}.",),
    )


def _facts(card: ModelCard, case: MapCase, command: str) -> Facts:
    skip = ("data_sha256", "duration_s", "command")
    return Facts(
        name=card.name,
        version=card.version,
        purpose=f"{case.file.description}: {case.words.many} with full covariance from S(Q,E), columns as "
        "they come, or an abstention with its reason.",
        valid_for={k: str(v) for k, v in card.valid_domain.items()},
        cannot=case.words.cannot,
        settings={k: str(v) for k, v in card.training.items() if k not in skip},
        hashes={"graph": card.weights_sha256, "training library": str(card.training["data_sha256"])},
        duration_s=float(card.training.get("duration_s", float("nan"))),
        command=command,
    )


def curve_of(course: Course) -> Curve:
    """Return the learning curve as the report draws it."""
    return Curve(
        "mean error of the places in the prior",
        "% of its range",
        np.array(course.step),
        np.array(course.training),
        {"simulated": 100 * np.array(course.simulated)},
        step_name="batch",
    )


def _quantities(case: MapCase, scored: Scored) -> Quantities:
    """Couplings in the model's unit of energy, times 1000 for a window (parts per thousand of its end)."""
    rows = list(range(min(_SHOWN, len(scored.held.truth()))))
    answers = answers_of(scored.held, case, scored.calibration, rows)
    names, free = case.parameters.free, case.parameters.values_at(scored.held.truth()[rows])
    factor, unit = (1000.0, "window / 1000") if case.file.energy.scale_free else (1.0, case.words.units)
    numbers = [[a.numbers[n] for n in names] for a in answers]
    ends = np.array([[v.interval90 for v in row] for row in numbers])
    return Quantities(
        tuple(case.key_of(n) for n in names),
        (unit,) * len(names),
        factor * free,
        factor * np.array([[v.value for v in row] for row in numbers]),
        factor * np.array([[v.sigma for v in row] for row in numbers]),
        factor * ends[..., 0],
        factor * ends[..., 1],
        np.ones(free.shape, bool),
    )


def _scores(card: ModelCard) -> Table:
    rows = [
        (group, key, value if isinstance(value, str) else json.dumps(value))
        for group, figures in card.scores.items()
        for key, value in figures.items()
    ]
    return Table("Scores in the card", ("on", "figure", "value"), tuple(rows))
