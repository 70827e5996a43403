"""Our own instrument files (TOML)."""

from __future__ import annotations

import math
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from streamproc.models.powder.instrument_values import (
    InstrumentFile,
    checked_value,
    ranges_around,
    text_of,
)
from streamproc.models.powder.optics import Instrument
from streamproc.models.powder.ranges import PriorRanges

from streamproc.errors import ConfigurationError

__all__ = ["read_toml"]

_SECTIONS: dict[str, dict[str, str]] = {
    "radiation": {n: n for n in ("wavelength_A", "wavelength2_A", "ka2_ratio", "polarisation")},
    "geometry": {"kind": "geometry", "radius_mm": "radius_mm", "mu_r": "mu_r", "missing_deg": "missing_deg"},
    "profile": {
        n: n for n in ("u_deg2", "v_deg2", "w_deg2", "lorentz_x_deg", "lorentz_y_deg", "asymmetry_deg")
    },
    "shifts": {n: n for n in ("zero_deg", "displacement_mm", "displacement_along_mm")},
}


def read_toml(path: Path) -> InstrumentFile:
    """Read a file of sections radiation, geometry, profile, shifts and prior."""
    try:
        content = tomllib.loads(text_of(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not a TOML file: {error}") from error
    prior = content.pop("prior", {})
    values: dict[str, Any] = {}
    for section, table in content.items():
        if section not in _SECTIONS or not isinstance(table, dict):
            raise ConfigurationError(
                f"{path}: [{section}] is not known; there are [{'], ['.join([*_SECTIONS, 'prior'])}]"
            )
        for key, value in table.items():
            if key not in _SECTIONS[section]:
                known = ", ".join(_SECTIONS[section])
                raise ConfigurationError(f"{path}: {section}.{key} is not known; there are {known}")
            values[_SECTIONS[section][key]] = checked_value(
                path, f"{section}.{key}", _SECTIONS[section][key], value
            )
    if "wavelength_A" not in values:
        raise ConfigurationError(f"{path}: radiation.wavelength_A (angstrom) is missing")
    if "wavelength2_A" not in values:
        values |= {"wavelength2_A": values["wavelength_A"], "ka2_ratio": values.get("ka2_ratio", 0.0)}
        if values["ka2_ratio"] > 0:
            raise ConfigurationError(f"{path}: radiation.ka2_ratio needs radiation.wavelength2_A (angstrom)")
    instrument = Instrument(**values)
    return InstrumentFile(instrument, _with_prior(path, ranges_around(instrument), prior), False, path.name)


def _with_prior(path: Path, ranges: PriorRanges, prior: Any) -> PriorRanges:
    """Replace ranges by those of the file's [prior]."""
    if not isinstance(prior, dict):
        raise ConfigurationError(f"{path}: [prior] must be a table, got {prior!r}")
    known = {f.name: f for f in fields(PriorRanges)}
    fixed = {"wavelength_A", "wavelength2_A", "geometry", "radius_mm", "missing_deg"}
    changed: dict[str, Any] = {}
    for key, value in prior.items():
        if key not in known or key in fixed:
            names = ", ".join(sorted(set(known) - fixed))
            raise ConfigurationError(f"{path}: prior.{key} is not known; there are {names}")
        changed[key] = _prior_value(path, key, value, getattr(ranges, key))
    try:
        return replace(ranges, **changed)
    except ValueError as error:
        raise ConfigurationError(f"{path}: [prior] {error}") from error


def _prior_value(path: Path, key: str, value: Any, like: Any) -> Any:
    def number(v: Any) -> bool:
        return isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)

    if key == "cell_span":
        if isinstance(value, dict):
            return {label: _prior_value(path, key, span, like) for label, span in value.items()}
        if number(value):
            return float(value)
        if isinstance(value, list) and len(value) == 3 and all(map(number, value)):
            return tuple(map(float, value))
        expected = "a number, three (a, b, c), or a table of phases"
    elif isinstance(like, tuple):
        if isinstance(value, list) and len(value) == 2 and all(map(number, value)):
            return tuple(map(float, value))
        expected = "a pair [low, high]"
    else:
        if number(value):
            return float(value)
        expected = "a number"
    raise ConfigurationError(f"{path}: prior.{key}: {expected} is expected, got {value!r}")
