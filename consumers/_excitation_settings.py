"""Settings of the excitation fit."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from streamproc.consumers._excitation_map import MapSettings
from streamproc.models.excitations.oscillators.resolution import Gaussian, MeasuredLine, Resolution, Voigt

from streamproc.errors import ConfigurationError
from streamproc.reduction.spectrum.settings import CameraSettings

__all__ = ["ExcitationFitSettings", "ResolutionSettings"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ResolutionSettings(_Table):
    """The ``[analysis.excitation-fit.resolution]`` table: one of three kinds, in the unit of the axis."""

    fwhm: float | None = Field(None, gt=0, description="Gaussian resolution: full width at half maximum.")
    gaussian_fwhm: float | None = Field(None, gt=0, description="Voigt: width of its Gaussian part.")
    lorentzian_fwhm: float | None = Field(None, ge=0, description="Voigt: width of its Lorentzian part.")
    file: Path | None = Field(
        None, description="Measured resolution: text file of two columns, energy and intensity."
    )

    def line(self, base_dir: Path) -> Resolution:
        """Return the line shape.

        Raises
        ------
        ConfigurationError
            Not exactly one kind is given, or the file cannot be read.
        """
        voigt = self.gaussian_fwhm is not None or self.lorentzian_fwhm is not None
        given = [n for n, there in (("fwhm", self.fwhm), ("file", self.file), ("voigt", voigt)) if there]
        if len(given) != 1:
            raise ConfigurationError(
                "[analysis.excitation-fit.resolution]: set fwhm, or gaussian_fwhm and lorentzian_fwhm, or "
                f"file (given: {', '.join(given) or 'nothing'}); there is no default resolution"
            )
        if self.fwhm is not None:
            return Gaussian(self.fwhm)
        if self.file is not None:
            return _read_line(base_dir / self.file)
        if self.gaussian_fwhm is None:
            raise ConfigurationError("[analysis.excitation-fit.resolution]: a Voigt needs gaussian_fwhm too")
        return Voigt(self.gaussian_fwhm, self.lorentzian_fwhm or 0.0)


class ExcitationFitSettings(_Table):
    """The ``[analysis.excitation-fit]`` table."""

    base_dir: Path = Field(Path(), description="Folder that relative paths start from; set by the loader.")
    model: str = Field("dho", description="NAME, NAME:VERSION or an .onnx file; its card says which data.")
    stream: str = Field("primary", description="Stream whose frames are analysed.")
    key: str | None = Field(
        None, description="Data key of the spectrum or camera image; needed where a run has more than one."
    )
    axis_key: str | None = Field(
        None,
        description="Energy loss of each point: a data key of the same event, or a key of the detector's "
        "configuration. Not for camera images.",
    )
    energy_units: Literal["meV", "eV", "ueV", "cm-1", "THz"] = Field(
        "meV", description="Unit of the axis, the resolution and all answers."
    )
    error_key: str | None = Field(
        None, description="Standard deviation of each point; unset: intensities are counts."
    )
    monitor_key: str | None = Field(
        None, description="Incident counts of the event; amplitudes are given per monitor count."
    )
    time_key: str | None = Field(None, description="Counting time of the event (s), for predictions.")
    temperature_K: float | None = Field(None, ge=0, description="Temperature of the sample.")
    temperature_key: str | None = Field(
        None, description="Reading that holds the temperature (K); wins over temperature_K."
    )
    resolution: ResolutionSettings = Field(
        default_factory=lambda: ResolutionSettings(), description="What spectra are seen through."
    )
    zero_sigma_fwhm: float = Field(
        0.07,
        ge=0,
        le=1,
        description="How far energy 0 may be off on the axis (standard deviation, in resolution widths); "
        "an elastic line shows it, else it widens every sigma. 0: the axis is trusted.",
    )
    background: Literal["constant", "linear"] = Field("constant", description="Background under the modes.")
    cross_check_every: int = Field(
        1,
        ge=1,
        description="Independent multi-start fit beside every n-th answer (by seq_num).",
    )
    target_energy_sigma: float | None = Field(
        None,
        gt=0,
        description="Wanted sigma of every mode's energy: the counts still needed are said.",
    )
    q_key: str | None = Field(
        None, description="Reading that the dispersion runs over; unset: the motor of the plan, if only one."
    )
    q_zero: float = Field(0.0, description="Value of that reading at the zone centre.")
    dispersion: Literal["none", "linear", "sine"] = Field(
        "none", description="Form of the acoustic branch that is fitted through the modes."
    )
    zone_boundary: float = Field(
        1.0, gt=0, description="Distance of the zone boundary from q_zero; for the sine."
    )
    dispersion_points: int = Field(
        512, ge=16, le=20000, description="Newest points that an event of the dispersion holds."
    )
    camera: CameraSettings = Field(
        default_factory=CameraSettings, description="How camera images become spectra."
    )
    map: MapSettings = Field(
        default_factory=MapSettings, description="S(Q,E) maps, with a spin or lattice model."
    )


def _read_line(path: Path) -> MeasuredLine:
    try:
        table = np.loadtxt(path, comments="#", delimiter="," if path.suffix == ".csv" else None, ndmin=2)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: resolution line cannot be read: {error}") from error
    if table.shape[1] < 2:
        raise ConfigurationError(f"{path}: expected two columns (energy, intensity), got {table.shape[1]}")
    try:
        return MeasuredLine(table[:, 0], table[:, 1])
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}") from error
