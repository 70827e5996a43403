"""Documents held against each other: in bytes, in values, and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from streamproc.transports.codec import encode

__all__ = ["Absent", "in_bytes", "only_added", "paired", "same", "same_names", "shown"]

_SHOWN_CHARS = 80


def paired(
    one: Mapping[str, Any], other: Mapping[str, Any], depth: int, path: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield name and both values of every field of two documents, down to a depth."""
    for key in dict.fromkeys([*one, *other]):
        first, second = one.get(key, Absent), other.get(key, Absent)
        maps = isinstance(first, Mapping) and isinstance(second, Mapping) and (first or second)
        if depth > 1 and maps and key != "timestamps":
            yield from paired(first, second, depth - 1, f"{path}{key}.")
        else:
            yield f"{path}{key}", first, second


class Absent:
    """Stands for a field that is not there."""


def in_bytes(value: Any) -> bytes:
    """Return a value as it is on the wire; nothing for a field that is not there."""
    return b"" if value is Absent else encode("", {"v": value})


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same, whatever their container or number type."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        try:
            first, second = np.asarray(one), np.asarray(other)
            floats = first.dtype.kind in "fc" and second.dtype.kind in "fc"
            return first.shape == second.shape and bool(np.array_equal(first, second, equal_nan=floats))
        except (ValueError, TypeError):
            return False
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float) and one != one and other != other:
        return True
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def only_added(one: Any, other: Any) -> bool:
    """Tell whether the reference's store only added to a mapping, or has no such field."""
    if one is Absent or other is Absent:
        return True
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        shared = one.keys() & other.keys()
        return all(same(one[k], other[k]) or only_added(one[k], other[k]) for k in shared)
    return False


def same_names(one: Any, other: Any) -> bool:
    """Tell whether two mappings of lists have the same names, in whatever order: PostgreSQL keeps none."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)) or one.keys() != other.keys():
        return False
    return all(sorted(map(str, one[k])) == sorted(map(str, other[k])) for k in one)


def shown(value: Any) -> str:
    """Return a value in one line that is not too long."""
    text = "nothing" if value is Absent else " ".join(repr(value).split())
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."
