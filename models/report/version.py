"""Write what a training made into its version folder: the model with its card, the evidence, the report."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from streamproc.models.report.evidence import EVIDENCE_FILE, Evidence
from streamproc.models.report.write import write_report

from streamproc.inference.card import CARD_KEY, ModelCard
from streamproc.inference.onnxfile import replace_metadata

__all__ = ["with_duration", "write_model"]


def with_duration(card: ModelCard, began_s: float | None) -> ModelCard:
    """Return the card with how long its training took (s), since a monotonic time; None: as it is."""
    if began_s is None:
        return card
    duration = {"duration_s": round(time.monotonic() - began_s)}
    return card.model_copy(update={"training": card.training | duration})


def write_model(folder: Path, data: bytes, card: ModelCard, evidence: Evidence) -> None:
    """Write ``model.onnx``, the evidence and the report, and print the scores.

    Parameters
    ----------
    folder : Path
        Version folder: models/NAME/VERSION.
    data : bytes
        The graph.
    card : ModelCard
        Goes into the model file.
    evidence : Evidence
        For the report.

    Raises
    ------
    ConfigurationError
        matplotlib is missing.
    """
    file = folder / "model.onnx"
    file.write_bytes(replace_metadata(data, {CARD_KEY: card.to_json()}))
    evidence.save(folder / EVIDENCE_FILE)
    write_report(evidence, folder)
    print(f"{file}: {json.dumps(card.scores, indent=1)}", file=sys.stderr)
