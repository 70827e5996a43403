"""Instrument parameter files of GSAS-II."""

from __future__ import annotations

import math
from pathlib import Path

from streamproc.models.powder.instrument_values import (
    InstrumentFile,
    checked_value,
    ranges_around,
    text_of,
)
from streamproc.models.powder.optics import Geometry, Instrument

from streamproc.errors import ConfigurationError

__all__ = ["read_instprm"]

_FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))


def read_instprm(path: Path) -> InstrumentFile:
    """Read constant-wavelength X-ray parameters.

    The file holds Gaussian variances in square centidegrees and Lorentzian FWHM in centidegrees.
    """
    given = _instprm_values(path)
    kind = given.pop("Type", (0, ""))[1]
    if not kind.startswith("PXC"):
        raise ConfigurationError(
            f"{path}: Type {kind or 'missing'}: constant-wavelength X-ray data (PXC) are expected; "
            "neutrons, time of flight and energy dispersion cannot be simulated here"
        )

    def number(key: str, default: float | None = None) -> float:
        if key not in given:
            if default is None:
                raise ConfigurationError(f"{path}: {key} is missing")
            return default
        line, text = given[key]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ConfigurationError(f"{path} line {line}: {key}: a number is expected, got {text!r}")
        return value

    double = "Lam1" in given
    wavelength = number("Lam1" if double else "Lam")
    share = number("Polariz.", 0.5)
    if not 0 < share <= 1:
        raise ConfigurationError(
            f"{path}: Polariz.: a share above 0 and at most 1 is expected, got {share:g}"
        )
    gauss = (_FWHM_PER_SIGMA / 100) ** 2
    axial = number("SH/L", 0.0)
    values = {
        "wavelength_A": wavelength,
        "wavelength2_A": number("Lam2") if double else wavelength,
        "ka2_ratio": number("I(L2)/I(L1)", 0.5) if double else 0.0,
        "u_deg2": number("U") * gauss,
        "v_deg2": number("V") * gauss,
        "w_deg2": number("W") * gauss,
        "lorentz_x_deg": number("X", 0.0) / 100,
        "lorentz_y_deg": number("Y", 0.0) / 100,
        "asymmetry_deg": math.degrees(axial**2 / 2),
        "zero_deg": number("Zero", 0.0),
        "polarisation": (1 - share) / share,
        "radius_mm": number("Gonio. radius", 200.0),
    }
    checked = {name: checked_value(path, name, name, value) for name, value in values.items()}
    geometry: Geometry = "bragg-brentano" if double else "debye-scherrer"
    notes = (
        f"geometry is not in the file: {geometry} taken for "
        f"{'two wavelengths' if double else 'one wavelength'}",
        f"asymmetry of {checked['asymmetry_deg']:.2g} degrees estimated from SH/L",
    )
    instrument = Instrument(**checked, geometry=geometry)
    return InstrumentFile(instrument, ranges_around(instrument), False, path.name, notes)


def _instprm_values(path: Path) -> dict[str, tuple[int, str]]:
    """Line and text of every ``name:value``; several may stand on a line, separated by semicolons."""
    lines = text_of(path).splitlines()
    if not lines or not lines[0].startswith("#GSAS-II"):
        raise ConfigurationError(f"{path} line 1: '#GSAS-II instrument parameter file' is expected")
    found: dict[str, tuple[int, str]] = {}
    for n, line in enumerate(lines, 1):
        if line.startswith("#Bank") and found:
            raise ConfigurationError(f"{path} line {n}: a second bank; one instrument a file is expected")
        for pair in [] if line.startswith("#") else line.split(";"):
            name, colon, value = pair.strip().partition(":")
            if colon:
                found[name.strip()] = (n, value.strip().strip("'\""))
    return found
