"""Columns of numbers in text files, whatever the header, separator, decimal mark or line ending."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed

__all__ = ["AxisUnit", "Columns", "read_chi", "read_columns", "read_text"]

AxisUnit = Literal["two_theta_deg", "two_theta_rad", "q_invA", "q_invnm", "q"]

MAX_BYTES = 64 * 2**20
"""Larger files are no powder patterns."""

_COMMENT_MARKS = "#!;%*/'\"@&"
_TWO_THETA = re.compile(r"2\s*[-_]?\s*(theta|th(?![a-z])|θ)|two[\s_-]*theta", re.IGNORECASE)
_RADIANS = re.compile(r"(?<![a-z])rad(ians?)?(?![a-z])", re.IGNORECASE)
_Q = re.compile(r"(?<![a-z0-9])q(?![a-z0-9])|(?<![a-z0-9])q_", re.IGNORECASE)
_PER_NM = re.compile(
    r"nm\s*(\^|\*\*)?\s*[({]?\s*[-−]\s*1|nm⁻¹|1\s*/\s*nm|inv\w*[\s_]*nm|invnm", re.IGNORECASE
)
_PER_A = re.compile(
    r"(?<![a-z])(a|å|ang\w*)\s*(\^|\*\*)?\s*[({]?\s*[-−]\s*1|å⁻¹|1\s*/\s*(a|å)|inv\w*[\s_]*(a|å)|_inva",
    re.IGNORECASE,
)
_WAVELENGTH = re.compile(
    r"(?:wave\s*-?length|lambda)[^0-9\n]{0,24}?([0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?)\s*(nm|m(?![a-z]))?",
    re.IGNORECASE,
)
_SIGMA = re.compile(r"sig|esd|err|std|uncert", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What a file says, before it is checked.

    ``rows`` has shape (n, 2 or 3); ``lines`` the line number of each row (None where the format has none);
    ``third`` tells what a third column is; ``unit`` and ``wavelength_A`` are None where not said.
    """

    rows: npt.NDArray[np.float64]
    lines: Sequence[int] | None = None
    third: Literal["sigma", "unknown"] = "unknown"
    unit: AxisUnit | None = None
    wavelength_A: float | None = None


@dataclass(slots=True)
class _Parsed:
    rows: list[list[float]]
    lines: list[int]
    header: list[str]
    complaint: str | None = None


def read_text(path: Path) -> str:
    """Read a text file in UTF-8 or UTF-16 (by its byte-order mark) or, failing that, Latin-1.

    Raises
    ------
    FrameFailed
        When it is larger than 64 MiB, or binary.
    """
    if path.stat().st_size > MAX_BYTES:
        raise FrameFailed(
            f"{path.name} has {path.stat().st_size} bytes, more than the {MAX_BYTES} of a pattern file"
        )
    raw = path.read_bytes()
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", errors="replace")
    if b"\0" in raw:
        raise FrameFailed(f"{path.name} is a binary file, expected columns of numbers")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def read_columns(path: Path) -> Columns:
    """Read two or three columns of numbers below an optional header.

    Columns may be separated by blanks, tabs, commas or semicolons; the decimal mark may be a comma where
    commas do not separate. Comment lines may stand anywhere. A third column is a sigma only where
    the column titles say so.

    Raises
    ------
    FrameFailed
        When a line does not fit; the message names file and line.
    """
    lines = read_text(path).splitlines()
    parsed = _parse(path.name, lines, 0)
    titles = parsed.header[-1].lstrip(_COMMENT_MARKS + " ") if parsed.header else ""
    named = [t for t in re.split(r"[\s,;]+", titles) if t]
    third: Literal["sigma", "unknown"] = (
        "sigma" if len(named) >= 3 and _SIGMA.search(named[-1]) else "unknown"
    )
    unit = next((u for line in reversed(parsed.header) if (u := _axis_unit(line))), None)
    return Columns(np.array(parsed.rows), parsed.lines, third, unit, _wavelength(parsed.header))


def read_chi(path: Path) -> Columns:
    """Read a ``.chi`` file: title, axis label, ordinate label and number of points, then columns (fit2d).

    Files that begin with a comment are read as plain columns.

    Raises
    ------
    FrameFailed
        When a line does not fit, or the number of points is not the one the header gives (truncated file).
    """
    lines = read_text(path).splitlines()
    if len(lines) < 5 or lines[0].lstrip().startswith("#"):
        return read_columns(path)
    parsed = _parse(path.name, lines, 4)
    announced = re.match(r"\s*(\d+)", lines[3])
    if announced and int(announced[1]) != len(parsed.rows):
        raise FrameFailed(
            f"{path.name} line 4 announces {announced[1]} points, the file holds {len(parsed.rows)}"
        )
    return Columns(
        np.array(parsed.rows),
        parsed.lines,
        "sigma",
        _axis_unit(lines[1]),
        _wavelength([*lines[:4], *parsed.header]),
    )


def _parse(name: str, lines: Sequence[str], skip: int) -> _Parsed:
    """Read the rows in the first dialect that understands them all."""
    best: _Parsed | None = None
    for dialect in (_semicolons, _blanks, _blanks_decimal_comma, _commas):
        parsed = _parse_in(dialect, lines, skip)
        if parsed.rows and parsed.complaint is None:
            return parsed
        if best is None or len(parsed.rows) > len(best.rows):
            best = parsed
    complaint = best.complaint if best is not None and best.rows else "no line holds two or three numbers"
    raise FrameFailed(f"{name}: {complaint}; expected an axis, an intensity and perhaps a sigma per line")


def _parse_in(dialect: Callable[[str], list[str]], lines: Sequence[str], skip: int) -> _Parsed:
    parsed = _Parsed([], [], [])
    for number, line in enumerate(lines[skip:], skip + 1):
        if not (text := line.strip()):
            continue
        values = _numbers(dialect(text))
        if values is not None and 2 <= len(values) <= 3 and len(values) == len((parsed.rows or [values])[0]):
            parsed.rows.append(values)
            parsed.lines.append(number)
        elif not parsed.rows:
            parsed.header.append(text)
        elif text[0] not in _COMMENT_MARKS:
            parsed.complaint = f"line {number} is {text[:60]!r} after rows of {len(parsed.rows[0])} numbers"
            break
    return parsed


def _semicolons(line: str) -> list[str]:
    return [t.replace(",", ".") for t in line.rstrip(" ;").split(";")] if ";" in line else []


def _blanks(line: str) -> list[str]:
    return line.split()


def _blanks_decimal_comma(line: str) -> list[str]:
    return [t.replace(",", ".") for t in line.split()]


def _commas(line: str) -> list[str]:
    return line.rstrip(" ,").split(",")


def _numbers(tokens: Sequence[str]) -> list[float] | None:
    if any("_" in token for token in tokens):  # float() would take 1_000
        return None
    try:
        return [float(token.strip().strip('"')) for token in tokens]
    except ValueError:
        return None


def _axis_unit(label: str) -> AxisUnit | None:
    if _TWO_THETA.search(label):
        return "two_theta_rad" if _RADIANS.search(label) else "two_theta_deg"
    if not _Q.search(label):
        return None
    if _PER_NM.search(label):
        return "q_invnm"
    if _PER_A.search(label):
        return "q_invA"
    return "q" if label.lstrip(_COMMENT_MARKS + " ").lower().startswith("q") else None


def _wavelength(header: Sequence[str]) -> float | None:
    """Return the wavelength (angstrom) a header gives; a bare number below 1e-6 is in metres (pyFAI)."""
    for line in header:
        if found := _WAVELENGTH.search(line):
            value = float(found[1])
            metres = found[2] == "m" or (found[2] is None and value < 1e-6)
            value *= 1e10 if metres else 10 if found[2] == "nm" else 1
            if 0.01 < value < 100:
                return value
    return None
