"""FlagSettings: thresholds of the data flags, made from the table of kinds."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator

from streamproc.reduction.flags.kinds import KINDS, Kind

__all__ = ["FlagLimits", "FlagSettings", "Limit"]


class Limit(BaseModel):
    """When a flag rises and when it falls again."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    threshold: float = Field(gt=0, description="The flag rises when its number is at or above this.")
    release: float | None = Field(
        None, gt=0, description="It falls when the number is below this; unset: half the threshold."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.release is not None and self.release > self.threshold:
            raise ValueError(f"release {self.release:g} must not be above threshold {self.threshold:g}")
        return self

    @property
    def falls_below(self) -> float:
        """The number below which a raised flag falls."""
        return self.threshold / 2 if self.release is None else self.release


def _field(kind: Kind) -> Any:
    unit = f" Unit: {kind.units}." if kind.units not in ("", "1") else ""
    return (
        Limit,
        Field(
            Limit(threshold=kind.threshold, release=kind.release),
            description=f"{kind.description[0].upper()}{kind.description[1:]}.{unit}",
        ),
    )


FlagLimits = create_model(
    "FlagLimits",
    __config__=ConfigDict(frozen=True, extra="forbid"),
    __doc__="Threshold and release of each kind of data flag.",
    **{name: _field(kind) for name, kind in KINDS.items()},
)


class FlagSettings(BaseModel):
    """The table ``data_flags`` of an analysis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    off: tuple[str, ...] = Field((), description="Kinds that are not judged.")
    monitor_key: str | None = Field(
        None,
        description="Reading of the incident beam's monitor; unset: levels are judged by the patterns.",
    )
    saturation: float | None = Field(
        None,
        gt=0,
        description="Limit of the counter; unset: reduction.saturation, else the largest value an image's "
        "type holds (for patterns: a flat top).",
    )
    limits: FlagLimits = Field(default_factory=FlagLimits, description="Threshold and release of each kind.")

    @field_validator("off")
    @classmethod
    def _known(cls, off: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in off if name not in KINDS]:
            raise ValueError(f"no such data flag: {', '.join(unknown)}; there are {', '.join(KINDS)}")
        return off

    def limit(self, name: str) -> Limit:
        """Return threshold and release of a kind."""
        found = getattr(self.limits, name)
        assert isinstance(found, Limit)
        return found
