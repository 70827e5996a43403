"""Arrays as msgpack-numpy writes them, built without trusting a single field of the message."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["check_dtype", "complex_from", "numpy_from", "plain_map"]

_TYPE_STRING = re.compile(r"[<>=|]?([?biufcSUV])(\d{0,9})")
_PLAIN_KINDS = frozenset("biufcSUV")
_MAX_FIELDS = 1024
_MAX_STRUCT_DEPTH = 8
_MAX_DIMS = 32
_MAX_CODE_POINT = 0x10FFFF


def plain_map(mapping: dict[Any, Any]) -> Any:
    """Turn one decoded map into what it stands for: an array, a numpy scalar, a complex number or itself.

    Raises
    ------
    ValueError
        A malformed or refused array, or a key that is not text.
    """
    if b"nd" in mapping:
        return numpy_from(mapping)
    if b"complex" in mapping:
        return complex_from(mapping)
    for key in mapping:
        if type(key) is not str:
            raise ValueError(f"map key {key!r:.40} is not text")
    return mapping


def complex_from(mapping: Mapping[Any, Any]) -> complex:
    """Return the complex number of ``{b"complex": True, b"data": "(1+2j)"}``."""
    text = mapping.get(b"data")
    if len(mapping) != 2 or type(text) is not str or len(text) > 100:
        raise ValueError("malformed complex number")
    return complex(text)


def numpy_from(mapping: Mapping[Any, Any]) -> Any:
    """Return the array (a read-only view on its bytes) or numpy scalar that ``mapping`` describes.

    The stock decoder unpickles (``kind`` ``b"O"``) or builds object arrays from foreign bytes (any type
    string with ``O``); here only plain numbers, texts, bytes and structures of them come through, and the
    bytes must be exactly as many as shape and type ask for.

    Raises
    ------
    ValueError
        Object or date dtype, wrong number of bytes, impossible shape, unknown or missing fields.
    """
    data = mapping.get(b"data")
    if not isinstance(data, bytes | memoryview):
        raise ValueError(f"array data is {type(data).__name__}, not bytes")
    if mapping[b"nd"] is False:
        return _scalar(mapping, data)
    if mapping[b"nd"] is not True or mapping.keys() - {b"nd", b"type", b"kind", b"shape", b"data"}:
        raise ValueError("array with unknown fields")
    kind = mapping.get(b"kind", b"")
    if kind not in (b"", b"V"):
        raise ValueError(f"array of kind {kind!r:.40} refused: it would need unpickling")
    dtype = _structured(mapping.get(b"type"), 0) if kind == b"V" else _plain(mapping.get(b"type"))
    return _view(data, dtype, _shape(mapping.get(b"shape")))


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Refuse what must not travel: objects, dates and other kinds that are no plain memory.

    Raises
    ------
    ValueError
        Naming the dtype.
    """
    base = dtype.base
    if base.hasobject or base.kind not in _PLAIN_KINDS:
        raise ValueError(
            f"dtype {dtype} refused: only numbers, booleans, texts, bytes and structures of them"
        )
    for name in base.names or ():
        check_dtype(base.fields[name][0])  # type: ignore[index]


def _scalar(mapping: Mapping[Any, Any], data: bytes | memoryview) -> Any:
    dtype = _plain(mapping.get(b"type"))
    if dtype.kind not in "biufc" or len(mapping) != 3 or len(data) != dtype.itemsize:
        raise ValueError(f"malformed numpy scalar: {len(data)} bytes for {dtype}")
    return _view(data, dtype, (1,))[0]


def _view(data: bytes | memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    size = math.prod(shape)
    if dtype.itemsize == 0 and size:
        raise ValueError(f"array of {size} elements without bytes")
    if size * dtype.itemsize != len(data):
        raise ValueError(f"array {shape} of {dtype} needs {size * dtype.itemsize} bytes, has {len(data)}")
    array: npt.NDArray[Any] = np.ndarray(shape, dtype, buffer=data)
    _check_values(array)
    return array


def _check_values(array: npt.NDArray[Any]) -> None:
    """Refuse bytes that numpy takes but that mean nothing: booleans beyond 1, code points beyond Unicode."""
    dtype = array.dtype
    for name in dtype.names or ():
        _check_values(array[name])
    if not array.size or dtype.kind not in "bU":
        return
    plain = np.ascontiguousarray(array)
    if dtype.kind == "b" and plain.view(np.uint8).max() > 1:
        raise ValueError("boolean array with bytes other than 0 and 1")
    if dtype.kind == "U" and plain.reshape(-1).view(np.dtype("u4").newbyteorder(dtype.byteorder)).max() > (
        _MAX_CODE_POINT
    ):
        raise ValueError("text array with code points beyond Unicode")


def _plain(text: Any) -> np.dtype[Any]:
    if isinstance(text, bytes):
        text = text.decode("ascii")
    if type(text) is not str or not (match := _TYPE_STRING.fullmatch(text)):
        raise ValueError(f"array type {text!r:.60} refused")
    if match[1] == "V" and not match[2]:
        raise ValueError("void array type without a size")
    dtype = np.dtype(text)
    check_dtype(dtype)
    return dtype


def _structured(fields: Any, depth: int) -> np.dtype[Any]:
    """Build a structured dtype from ``[[name, type or fields, shape?], ...]``."""
    if type(fields) is not list or not 0 < len(fields) <= _MAX_FIELDS or depth > _MAX_STRUCT_DEPTH:
        raise ValueError("malformed structured array type")
    built: list[tuple[Any, ...]] = []
    for field in fields:
        if type(field) is not list or len(field) not in (2, 3) or not isinstance(field[0], str | bytes):
            raise ValueError("malformed field in a structured array type")
        name = field[0].decode() if isinstance(field[0], bytes) else field[0]
        inner = _structured(field[1], depth + 1) if type(field[1]) is list else _plain(field[1])
        built.append((name, inner) if len(field) == 2 else (name, inner, _shape(field[2])))
    return np.dtype(built)


def _shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is not list or len(shape) > _MAX_DIMS:
        raise ValueError(f"array shape {shape!r:.60} refused")
    for n in shape:
        if type(n) is not int or not 0 <= n < 2**40:
            raise ValueError(f"array shape {shape!r:.60} refused")
    return tuple(shape)
