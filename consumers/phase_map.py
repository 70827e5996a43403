"""Phase map: weight fractions of known phases from powder diffraction, each with how far to trust it.

With ``unsupervised = true`` no phase is known: components are found in the patterns themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel
from streamproc.consumers._data_flags import STREAM, run_flag_outputs
from streamproc.consumers._patterns import PatternSource
from streamproc.consumers._phase_outputs import answer_report, frame_outputs, run_outputs
from streamproc.consumers._phase_run import PhaseMapRun
from streamproc.consumers._phase_settings import PhaseMapSettings
from streamproc.consumers._refining import Refiner
from streamproc.models.phase_map.check import Checker
from streamproc.models.phase_qpa.example import example_run
from threadpoolctl import threadpool_limits

from streamproc.analysis import Example, FrameResult, LoadContext, Output, Provenance
from streamproc.errors import ConfigurationError, RunRefused
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.reduction.calibration import Calibration, load_calibration
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.warmup import warm_up
from streamproc.results import copied_readings
from streamproc.runs import Run

if TYPE_CHECKING:
    from streamproc.consumers._unsupervised import UnsupervisedPhaseMap

__all__ = ["ANALYSIS", "PhaseMap", "PhaseMapSettings"]

_FILES = {"poni", "mask", "dark", "flat", "hot_pixels"}
_NOT_NUMBERS = {"base_dir", "model", "publish_pattern", "unsupervised", "unmixing"}
"""Settings that change no number of this mode."""

_MOST_AXES = 3


class PhaseMap:
    """Weight fractions of the model's phases, amorphous and unknown shares, for every frame of a scan.

    Parameters
    ----------
    settings : PhaseMapSettings
        The table of the configuration.
    model : OnnxModel
        A checked model whose card says the task is phase fractions.
    calibration : Calibration
        Loaded geometry and correction files.
    """

    name: ClassVar[str] = "phase-map"
    version: ClassVar[str] = "3"
    Settings: ClassVar[type[BaseModel]] = PhaseMapSettings

    def __init__(self, settings: PhaseMapSettings, model: OnnxModel, calibration: Calibration) -> None:
        self.settings, self.model, self.calibration = settings, model, calibration
        # A fit's matrices are small: BLAS threads gain nothing there, and on a busy machine each call waits
        # for them up to a second. The service's own workers are the threads.
        threadpool_limits(1, "blas")
        self.source = PatternSource(settings, calibration)
        self.checker = Checker(model.card)
        self.checker.warm_up()
        self.refiner = Refiner(model.card)
        self.reader: FrameReader | None = None
        if calibration.geometry is not None and settings.axis_key is None:
            self.reader = FrameReader(calibration.plan(), settings.data_flags)
        warm_up(settings.data_flags, calibration if settings.axis_key is None else None)

    @classmethod
    def load(  # type: ignore[override]
        cls, settings: PhaseMapSettings, context: LoadContext
    ) -> Self | UnsupervisedPhaseMap:
        """Load model and calibration; what is missing is said here."""
        if settings.unsupervised:
            # its models are loaded only where they are asked for: a restart is waited for
            from streamproc.consumers._unsupervised import UnsupervisedPhaseMap

            return UnsupervisedPhaseMap.load(settings, context)
        reduction = settings.reduction
        if settings.axis_key is None and reduction.poni is None and not reduction.from_run.calibration_md:
            raise ConfigurationError(
                "[analysis.phase-map]: no geometry. Set reduction.poni to the detector's .poni file "
                "(or reduction.from_run.calibration_md where the beamline sends it in the start document, "
                "or axis_key where frames are 1-D patterns); there is no default geometry"
            )
        if len(settings.map_keys) > _MOST_AXES:
            raise ConfigurationError(
                f"[analysis.phase-map]: map_keys names {len(settings.map_keys)} axes, at most {_MOST_AXES}"
            )
        model = OnnxModel(find_model(settings.model, context.inference, settings.base_dir), context.inference)
        if model.card.task != "phase-fractions":
            raise ConfigurationError(
                f"{model.path}: its task is {model.card.task!r}, expected 'phase-fractions'"
            )
        if "foreign_with_fit" not in model.card.calibration.joined:
            raise ConfigurationError(
                f"{model.path}: its card has no joined rule for foreign material, as no model of earlier "
                "versions has; train it again with streamproc train phase-map (its report names the command)"
            )
        return cls(settings, model, load_calibration(reduction, settings.base_dir))

    @classmethod
    def example(cls, folder: Path) -> Example:
        """Return a short run made of the shipped model's golden patterns."""
        run, frames = example_run()
        return Example({"axis_key": "two_theta", "refine_every": 2}, run, frames)

    @classmethod
    def describe(cls, labels: Sequence[str] = ("PHASE",), points: int = 2000) -> tuple[Output, ...]:
        """Return the outputs for a model with these phases (``labels``) on ``points`` channels."""
        return frame_outputs(labels)

    def outputs(self) -> Sequence[Output]:
        """Declare the quantities of every result event."""
        card = self.model.card
        outputs = frame_outputs(card.labels)
        if self.settings.publish_pattern:
            outputs += (Output("pattern", "curve", "1", "pattern as the model read it", (card.axis.n,)),)
        return outputs

    def run_outputs(self) -> Mapping[str, Sequence[Output]]:
        """Declare what is said about the run so far and at its end."""
        streams = run_outputs(self.model.card.labels, self.settings.map_points)
        return {**streams, STREAM: run_flag_outputs()}

    def stream(self) -> str:
        """Return the raw stream that is analysed."""
        return self.settings.stream

    def provenance(self) -> Provenance:
        """Return the hashes that determine the numbers."""
        return self._provenance(self.reader)

    def frame_key(self, run: Run) -> str | None:
        """Choose the data key: the configured one, or the only one that fits."""
        return self.source.frame_key(run)

    def begin(self, run: Run) -> PhaseMapRun:
        """Start on a run; takes the geometry from it where the configuration allows that."""
        reader = self.reader
        if reader is None and (plan := self.source.plan(run)) is not None:
            reader = FrameReader(plan, self.settings.data_flags)
        axes = self._axes(run)
        series_key = self.settings.series_key or (axes[0] if len(axes) == 1 else None)
        return PhaseMapRun(self, reader, axes, series_key, self._provenance(reader))

    def report(self, result: FrameResult) -> dict[str, Any]:
        """Return an answer as `streamproc predict` prints it."""
        return answer_report(result, self.model.card.labels)

    def _axes(self, run: Run) -> tuple[str, ...]:
        """Return the motors that the map is keyed by: as set, or those of the plan."""
        keys = self.settings.map_keys
        if not keys:
            motors = copied_readings(run, self.settings.stream)
            return tuple(k for k, (_, entry) in motors.items() if entry["dtype"] == "number")[:_MOST_AXES]
        descriptors = run.stream_descriptors(self.settings.stream)
        there = descriptors[-1].get("data_keys", {}) if descriptors else {}
        if missing := [k for k in keys if k not in there]:
            raise RunRefused(
                f"analysis.phase-map.map_keys: stream {self.settings.stream!r} has no {', '.join(missing)}; "
                f"it has {', '.join(sorted(there)[:12])}"
            )
        return tuple(keys)

    def _provenance(self, reader: FrameReader | None) -> Provenance:
        dumped = self.settings.model_dump(mode="json", exclude=_NOT_NUMBERS)
        # Files count by their content (in the calibration's hash), not by where they lie.
        dumped["reduction"] = {k: v for k, v in dumped["reduction"].items() if k not in _FILES}
        text = json.dumps(dumped, sort_keys=True)
        return Provenance(
            analysis=self.name,
            version=self.version,
            model_sha256=self.model.sha256,
            settings_sha256=hashlib.sha256(text.encode()).hexdigest(),
            calibration_sha256=reader.plan.fingerprint if reader is not None else "",
            details={
                "model": self.model.model_id,
                "phases": list(self.model.card.labels),
                "calibration_files": {k: dict(v) for k, v in self.calibration.files.items()},
            },
        )


ANALYSIS = PhaseMap
