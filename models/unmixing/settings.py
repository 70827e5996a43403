"""The settings of the mode without references, as a table of an analysis."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["UnmixingSettings"]


class UnmixingSettings(BaseModel):
    """How patterns are taken apart without references (``[analysis.phase-map.unmixing]``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: int = Field(
        1000, ge=64, le=8192, description="Channels, even in ln(q), that patterns are brought to."
    )
    most_components: int = Field(8, ge=1, le=16, description="Largest number of components tried.")
    strain_reach: float = Field(
        0.01, ge=0, le=0.1, description="Largest shift of a component, as a relative change of its lattice."
    )
    floor_width: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="Features wider than this share of the axis are floor, not peak; 0: none is subtracted.",
    )
    smoothness: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Neighbours on the map count as so many more measurements of a point; 0: not at all.",
    )
    sum_to_one: bool = Field(
        False, description="Patterns are scaled to unit area and activations drawn to the sum 1."
    )
    most_patterns: int = Field(
        192, ge=16, le=1024, description="Patterns kept; beyond, the most alike are joined."
    )
    map_points: int = Field(
        1024, ge=16, le=16384, description="Points that an event of the map holds; the newest."
    )
    seed: int = Field(0, ge=0, description="Of everything random; the same seed gives the same documents.")
