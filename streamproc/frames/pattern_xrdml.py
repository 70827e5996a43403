"""PANalytical ``.xrdml`` files: one scan, its positions, counts, counting time and wavelength."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed
from streamproc.frames.pattern_text import MAX_BYTES, Columns

__all__ = ["read_xrdml"]

Float = npt.NDArray[np.float64]


def read_xrdml(path: Path) -> Columns:
    """Read the one scan of an ``.xrdml`` file: two-theta (degrees), intensity in counts, Poisson sigma.

    ``counts`` are multiplied by the beam attenuation factors where there are any; ``intensities`` in cps are
    multiplied by the counting time. The wavelength is K-alpha1's, or the weighted mean with K-alpha2 where
    the file says that both were used (intended "K-Alpha").

    Raises
    ------
    FrameFailed
        When the file is no XML, declares a document type or entities (never expanded), holds no scan or
        several, or has no two-theta positions or counts.
    """
    root = _parse_safely(path)
    scans = list(root.iter("scan"))
    if len(scans) != 1:
        raise FrameFailed(f"{path.name} holds {len(scans)} scans, expected one: export the scans one by one")
    points = scans[0].find("dataPoints")
    if points is None:
        raise FrameFailed(f"{path.name}: its scan has no dataPoints")
    intensity, sigma = _counts(path.name, points)
    axis = _two_theta(path.name, points, intensity.size)
    return Columns(
        np.column_stack([axis, intensity, sigma]), None, "sigma", "two_theta_deg", _wavelength(root)
    )


def _parse_safely(path: Path) -> ET.Element:
    """Parse without namespaces, refusing any document type declaration before an entity could be expanded."""
    if path.stat().st_size > MAX_BYTES:
        raise FrameFailed(
            f"{path.name} has {path.stat().st_size} bytes, more than the {MAX_BYTES} of a pattern file"
        )
    raw = path.read_bytes()
    checker = expat.ParserCreate()

    def refuse(*_: Any) -> None:
        raise FrameFailed(
            f"{path.name} declares a document type or entities, which no .xrdml file needs: refused"
        )

    checker.StartDoctypeDeclHandler = refuse
    checker.EntityDeclHandler = refuse
    try:
        checker.Parse(raw, True)
        root = ET.fromstring(raw)
    except (expat.ExpatError, ET.ParseError, LookupError, ValueError) as error:
        raise FrameFailed(f"{path.name} is not a complete XML file: {error}") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _counts(name: str, points: ET.Element) -> tuple[Float, Float]:
    attenuation: Float | float = 1.0
    if (factors := points.find("beamAttenuationFactors")) is not None:
        attenuation = _floats(name, factors)
    if (counts := points.find("counts")) is not None:
        raw = _floats(name, counts)
        return raw * _fits(name, attenuation, raw), np.sqrt(np.maximum(raw, 1)) * attenuation
    element = points.find("intensities")
    if element is None:
        raise FrameFailed(f"{name}: its scan has neither counts nor intensities")
    values = _floats(name, element)
    if element.get("unit") == "cps":
        time_s = points.find("commonCountingTime")
        if time_s is None:
            raise FrameFailed(f"{name}: intensities in cps need commonCountingTime, which is missing")
        values = values * _floats(name, time_s)[0]
    gain = _fits(name, attenuation, values)
    return values, np.sqrt(np.maximum(values / gain, 1)) * gain


def _two_theta(name: str, points: ET.Element, n: int) -> Float:
    for positions in points.findall("positions"):
        if positions.get("axis") != "2Theta":
            continue
        if (listed := positions.find("listPositions")) is not None:
            axis = _floats(name, listed)
            if axis.size != n:
                raise FrameFailed(f"{name}: {axis.size} two-theta positions for {n} counts")
            return axis
        start, end = positions.find("startPosition"), positions.find("endPosition")
        if start is not None and end is not None:
            return np.linspace(_floats(name, start)[0], _floats(name, end)[0], n)
    raise FrameFailed(f"{name}: its scan has no 2Theta positions (start and end, or a list)")


def _wavelength(root: ET.Element) -> float | None:
    used = next(root.iter("usedWavelength"), None)
    if used is None:
        return None
    values = [used.findtext(tag) for tag in ("kAlpha1", "kAlpha2", "ratioKAlpha2KAlpha1")]
    try:
        first, second, ratio = (None if v is None else float(v) for v in values)
    except ValueError:
        return None
    if first and second and ratio and used.get("intended") == "K-Alpha":
        return (first + ratio * second) / (1 + ratio)
    return first or None


def _floats(name: str, element: ET.Element) -> Float:
    try:
        values = np.array([float(token) for token in (element.text or "").split()])
    except ValueError as error:
        raise FrameFailed(f"{name}: <{element.tag}> must hold numbers: {error}") from error
    if not values.size:
        raise FrameFailed(f"{name}: <{element.tag}> is empty")
    return values


def _fits(name: str, attenuation: Float | float, counts: Float) -> Float | float:
    if isinstance(attenuation, np.ndarray) and attenuation.size != counts.size:
        raise FrameFailed(f"{name}: {attenuation.size} attenuation factors for {counts.size} counts")
    return attenuation
