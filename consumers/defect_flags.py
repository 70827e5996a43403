"""Defect flags: what is wrong with each reading, said first and fast; then, with a model, what is wrong with
the crystal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from streamproc.consumers._cake_reader import CakeEye, CakeReader
from streamproc.consumers._data_flags import STREAM, flag_outputs, run_flag_outputs
from streamproc.consumers._defect_checking import DefectChecker
from streamproc.consumers._defect_outputs import (
    CAKE_ESTIMATES,
    ESTIMATES,
    cake_outputs,
    defect_run_outputs,
    estimate_outputs,
)
from streamproc.consumers._defect_reader import DefectReader
from streamproc.consumers._defect_settings import DefectSettings
from streamproc.consumers._flags_example import example_run
from streamproc.consumers._flags_run import FlagsRun
from streamproc.consumers._patterns import PatternSource
from streamproc.models.defects.cake.pair import cake_file
from threadpoolctl import threadpool_limits

from streamproc.analysis import Estimate, Example, FrameResult, LoadContext, Output, Provenance
from streamproc.errors import ConfigurationError
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.reduction.calibration import Calibration, load_calibration
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.warmup import warm_up
from streamproc.reduction.settings import ReductionSettings
from streamproc.runs import Run

__all__ = ["ANALYSIS", "DefectFlags", "DefectFlagsSettings"]

_FILES = {"poni", "mask", "dark", "flat", "hot_pixels"}


class DefectFlagsSettings(BaseModel):
    """The ``[analysis.defect-flags]`` table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_dir: Path = Field(Path(), description="Folder that relative paths start from; set by the loader.")
    stream: str = Field("primary", description="Stream whose frames are judged.")
    key: str | None = Field(
        None, description="Data key of the detector image or pattern; needed where a run has more than one."
    )
    axis_key: str | None = Field(
        None, description="Frames are 1-D patterns, and this data key of the same event is their axis."
    )
    axis_kind: Literal["two_theta_deg", "q_invA"] = Field(
        "two_theta_deg", description="What the axis of 1-D patterns is."
    )
    wavelength_A: float | None = Field(
        None, gt=0, description="Wavelength of 1-D patterns (angstrom); ice lines on a 2theta axis need it."
    )
    reduction: ReductionSettings = Field(
        default_factory=ReductionSettings, description="How detector images become patterns."
    )
    data_flags: FlagSettings = Field(
        default_factory=FlagSettings, description="What makes a reading bad or doubtful."
    )
    defects: DefectSettings = Field(
        default_factory=DefectSettings, description="Lattice defects of one material, where it names a model."
    )


class DefectFlags:
    """Data flags of every reading: saturated, dead, hot, beam loss, drifts, ice, spikes, shadow, copies, ...

    Parameters
    ----------
    settings : DefectFlagsSettings
        The table of the configuration.
    calibration : Calibration
        Loaded geometry and correction files.
    model : OnnxModel, optional
        Defect model that ``settings.defects`` names.
    cake : OnnxModel, optional
        The pair that its card declares.
    """

    name: ClassVar[str] = "defect-flags"
    version: ClassVar[str] = "3"
    Settings: ClassVar[type[BaseModel]] = DefectFlagsSettings

    def __init__(
        self, settings: DefectFlagsSettings, calibration: Calibration, model: OnnxModel | None = None,
        cake: OnnxModel | None = None,
    ) -> None:  # fmt: skip
        self.settings, self.calibration, self.model, self.cake = settings, calibration, model, cake
        self.defects: DefectReader | None = None
        self._checker: DefectChecker | None = None
        if model is not None:
            threadpool_limits(1, "blas")  # small matrices; the service's workers are the threads
            rings = CakeReader(settings.defects, cake) if cake is not None else None
            self.defects = DefectReader(settings.defects, model, rings)
            self._checker = DefectChecker(self.defects.axis, self.defects.reference)
        self.source = PatternSource(settings, calibration, self.name)
        self._reader: FrameReader | None = None
        self._eye: CakeEye | None = None
        if calibration.geometry is not None and settings.axis_key is None:
            self._reader = FrameReader(calibration.plan(), settings.data_flags)
            self._eye = self._eye_of(self._reader)
        warm_up(settings.data_flags, calibration if settings.axis_key is None else None)
        if self.defects is not None:
            self.defects.warm_up()

    @classmethod
    def load(cls, settings: DefectFlagsSettings, context: LoadContext) -> Self:
        """Load the calibration; what is missing is said here."""
        reduction = settings.reduction
        if settings.axis_key is None and reduction.poni is None and not reduction.from_run.calibration_md:
            raise ConfigurationError(
                "[analysis.defect-flags]: no geometry. Set reduction.poni to the detector's .poni file "
                "(or reduction.from_run.calibration_md where the beamline sends it in the start document, "
                "or axis_key where frames are 1-D patterns); there is no default geometry"
            )
        named, model, cake = settings.defects.model, None, None
        if named is not None:
            model = OnnxModel(find_model(named, context.inference, settings.base_dir), context.inference)
            pair = cake_file(model.card, model.path)
            cake = OnnxModel(pair, context.inference) if pair is not None else None
        elif settings.defects.limits or settings.defects.alarms:
            raise ConfigurationError(
                '[analysis.defect-flags.defects]: limits and alarms need a model: model = "defects_copper"'
            )
        return cls(settings, load_calibration(reduction, settings.base_dir), model, cake)

    @classmethod
    def example(cls, folder: Path) -> Example:
        """Return a short simulated run on a small detector, with its geometry in ``folder``."""
        run, frames, table = example_run(folder)
        return Example(table, run, frames)

    @classmethod
    def describe(cls) -> tuple[Output, ...]:
        """Return the outputs of every result event, for a defect model of fcc."""
        return (*flag_outputs(), *estimate_outputs(tuple(ESTIMATES)), *cake_outputs(tuple(CAKE_ESTIMATES)))

    def outputs(self) -> Sequence[Output]:
        """Declare what each reading shows by itself."""
        if self.defects is None:
            return flag_outputs()
        rings = () if self.defects.cake is None else cake_outputs(self.defects.cake.names)
        return (*flag_outputs(), *estimate_outputs(self.defects.names), *rings)

    def run_outputs(self) -> Mapping[str, Sequence[Output]]:
        """Declare what each reading shows within its run."""
        streams: dict[str, Sequence[Output]] = {STREAM: run_flag_outputs()}
        if self.defects is None:
            return streams
        limits, rings = tuple(self.settings.defects.limits), self.defects.cake is not None
        return streams | defect_run_outputs(limits, self.defects.watched, rings)

    def stream(self) -> str:
        """Return the raw stream that is judged."""
        return self.settings.stream

    def frame_key(self, run: Run) -> str | None:
        """Choose the data key: the configured one, or the only one that fits."""
        return self.source.frame_key(run)

    def provenance(self) -> Provenance:
        """Return the hashes that determine the numbers."""
        return self._provenance(self._reader)

    def begin(self, run: Run) -> FlagsRun:
        """Start on a run; takes the geometry from it where the configuration allows that."""
        reader, eye = self._reader, self._eye
        if reader is None and (plan := self.source.plan(run)) is not None:
            reader = FrameReader(plan, self.settings.data_flags)
            eye = self._eye_of(reader)
        provenance = self._provenance(reader)
        return FlagsRun(self.source, self.settings, reader, provenance, self.defects, self._checker, eye)

    def report(self, result: FrameResult) -> dict[str, Any]:
        """Return an answer as `streamproc predict` prints it."""
        values = {k: v for k, v in result.values.items() if k.startswith("data_")}
        evidence = values.pop("data_evidence")
        found = {k: v for k, v in result.values.items() if isinstance(v, Estimate)}
        return {
            "in_domain": result.in_domain,
            "reasons": list(result.reasons),
            "flags": [k.removeprefix("data_flag_") for k, v in values.items() if v is True],
            "numbers": {
                k: v if v == v else None for k, v in values.items() if not k.startswith("data_flag_")
            },
            "evidence": json.loads(str(evidence) or "{}"),
            "defects": {k.removeprefix("defect_"): _told(e) for k, e in found.items()},
        }

    def _eye_of(self, reader: FrameReader) -> CakeEye | None:
        if self.defects is None or self.defects.cake is None:
            return None
        eye = self.defects.cake.eye(reader.plan)
        eye.warm_up()
        return eye

    def _provenance(self, reader: FrameReader | None) -> Provenance:
        dumped = self.settings.model_dump(mode="json", exclude={"base_dir"})
        # Files count by their content (in the calibration's hash), not by where they lie.
        dumped["reduction"] = {k: v for k, v in dumped["reduction"].items() if k not in _FILES}
        del dumped["defects"]["model"]  # its hash counts
        text = json.dumps(dumped, sort_keys=True)
        return Provenance(
            analysis=self.name,
            version=self.version,
            model_sha256=self.model.sha256 if self.model is not None else "",
            settings_sha256=hashlib.sha256(text.encode()).hexdigest(),
            calibration_sha256=reader.plan.fingerprint if reader is not None else "",
            details={
                **({"model": self.model.model_id} if self.model is not None else {}),
                **({"cake_model": self.cake.model_id} if self.cake is not None else {}),
                "calibration_files": {k: dict(v) for k, v in self.calibration.files.items()},
            },
        )


def _told(e: Estimate) -> dict[str, Any] | None:
    """An estimate for a reader; None where the model abstains."""
    if e.value != e.value or e.interval90 is None:
        return None
    return {"value": e.value, "sigma": e.sigma, "interval90": list(e.interval90)}


ANALYSIS = DefectFlags
