"""ModelCard: the contract a model carries inside its own ONNX file."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamproc.errors import ConfigurationError

__all__ = ["CARD_KEY", "Axis", "Calibration", "ModelCard", "OutputHead"]

CARD_KEY = "streamproc.card"
"""Key of the card's JSON text in the ONNX file's ``metadata_props``."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Axis(_Frozen):
    """The abscissa a model reads: ``n`` points from ``start`` to ``stop``, both ends included."""

    kind: Literal["two_theta_deg", "q_invA", "energy_meV", "sqe_trials"]
    """``sqe_trials``: how well trial couplings explain a map S(Q,E); see the card's reference."""
    start: float
    stop: float
    n: Annotated[int, Field(gt=1)]
    wavelength_A: float | None = None
    """Wavelength (angstrom) the model's patterns have; None where the axis needs none."""
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the axis that must be measured; the network was trained with missing ends down to this."""


class OutputHead(_Frozen):
    """One output tensor of the graph (batch first)."""

    name: str
    shape: tuple[int, ...]
    """Shape without the batch dimension; ``()`` for one number per sample."""
    meaning: str
    units: str = ""


class Calibration(_Frozen):
    """Conformal quantiles of |error| / (scale + floor) per estimated quantity, and out-of-domain limits."""

    floor: float
    q68: dict[str, float]
    q90: dict[str, float]
    limits: dict[str, float]
    """Out-of-domain limits by signal name (the 99 % quantile on held-out simulations unless said)."""
    rules: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Logistic rules that join several signals to one probability: weight by signal, and ``bias``."""
    prior_sigma: dict[str, float] = Field(default_factory=dict)
    """Spread of a quantity in training: an estimate hardly sharper than this says nothing."""


class ModelCard(_Frozen):
    """What a reader of a model's numbers needs to know; written at export, checked at load."""

    schema_version: Literal[1] = 1
    name: str
    version: str
    task: str
    input_name: str
    axis: Axis
    normalisation: str
    """Name of the normalisation the analysis must apply, e.g. ``sqrt_max``."""
    outputs: tuple[OutputHead, ...]
    labels: tuple[str, ...]
    """Names of the quantities in order (phases for phase mapping)."""
    valid_domain: dict[str, str | float | tuple[float, float]]
    """Prior ranges the training covered, with units in the names."""
    calibration: Calibration
    reference: dict[str, Any] = Field(default_factory=dict)
    """Tables the classical cross-check needs (reflections per phase: d_A, intensity, cell, density, ...)."""
    opset: int
    weights_sha256: str
    """``inspect_onnx(file_bytes).content_sha256`` of :mod:`streamproc.inference.onnxfile` (hexadecimal):
    graph and weights without the metadata. Write the card with ``replace_metadata`` of the same module."""
    training: dict[str, Any]
    """Seeds, epochs, data hash, code version, physics version, duration."""
    scores: dict[str, Any]
    """Held-out figures, simulated and measured side by side."""
    licence: str

    def to_json(self) -> str:
        """Return the text that goes into the ONNX metadata (sorted keys, so that it is reproducible)."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, *, file: str) -> ModelCard:
        """Parse a card.

        Raises
        ------
        ConfigurationError
            When the text is not a card; names the file and the first fields that are wrong.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
            raise ConfigurationError(f"{file}: the model card is not valid: {wrong}") from error
