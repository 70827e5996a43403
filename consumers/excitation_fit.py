"""Excitation fit: energies, widths and amplitudes of phonons and magnons while the spectrometer counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel
from streamproc.consumers._excitation_map import ExcitationMap
from streamproc.consumers._excitation_outputs import frame_outputs
from streamproc.consumers._excitation_settings import ExcitationFitSettings
from streamproc.consumers._excitation_spectrum import SpectrumFit, SpectrumRun
from streamproc.models.excitations.maps.kinds import TASKS as MAP_TASKS
from streamproc.models.excitations.oscillators.example import EXAMPLE_SETTINGS, example_run
from threadpoolctl import threadpool_limits

from streamproc.analysis import Estimate, Example, FrameResult, LoadContext, Output, Provenance
from streamproc.errors import ConfigurationError
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.runs import Run

__all__ = ["ANALYSIS", "ExcitationFit"]

_NOT_NUMBERS = {"base_dir", "model", "dispersion_points"}
"""Settings that change no number."""

_TASK = "excitation-spectrum"


class ExcitationFit:
    """Damped oscillators in every spectrum of a scan, and the dispersion as it builds.

    Parameters
    ----------
    settings : ExcitationFitSettings
        The table of the configuration.
    model : OnnxModel
        A checked model whose card says that it reads spectra.
    """

    name: ClassVar[str] = "excitation-fit"
    version: ClassVar[str] = "2"
    Settings: ClassVar[type[BaseModel]] = ExcitationFitSettings

    def __init__(self, settings: ExcitationFitSettings, model: OnnxModel) -> None:
        # A fit's matrices are small: BLAS threads gain nothing there, and on a busy machine they wait for
        # each other. The service's own workers are the threads.
        threadpool_limits(1, "blas")
        self.settings, self.model = settings, model
        self.fit = SpectrumFit(settings, model)

    @classmethod
    def load(  # type: ignore[override]
        cls, settings: ExcitationFitSettings, context: LoadContext
    ) -> Self | ExcitationMap:
        """Load the model that the settings name; its card says for which kind of data it is."""
        model = OnnxModel(find_model(settings.model, context.inference, settings.base_dir), context.inference)
        if model.card.task in MAP_TASKS:
            return ExcitationMap(settings, model)
        if model.card.task != _TASK:
            raise ConfigurationError(
                f"{model.path}: its task is {model.card.task!r}, expected "
                f"{' or '.join(map(repr, (_TASK, *MAP_TASKS)))}"
            )
        return cls(settings, model)

    @classmethod
    def example(cls, folder: Path) -> Example:
        """Return a short simulated scan of an acoustic phonon."""
        run, frames = example_run()
        return Example(EXAMPLE_SETTINGS, run, frames)

    @classmethod
    def describe(cls) -> tuple[Output, ...]:
        """Return the outputs for spectra with energies in meV."""
        return frame_outputs("meV")

    def outputs(self) -> Sequence[Output]:
        """Declare the quantities of every result event."""
        return self.fit.outputs()

    def run_outputs(self) -> Mapping[str, Sequence[Output]]:
        """Declare what is said about the run so far and at its end."""
        return self.fit.run_outputs()

    def stream(self) -> str:
        """Return the raw stream that is analysed."""
        return self.settings.stream

    def provenance(self) -> Provenance:
        """Return the hashes that determine the numbers."""
        dumped = self.settings.model_dump(mode="json", exclude=_NOT_NUMBERS)
        line = self.settings.resolution.file
        content = (self.settings.base_dir / line).read_bytes() if line is not None else b""
        # a file counts by its content, not by where it lies
        dumped["resolution"].pop("file")
        text = json.dumps(dumped, sort_keys=True)
        return Provenance(
            analysis=self.name,
            version=self.version,
            model_sha256=self.model.sha256,
            settings_sha256=hashlib.sha256(text.encode()).hexdigest(),
            calibration_sha256=hashlib.sha256(content).hexdigest() if content else "",
            details={
                "model": self.model.model_id,
                "convention": str(self.model.card.reference.get("convention", "")),
                "resolution_fwhm": self.fit.resolution.fwhm,
                "energy_units": self.settings.energy_units,
                "resolution_file": str(line) if line is not None else "",
            },
        )

    def frame_key(self, run: Run) -> str | None:
        """Choose the data key: the configured one, or the only one that fits."""
        return self.fit.source.frame_key(run)

    def begin(self, run: Run) -> SpectrumRun:
        """Start on a run."""
        return SpectrumRun(self.fit, run, self.provenance())

    def report(self, result: FrameResult) -> Mapping[str, Any]:
        """Return an answer as `streamproc predict` prints it."""
        values: dict[str, Any] = {}
        for name, value in result.values.items():
            if isinstance(value, Estimate):
                if value.value == value.value:
                    ends = list(value.interval90) if value.interval90 else None
                    values[name] = {"value": value.value, "sigma": value.sigma, "interval90": ends}
            elif name != "covariance":
                values[name] = None if value != value else value
        return {
            "model": result.model_id, **values,
            "in_domain": result.in_domain, "reasons": list(result.reasons),
        }  # fmt: skip


ANALYSIS = ExcitationFit
