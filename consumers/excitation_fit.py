"""Excitation fit: energies, widths and exchange constants while the spectrometer counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from streamproc.consumers._excitation_map import ExcitationMap, MapSettings, load_map
from streamproc.models.excitations.maps.reader import TASK

from streamproc.analysis import Example, LoadContext, Output
from streamproc.errors import ConfigurationError
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model

__all__ = ["ANALYSIS", "ExcitationFit", "ExcitationFitSettings"]


class ExcitationFitSettings(BaseModel):
    """The ``[analysis.excitation-fit]`` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    base_dir: Path = Field(Path(), description="Folder that relative paths start from; set by the loader.")
    model: str = Field(
        "magnon-square",
        description="NAME, NAME:VERSION or an .onnx file; its card says what is fitted.",
    )
    stream: str = Field("primary", description="Stream whose events are analysed.")
    key: str | None = Field(
        None, description="Data key of the intensities; needed where there is more than one."
    )
    map: MapSettings = Field(default_factory=MapSettings, description="S(Q,E) maps and spin models.")


class ExcitationFit(ExcitationMap):
    """Couplings of a spin model from S(Q,E), columns as they come."""

    Settings: ClassVar[type[BaseModel]] = ExcitationFitSettings

    @classmethod
    def load(cls, settings: Any, context: LoadContext) -> ExcitationMap:
        """Load the model; what its card is for decides what is done."""
        model = OnnxModel(find_model(settings.model, context.inference, settings.base_dir), context.inference)
        if model.card.task == TASK:
            return load_map(settings, context, model)
        raise ConfigurationError(f"{model.path}: its task is {model.card.task!r}, expected {TASK!r}")

    @classmethod
    def example(cls, folder: Path) -> Example:
        """Return a short scan of simulated counts."""
        from streamproc.models.excitations.maps.example import example_run

        run, frames = example_run()
        return Example({"map": {"refine_every": 3}}, run, frames)

    @classmethod
    def describe(cls) -> tuple[Output, ...]:
        """Return the outputs for the square-lattice magnet."""
        from streamproc.consumers._excitation_map_outputs import frame_outputs
        from streamproc.models.excitations.maps.example import example_case

        return frame_outputs(example_case())


ANALYSIS = ExcitationFit
