"""Measured patterns with known composition: what a model is scored on, stopped by, or calibrated with."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.pattern import prepare

from streamproc.errors import ConfigurationError, FrameFailed
from streamproc.frames.pattern_files import read_pattern
from streamproc.inference.card import Axis

__all__ = ["Measured", "Use", "prepared", "read_truth"]

Use = Literal["score", "stop", "calibrate"]

_PRESENT = {"x", "yes", "present", "+"}


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured pattern and what is known about it.

    Attributes
    ----------
    name : str
        File name.
    axis, intensity : ndarray, shape (m,)
        Axis (as ``kind`` says) and counts.
    kind : {'two_theta_deg', 'q_invA'}
        What the axis is.
    wavelength_A : float or None
        Where the file says it.
    fractions : ndarray, shape (p,)
        Weight fractions; NaN where only the presence is known.
    present : ndarray of bool, shape (p,)
        Which phases are there.
    use : {'score', 'stop', 'calibrate'}
        Whether it is counted in the scores, chooses when training stops, or widens the intervals; one that
        does either of the latter is shown and not counted.
    """

    name: str
    axis: npt.NDArray[np.float64]
    intensity: npt.NDArray[np.float64]
    kind: Literal["two_theta_deg", "q_invA"]
    wavelength_A: float | None
    fractions: npt.NDArray[np.float64]
    present: npt.NDArray[np.bool_]
    use: Use = "score"


def read_truth(folder: Path, table: Path, labels: Sequence[str]) -> list[Measured]:
    """Read a table of measured patterns.

    The table is CSV with the columns ``file``, one per phase (weight in any unit, ``x`` for present in
    unknown amount, empty for absent), and optionally ``use``: ``score`` (the default), ``stop`` or
    ``calibrate``.

    Parameters
    ----------
    folder : Path
        Where the files are.
    table : Path
        The table.
    labels : sequence of str
        Phases of the model.

    Raises
    ------
    ConfigurationError
        When table or files are missing or do not fit the phases; names line and column.
    """
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{table}: the table of measured patterns cannot be read: {error}"
        ) from error
    if not rows or "file" not in rows[0]:
        raise ConfigurationError(f"{table}: expected a header line with the column 'file' and phase names")
    strange = [c for c in rows[0] if c and c not in ("file", "use", *labels)]
    if strange:
        raise ConfigurationError(
            f"{table}, line 1: columns {', '.join(strange)} are no phases of this model ({', '.join(labels)})"
        )
    return [_measured(folder, table, line, row, labels) for line, row in enumerate(rows, start=2)]


def _measured(
    folder: Path, table: Path, line: int, row: Mapping[str, str | None], labels: Sequence[str]
) -> Measured:
    where = f"{table}, line {line}"
    name = (row["file"] or "").strip()
    use = (row.get("use") or "score").strip()
    if use not in get_args(Use):
        raise ConfigurationError(f"{where}: use is {use!r}, expected {', '.join(map(repr, get_args(Use)))}")
    fractions, present = _composition(where, row, labels)
    pattern = read_pattern(folder / name)
    return Measured(
        name, pattern.axis, pattern.intensity, pattern.axis_kind, pattern.wavelength_A, fractions, present,
        cast(Use, use),
    )  # fmt: skip


def _composition(
    where: str, row: Mapping[str, str | None], labels: Sequence[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    weights, unknown = np.zeros(len(labels)), False
    present = np.zeros(len(labels), bool)
    for k, label in enumerate(labels):
        text = (row.get(label) or "").strip()
        if text.lower() in _PRESENT:
            present[k] = unknown = True
            continue
        try:
            weights[k] = float(text or 0)
        except ValueError:
            raise ConfigurationError(
                f"{where}: {label} is {text!r}, expected a weight, 'x' or nothing"
            ) from None
        if not 0 <= weights[k] < 1e6:
            raise ConfigurationError(f"{where}: {label} is {text}, expected a weight >= 0")
    present |= weights > 0
    if unknown or weights.sum() <= 0:
        return np.full(len(labels), np.nan), present
    return weights / weights.sum(), present


def prepared(axis: Axis, measured: Sequence[Measured]) -> npt.NDArray[np.float32]:
    """Return measured patterns as the network reads them, shape (n, k).

    Raises
    ------
    ConfigurationError
        When one is no pattern on the model's axis; names the file.
    """
    rows = []
    for one in measured:
        try:
            rows.append(prepare(one.axis, one.intensity, axis, one.kind, one.wavelength_A)[0])
        except FrameFailed as error:
            raise ConfigurationError(f"{one.name}: {error.message}") from error
    return np.array(rows, np.float32)
