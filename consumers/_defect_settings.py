"""Settings of lattice defects in the analysis of data flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from streamproc.models.defects.alarm import AlarmSettings

from streamproc.errors import ConfigurationError

__all__ = ["DefectSettings", "watched_names"]

_USUAL = ("density_per_m2", "microstrain", "size_nm", "deformation", "growth")


class DefectSettings(BaseModel):
    """The ``[analysis.defect-flags.defects]`` table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        None, description="NAME, NAME:VERSION or an .onnx file of a defect model; unset: no defects are read."
    )
    cell_A: float | None = Field(
        None,
        gt=0,
        description="Cubic cell of the specimen (angstrom), where it is a solid solution of the model's "
        "metal and its cell differs by more than half a percent; unset: that of the model.",
    )
    limits: Mapping[str, float] = Field(
        default_factory=dict,
        description="Limit by estimate; defect_flag_NAME is true when the estimate is beyond it with "
        "`confidence` (above; size_nm, spots, grains, and march_r with a limit under 1: below). With images "
        "also texture, spottiness, spots.",
    )
    acceptance_deg: float | None = Field(
        None,
        gt=0,
        description="Range of orientations that diffract (degrees; divergence, bandwidth, mosaic and rocking "
        "together): with it the spots of an image become defect_grains, the number of grains in the beam.",
    )
    confidence: Literal[0.84, 0.95] = Field(0.95, description="One-sided confidence of the flags.")
    alarms: tuple[str, ...] | None = Field(
        None,
        description="Estimates that are watched over the scan; unset: density_per_m2, microstrain, size_nm, "
        "and for fcc deformation and growth; empty: no alarms.",
    )
    frames_per_false_alarm: float = Field(
        1000.0, ge=10, description="Mean number of good readings between false alarms, all alarms together."
    )
    shift_sigma: float = Field(
        1.0, ge=0.1, le=5, description="Change to be found soonest, in units of the scatter between readings."
    )
    cross_check_every: int = Field(
        10,
        ge=0,
        description="Classical plots of every n-th reading (by seq_num) as stream 'defect_checks'; 0: only "
        "where a flag or an alarm rises. They run beside the hot path and delay no answer.",
    )

    @property
    def alarm(self) -> AlarmSettings:
        """How the alarms are tuned."""
        return AlarmSettings(self.frames_per_false_alarm, self.shift_sigma)


def watched_names(
    settings: DefectSettings, estimates: tuple[str, ...], of_rings: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return which estimates are watched; of those of the rings only what ``alarms`` names.

    Raises
    ------
    ConfigurationError
        When a name in ``limits`` or ``alarms`` is not estimated by the model.
    """
    for table, names in (("limits", tuple(settings.limits)), ("alarms", settings.alarms or ())):
        if unknown := [name for name in names if name not in (*estimates, *of_rings)]:
            raise ConfigurationError(
                f"[analysis.defect-flags.defects]: {table} names {', '.join(unknown)}, which the model does "
                f"not estimate; it has {', '.join((*estimates, *of_rings))}"
            )
    if settings.alarms is None:
        return tuple(name for name in _USUAL if name in estimates)
    return settings.alarms
