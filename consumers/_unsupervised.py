"""Phase map without references: what ``phase-map`` does when ``unsupervised`` is set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel
from streamproc.consumers._data_flags import STREAM, run_flag_outputs
from streamproc.consumers._patterns import PatternSource
from streamproc.consumers._phase_outputs import CHANGE_POINTS
from streamproc.consumers._phase_settings import PhaseMapSettings
from streamproc.consumers._unsupervised_run import UnsupervisedRun
from streamproc.models.unmixing.example import example_run
from streamproc.models.unmixing.warmup import warm_up as warm_up_unmixing

from streamproc.analysis import Example, FrameResult, LoadContext, Output, Provenance
from streamproc.errors import ConfigurationError, RunRefused
from streamproc.reduction.calibration import Calibration, load_calibration
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.warmup import warm_up
from streamproc.results import copied_readings
from streamproc.runs import Run

__all__ = ["UnsupervisedPhaseMap"]

_MOST_AXES = 3
_FILES = {"poni", "mask", "dark", "flat", "hot_pixels"}
_OTHER_MODE = {"base_dir", "model", "publish_pattern", "cross_check_every", "wavelength_A"}


class UnsupervisedPhaseMap:
    """Components, their shares at every point, the map and change points, without a model or references.

    It has a name of its own, so that both modes can run at once: consumer group, state and result runs are
    its own.

    Parameters
    ----------
    settings : PhaseMapSettings
        The ``[analysis.phase-map]`` table.
    calibration : Calibration
        Loaded geometry and correction files.
    """

    name: ClassVar[str] = "phase-map-unsupervised"
    version: ClassVar[str] = "2"
    Settings: ClassVar[type[BaseModel]] = PhaseMapSettings

    def __init__(self, settings: PhaseMapSettings, calibration: Calibration) -> None:
        self.settings = settings
        self._calibration = calibration
        self.source = PatternSource(settings, calibration)
        self.reader: FrameReader | None = None
        if calibration.geometry is not None and settings.axis_key is None:
            self.reader = FrameReader(calibration.plan(), settings.data_flags)
        warm_up(settings.data_flags, calibration if settings.axis_key is None else None)
        warm_up_unmixing()

    @classmethod
    def load(cls, settings: PhaseMapSettings, context: LoadContext) -> UnsupervisedPhaseMap:
        """Load the calibration; what is missing is said here."""
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
        return cls(settings, load_calibration(reduction, settings.base_dir))

    @classmethod
    def example(cls, folder: Path) -> Example:
        """Return a short simulated series of two phases."""
        run, frames = example_run()
        table = {
            "axis_key": "two_theta",
            "unsupervised": True,
            "unmixing": {"points": 320, "strain_reach": 0.004},
        }
        return Example(table, run, frames)

    @classmethod
    def describe(cls) -> tuple[Output, ...]:
        """Return the outputs of every result event."""
        return (
            Output("intensity", "number", "", "mean intensity of the pattern, in the unit of the frame"),
            Output("peak_share", "number", "1", "share of the intensity above the floor", (), False, True),
            Output("signal_to_noise", "number", "1", "highest peak, a mean of 5 channels, over its noise"),
        )  # fmt: skip

    def outputs(self) -> Sequence[Output]:
        """Declare the quantities of every result event."""
        return self.describe()

    def run_outputs(self) -> Mapping[str, Sequence[Output]]:
        """Declare what is said about the run so far."""
        u = self.settings.unmixing
        k, n, m = u.most_components, u.points, u.map_points
        return {
            "points": _point_outputs(k),
            "components": _component_outputs(k, n),
            "map": _map_outputs(k, m),
            "change_points": CHANGE_POINTS,
            "summary": _SUMMARY,
            STREAM: run_flag_outputs(),
        }

    def stream(self) -> str:
        """Return the raw stream that is analysed."""
        return self.settings.stream

    def frame_key(self, run: Run) -> str | None:
        """Choose the data key: the configured one, or the only one that fits."""
        return self.source.frame_key(run)

    def provenance(self) -> Provenance:
        """Return what is known before any run."""
        return self._provenance(self.reader.plan.fingerprint if self.reader is not None else "", (), None)

    def begin(self, run: Run) -> UnsupervisedRun:
        """Start on a run: geometry, axes of the map, and what the series runs over."""
        reader = self.reader
        if reader is None and (plan := self.source.plan(run)) is not None:
            reader = FrameReader(plan, self.settings.data_flags)
        axes = self._axes(run)
        series_key = self.settings.series_key or (axes[0] if len(axes) == 1 else None)
        fingerprint = reader.plan.fingerprint if reader is not None else ""
        return UnsupervisedRun(
            self, reader, axes, series_key, self._provenance(fingerprint, axes, series_key)
        )

    def report(self, result: FrameResult) -> Mapping[str, Any]:
        """Return an answer as `streamproc predict` prints it; a single pattern has no components."""
        return {
            "model": result.model_id, **result.values,
            "in_domain": result.in_domain, "reasons": list(result.reasons),
        }  # fmt: skip

    def _axes(self, run: Run) -> tuple[str, ...]:
        """Return the motors that the map is keyed by: as set, or those of the plan."""
        descriptors = run.stream_descriptors(self.settings.stream)
        keys = descriptors[-1].get("data_keys", {}) if descriptors else {}
        if self.settings.map_keys:
            missing = [k for k in self.settings.map_keys if k not in keys]
            if missing:
                raise RunRefused(
                    f"analysis.phase-map.map_keys: stream {self.settings.stream!r} has no "
                    f"{', '.join(missing)}; "
                    f"it has {', '.join(sorted(keys)[:12])}"
                )
            return tuple(self.settings.map_keys)
        motors = copied_readings(run, self.settings.stream)
        numbers = [k for k, (_, entry) in motors.items() if entry["dtype"] == "number"]
        return tuple(numbers[:_MOST_AXES])

    def _provenance(self, fingerprint: str, axes: Sequence[str], series_key: str | None) -> Provenance:
        dumped = self.settings.model_dump(mode="json", exclude=_OTHER_MODE)
        # Files count by their content (in the calibration's hash), not by where they lie.
        dumped["reduction"] = {k: v for k, v in dumped["reduction"].items() if k not in _FILES}
        text = json.dumps(dumped, sort_keys=True)
        return Provenance(
            analysis=self.name,
            version=self.version,
            model_sha256="",
            settings_sha256=hashlib.sha256(text.encode()).hexdigest(),
            calibration_sha256=fingerprint,
            details={
                "map_axes": list(axes),
                "series_key": series_key or "",
                "calibration_files": {k: dict(v) for k, v in self._calibration.files.items()},
            },
        )


def _point_outputs(k: int) -> tuple[Output, ...]:
    shares = [
        Output(f"component_{j}", "estimate", "1", f"share of component {j} in the peak area", (), False, True)
        for j in range(1, k + 1)
    ]  # fmt: skip
    strains = [
        Output(f"strain_{j}", "number", "1", f"lattice of component {j} against its mean, relative")
        for j in range(1, k + 1)
    ]  # fmt: skip
    return (
        Output("seq_num", "number", "", "reading that this is about"),
        Output("place", "curve", "", "coordinates on the map (start: map_axes), NaN beyond", (3,)),
        *shares,
        *strains,
        Output("peak_area", "number", "", "area above the floor, sum over channels"),
        Output("residual", "number", "1", "share of the squared pattern that no component explains"),
        Output("components", "number", "", "number of components at this point of the run", (), False, True),
        Output("in_domain", "flag", "", "the shares may be believed"),
        Output("reasons", "text", "", "why not"),
    )


def _component_outputs(k: int, n: int) -> tuple[Output, ...]:
    return (
        Output("points", "number", "", "readings so far"),
        Output("number", "number", "", "number of components", (), False, True),
        Output("certain", "flag", "", "false: cannot tell; at_least to at_most are in question"),
        Output("at_least", "number", "", "smallest number in question"),
        Output("at_most", "number", "", "largest number in question"),
        Output("reason", "text", "", "why it cannot be told"),
        Output("axis", "curve", "", "axis of the curves: q in 1/angstrom, or 2theta in degrees", (n,)),
        Output("curves", "curve", "", "components by number, of unit area; zero where there is none", (k, n)),
        Output("candidate_residual", "curve", "1", "per number tried: share left unexplained", (k,)),
        Output("candidate_silhouette", "curve", "1", "per number tried: agreement of the runs", (k,)),
        Output("candidate_gain", "curve", "1", "per number tried: what the last component explained", (k,)),
    )


def _map_outputs(k: int, m: int) -> tuple[Output, ...]:
    return (
        Output("points", "number", "", "readings so far"),
        Output("regions", "number", "", "regions so far"),
        Output("seq_nums", "curve", "", "reading of each row; NaN: no row", (m,)),
        Output("places", "curve", "", "coordinates (start: map_axes)", (m, 3)),
        Output("labels", "curve", "", "component that the region of each row is named after", (m,)),
        Output("confidence", "curve", "1", "probability of the label", (m,)),
        Output("shares", "curve", "1", "share of each component", (m, k)),
    )


_SUMMARY = (
    Output("points", "number", "", "readings answered"),
    Output("points_used", "number", "", "of these, those that were taken apart"),
    Output("components", "number", "", "number of components"),
    Output("certain", "flag", "", "false: cannot tell"),
    Output("regions", "number", "", "regions of the map"),
    Output("change_points", "number", "", "change points that stand"),
)
