"""What every kind of instrument file is turned into, and the checks of its values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from streamproc.models.powder.optics import Geometry, Instrument
from streamproc.models.powder.ranges import PriorRanges

from streamproc.errors import ConfigurationError

__all__ = ["InstrumentFile", "checked_value", "ranges_around", "text_of"]

_LIMITS = {
    "wavelength_A": (0.1, 3.0), "wavelength2_A": (0.1, 3.0), "ka2_ratio": (0.0, 2.0),
    "polarisation": (0.0, 100.0), "radius_mm": (1.0, 100_000.0), "mu_r": (0.0, 10.0),
    "u_deg2": (-1.0, 10.0), "v_deg2": (-10.0, 10.0), "w_deg2": (0.0, 10.0),
    "lorentz_x_deg": (-0.5, 5.0), "lorentz_y_deg": (-0.5, 5.0), "asymmetry_deg": (-1.0, 1.0),
    "zero_deg": (-5.0, 5.0), "displacement_mm": (-20.0, 20.0), "displacement_along_mm": (-20.0, 20.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class InstrumentFile:
    """What a file says of an instrument.

    Attributes
    ----------
    instrument : Instrument
        The values themselves.
    ranges : PriorRanges
        What training should draw around them.
    area : bool
        Whether it is an area detector, whose patterns are azimuthal averages.
    source : str
        File name.
    notes : tuple of str
        What was estimated or left out.
    """

    instrument: Instrument
    ranges: PriorRanges
    area: bool
    source: str
    notes: tuple[str, ...] = ()


def text_of(path: Path) -> str:
    """Return the text of a file."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as text: {error}") from error


def checked_value(path: Path, key: str, name: str, value: Any) -> Any:
    """Return a value of an Instrument field, or the error that names it."""
    if name == "geometry":
        if value not in get_args(Geometry):
            names = " or ".join(map(repr, get_args(Geometry)))
            raise ConfigurationError(f"{path}: {key}: {names} is expected, got {value!r}")
        return value
    if name == "missing_deg":
        return _stretches(path, key, value)
    low, high = _LIMITS[name]
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high:
        raise ConfigurationError(f"{path}: {key}: a number of {low:g} to {high:g} is expected, got {value!r}")
    return float(value)


def _stretches(path: Path, key: str, value: Any) -> tuple[tuple[float, float], ...]:
    wrong = ConfigurationError(f"{path}: {key}: pairs [from, to] in degrees are expected, got {value!r}")
    if not isinstance(value, list):
        raise wrong
    for pair in value:
        ok = isinstance(pair, list) and len(pair) == 2
        if not ok or not all(isinstance(v, int | float) for v in pair) or not pair[0] < pair[1]:
            raise wrong
    return tuple((float(low), float(high)) for low, high in value)


def ranges_around(instrument: Instrument) -> PriorRanges:
    """Return prior ranges about a known instrument: its profile within some 20 %, shifts about its own."""
    i = instrument
    single = i.ka2_ratio == 0
    base = PriorRanges()
    width = math.sqrt(max(i.w_deg2, 1e-8))
    along = 0.2 if i.geometry == "debye-scherrer" else 0.0
    return replace(
        base,
        wavelength_A=i.wavelength_A,
        wavelength2_A=i.wavelength2_A,
        geometry=i.geometry,
        radius_mm=i.radius_mm,
        missing_deg=i.missing_deg,
        fwhm_deg=(0.85 * width, 1.2 * width),
        u_deg2=_about(i.u_deg2, 0.2),
        v_deg2=_about(i.v_deg2, 0.2),
        lorentz_x_deg=_about(i.lorentz_x_deg, 0.3),
        lorentz_y_deg=_about(i.lorentz_y_deg, 0.3),
        asymmetry_deg=_about(i.asymmetry_deg, 0.5),
        ka2_ratio=(0.0, 0.0) if single else _about(i.ka2_ratio, 0.06),
        ka2_absent_share=1.0 if single else 0.0,
        area_ka2_absent_share=1.0 if single else 0.0,
        area_ka2_ratio=(0.0, 0.0) if single else _about(i.ka2_ratio, 0.06),
        polarisation=_about(i.polarisation, 0.1),
        unpolarised_share=0.0,
        zero_deg=(i.zero_deg - 0.05, i.zero_deg + 0.05),
        displacement_mm=(i.displacement_mm - 0.15, i.displacement_mm + 0.15),
        displacement_along_mm=(i.displacement_along_mm - along, i.displacement_along_mm + along),
        mu_r=_about(i.mu_r, 0.3),
    )


def _about(value: float, relative: float) -> tuple[float, float]:
    spread = abs(value) * relative
    return (value - spread, value + spread)
