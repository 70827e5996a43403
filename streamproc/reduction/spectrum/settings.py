"""Settings of the reduction of camera images to spectra."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CameraSettings"]


class CameraSettings(BaseModel):
    """The ``camera`` table: axis 0 of the image is the row, axis 1 the column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dispersive_axis: Literal[0, 1] = Field(0, description="Axis of the image along which energy runs.")
    energy_per_pixel: float | None = Field(
        None, description="Energy loss per pixel along the dispersive axis, with its sign; needed for images."
    )
    curvature: tuple[float, ...] = Field(
        (),
        description="Shift of the elastic line (pixels) as polynomial of the column, scaled to -1 to 1 over "
        "the image, lowest power first; empty: measured from each image's elastic line.",
    )
    curvature_degree: int = Field(2, ge=0, le=5, description="Degree of the polynomial that is measured.")
    photon: Literal["none", "threshold"] = Field(
        "none",
        description="threshold: single photons are found and placed below a pixel; none: pixels are summed.",
    )
    photon_value: float | None = Field(None, gt=0, description="Detector units of one photon.")
    elastic_pixel: float | None = Field(
        None, description="Place of the elastic line after straightening; unset: measured in each image."
    )
