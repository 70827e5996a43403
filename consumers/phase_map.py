"""Phase map: weight fractions of known phases from powder diffraction, each with how far to trust it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from streamproc.consumers._unsupervised import UnsupervisedPhaseMap
from streamproc.models.phase_map.interpret import Answer, interpret
from streamproc.models.phase_qpa.example import example_run
from streamproc.models.powder.fit import CrossCheck, QuickFitter
from streamproc.models.powder.pattern import prepare
from streamproc.models.unmixing.settings import UnmixingSettings

from streamproc.analysis import (
    Estimate,
    Example,
    Frame,
    FrameFailure,
    FrameResult,
    LoadContext,
    Output,
    Provenance,
    RunResult,
)
from streamproc.errors import ConfigurationError, FrameFailed, RunRefused
from streamproc.inference.card import ModelCard
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.reduction.azimuthal import AzimuthalPlan
from streamproc.reduction.calibration import Calibration, load_calibration
from streamproc.reduction.geometry import geometry_from_calibration_md
from streamproc.reduction.settings import ReductionSettings
from streamproc.runs import Run

__all__ = ["ANALYSIS", "PhaseMap", "PhaseMapSettings"]

_FILES = {"poni", "mask", "dark", "flat", "hot_pixels"}
_OTHER_MODE = {"unsupervised", "unmixing", "map_keys", "series_key"}


class PhaseMapSettings(BaseModel):
    """The ``[analysis.phase-map]`` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    base_dir: Path = Field(Path(), description="Folder that relative paths start from; set by the loader.")
    model: str = Field(
        "phase_qpa", description="NAME, NAME:VERSION or an .onnx file; its card says the phases."
    )
    stream: str = Field("primary", description="Stream whose frames are analysed.")
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
        None, gt=0, description="Wavelength of 1-D patterns (angstrom); unset: that of the model is taken."
    )
    cross_check_every: int = Field(
        1, ge=1, description="Classical full-pattern fit beside every n-th answer (by seq_num); 1: every one."
    )
    publish_pattern: bool = Field(False, description="Publish the prepared pattern with each answer.")
    reduction: ReductionSettings = Field(
        default_factory=ReductionSettings, description="How detector images become patterns."
    )
    unsupervised: bool = Field(
        False, description="No model and no references: components are found in the patterns themselves."
    )
    unmixing: UnmixingSettings = Field(
        default_factory=UnmixingSettings, description="How, with unsupervised = true."
    )
    map_keys: tuple[str, ...] = Field(
        (), description="Readings that the map is keyed by, at most 3; unset: the motors of the plan."
    )
    series_key: str | None = Field(
        None, description="Reading that change points are sought over; unset: the motor, if there is but one."
    )


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A pattern on the axis it was measured on."""

    axis: npt.NDArray[np.float64]
    kind: Literal["two_theta_deg", "q_invA"]
    intensity: npt.NDArray[np.float64]
    wavelength_A: float | None


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
    version: ClassVar[str] = "1"
    Settings: ClassVar[type[BaseModel]] = PhaseMapSettings

    def __init__(self, settings: PhaseMapSettings, model: OnnxModel, calibration: Calibration) -> None:
        self.settings, self.model, self.calibration = settings, model, calibration
        card = model.card
        axis = card.axis
        self.fitter = QuickFitter(card.reference, card.labels, axis.start, axis.stop, axis.n)
        self.fitter.warm_up()
        self.plan: AzimuthalPlan | None = None
        if calibration.geometry is not None:
            self.plan = calibration.plan()
            self.plan.warm_up()

    @classmethod
    def load(cls, settings: PhaseMapSettings, context: LoadContext) -> Self | UnsupervisedPhaseMap:  # type: ignore[override]
        """Load model and calibration; what is missing is said here."""
        if settings.unsupervised:
            return UnsupervisedPhaseMap.load(settings, context)
        reduction = settings.reduction
        if settings.axis_key is None and reduction.poni is None and not reduction.from_run.calibration_md:
            raise ConfigurationError(
                "[analysis.phase-map]: no geometry. Set reduction.poni to the detector's .poni file "
                "(or reduction.from_run.calibration_md where the beamline sends it in the start document, "
                "or axis_key where frames are 1-D patterns); there is no default geometry"
            )
        model = OnnxModel(find_model(settings.model, context.inference, settings.base_dir), context.inference)
        if model.card.task != "phase-fractions":
            raise ConfigurationError(
                f"{model.path}: its task is {model.card.task!r}, expected 'phase-fractions'"
            )
        return cls(settings, model, load_calibration(reduction, settings.base_dir))

    @classmethod
    def example(cls, folder: Path) -> Example:
        """Return a short run made of the shipped model's golden patterns."""
        run, frames = example_run()
        return Example({"axis_key": "two_theta"}, run, frames)

    @classmethod
    def describe(cls, labels: Sequence[str] = ("PHASE",), points: int = 2000) -> tuple[Output, ...]:
        """Return the outputs for a model with these phases (``labels``) on ``points`` channels."""
        phases = [
            Output(p, "estimate", "1", f"weight fraction of {p} among the known phases", (), True, True)
            for p in labels
        ]
        classical = [Output(f"{p}_classical", "number", "1", f"{p} by the classical fit") for p in labels]
        return (
            *phases,
            Output("amorphous", "estimate", "1", "amorphous share of the scattering", (), True),
            Output("unknown", "estimate", "1", "share of intensity from unknown material", (), True),
            *classical,
            Output("rwp", "number", "1", "weighted profile residual of the classical fit"),
            Output(
                "unexplained", "number", "1", "share of peak intensity that the classical fit leaves over"
            ),
            Output("coverage", "number", "1", "share of the model's axis that was measured"),
        )

    def outputs(self) -> Sequence[Output]:
        """Declare the quantities of every result event."""
        card = self.model.card
        outputs = self.describe(card.labels, card.axis.n)
        if self.settings.publish_pattern:
            outputs += (Output("pattern", "curve", "1", "pattern as the model read it", (card.axis.n,)),)
        return outputs

    def run_outputs(self) -> Mapping[str, Sequence[Output]]:
        """Declare the end-of-run summary."""
        labels = self.model.card.labels
        counts = (
            Output("points", "number", "", "readings answered"),
            Output("points_in_domain", "number", "", "of these, those the model may be believed for"),
        )
        means = tuple(
            Output(f"{p}_mean", "number", "1", f"mean of {p} over points in domain") for p in labels
        )
        return {"summary": (*counts, *means)}

    def stream(self) -> str:
        """Return the raw stream that is analysed."""
        return self.settings.stream

    def provenance(self) -> Provenance:
        """Return the hashes that determine the numbers."""
        return self._provenance(self.plan)

    def frame_key(self, run: Run) -> str | None:
        """Choose the data key: the configured one, or the only one that fits."""
        descriptors = run.stream_descriptors(self.settings.stream)
        data_keys = descriptors[-1].get("data_keys", {}) if descriptors else {}
        if self.settings.key is not None:
            return self.settings.key if self.settings.key in data_keys else None
        dimensions = {1} if self.settings.axis_key is not None else {2, 3}
        fitting = [
            key
            for key, entry in data_keys.items()
            if key != self.settings.axis_key and _dimensions(entry) in dimensions
        ]
        if len(fitting) > 1:
            raise RunRefused(
                f"stream {self.settings.stream!r} has {len(fitting)} keys that could be the detector "
                f"({', '.join(fitting[:8])}): set analysis.phase-map.key"
            )
        return fitting[0] if fitting else None

    def begin(self, run: Run) -> PhaseMapRun:
        """Start on a run; takes the geometry from it where the configuration allows that."""
        plan = self.plan
        if plan is None and self.settings.axis_key is None:
            found = run.start.get("calibration_md")
            if not isinstance(found, Mapping):
                raise RunRefused(
                    "the start document has no calibration_md, and reduction.poni names no file: "
                    "no geometry for this run"
                )
            try:
                plan = self.calibration.plan(geometry_from_calibration_md(found))
            except ConfigurationError as error:
                raise RunRefused(f"calibration_md of the start document: {error.message}") from error
        return PhaseMapRun(self, plan, self._provenance(plan))

    def report(self, result: FrameResult) -> dict[str, Any]:
        """Return an answer as `streamproc predict` prints it."""
        values = result.values
        estimates = {k: v for k, v in values.items() if isinstance(v, Estimate)}
        labels = self.model.card.labels
        phases = {
            p: {
                "fraction": estimates[p].value,
                "sigma": estimates[p].sigma,
                "interval90": list(estimates[p].interval90 or ()),
            }
            for p in labels
        }
        return {
            "model": result.model_id,
            "phases": phases,
            "amorphous": estimates["amorphous"].value,
            "amorphous_sigma": estimates["amorphous"].sigma,
            "unknown": estimates["unknown"].value,
            "unknown_sigma": estimates["unknown"].sigma,
            "in_domain": result.in_domain,
            "reasons": list(result.reasons),
            "residual": {
                "rwp": values["rwp"],
                "unexplained": values["unexplained"],
                "classical": {p: values[f"{p}_classical"] for p in labels},
            },
            "coverage": values["coverage"],
        }

    def _provenance(self, plan: AzimuthalPlan | None) -> Provenance:
        dumped = self.settings.model_dump(
            mode="json", exclude={"base_dir", "model", "publish_pattern", *_OTHER_MODE}
        )
        # Files count by their content (in the calibration's hash), not by where they lie.
        dumped["reduction"] = {k: v for k, v in dumped["reduction"].items() if k not in _FILES}
        text = json.dumps(dumped, sort_keys=True)
        return Provenance(
            analysis=self.name,
            version=self.version,
            model_sha256=self.model.sha256,
            settings_sha256=hashlib.sha256(text.encode()).hexdigest(),
            calibration_sha256=plan.fingerprint if plan is not None else "",
            details={
                "model": self.model.model_id,
                "phases": list(self.model.card.labels),
                "calibration_files": {k: dict(v) for k, v in self.calibration.files.items()},
            },
        )


class PhaseMapRun:
    """Phase map of one run.

    Parameters
    ----------
    analysis : PhaseMap
        Model, settings and calibration.
    plan : AzimuthalPlan or None
        How images become patterns; None where frames are patterns.
    provenance : Provenance
        Hashes of all that.
    """

    def __init__(self, analysis: PhaseMap, plan: AzimuthalPlan | None, provenance: Provenance) -> None:
        self.provenance = provenance
        self._analysis, self._plan = analysis, plan
        self._model, self._settings = analysis.model, analysis.settings
        self._points = self._in_domain = 0
        self._sums = [0.0] * len(self._model.card.labels)

    def process(self, frames: Sequence[Frame]) -> Sequence[FrameResult | FrameFailure]:
        """Reduce, infer, cross-check and judge each frame."""
        answers: dict[int, FrameResult | FrameFailure] = {}
        prepared: list[tuple[int, Frame, _Pattern, npt.NDArray[np.float32], float]] = []
        for place, frame in enumerate(frames):
            try:
                pattern = self._pattern(frame)
                x, coverage = prepare(
                    pattern.axis,
                    pattern.intensity,
                    self._model.card,
                    kind=pattern.kind,
                    wavelength_A=pattern.wavelength_A,
                )
                prepared.append((place, frame, pattern, x, coverage))
            except FrameFailed as error:
                answers[place] = FrameFailure(frame.seq_num, error.message)
        if prepared:
            outputs = self._model.run(np.stack([x for *_, x, _ in prepared]))
            for row, (place, frame, pattern, x, coverage) in enumerate(prepared):
                fit = self._cross_check(frame, x)
                answer = interpret(outputs, self._model.card, row, coverage, fit)
                answers[place] = self._result(frame, pattern, x, coverage, answer, fit)
        return [answers[place] for place in range(len(frames))]

    def update(self, results: Sequence[FrameResult | FrameFailure]) -> Sequence[RunResult]:
        """Count and average; the map itself is the stream of events with their motors."""
        for result in results:
            if not isinstance(result, FrameResult):
                continue
            self._points += 1
            if not result.in_domain:
                continue
            self._in_domain += 1
            for place, label in enumerate(self._model.card.labels):
                estimate = result.values[label]
                self._sums[place] += estimate.value if isinstance(estimate, Estimate) else 0.0
        return []

    def end(self) -> Sequence[RunResult]:
        """Say how many points there were and their mean fractions."""
        if not self._points:
            return []
        means = {
            f"{label}_mean": total / self._in_domain if self._in_domain else float("nan")
            for label, total in zip(self._model.card.labels, self._sums, strict=True)
        }
        counts = {"points": float(self._points), "points_in_domain": float(self._in_domain)}
        return [RunResult("summary", {**counts, **means})]

    def snapshot(self) -> Mapping[str, Any]:
        """Return counts and sums."""
        return {"points": self._points, "in_domain": self._in_domain, "sums": list(self._sums)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up counts and sums."""
        self._points, self._in_domain = int(state["points"]), int(state["in_domain"])
        self._sums = [float(v) for v in state["sums"]]

    def _pattern(self, frame: Frame) -> _Pattern:
        if self._settings.axis_key is not None:
            return self._given_pattern(frame, self._settings.axis_key)
        if self._plan is None:
            raise FrameFailed("no geometry for this run")
        dark = frame.dark if self._settings.reduction.from_run.dark else None
        profile = self._plan.integrate(frame.array, dark)
        measured = np.isfinite(profile.intensity)  # bins without a usable pixel were not measured
        return _Pattern(
            profile.axis[measured], profile.axis_kind, profile.intensity[measured], profile.wavelength_A
        )

    def _given_pattern(self, frame: Frame, axis_key: str) -> _Pattern:
        axis = frame.readings.get(axis_key)
        if axis is None:
            raise FrameFailed(
                f"the event has no {axis_key!r} (analysis.phase-map.axis_key), the pattern's axis"
            )
        try:
            axis = np.asarray(axis, dtype=np.float64).ravel()
            intensity = np.asarray(frame.array, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise FrameFailed(f"pattern or axis is not numeric: {error}") from error
        if axis.shape != intensity.shape:
            raise FrameFailed(f"pattern of shape {intensity.shape} with an axis of shape {axis.shape}")
        return _Pattern(axis, self._settings.axis_kind, intensity, self._settings.wavelength_A)

    def _cross_check(self, frame: Frame, x: npt.NDArray[np.float32]) -> CrossCheck | None:
        if (frame.seq_num - 1) % self._settings.cross_check_every:
            return None
        return self._analysis.fitter.fit(x)

    def _result(
        self,
        frame: Frame,
        pattern: _Pattern,
        x: npt.NDArray[np.float32],
        coverage: float,
        answer: Answer,
        fit: CrossCheck | None,
    ) -> FrameResult:
        reasons = (*_wavelength_doubt(pattern, self._model.card), *answer.reasons)
        in_domain = answer.in_domain and not _wavelength_doubt(pattern, self._model.card)
        labels, nan = self._model.card.labels, float("nan")

        def estimate(value: float, sigma: float, interval: tuple[float, float]) -> Estimate:
            if not in_domain:
                # Out of domain the model makes no claim: any share is as good, so sigma is that of [0, 1].
                sigma, interval = 12**-0.5, (0.0, 1.0)
            return Estimate(value, sigma, in_domain, self._model.model_id, interval)

        values: dict[str, Any] = {
            p: estimate(s.value, s.sigma, s.interval90) for p, s in answer.phases.items()
        }
        values["amorphous"] = estimate(
            answer.amorphous.value, answer.amorphous.sigma, answer.amorphous.interval90
        )
        values["unknown"] = estimate(answer.unknown.value, answer.unknown.sigma, answer.unknown.interval90)
        for label in labels:
            values[f"{label}_classical"] = fit.fractions[label] if fit is not None else nan
        values["rwp"] = fit.r_wp if fit is not None else nan
        values["unexplained"] = fit.unexplained if fit is not None else nan
        values["coverage"] = coverage
        if self._settings.publish_pattern:
            values["pattern"] = x.astype(np.float64)
        return FrameResult(
            frame.seq_num, values, in_domain, reasons, self._model.model_id, dict(frame.readings)
        )


def _dimensions(entry: Any) -> int:
    """Return how many dimensions longer than one a data key has (ophyd-async puts a 1 in front)."""
    shape = entry.get("shape") if isinstance(entry, Mapping) else None
    if not isinstance(shape, list | tuple):
        return 0
    return sum(1 for n in shape if isinstance(n, int) and n != 1)


def _wavelength_doubt(pattern: _Pattern, card: ModelCard) -> tuple[str, ...]:
    """The model's form factors, K-alpha2 and polarisation belong to its own wavelength."""
    expected = card.axis.wavelength_A
    if expected is None or pattern.wavelength_A is None or abs(pattern.wavelength_A / expected - 1) < 2e-3:
        return ()
    return (f"wavelength {pattern.wavelength_A:.4f} A, model trained for {expected:.4f} A",)


UnsupervisedPhaseMap.Settings = PhaseMapSettings
ANALYSIS = PhaseMap
