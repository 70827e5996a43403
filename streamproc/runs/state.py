"""Plain msgpack-able values out of documents, and back: what open-run state is stored as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamproc.documents import Position

__all__ = ["pack", "pack_position", "unpack", "unpack_position"]

_ARRAY = "__ndarray__"
_LARGE_BYTES = 4096


def pack(value: Any) -> Any:
    """Return ``value`` with arrays as ``{"__ndarray__": dtype, "shape", "data"}`` and so on.

    Numpy scalars are arrays of shape None, complex numbers pairs, integers beyond 64 bit texts. What comes
    back has the same wire form, so that results are the same after a restart.

    Raises
    ------
    TypeError
        For object arrays and anything msgpack cannot hold.
    """
    if value is None or isinstance(value, (str, bool, int, float, bytes)):
        if isinstance(value, int) and not -(2**63) <= value < 2**64:  # JSON archives have such numbers
            return {_ARRAY: "int", "data": str(value)}
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Mapping):
        if _ARRAY in value:  # a document's own key of that name must not turn into an array later
            return {_ARRAY: None, "items": [[key, pack(item)] for key, item in value.items()]}
        return {key: pack(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [pack(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        descr = np.lib.format.dtype_to_descr(value.dtype)
        plain = descr if isinstance(descr, str) else _pack_descr(descr)
        shape = list(value.shape) if isinstance(value, np.ndarray) else None
        return {_ARRAY: plain, "shape": shape, "data": _bytes(np.asarray(value))}
    if isinstance(value, complex):
        return {_ARRAY: "complex", "data": [value.real, value.imag]}
    raise TypeError(f"{type(value).__name__} cannot be stored in run state")


def unpack(value: Any) -> Any:
    """Return what :func:`pack` was given (tuples come back as lists); arrays are read-only views."""
    if isinstance(value, Mapping):
        if _ARRAY in value and value[_ARRAY] is None:
            return {key: unpack(item) for key, item in value["items"]}
        if value.get(_ARRAY) == "int":
            return int(value["data"])
        if value.get(_ARRAY) == "complex":
            return complex(*value["data"])
        if _ARRAY in value:
            return _unpack_array(value)
        return {key: unpack(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [unpack(item) for item in value]
    return value


def _unpack_array(value: Mapping[str, Any]) -> Any:
    dtype = np.lib.format.descr_to_dtype(_unpack_descr(value[_ARRAY]))
    if dtype.hasobject:
        raise TypeError("an object array in run state is refused")
    scalar = value["shape"] is None
    shape = (1,) if scalar else tuple(value["shape"])
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype=dtype, buffer=value["data"])
    return array[0] if scalar else array


def _bytes(array: np.ndarray[Any, Any]) -> bytes | memoryview:
    """Return the elements in C order; those of a large array without copying them."""
    if array.nbytes < _LARGE_BYTES or not array.flags.c_contiguous:
        return array.tobytes()
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)


def _pack_descr(descr: Any) -> Any:
    return [_pack_descr(d) for d in descr] if isinstance(descr, (list, tuple)) else descr


def _unpack_descr(descr: Any) -> Any:
    if isinstance(descr, str):
        return descr
    return [_unpack_field(field) for field in descr]


def _unpack_field(field: Sequence[Any]) -> tuple[Any, ...]:
    name, kind, *shape = field
    return (name, _unpack_descr(kind), *(tuple(s) for s in shape))


def pack_position(position: Position) -> list[Any]:
    """Return a position as ``[topic, partition, offset]``."""
    return [position.topic, position.partition, position.offset]


def unpack_position(state: Sequence[Any]) -> Position:
    """Take up what :func:`pack_position` gave."""
    topic, partition, offset = state
    return Position(topic, partition, offset)
