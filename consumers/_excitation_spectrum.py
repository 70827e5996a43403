"""The excitation fit of spectra: modes of every event, and the dispersion as it builds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.consumers._excitation_outputs import frame_outputs, run_outputs
from streamproc.consumers._excitation_said import dispersion_said, frame_values
from streamproc.consumers._excitation_settings import ExcitationFitSettings
from streamproc.consumers._excitation_source import SpectrumSource, number_of
from streamproc.models.excitations.oscillators.answer import answer
from streamproc.models.excitations.oscillators.calibration import ModeCalibration
from streamproc.models.excitations.oscillators.dho import thermal_energy
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.interpret import differences, reasons_of
from streamproc.models.excitations.oscillators.parameters import MOST_MODES
from streamproc.models.excitations.oscillators.prepare import prepare
from streamproc.models.excitations.oscillators.search import search
from streamproc.models.excitations.oscillators.spectrum import Spectrum
from streamproc.models.excitations.oscillators.warmup import warm_up
from streamproc.models.unmixing.rows import Rows

from streamproc.analysis import Estimate, Frame, FrameFailure, FrameResult, Output, Provenance, RunResult
from streamproc.errors import ConfigurationError, FrameFailed, RunRefused
from streamproc.inference.model import OnnxModel
from streamproc.results import copied_readings
from streamproc.runs import Run

__all__ = ["SpectrumFit", "SpectrumRun"]

_KEPT = 16
"""Axes whose convolution stays at hand."""

_FIRST_SAID = 4
_ROW = 2 + 4 * MOST_MODES


class SpectrumFit:
    """What is common to all runs: model, resolution, and the convolutions of axes seen lately.

    Parameters
    ----------
    settings : ExcitationFitSettings
        The table of the configuration.
    model : OnnxModel
        A checked model for spectra.
    """

    def __init__(self, settings: ExcitationFitSettings, model: OnnxModel) -> None:
        if settings.temperature_K is None and settings.temperature_key is None:
            raise ConfigurationError(
                "[analysis.excitation-fit]: set temperature_K or temperature_key; the Bose factor needs it"
            )
        self.settings, self.model = settings, model
        self.calibration = ModeCalibration(model.card.calibration)
        self.source = SpectrumSource(settings)
        self.resolution = settings.resolution.line(settings.base_dir)
        self.zero_sigma = settings.zero_sigma_fwhm * self.resolution.fwhm
        self._forwards: OrderedDict[bytes, Forward] = OrderedDict()
        self._lock = threading.Lock()
        warm_up()

    def outputs(self) -> Sequence[Output]:
        """Declare the quantities of every result event."""
        return frame_outputs(self.settings.energy_units)

    def run_outputs(self) -> Mapping[str, Sequence[Output]]:
        """Declare what is said about the run."""
        s = self.settings
        return run_outputs(s.energy_units, s.dispersion, s.dispersion_points)

    def forward(self, energy: npt.NDArray[np.float64], temperature_K: float) -> Forward:
        """Return the model on an axis; spectra on one axis share the convolution."""
        kT, key = thermal_energy(temperature_K, self.settings.energy_units), energy.tobytes()
        with self._lock:
            if key in self._forwards:
                self._forwards.move_to_end(key)
                return self._forwards[key].at(kT)
        try:
            made = Forward(energy, self.resolution, kT)
        except ConfigurationError as error:
            raise FrameFailed(error.message) from error
        with self._lock:
            self._forwards[key] = made
            while len(self._forwards) > _KEPT:
                self._forwards.popitem(last=False)
        return made

    def q_key(self, run: Run) -> str | None:
        """Return the reading that the dispersion runs over: as set, or the only motor of the plan.

        Raises
        ------
        RunRefused
            The configured one is not in the stream.
        """
        s = self.settings
        if s.q_key is not None:
            descriptors = run.stream_descriptors(s.stream)
            there = descriptors[-1].get("data_keys", {}) if descriptors else {}
            if s.q_key not in there:
                raise RunRefused(
                    f"analysis.excitation-fit.q_key: stream {s.stream!r} has no {s.q_key!r}; "
                    f"it has {', '.join(sorted(there)[:12])}"
                )
            return s.q_key
        motors = copied_readings(run, s.stream)
        numbers = [k for k, (_, entry) in motors.items() if entry["dtype"] == "number"]
        return numbers[0] if len(numbers) == 1 else None


class SpectrumRun:
    """One run.

    Parameters
    ----------
    fit : SpectrumFit
        Model, settings, resolution.
    run : Run
        The raw run.
    provenance : Provenance
        Hashes of all that.
    """

    def __init__(self, fit: SpectrumFit, run: Run, provenance: Provenance) -> None:
        self.provenance = provenance
        self._fit, self._settings, self._model = fit, fit.settings, fit.model
        self._axis, self._q_key = fit.source.configured_axis(run), fit.q_key(run)
        self._rows = Rows(_ROW, "<f8")
        self._counts = dict.fromkeys(("points", "in_domain", "differ", "searched", "most_modes"), 0)

    # -- per frame ----------------------------------------------------------------------------------------

    def process(self, frames: Sequence[Frame]) -> Sequence[FrameResult | FrameFailure]:
        """Reduce, infer, refine and cross-check each frame."""
        answers: dict[int, FrameResult | FrameFailure] = {}
        prepared: list[tuple[int, Frame, Spectrum, Forward, float]] = []
        for place, frame in enumerate(frames):
            try:
                data = self._fit.source.spectrum(frame, self._axis)
                forward = self._fit.forward(data.energy, self._fit.source.temperature_K(frame))
                prepared.append((place, frame, data, forward, self._fit.source.monitor(frame)))
            except FrameFailed as error:
                answers[place] = FrameFailure(frame.seq_num, error.message)
        if prepared:
            line = self._fit.resolution
            outputs = self._model.run(
                np.stack([prepare(d, line.fwhm, line.lorentzian, f.kT) for _, _, d, f, _ in prepared])
            )
            for row, (place, frame, data, forward, monitor) in enumerate(prepared):
                answers[place] = self._result(frame, data, forward, monitor, outputs, row)
        return [answers[place] for place in range(len(frames))]

    def _result(
        self, frame: Frame, data: Spectrum, forward: Forward, monitor: float,
        outputs: dict[str, npt.NDArray[np.float32]], row: int,
    ) -> FrameResult:  # fmt: skip
        s, zero = self._settings, self._fit.zero_sigma
        linear = s.background == "linear"
        said = answer(forward, data, outputs, row, zero, slope=linear)
        sigma = self._fit.calibration.sigma(said.fitted)
        reasons = reasons_of(said, forward, data, self._model.card)
        other = compared = None
        if (frame.seq_num - 1) % s.cross_check_every == 0:
            other = min(search(forward, data, zero, slope=linear), key=lambda f: f.bic)
            compared = differences(said.fitted, other, sigma)
            if compared.said:
                reasons = (*reasons, f"disagrees-with-fit: {'; '.join(compared.said)}")
        values = frame_values(
            said, forward, data, self._fit.calibration, self._model.model_id, monitor, not reasons,
            compared, other, s.target_energy_sigma,
            number_of(frame.readings.get(s.time_key)) if s.time_key else float("nan"),
        )  # fmt: skip
        return FrameResult(frame.seq_num, values, not reasons, reasons, self._model.model_id, frame.readings)

    # -- per run ------------------------------------------------------------------------------------------

    def update(self, results: Sequence[FrameResult | FrameFailure]) -> Sequence[RunResult]:
        """Add each reading to the dispersion; say it at 4, 8, 16, ... readings."""
        said = []
        for result in results:
            if isinstance(result, FrameResult):
                self._take(result)
                n = self._counts["points"]
                if n >= _FIRST_SAID and n & (n - 1) == 0:
                    said.append(self._dispersion())
        return said

    def _take(self, result: FrameResult) -> None:
        values, counts = result.values, self._counts
        counts["points"] += 1
        counts["differ"] += bool(values["differs"])
        counts["searched"] += bool(values["searched"])
        if not result.in_domain:
            return
        counts["in_domain"] += 1
        counts["most_modes"] = max(counts["most_modes"], int(float(np.asarray(values["modes"]))))
        q = number_of(result.readings.get(self._q_key)) if self._q_key else float(result.seq_num)
        row = [float(result.seq_num), q - self._settings.q_zero]
        for name in ("energy", "width"):
            found = [values[f"{name}_{k}"] for k in range(1, MOST_MODES + 1)]
            row += [e.value if isinstance(e, Estimate) else np.nan for e in found]
            row += [e.sigma if isinstance(e, Estimate) else np.nan for e in found]
        self._rows.append(row)

    def _dispersion(self) -> RunResult:
        return dispersion_said(self._rows.array, self._counts["points"], self._settings, self._model.model_id)

    def end(self) -> Sequence[RunResult]:
        """Say the dispersion and a summary."""
        c = self._counts
        if not c["points"]:
            return []
        summary = {
            "points": c["points"], "points_in_domain": c["in_domain"], "points_differ": c["differ"],
            "points_searched": c["searched"], "most_modes": c["most_modes"],
        }  # fmt: skip
        return [self._dispersion(), RunResult("summary", {k: float(v) for k, v in summary.items()})]

    # -- stored state -------------------------------------------------------------------------------------

    def snapshot(self) -> Mapping[str, Any]:
        """Return the state of the per-run half."""
        return {"counts": dict(self._counts), "rows": self._rows.snapshot()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._counts = {k: int(state["counts"][k]) for k in self._counts}
        self._rows.restore(state["rows"])
