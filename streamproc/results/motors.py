"""Readings of the raw run that its result run copies: the motors, so that plots have their axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamproc.runs import Run

__all__ = ["copied_readings", "copied_value", "raw_dimensions", "safe_key"]


def raw_dimensions(start: Mapping[str, Any]) -> list[list[str]]:
    """Return the fields of each dimension hint, tolerating what is malformed."""
    hints = start.get("hints")
    found = hints.get("dimensions", []) if isinstance(hints, Mapping) else []
    dimensions: list[list[str]] = []
    for dimension in found if isinstance(found, list | tuple) else ():
        if isinstance(dimension, list | tuple) and dimension and isinstance(dimension[0], list | tuple):
            dimensions.append([f for f in dimension[0] if isinstance(f, str)])
    return dimensions


def copied_readings(run: Run, stream: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Choose the readings to copy: dimension fields and hinted fields of the plan's motors, scalars only.

    Returns
    -------
    dict
        Raw data key -> (data key in the result, its entry in the result's descriptor).
    """
    descriptors = run.stream_descriptors(stream)
    if not descriptors:
        return {}
    data_keys = descriptors[-1].get("data_keys", {})
    wanted: dict[str, None] = {f: None for d in raw_dimensions(run.start) for f in d}
    motors = run.start.get("motors", ())
    objects = descriptors[-1].get("object_keys") or {}
    hints = descriptors[-1].get("hints") or {}
    for motor in motors if isinstance(motors, list | tuple) else ():
        hinted = (hints.get(motor) or {}).get("fields") or objects.get(motor, ())
        wanted.update(dict.fromkeys(hinted))
    chosen: dict[str, tuple[str, dict[str, Any]]] = {}
    for field in wanted:
        entry = data_keys.get(field)
        if isinstance(entry, Mapping) and not entry.get("external") and not entry.get("shape"):
            chosen[field] = (safe_key(field), _motor_data_key(field, entry, objects))
    return chosen


def _motor_data_key(field: str, entry: Mapping[str, Any], objects: Mapping[str, Any]) -> dict[str, Any]:
    text = entry.get("dtype") == "string"
    owner = next((o for o, keys in objects.items() if field in keys), field)
    copied = {k: entry[k] for k in ("units", "precision") if entry.get(k) is not None}
    return {
        "source": f"copied from {entry.get('source', 'the raw run')}",
        "dtype": "string" if text else "number",
        "dtype_numpy": "<U128" if text else "<f8",
        "shape": [],
        "object_name": safe_key(str(entry.get("object_name", owner))),
        **copied,
    }


def copied_value(value: Any, data_key: Mapping[str, Any]) -> float | str:
    """Return a raw reading as it stands in the result: text, or a number (NaN for what is none)."""
    if data_key["dtype"] == "string":
        return "" if value is None else str(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def safe_key(key: str) -> str:
    """event-model refuses ``.`` and ``/`` in keys."""
    return key.replace(".", "_").replace("/", "_")
