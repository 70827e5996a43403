"""Settings of the phase map, of both its modes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from streamproc.models.unmixing.settings import UnmixingSettings

from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.settings import ReductionSettings

__all__ = ["PhaseMapSettings"]


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
    refine_every: int = Field(
        0,
        ge=0,
        description="Full-profile refinement of every n-th reading (by seq_num) as stream 'refined'; "
        "0: none. It runs beside the hot path and delays no answer.",
    )
    refine_key: str | None = Field(
        None, description="Data key of the events; a reading where it is true is refined as well."
    )
    clusters: int = Field(
        12, ge=0, le=50, description="Kinds of unexplained patterns told apart in a run; 0: none."
    )
    hint_s: float = Field(
        0.0,
        ge=0,
        description="Time for structure hints about each unexplained kind at the end of a run (s); 0: none. "
        "What is found within it depends on the machine's speed, so these documents may differ on a replay.",
    )
    map_points: int = Field(512, ge=16, le=20000, description="Newest points that a map event holds.")
    publish_pattern: bool = Field(False, description="Publish the prepared pattern with each answer.")
    reduction: ReductionSettings = Field(
        default_factory=ReductionSettings, description="How detector images become patterns."
    )
    data_flags: FlagSettings = Field(
        default_factory=FlagSettings,
        description="What makes a reading bad; of such a one no phase is said. "
        "Long runs of zeros in 1-D patterns count as not measured, not as dead.",
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
