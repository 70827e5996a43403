"""The wire form of a document: byte-compatible with bluesky-kafka, decoded without trusting the sender.

A message is ``msgpack((name, doc))`` with numpy arrays as msgpack-numpy 0.4 writes them; see
``docs/reference/wire-format.md``. Neither ``msgpack_numpy`` nor ``bluesky_kafka`` is imported, because both
replace functions of the ``msgpack`` module for the whole process; for the same reason the C extension is
taken directly, so that this codec works the same in a process where they have done so.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

try:
    from msgpack._cmsgpack import Packer, unpackb
except ImportError:  # no C extension on this platform
    from msgpack.fallback import Packer, unpackb

from msgpack.exceptions import UnpackException

from streamproc.errors import DocumentRefused
from streamproc.transports._arrays import check_dtype, plain_map
from streamproc.transports._walk import Walk

__all__ = ["DecodeLimits", "decode", "encode"]

_SMALL_BYTES = 64 * 1024
_MALFORMED = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    RecursionError,
    MemoryError,
    struct.error,
    UnpackException,
)


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a message may be at most.

    Attributes
    ----------
    message_bytes : int
        Length of the message (bytes).
    depth : int
        Nesting of lists and maps.
    items : int
        Elements of lists and maps, all together; arrays count as one.
    string_bytes : int
        Longest text (bytes).
    name_chars : int
        Longest document name.
    """

    message_bytes: int = 64 * 1024 * 1024
    depth: int = 64
    items: int = 1_000_000
    string_bytes: int = 16 * 1024 * 1024
    name_chars: int = 200


def encode(name: str, doc: Mapping[str, Any]) -> bytes:
    """Return the message of a document, the very bytes that bluesky-kafka's ``Publisher`` would send.

    Parameters
    ----------
    name : str
        ``start``, ``descriptor``, ``event``, ...
    doc : Mapping
        The document; numpy arrays and scalars, complex numbers and bytes are allowed at any depth.

    Raises
    ------
    DocumentRefused
        Something that no consumer could read back: object or date arrays, keys that are not text, numbers
        beyond 64 bit, or types that msgpack does not know.
    """
    try:
        packed: bytes = Packer(default=_numpy_form).pack((name, doc))
        _check_keys(doc)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DocumentRefused(f"{name} document cannot be encoded: {error}") from error
    return packed


def decode(raw: bytes, limits: DecodeLimits = DecodeLimits()) -> tuple[str, dict[str, Any]]:
    """Return ``(name, doc)`` of a message.

    Arrays are read-only; those of messages over 64 KiB are views on ``raw`` (nothing is copied), unaligned.
    Tuples come back as lists, as with bluesky-kafka.

    Parameters
    ----------
    raw : bytes
        The message value.
    limits : DecodeLimits
        What is accepted at most.

    Raises
    ------
    DocumentRefused
        For every message that is not one Bluesky document within ``limits``; nothing else is ever raised.
    """
    if len(raw) > limits.message_bytes:
        raise DocumentRefused(f"message of {len(raw)} bytes, at most {limits.message_bytes} accepted")
    try:
        if len(raw) <= _SMALL_BYTES:
            value = _Small(limits).message(raw)
        else:
            value = Walk(raw, limits.depth, limits.items, limits.string_bytes).message()
    except _MALFORMED as error:
        reason = str(error) or type(error).__name__
        raise DocumentRefused(f"not a decodable document: {reason}") from error
    return _as_document(value, limits)


def _as_document(value: Any, limits: DecodeLimits) -> tuple[str, dict[str, Any]]:
    if type(value) is not list or len(value) != 2:
        raise DocumentRefused("not a Bluesky document: expected the pair [name, document]")
    name, doc = value
    if type(name) is not str or not 0 < len(name) <= limits.name_chars:
        raise DocumentRefused(f"not a Bluesky document: name {name!r:.60}")
    if type(doc) is not dict:
        raise DocumentRefused(f"{name}: document is {type(doc).__name__}, expected a map")
    return name, doc


class _Small:
    """Messages up to 64 KiB: the msgpack library's C decoder, its results counted and checked on the way."""

    __slots__ = ("containers", "items", "limits")

    def __init__(self, limits: DecodeLimits) -> None:
        self.limits, self.containers, self.items = limits, 0, 0

    def message(self, raw: bytes) -> Any:
        n = min(self.limits.items, len(raw))
        value = unpackb(
            raw,
            raw=False,
            strict_map_key=True,
            object_hook=self._map,
            list_hook=self._list,
            ext_hook=_refuse_extension,
            max_str_len=min(self.limits.string_bytes, len(raw)),
            max_bin_len=len(raw),
            max_array_len=n,
            max_map_len=n,
            max_ext_len=0,
        )
        if self.containers > self.limits.depth:
            _check_depth(value, self.limits.depth)
        return value

    def _count(self, n: int) -> None:
        self.containers += 1
        self.items += n
        if self.items > self.limits.items:
            raise ValueError("too many elements")

    def _map(self, mapping: dict[Any, Any]) -> Any:
        self._count(len(mapping))
        return plain_map(mapping)

    def _list(self, items: list[Any]) -> list[Any]:
        self._count(len(items))
        return items


def _refuse_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"msgpack extension type {code} refused")


def _check_depth(value: Any, depth: int) -> None:
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {depth}")


def _check_keys(doc: Any) -> None:
    """Refuse keys that are not text: msgpack packs them, and no consumer can unpack them."""
    stack = [doc]
    while stack:
        value = stack.pop()
        inner: Any = value
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(f"map key {key!r:.40} is not text")
            inner = value.values()
        # A long list of numbers has one or two types; asking each element would cost more than packing it.
        containers = {kind for kind in set(map(type, inner)) if issubclass(kind, dict | list | tuple)}
        if containers:
            stack.extend(v for v in inner if type(v) in containers)


def _numpy_form(value: Any) -> Any:
    """Return what msgpack-numpy's encoder puts in the place of a value that msgpack does not know."""
    if isinstance(value, np.ndarray):
        check_dtype(value.dtype)
        structured = value.dtype.kind == "V"
        return {
            b"nd": True,
            b"type": value.dtype.descr if structured else value.dtype.str,
            b"kind": b"V" if structured else b"",
            b"shape": value.shape,
            b"data": value.data if value.flags.c_contiguous else value.tobytes(),
        }
    if isinstance(value, np.bool_ | np.number):
        check_dtype(value.dtype)
        return {b"nd": False, b"type": value.dtype.str, b"data": value.data}
    if isinstance(value, complex):
        return {b"complex": True, b"data": repr(value)}
    raise TypeError(f"{type(value).__name__} {value!r:.60} has no wire form")
