"""What a training of the defect network found, as the shared report wants it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.report.evidence import Evidence, Quantities, Signals
from streamproc.models.report.parts import Facts, Table, Words

from streamproc.inference.card import ModelCard

__all__ = ["Said", "evidence_of", "said_of_patterns"]

Array = npt.NDArray[Any]

_UNITS = {
    "ln_density": "ln(1/m^2)", "ln_size": "ln(nm)", "ln_microstrain": "ln(1)", "ln_march": "ln(1)",
    "static_b": "A^2", "deformation": "per layer", "growth": "per layer", "q": "1", "amorphous": "share",
}  # fmt: skip
_CANNOT = (
    "A gradient of composition broadens lines as dislocations without contrast would.",
    "Density and arrangement of dislocations are told apart by the tails of lines alone.",
    "Extrinsic faults are read as deformation faults of the other sign or not at all.",
    "Another metal, or a mixture of phases, is noticed by the distance of its features only.",
)
_WORDS = Words("quantity", "quantities", "pattern", "patterns", "another metal")


@dataclass(frozen=True, slots=True)
class Said:
    """Words of a report: purpose, what the model cannot do, units by quantity, what things are called."""

    purpose: str
    cannot: tuple[str, ...]
    units: Mapping[str, str]
    words: Words


def said_of_patterns(card: ModelCard) -> Said:
    """Return the words about a model for patterns."""
    purpose = (
        f"Lattice defects of {card.reference['material']} from one powder pattern "
        f"({', '.join(card.labels)}), each with a 90 % interval, or the word that the pattern is unlike "
        "those of the training."
    )
    return Said(purpose, _CANNOT, _UNITS, _WORDS)


def evidence_of(
    card: ModelCard,
    said: Said,
    outputs: Mapping[str, Array],
    truth: Array,
    suspicious: Mapping[str, tuple[Array, Array]],
    command: str,
) -> Evidence:
    """Collect the evidence of a training.

    Parameters
    ----------
    card : ModelCard
        The finished card.
    said : Said
        Words about the model.
    outputs : mapping of str to ndarray
        Answers to held-out patterns.
    truth : ndarray, shape (n, k)
        What they should have been.
    suspicious : mapping of str to (ndarray, ndarray)
        Signals with a limit in the card: for the held-out inputs, and for what the model is not meant for.
    command : str
        Command line that makes the same model again.
    """
    width = outputs["scale"] + outputs["spread"]
    q68, q90 = (
        np.array([q[name] for name in card.labels]) for q in (card.calibration.q68, card.calibration.q90)
    )
    values = outputs["values"]
    simulated = Quantities(
        names=card.labels,
        units=tuple(said.units[name] for name in card.labels),
        truth=truth,
        value=values,
        sigma=q68 * width,
        low90=values - q90 * width,
        high90=values + q90 * width,
        meaningful=np.ones(truth.shape, bool),
    )
    usual, foreign = (np.stack([pair[i] for pair in suspicious.values()], 1) for i in (0, 1))
    signals = Signals(
        tuple(suspicious), usual, foreign, np.ones(len(foreign)),
        np.array([card.calibration.limits[name] for name in suspicious]),
    )  # fmt: skip
    rows = tuple(
        ("simulated", key, value if isinstance(value, str) else json.dumps(value))
        for key, value in card.scores.items()
    )
    table = Table("Scores in the card", ("on", "figure", "value"), rows)
    return Evidence(
        facts=_facts(card, said, command),
        words=said.words,
        simulated=simulated,
        signals=signals,
        tables=(table,),
    )


def _facts(card: ModelCard, said: Said, command: str) -> Facts:
    skip = ("sources", "data_sha256", "duration_s", "command")
    return Facts(
        name=card.name,
        version=card.version,
        purpose=said.purpose,
        valid_for={k: str(v) for k, v in card.valid_domain.items()},
        cannot=said.cannot,
        settings={k: str(v) for k, v in card.training.items() if k not in skip},
        hashes={"graph": card.weights_sha256, "training library": str(card.training["data_sha256"])},
        duration_s=float(card.training.get("duration_s", float("nan"))),
        command=command,
    )
