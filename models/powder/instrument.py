"""Instrument files: what a diffractometer is, from our own TOML, a GSAS-II ``.instprm`` or a pyFAI ``.poni``.

The formats are described in ``docs/reference/instrument-file.md``.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from streamproc.models.powder.optics import Geometry, Instrument
from streamproc.models.powder.ranges import PriorRanges

from streamproc.errors import ConfigurationError

__all__ = ["InstrumentFile", "read_instrument"]

_FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))
_SAMPLE_MM = (0.1, 1.0)
"""Size of beam and sample an area detector's lines are widened by: from a thin capillary to a full beam."""

_SECTIONS: dict[str, dict[str, str]] = {
    "radiation": {n: n for n in ("wavelength_A", "wavelength2_A", "ka2_ratio", "polarisation")},
    "geometry": {"kind": "geometry", "radius_mm": "radius_mm", "mu_r": "mu_r", "missing_deg": "missing_deg"},
    "profile": {
        n: n for n in ("u_deg2", "v_deg2", "w_deg2", "lorentz_x_deg", "lorentz_y_deg", "asymmetry_deg")
    },
    "shifts": {n: n for n in ("zero_deg", "displacement_mm", "displacement_along_mm")},
}
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


def read_instrument(path: Path) -> InstrumentFile:
    """Read an instrument file; its name's end says which kind.

    Parameters
    ----------
    path : Path
        ``.toml``, ``.instprm`` or ``.poni``.

    Raises
    ------
    ConfigurationError
        When the file is missing, of another kind, incomplete or impossible; the message names the key.
    """
    path = Path(path)
    readers = {".toml": _read_toml, ".instprm": _read_instprm, ".poni": _read_poni}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigurationError(
            f"{path}: an instrument file ends in {', '.join(readers)}; this one is not known (a .irf or "
            ".prm file "
            "must be converted, for example by GSAS-II)"
        )
    if not path.is_file():
        raise ConfigurationError(f"instrument file {path} does not exist")
    return reader(path)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as text: {error}") from error


def _checked(path: Path, key: str, name: str, value: Any) -> Any:
    """A value of an Instrument field, or the error that names it."""
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


def _read_toml(path: Path) -> InstrumentFile:
    try:
        content = tomllib.loads(_text(path))
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
            values[_SECTIONS[section][key]] = _checked(
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


def _read_instprm(path: Path) -> InstrumentFile:
    """GSAS-II: Gaussian variance in square centidegrees, Lorentzian FWHM in centidegrees."""
    given = _instprm_values(path)
    kind = given.pop("Type", (0, ""))[1]
    if not kind.startswith("PXC"):
        raise ConfigurationError(
            f"{path}: Type {kind or 'missing'}: constant-wavelength X-ray data (PXC) are expected; "
            "neutrons, time "
            "of flight and energy dispersion cannot be simulated here"
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
    checked = {name: _checked(path, name, name, value) for name, value in values.items()}
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
    lines = _text(path).splitlines()
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


def _read_poni(path: Path) -> InstrumentFile:
    """pyFAI: wavelength, distance and pixel size; the widths are estimates."""
    from streamproc.reduction.geometry import load_geometry

    geometry = load_geometry(path)
    wavelength = geometry.wavelength_A
    if wavelength is None:
        raise ConfigurationError(f"{path}: names no wavelength; add a line 'Wavelength: 1.5406e-10' (metres)")
    wavelength = _checked(path, "Wavelength (angstrom)", "wavelength_A", wavelength)
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
