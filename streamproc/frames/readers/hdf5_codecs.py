"""Decoding of HDF5 chunks outside HDF5's global lock, so that several threads can decode at once."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed

__all__ = ["Bitshuffle", "decoded"]


class Bitshuffle:
    """The bitshuffle library that hdf5plugin ships, called directly: ctypes lets other threads run meanwhile.

    Same code as HDF5 would call as a filter, but outside HDF5's global lock and without a second copy.
    """

    def __init__(self) -> None:
        self._functions = _bitshuffle_functions()

    def knows(self, codec: str) -> bool:
        """Say whether ``bslz4`` or ``bszstd`` can be decoded here."""
        return codec in self._functions

    def decode(self, codec: str, data: bytes, out: npt.NDArray[Any]) -> None:
        """Decode a chunk (12-byte header, blocks) into ``out``; a chunk that is not whole is refused."""
        size, block_bytes = struct.unpack_from(">QI", data) if len(data) >= 12 else (0, 0)
        item = out.itemsize
        if size != out.nbytes or block_bytes % (8 * item):
            raise FrameFailed(f"a compressed chunk says it holds {size} bytes, expected {out.nbytes}")
        block = block_bytes // item or _default_block(item)
        _check_blocks(data, out.size, block, item)
        source = np.frombuffer(data, np.uint8)
        read = self._functions[codec](source.ctypes.data + 12, out.ctypes.data, out.size, item, block)
        if read < 0:
            raise FrameFailed(f"a compressed chunk cannot be decoded (bitshuffle error {read})")


def _bitshuffle_functions() -> dict[str, Callable[..., int]]:
    import hdf5plugin

    functions: dict[str, Callable[..., int]] = {}
    try:
        library = ctypes.CDLL(str(hdf5plugin.get_config().registered_filters["bshuf"]))
        for codec, name in (("bslz4", "bshuf_decompress_lz4"), ("bszstd", "bshuf_decompress_zstd")):
            function = getattr(library, name)
            function.restype = ctypes.c_int64
            function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_size_t] * 3]
            functions[codec] = function
    except (OSError, AttributeError, KeyError):
        return {}
    return functions


def _default_block(item: int) -> int:
    """Return bitshuffle's own block length in elements (8192 bytes, a multiple of 8, at least 128)."""
    return max(8192 // item // 8 * 8, 128)


def _check_blocks(data: bytes, elements: int, block: int, item: int) -> None:
    """Refuse a chunk whose blocks do not end where it ends: the library itself would read beyond it."""
    left_over = elements % 8 * item
    blocks = elements // block + (elements % block >= 8)
    at, end = 12, len(data) - left_over
    for _ in range(blocks):
        if at + 4 > end:
            raise FrameFailed("a compressed chunk is cut short")
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    if at != end:
        raise FrameFailed("a compressed chunk is cut short or has bytes to spare")


def decoded(
    codec: str, dtype: np.dtype[Any], shape: tuple[int, ...], data: bytes, bitshuffle: Bitshuffle
) -> npt.NDArray[Any]:
    """Return one stored chunk as an array of ``shape``; ``codec`` is ``raw``, ``lz4``, ``bslz4``, ``bszstd``.

    Raises
    ------
    FrameFailed
        The bytes are not a whole chunk of that shape.
    """
    if codec == "raw":
        if len(data) != prod(shape) * dtype.itemsize:
            raise FrameFailed(f"a chunk has {len(data)} bytes, expected {shape} x {dtype.itemsize}")
        return np.frombuffer(data, dtype).reshape(shape)
    out = np.empty(shape, dtype)
    if codec == "lz4":
        _decode_lz4(data, out)
    else:
        bitshuffle.decode(codec, data, out)
    return out


def _decode_lz4(data: bytes, out: npt.NDArray[Any]) -> None:
    import imagecodecs

    try:
        decoded = imagecodecs.lz4h5_decode(data, out=out.reshape(-1).view(np.uint8).data)
    except (RuntimeError, ValueError) as error:
        raise FrameFailed(f"a compressed chunk cannot be decoded: {error}") from error
    if len(decoded) != out.nbytes:
        raise FrameFailed(f"a compressed chunk holds {len(decoded)} bytes, expected {out.nbytes}")
