"""Excitation fit of S(Q,E) maps: a model's parameters, for each event and for the map so far."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field
from streamproc.consumers._excitation_columns import MapKeys
from streamproc.consumers._excitation_joint import Gathered, MapCollector, joint_report
from streamproc.consumers._excitation_map_outputs import frame_outputs, map_report, run_outputs
from streamproc.consumers._excitation_map_run import ExcitationMapRun
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.reader import MapReader

from streamproc.analysis import FrameResult, Output, Provenance
from streamproc.errors import ConfigurationError, RunRefused
from streamproc.inference.model import OnnxModel
from streamproc.runs import Run

__all__ = ["ExcitationMap", "MapSettings"]


class MapSettings(BaseModel):
    """The ``[analysis.excitation-fit.map]`` table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: MapKeys = Field(default_factory=MapKeys, description="Where an event says what was measured.")
    refine_every: int = Field(
        1,
        ge=0,
        description="Least squares over the map so far at every n-th event, beside the hot path; 0: none.",
    )
    fit_every: int = Field(1, ge=1, description="The network reads the map so far at every n-th event.")
    temperature_K: float = Field(0.0, ge=0, description="Sample temperature, for the Bose factor; 0: none.")
    q_across: float = Field(
        0.0,
        ge=0,
        description="Full width of the cut across the path of the columns (r.l.u.); it trades against the "
        "couplings, so it is not fitted. Not for powders.",
    )
    targets: dict[str, float] = Field(
        default_factory=dict,
        description="Standard uncertainties to reach, by coupling (meV) or force constant (N/m): how much "
        "longer to count is said.",
    )
    plan_next: bool = Field(True, description="Say which Q and energy would tell most if measured next.")


class _Settings(Protocol):
    """What the map half reads of the analysis's settings."""

    stream: str
    key: str | None
    map: MapSettings


class ExcitationMap:
    """Parameters of a spin or lattice model from S(Q,E), columns as they come.

    Never a bare J: the key of a coupling is Zc times it.

    Parameters
    ----------
    settings : object
        With ``stream``, ``key`` and ``map``; of the analysis.
    model : OnnxModel
        A checked model whose card says the task is a spin or lattice model.
    """

    name: ClassVar[str] = "excitation-fit"
    version: ClassVar[str] = "1"

    def __init__(self, settings: _Settings, model: OnnxModel) -> None:
        self.settings, self.model = settings, model
        self.reader = MapReader(model)
        unknown = [n for n in settings.map.targets if n not in self.case.parameters.free]
        if unknown:
            raise ConfigurationError(
                f"[analysis.excitation-fit.map]: targets names {', '.join(unknown)}; {model.card.name} fits "
                f"{', '.join(self.case.parameters.free)}"
            )

    @property
    def case(self) -> MapCase:
        """The model."""
        return self.reader.case

    def outputs(self) -> Sequence[Output]:
        """Declare the quantities of every result event: what this event says by itself."""
        return frame_outputs(self.case)

    def run_outputs(self) -> Mapping[str, Sequence[Output]]:
        """Declare what is said about the map so far."""
        return run_outputs(self.case)

    def stream(self) -> str:
        """Return the raw stream that is analysed."""
        return self.settings.stream

    def provenance(self) -> Provenance:
        """Return the hashes that determine the numbers."""
        text = json.dumps(self.settings.map.model_dump(mode="json"), sort_keys=True)
        return Provenance(
            analysis=self.name,
            version=self.version,
            model_sha256=self.model.sha256,
            settings_sha256=hashlib.sha256(text.encode()).hexdigest(),
            calibration_sha256="",
            details={
                "model": self.model.model_id,
                "couplings": list(self.case.parameters.free),
                "convention": self.model.card.reference["convention"],
                **self.case.assumed,
            },
        )

    def frame_key(self, run: Run) -> str | None:
        """Choose the data key: the configured one, or the only one beside Q, energy and error."""
        descriptors = run.stream_descriptors(self.settings.stream)
        data_keys = descriptors[-1].get("data_keys", {}) if descriptors else {}
        if self.settings.key is not None:
            return self.settings.key if self.settings.key in data_keys else None
        keys = self.settings.map.keys
        taken = {*keys.q_keys, keys.energy_key, keys.error_key, keys.mask_key}
        arrays = [
            k for k, e in data_keys.items() if k not in taken and isinstance(e, Mapping) and e.get("shape")
        ]
        if len(arrays) > 1:
            raise RunRefused(
                f"stream {self.settings.stream!r} has {len(arrays)} keys that could be the intensities "
                f"({', '.join(arrays[:8])}): set analysis.excitation-fit.key"
            )
        return arrays[0] if arrays else None

    def begin(self, run: Run) -> ExcitationMapRun:
        """Start on a run."""
        return ExcitationMapRun(self.reader, self.settings.map, self.provenance())

    def collector(self) -> MapCollector:
        """Return an analysis that only gathers the maps of runs, for a joint fit."""
        return MapCollector(self, self.settings.map.keys)

    def joint(self, runs: Sequence[Gathered]) -> dict[str, Any]:
        """Fit one set of parameters to the maps of several runs; see :func:`joint_report`."""
        return joint_report(self.reader, runs, self.settings.map.q_across) | {"model": self.model.model_id}

    def report(self, result: FrameResult) -> dict[str, Any]:
        """Return an answer as `streamproc predict` prints it."""
        return map_report(result, self.case, self.model.card.reference["convention"])
