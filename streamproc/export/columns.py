"""Columns of a result table: what kind each data key is, and its values in the order of the readings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamproc.export.choice import Choice

__all__ = ["Column", "Rows", "columns_of"]

Kind = Literal["index", "time", "motor", "value", "sigma", "low", "high", "flag", "text", "curve", "origin"]

_ENDINGS: dict[str, Kind] = {"_sigma": "sigma", "_lo90": "low", "_hi90": "high"}
_COPIED = "copied from "
_OWN = ("seq_num", "time", "result_uid", "late")


@dataclass(frozen=True, slots=True)
class Column:
    """One quantity of every point.

    Attributes
    ----------
    name : str
        Its data key (with ``_`` behind it where a key is one of the table's own names).
    kind : str
        ``index`` (seq_num), ``time``, ``motor``, ``value``, ``sigma``, ``low``, ``high`` (ends of the 90 %
        interval), ``flag``, ``text``, ``curve`` or ``origin`` (where the row comes from).
    values : ndarray
        Points first: float64 (NaN: abstained, or not told), bool, int64 or objects that are text.
    units, description : str
        As the descriptor has them.
    of : str
        Of a sigma or an end of an interval: the value's name.
    hinted : bool
        Shown by live plots.
    """

    name: str
    kind: Kind
    values: npt.NDArray[Any]
    units: str = ""
    description: str = ""
    of: str = ""
    hinted: bool = False


@dataclass(slots=True)
class Rows:
    """The events of a stream by seq_num, with the data keys that describe them."""

    keys: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    hinted: set[str] = field(default_factory=set)
    events: dict[int, tuple[Mapping[str, Any], str]] = field(default_factory=dict)


def columns_of(rows: Rows, choice: Choice, notes: list[str]) -> Iterator[Column]:
    """Yield the columns of a stream, seq_num and time first; `notes` gets what a reader must know."""
    numbers = sorted(rows.events)
    events = [rows.events[n] for n in numbers]
    times = [_number(event.get("time")) for event, _ in events]
    yield Column("seq_num", "index", np.array(numbers, np.int64), "", "number of the reading in the raw run")
    yield Column("time", "time", np.array(times, np.float64), "s", "time of the raw reading (Unix)")
    order = sorted(rows.keys, key=lambda k: not _is_copy(rows.keys[k]))
    for key in order:
        values = [event.get("data", {}).get(key) for event, _ in events]
        yield _column(key, rows, values, notes)
    late = [uid != choice.uids[0] for _, uid in events]
    text = np.array([uid for _, uid in events], dtype=object)
    yield Column("late", "flag", np.array(late, bool), "", "answered later, in a supplementary run")
    yield Column("result_uid", "origin", text, "", "uid of the result run that the row is from")


def _column(key: str, rows: Rows, values: Sequence[Any], notes: list[str]) -> Column:
    entry = rows.keys[key]
    kind, of = _kind(key, entry, rows.keys)
    name = f"{key}_" if key in _OWN else key
    about = str(entry.get("description", ""))
    if kind == "motor":
        about = f"{key}, {entry.get('source', _COPIED.strip())}"
    units = str(entry.get("units") or "")
    shape = tuple(int(n) for n in entry.get("shape") or ())
    return Column(name, kind, _values(key, entry, shape, values, notes), units, about, of, key in rows.hinted)


def _kind(key: str, entry: Mapping[str, Any], keys: Mapping[str, Any]) -> tuple[Kind, str]:
    if _is_copy(entry):
        return "motor", ""
    for ending, kind in _ENDINGS.items():
        base = key.removesuffix(ending)
        if base != key and base in keys and f"{base}_sigma" in keys:
            return kind, base
    if entry.get("shape"):
        return "curve", ""
    return {"boolean": ("flag", ""), "string": ("text", "")}.get(str(entry.get("dtype")), ("value", ""))  # type: ignore[return-value]


def _values(
    key: str, entry: Mapping[str, Any], shape: tuple[int, ...], values: Sequence[Any], notes: list[str]
) -> npt.NDArray[Any]:
    if shape:
        return _curves(key, shape, values, notes)
    if entry.get("dtype") == "boolean":
        return np.array([bool(v) for v in values], bool)
    if entry.get("dtype") == "string":
        return np.array(["" if v is None else str(v) for v in values], dtype=object)
    return np.array([_number(v) for v in values], np.float64)


def _curves(
    key: str, shape: tuple[int, ...], values: Sequence[Any], notes: list[str]
) -> npt.NDArray[np.float64]:
    out = np.full((len(values), *shape), np.nan)
    for row, value in enumerate(values):
        curve = np.asarray(value, np.float64) if value is not None else np.empty(0)
        if curve.shape == shape:
            out[row] = curve
        else:
            notes.append(f"{key} is not of shape {list(shape)} everywhere; it is NaN where it is not")
    return out


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _is_copy(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("source", "")).startswith(_COPIED)
