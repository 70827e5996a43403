"""Records with header names that are no text: kafka-python cannot get past one, so it is helped."""

from __future__ import annotations

from typing import Any

from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint

__all__ = ["stand_odd_headers"]


def stand_odd_headers() -> None:
    """Let the consumers of this process read records whose header names are not UTF-8; done once.

    The broker takes such a record from anybody. kafka-python raises at it, again at every try and after every
    restart, and offers no way around the record: a single one would end an analysis for good. Here the bytes
    of the name that are not ASCII become ``?``; key, value, header values and all other names stay as they
    are.
    """
    read = DefaultRecordBatch._read_msg
    if getattr(read, "stands_odd_headers", False):
        return

    def forgiving(batch: Any) -> Any:
        try:
            return read(batch)
        except UnicodeDecodeError:
            _make_readable(batch)
            return read(batch)

    forgiving.stands_odd_headers = True  # type: ignore[attr-defined]
    DefaultRecordBatch._read_msg = forgiving


def _make_readable(batch: Any) -> None:
    """Replace what is not UTF-8 in the header names of the record that is read next."""
    batch._buffer = buffer = bytearray(batch._buffer)
    pos = batch._pos
    for _ in ("length", "attributes", "timestamp delta", "offset delta"):
        _, pos = decode_varint(buffer, pos)
    for _ in ("key", "value"):
        size, pos = decode_varint(buffer, pos)
        pos += max(size, 0)
    count, pos = decode_varint(buffer, pos)
    for _ in range(count):
        size, pos = decode_varint(buffer, pos)
        name = buffer[pos : pos + size]
        try:
            name.decode()
        except UnicodeDecodeError:
            buffer[pos : pos + size] = bytes(byte if byte < 0x80 else ord("?") for byte in name)
        pos += size
        size, pos = decode_varint(buffer, pos)
        pos += max(size, 0)
