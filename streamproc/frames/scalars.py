"""What events and descriptors say besides the frame: motor readings and configuration, small values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["flat_configuration", "small_readings"]


def flat_configuration(descriptor: Mapping[str, Any], max_elements: int, max_chars: int) -> dict[str, Any]:
    """Return the descriptor's configuration by name, small values only (some devices send whole images)."""
    return {
        key: value
        for device in descriptor.get("configuration", {}).values()
        for key, value in device.get("data", {}).items()
        if _small(value, max_elements, max_chars)
    }


def small_readings(
    event: Mapping[str, Any], data_keys: Mapping[str, Any], frame_key: str, max_elements: int, max_chars: int
) -> dict[str, Any]:
    """Return the event's other readings: scalars, short texts, small numeric arrays; no references to files.

    Keys with ``.`` or ``/`` are left out: event-model allows no such key in the result's documents.
    """
    filled = event.get("filled", {})
    readings = {}
    for key, value in event["data"].items():
        if key == frame_key or "." in key or "/" in key or not _small(value, max_elements, max_chars):
            continue
        if isinstance(value, str) and (filled.get(key) is False or data_keys.get(key, {}).get("external")):
            continue
        readings[key] = value
    return readings


def _small(value: Any, max_elements: int, max_chars: int) -> bool:
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        return True
    if isinstance(value, str):
        return len(value) <= max_chars
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufcU" and value.size <= max_elements
    return isinstance(value, (list, tuple)) and _elements(value, max_elements) <= max_elements


def _elements(value: Sequence[Any], limit: int) -> int:
    """Count the numbers in nested lists; anything else in them counts as too many."""
    count, stack = 0, [value]
    while stack:
        items = stack.pop()
        count += len(items)
        if count > limit:
            return count
        for item in items:
            if isinstance(item, (list, tuple)):
                stack.append(item)
            elif not isinstance(item, (bool, int, float, str, np.number)):
                return limit + 1
    return count
