"""MessagePack for large messages: array bytes are not copied, and every size is checked before it is used."""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

from streamproc.transports._arrays import plain_map

__all__ = ["Walk"]

_FIXED: Final = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS: Final = {
    code: struct.Struct(f">{fmt}")
    for code, fmt in zip((*range(0xCA, 0xD0), *range(0xD0, 0xD4)), "fdBHIQbhiq", strict=True)
}
_LENGTHS: Final = {
    code: (kind, struct.Struct(f">{fmt}"))
    for kind, codes in {
        "bin": ((0xC4, "B"), (0xC5, "H"), (0xC6, "I")),
        "str": ((0xD9, "B"), (0xDA, "H"), (0xDB, "I")),
        "list": ((0xDC, "H"), (0xDD, "I")),
        "map": ((0xDE, "H"), (0xDF, "I")),
    }.items()
    for code, fmt in codes
}
_FLOAT64: Final = np.dtype([("code", "u1"), ("value", ">f8")])
_ND_KEY: Final = b"\xc4\x02nd"


class Walk:
    """One pass over one message.

    Why not the msgpack library here: it copies every byte string, and it checks the number of elements of
    each container but not of all together. A detector frame has few elements and many bytes, so a pass in
    Python costs some microseconds and saves the copy.

    Parameters
    ----------
    raw : bytes
        The message.
    depth : int
        Deepest nesting accepted.
    items : int
        Most elements (of lists and maps, all together) accepted.
    string_bytes : int
        Longest text accepted (bytes).
    """

    __slots__ = ("depth", "items", "pos", "raw", "string_bytes", "view")

    def __init__(self, raw: bytes, depth: int, items: int, string_bytes: int) -> None:
        self.raw, self.view, self.pos = raw, memoryview(raw), 0
        self.depth, self.items, self.string_bytes = depth, items, string_bytes

    def message(self) -> Any:
        """Return the one value of the message.

        Raises
        ------
        ValueError, IndexError, struct.error
            Truncated, trailing bytes, over a limit, or refused content.
        """
        value = self._value(0, False)
        if self.pos != len(self.raw):
            raise ValueError(f"{len(self.raw) - self.pos} bytes after the end of the message")
        return value

    def _value(self, depth: int, views: bool) -> Any:
        code = self.raw[self.pos]
        self.pos += 1
        if code < 0x80:
            return code
        if code >= 0xE0:
            return code - 256
        if code < 0x90:
            return self._map(code & 0x0F, depth)
        if code < 0xA0:
            return self._list(code & 0x0F, depth)
        if code < 0xC0:
            return self._text(code & 0x1F)
        if number := _NUMBERS.get(code):
            return self._number(number)
        if code in _LENGTHS:
            return self._sized(code, depth, views)
        if code in _FIXED:
            return _FIXED[code]
        raise ValueError(f"msgpack type 0x{code:02x} refused (extension or unused)")

    def _number(self, number: struct.Struct) -> Any:
        (value,) = number.unpack_from(self.raw, self.pos)
        self.pos += number.size
        return value

    def _sized(self, code: int, depth: int, views: bool) -> Any:
        kind, length = _LENGTHS[code]
        n = self._number(length)
        if kind == "str":
            return self._text(n)
        if kind == "list":
            return self._list(n, depth)
        if kind == "map":
            return self._map(n, depth)
        start = self._take(n)
        return self.view[start : self.pos] if views else self.raw[start : self.pos]

    def _take(self, n: int) -> int:
        """Step over ``n`` bytes and return where they begin."""
        start = self.pos
        if n > len(self.raw) - start:
            raise ValueError(f"truncated: {n} bytes announced, {len(self.raw) - start} left")
        self.pos = start + n
        return start

    def _text(self, n: int) -> str:
        if n > self.string_bytes:
            raise ValueError(f"text of {n} bytes, at most {self.string_bytes} accepted")
        start = self._take(n)
        return self.raw[start : self.pos].decode()

    def _enter(self, n: int, depth: int) -> None:
        if depth >= self.depth:
            raise ValueError(f"nested deeper than {self.depth}")
        if n > len(self.raw) - self.pos:
            raise ValueError(f"truncated: {n} elements announced, {len(self.raw) - self.pos} bytes left")
        self.items -= n
        if self.items < 0:
            raise ValueError("too many elements")

    def _list(self, n: int, depth: int) -> list[Any]:
        self._enter(n, depth)
        end = self.pos + 9 * n
        if n > 64 and self.raw[self.pos] == 0xCB and end <= len(self.raw):
            block = np.frombuffer(self.view[self.pos : end], _FLOAT64)
            if (block["code"] == 0xCB).all():
                self.pos = end
                floats: list[Any] = block["value"].tolist()
                return floats
        value = self._value
        return [value(depth + 1, False) for _ in range(n)]

    def _map(self, n: int, depth: int) -> Any:
        self._enter(n, depth)
        views = self.raw.startswith(_ND_KEY, self.pos)
        mapping: dict[Any, Any] = {}
        for _ in range(n):
            key = self._value(depth + 1, False)
            if type(key) is not str and type(key) is not bytes:
                raise ValueError(f"map key {key!r:.40} is not text")
            mapping[key] = self._value(depth + 1, views)
        return plain_map(mapping)
