"""ReductionSettings: the ``[reduction]`` table of a configuration."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["FromRun", "ReductionSettings"]


class FromRun(BaseModel):
    """What may be taken from the run itself instead of from files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dark: bool = Field(
        False, description="Subtract the newest frame of the run's dark stream taken before each frame."
    )
    calibration_md: bool = Field(
        False, description="Take the geometry from calibration_md in the start document, as xpdAcq writes it."
    )


class ReductionSettings(BaseModel):
    """How frames become profiles. Paths are relative to the folder of the configuration file.

    Array files may be .npy, .npz (one array, or ``file.npz::name``), .tif, .edf, .cbf or HDF5
    (``file.h5::/dataset``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    poni: str | None = Field(None, description="Geometry file of pyFAI (.poni).")
    shape: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = Field(
        None, description="Rows and columns of the detector, where the .poni file does not say them."
    )
    flip: Literal["none", "rows", "columns", "both"] = Field(
        "none",
        description="How frames must be turned to be as the program that made the .poni file saw them: "
        "rows for Dioptas, which shows frames upside down.",
    )
    mask: str | None = Field(None, description="Mask image; non-zero pixels are not used.")
    dark: str | None = Field(None, description="Dark image (counts), subtracted from every frame.")
    flat: str | None = Field(None, description="Flat image: relative sensitivity of each pixel.")
    hot_pixels: str | None = Field(
        None, description="List of hot pixels: text file of row and column, or .npy of shape (n, 2); from 0."
    )
    hot_dark_above: float | None = Field(
        None, description="Pixels whose dark exceeds this many counts are hot and not used."
    )
    saturation: float | None = Field(
        None, gt=0, description="Counts at and above this are not used in the frame they occur in."
    )
    mask_negative: bool = Field(
        True, description="Negative values of signed integer frames mark gaps and dead pixels (Pilatus)."
    )
    dead_time_s: float | None = Field(
        None, gt=0, description="Dead time of a pixel's counter (s), non-paralysable; off unless set."
    )
    exposure_s: float | None = Field(
        None, gt=0, description="Exposure of one frame (s); needed with dead_time_s only."
    )
    polarization_factor: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="pyFAI's polarisation factor (0.99 at most synchrotrons); off unless set.",
    )
    solid_angle: bool = Field(True, description="Correct for the solid angle of each pixel.")
    unit: Literal["2th_deg", "q_A^-1"] = Field("2th_deg", description="Radial axis.")
    bins: int = Field(1000, gt=1, le=100_000, description="Number of radial bins.")
    range_min: float | None = Field(None, ge=0, description="Start of the radial axis, in unit.")
    range_max: float | None = Field(None, gt=0, description="End of the radial axis, in unit.")
    splitting: Literal["no", "bbox"] = Field(
        "no",
        description="Pixel splitting: no (fast, bins independent) or bbox (smoother where bins are narrow).",
    )
    azimuth_bins: int | None = Field(
        None,
        gt=1,
        le=3600,
        description="Azimuthal bins of the q-chi cake over the full circle; no cake unless set.",
    )
    stack: Literal["mean", "sum"] = Field(
        "mean", description="What several frames per event give: their mean, or their number times that."
    )
    variance_floor: Literal["pixel", "bin"] = Field(
        "pixel",
        description="Where the variance of at least one count applies: to each pixel (as pyFAI), or to each "
        "bin (right for frames of few counts).",
    )
    from_run: FromRun = Field(default_factory=FromRun, description="What may be taken from the run itself.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.range_min is None) != (self.range_max is None):
            raise ValueError("range_min and range_max go together: set both, or neither")
        if self.range_min is not None and self.range_max is not None and self.range_min >= self.range_max:
            raise ValueError(f"range_min {self.range_min} must be below range_max {self.range_max}")
        if self.dead_time_s is not None and self.exposure_s is None:
            raise ValueError("dead_time_s needs exposure_s, the exposure of one frame in seconds")
        return self

    @property
    def radial_range(self) -> tuple[float, float] | None:
        """``(range_min, range_max)``, None for all that the detector covers."""
        if self.range_min is None or self.range_max is None:
            return None
        return self.range_min, self.range_max
