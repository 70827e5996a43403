"""Patterns and detector images from files, for predictions without a broker."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.frames.pattern_text import MAX_BYTES, Columns, read_chi, read_columns
from streamproc.frames.pattern_xrdml import read_xrdml
from streamproc.reduction.arrays import IMAGE_SUFFIXES, read_array, split_inner

__all__ = ["MIN_POINTS", "PATTERN_SUFFIXES", "AxisKind", "Pattern", "is_image", "read_image", "read_pattern"]

Float = npt.NDArray[np.float64]
AxisKind = Literal["two_theta_deg", "q_invA"]

TEXT_SUFFIXES = frozenset({".xy", ".prn", ".xye", ".csv", ".dat", ".txt"})
PATTERN_SUFFIXES = TEXT_SUFFIXES | {".chi", ".npz", ".xrdml"}
MIN_POINTS = 10
"""Fewer points are no pattern."""


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """A measured powder pattern.

    Attributes
    ----------
    axis : ndarray of float64, shape (n,)
        Strictly ascending; degrees two-theta or inverse angstrom, by ``axis_kind``.
    axis_kind : {"two_theta_deg", "q_invA"}
        What ``axis`` is.
    intensity : ndarray of float64, shape (n,)
        As in the file.
    sigma : ndarray of float64, shape (n,), or None
        Standard uncertainty of ``intensity`` where the file gives one.
    wavelength_A : float or None
        Given by the caller, else by the file, else None (angstrom).
    source_format : str
        The file's suffix without the dot.
    """

    axis: Float
    axis_kind: AxisKind
    intensity: Float
    sigma: Float | None
    wavelength_A: float | None
    source_format: str


def read_pattern(
    path: Path | str, axis: AxisKind | None = None, wavelength_A: float | None = None
) -> Pattern:
    """Read a 1-D pattern from .xy .prn .xye .dat .txt .csv .chi .npz or .xrdml.

    Text files have two or three columns; headers, comments, any common separator, line ending and byte-order
    mark are understood. The third column is a sigma in .xye and .chi files and where a column title says so;
    elsewhere it is not used. An .npz file holds ``two_theta_deg`` or ``q_invA``, ``intensity``, and may hold
    ``sigma`` and ``wavelength_A``. Descending axes are reversed.

    Parameters
    ----------
    path : Path or str
        The file.
    axis : {"two_theta_deg", "q_invA"}, optional
        What the first column is; by default what the file says, and degrees two-theta where it is silent.
    wavelength_A : float, optional
        Wavelength (angstrom); wins over the file's.

    Raises
    ------
    ConfigurationError
        When the file is missing, its format unknown, or ``axis`` contradicts what the file says.
    FrameFailed
        When its content is not a pattern; the message names file and line.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in PATTERN_SUFFIXES:
        raise ConfigurationError(
            f"{path.name}: unknown pattern format, expected one of {', '.join(sorted(PATTERN_SUFFIXES))}"
        )
    if not path.is_file():
        raise ConfigurationError(f"{path} does not exist")
    if axis is not None and axis not in get_args(AxisKind):
        raise ConfigurationError(f"axis must be one of {', '.join(get_args(AxisKind))}, got {axis!r}")
    if wavelength_A is not None and not 0.01 < wavelength_A < 100:
        raise ConfigurationError(
            f"wavelength_A = {wavelength_A} is not a wavelength in angstrom (0.01 to 100)"
        )
    columns = _read(path, suffix)
    kind, scale = _axis_kind(path.name, columns, axis)
    rows, lines = columns.rows, columns.lines
    if len(rows) > 1 and rows[0, 0] > rows[-1, 0]:
        rows, lines = rows[::-1], None if lines is None else lines[::-1]
    rows = np.ascontiguousarray(rows * np.array([scale, 1.0, 1.0])[: rows.shape[1]])
    with_sigma = rows.shape[1] == 3 and (columns.third == "sigma" or suffix == ".xye")
    _check(path.name, rows if with_sigma else rows[:, :2], lines, kind)
    sigma = rows[:, 2].copy() if with_sigma else None
    wavelength = columns.wavelength_A if wavelength_A is None else wavelength_A
    return Pattern(rows[:, 0].copy(), kind, rows[:, 1].copy(), sigma, wavelength, suffix[1:])


def read_image(path: Path | str) -> npt.NDArray[Any]:
    """Read one detector image: .tif .edf .cbf .npy .npz, or ``file.h5::/dataset``.

    Returns
    -------
    ndarray, shape (rows, columns)
        Read-only, in the file's own dtype.

    Raises
    ------
    ConfigurationError
        When the file is missing or unreadable, or which of its arrays is meant is not said (they are listed).
    FrameFailed
        When it holds several frames, or no image.
    """
    file, inner = split_inner(str(path))
    array = read_array(Path(file), inner)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    name = Path(str(path)).name
    if array.ndim == 3:
        n, rows, columns = array.shape
        raise FrameFailed(
            f"{name} holds {n} frames of {rows} x {columns} pixels ({array.dtype}), expected one: "
            "save the frame wanted as an image of its own"
        )
    if array.ndim != 2 or not array.size:
        raise FrameFailed(f"{name} holds an array of shape {array.shape}, expected an image (rows, columns)")
    array.flags.writeable = False
    return array


def is_image(path: Path | str) -> bool:
    """Tell by the name whether :func:`read_image` reads a file (``.npz`` files are taken for patterns)."""
    file, inner = split_inner(str(path))
    suffix = Path(file).suffix.lower()
    return suffix in IMAGE_SUFFIXES and (inner is not None or suffix not in PATTERN_SUFFIXES)


def _read(path: Path, suffix: str) -> Columns:
    if suffix == ".npz":
        return _read_npz(path)
    if suffix == ".xrdml":
        return read_xrdml(path)
    return read_chi(path) if suffix == ".chi" else read_columns(path)


def _read_npz(path: Path) -> Columns:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise FrameFailed(
                f"{path.name} unpacks to {size} bytes, more than the {MAX_BYTES} of a pattern file"
            )
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FrameFailed(f"{path.name} is not a readable .npz file: {error}") from error
    units = [unit for unit in get_args(AxisKind) if unit in arrays]
    if len(units) != 1 or "intensity" not in arrays:
        raise FrameFailed(
            f"{path.name} holds {', '.join(arrays) or 'nothing'}, expected one of two_theta_deg and q_invA, "
            "and intensity (sigma and wavelength_A optional)"
        )
    wanted = [units[0], "intensity", *(["sigma"] if "sigma" in arrays else [])]
    columns = [arrays[name] for name in wanted]
    if any(c.ndim != 1 or c.shape != columns[0].shape or c.dtype.kind not in "uif" for c in columns):
        shapes = ", ".join(f"{n} {arrays[n].dtype}{arrays[n].shape}" for n in wanted)
        raise FrameFailed(f"{path.name}: expected 1-D arrays of numbers of one length, got {shapes}")
    wavelength = arrays.get("wavelength_A")
    if wavelength is not None and (wavelength.size != 1 or wavelength.dtype.kind not in "uif"):
        raise FrameFailed(
            f"{path.name}: wavelength_A must be one number, got {wavelength.dtype}{wavelength.shape}"
        )
    return Columns(
        np.column_stack(columns).astype(np.float64),
        third="sigma",
        unit=units[0],
        wavelength_A=None if wavelength is None else float(wavelength.ravel()[0]),
    )


def _axis_kind(name: str, columns: Columns, asked: AxisKind | None) -> tuple[AxisKind, float]:
    """Return what the axis is, and the factor that brings it to degrees or inverse angstrom."""
    unit = columns.unit or asked or "two_theta_deg"
    kind: AxisKind = "q_invA" if unit.startswith("q") else "two_theta_deg"
    if asked is not None and asked != kind:
        raise ConfigurationError(
            f"{name} says its axis is {unit}, but axis = {asked} was asked for: drop the option"
        )
    if unit == "q" and asked is None:
        raise ConfigurationError(
            f"{name}: its q axis has no unit; say axis = q_invA if it is in inverse angstrom"
        )
    return kind, {"two_theta_rad": float(np.rad2deg(1.0)), "q_invnm": 0.1}.get(unit, 1.0)


def _check(name: str, rows: Float, lines: Any, kind: AxisKind) -> None:
    def at(index: int) -> str:
        return f"point {index + 1}" if lines is None else f"line {lines[index]}"

    if len(rows) < MIN_POINTS:
        raise FrameFailed(f"{name} holds {len(rows)} points, expected at least {MIN_POINTS}")
    axis = rows[:, 0]
    faults = (
        (~np.isfinite(rows).all(axis=1), "holds a value that is not finite"),
        (axis < 0, "has a negative axis value"),
        (axis > (180.0 if kind == "two_theta_deg" else np.inf), "has a two-theta above 180 degrees"),
        (np.concatenate([[False], np.diff(axis) == 0]), "repeats an axis value"),
        (np.concatenate([[False], np.diff(axis) < 0]), "breaks the order of the axis"),
        (rows[:, 2:].min(axis=1, initial=0.0) < 0, "has a negative sigma"),
    )
    for wrong, what in faults:
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise FrameFailed(f"{name} {at(first)} {what}: {', '.join(f'{v:g}' for v in rows[first])}")
