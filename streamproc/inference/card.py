"""ModelCard: the contract a model carries inside its own ONNX file."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamproc.errors import ConfigurationError

__all__ = ["CARD_KEY", "Axis", "Calibration", "JoinedRule", "ModelCard", "OutputHead", "Pulls"]

CARD_KEY = "streamproc.card"
"""Key of the card's JSON text in the ONNX file's ``metadata_props``."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Axis(_Frozen):
    """The abscissa a model reads: ``n`` points from ``start`` to ``stop``, both ends included."""

    kind: Literal["two_theta_deg", "q_invA", "energy_meV", "energy_window", "sqe_trials", "ring_statistics"]
    """``energy_window``: the share of the measured window, 0 to 1, whatever its energies are.
    ``sqe_trials``: how well trial couplings explain a map S(Q,E); see the card's reference.
    ``ring_statistics``: statistics of rings over azimuth; see the card's reference."""
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


class JoinedRule(_Frozen):
    """A small network that joins signals to one probability; s signals, h hidden units.

    The probability is logistic(bias + output . tanh(offset + hidden . z)) with z = (signal - centre) / scale,
    kept within ``clip``.
    """

    signals: tuple[str, ...]
    """Names of the signals, in order."""
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    clip: float
    """No signal counts as further from the centre than this: where nothing was learned the rule is level."""
    hidden: tuple[tuple[float, ...], ...]
    """Weights, h rows of s."""
    offset: tuple[float, ...]
    output: tuple[float, ...]
    bias: float

    @model_validator(mode="after")
    def _fits_together(self) -> JoinedRule:
        s, h = len(self.signals), len(self.hidden)
        rows = {len(row) for row in self.hidden}
        if {len(self.centre), len(self.scale), *rows} != {s} or {len(self.offset), len(self.output)} != {h}:
            raise ValueError(f"weights do not fit {s} signals and {h} hidden units")
        return self


class Pulls(_Frozen):
    """Quantiles of (truth - answer) / scale on held-out data, where they depend on two features of an answer.

    A grid of a by b places with l quantiles each; between the places they are linear in both features, and
    beyond the outermost ones those hold.
    """

    features: tuple[str, str]
    """Names of the features."""
    low: tuple[float, float]
    high: tuple[float, float]
    """First and last place of the grid in each feature; the places are evenly spaced."""
    levels: tuple[float, ...]
    """Probabilities of the quantiles, rising."""
    quantiles: tuple[tuple[tuple[float, ...], ...], ...]
    """Shape (a, b, l)."""

    @model_validator(mode="after")
    def _is_a_grid(self) -> Pulls:
        b = {len(row) for row in self.quantiles}
        levels = {len(cell) for row in self.quantiles for cell in row}
        if len(self.quantiles) < _LEAST_PLACES or len(b) != 1 or min(b) < _LEAST_PLACES:
            raise ValueError("quantiles of pulls: expected a grid of at least two by two places")
        if levels != {len(self.levels)} or len(self.levels) < _LEAST_PLACES:
            raise ValueError(f"quantiles of pulls: expected {len(self.levels)} of them at every place")
        rising = all(x < y for x, y in pairwise(self.levels))
        if not rising or not 0 < self.levels[0] < self.levels[-1] < 1:
            raise ValueError("levels of pulls: expected rising probabilities between 0 and 1")
        if any(low >= high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("grid of pulls: expected low < high")
        return self


_LEAST_PLACES = 2


class Calibration(_Frozen):
    """Conformal quantiles of |error| / (scale + floor) per estimated quantity, and out-of-domain limits."""

    floor: float
    q68: dict[str, float]
    q90: dict[str, float]
    limits: dict[str, float]
    """Out-of-domain limits by signal name (the 99 % quantile on held-out simulations unless said)."""
    rules: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Logistic rules that join several signals to one probability: weight by signal, and ``bias``."""
    joined: dict[str, JoinedRule] = Field(default_factory=dict)
    """Rules for signals whose meaning depends on each other."""
    prior_sigma: dict[str, float] = Field(default_factory=dict)
    """Spread of a quantity in training: an estimate hardly sharper than this says nothing."""
    pulls: dict[str, Pulls] = Field(default_factory=dict)
    """Per quantity, where its 90 % interval need not be symmetric; those that have none take ``q90``."""


class ModelCard(_Frozen):
    """What a reader of a model's numbers needs to know; written at export, checked at load."""

    schema_version: Literal[1] = 1
    name: str
    version: str
    task: str
    input_name: str
    axis: Axis
    conditions: tuple[str, ...] = ()
    """Scalars that are appended to the axis' points in the input (temperature, resolution), in order."""
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
