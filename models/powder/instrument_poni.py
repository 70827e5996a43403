"""What a pyFAI geometry says of an area detector as a diffractometer."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from streamproc.models.powder.instrument_values import InstrumentFile, checked_value, ranges_around
from streamproc.models.powder.optics import Instrument

from streamproc.errors import ConfigurationError

__all__ = ["read_poni"]

_SAMPLE_MM = (0.1, 1.0)
"""Size of beam and sample an area detector's lines are widened by: from a thin capillary to a full beam."""


def read_poni(path: Path) -> InstrumentFile:
    """Read wavelength, distance and pixel size; the widths are estimates."""
    from streamproc.reduction.geometry import load_geometry

    geometry = load_geometry(path)
    wavelength = geometry.wavelength_A
    if wavelength is None:
        raise ConfigurationError(f"{path}: names no wavelength; add a line 'Wavelength: 1.5406e-10' (metres)")
    wavelength = checked_value(path, "Wavelength (angstrom)", "wavelength_A", wavelength)
    distance_mm = float(geometry.config["dist"]) * 1e3
    pixel_mm = max(float(geometry.detector.pixel1 or 0), float(geometry.detector.pixel2 or 0)) * 1e3
    if distance_mm <= 0 or pixel_mm <= 0:
        raise ConfigurationError(f"{path}: distance and pixel size must be above 0")
    low, high = (math.degrees(math.hypot(pixel_mm, size) / distance_mm) for size in _SAMPLE_MM)
    instrument = Instrument(
        wavelength_A=wavelength, wavelength2_A=wavelength, ka2_ratio=0.0, u_deg2=0.0, v_deg2=0.0,
        w_deg2=low * high, lorentz_x_deg=0.0, asymmetry_deg=0.0, radius_mm=distance_mm, polarisation=0.0,
        geometry="debye-scherrer",
    )  # fmt: skip
    ranges = replace(
        ranges_around(instrument),
        area_fwhm_deg=(low, high),
        area_u_deg2=(0.0, high**2),
        area_displacement_mm=(-0.5, 0.5),
        displacement_along_mm=(-0.5, 0.5),
        polarisation=(0.0, 1.0),
    )
    notes = (
        f"widths of {low:.3g} to {high:.3g} degrees estimated from pixels of {pixel_mm:g} mm and a sample of "
        f"{_SAMPLE_MM[0]:g} to {_SAMPLE_MM[1]:g} mm at {distance_mm:.4g} mm",
        "polarisation may be corrected or not: both are trained",
    )
    return InstrumentFile(instrument, ranges, True, path.name, notes)
