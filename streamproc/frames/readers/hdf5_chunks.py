"""Chunks of an HDF5 dataset: which are there, and their bytes as they are stored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed
from streamproc.frames.readers.hdf5_codecs import Bitshuffle, decoded
from streamproc.frames.readers.shapes import check_dtype

__all__ = ["ChunkLayout", "RawChunks", "allocated", "any_stored", "layout_of", "read_raw", "row_chunks"]

_BITSHUFFLE, _LZ4 = 32008, 32004
_BITSHUFFLE_LZ4, _BITSHUFFLE_ZSTD = 2, 3
_MOST_TILES = 64
_MOST_CHUNKS = 1_000_000

Coordinates = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """What is constant about a dataset.

    Attributes
    ----------
    dtype : numpy dtype
        As stored, byte order included.
    chunks : tuple of int or None
        Chunk shape; None for contiguous and compact storage.
    codec : str or None
        ``raw``, ``bslz4``, ``bszstd`` or ``lz4`` where chunks can be decoded here; None: HDF5 has to.
    on_writing : bool
        Chunks are stored when they are written, not when the extent grows.
    proves : bool
        A stored chunk proves that its row was written: stored on writing, one row per chunk.
    fill : scalar
        The value of rows that were never written.
    """

    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    codec: str | None
    on_writing: bool
    proves: bool
    fill: Any


def layout_of(dataset: h5py.Dataset, what: str) -> ChunkLayout:
    """Look at a dataset's type, chunks and filters once.

    Raises
    ------
    FrameFailed
        No numbers, raw data in other files (external storage), or a filter that is not installed.
    """
    check_dtype(dataset.dtype, what)
    plist = dataset.id.get_create_plist()
    if plist.get_external_count():
        raise FrameFailed(f"{what} keeps its data in other files (HDF5 external storage), which is not read")
    filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
    for code, _, _, name in filters:
        if not h5py.h5z.filter_avail(code):
            shown = name.decode(errors="replace") or "unnamed"
            raise FrameFailed(
                f"{what} is compressed with the HDF5 filter {code} ({shown}), which is not installed"
            )
    chunks = dataset.chunks
    on_writing = chunks is not None and plist.get_alloc_time() != h5py.h5d.ALLOC_TIME_EARLY
    proves = on_writing and chunks[0] == 1
    codec = _codec(filters) if chunks is not None and chunks[0] == 1 else None
    return ChunkLayout(dataset.dtype, chunks, codec, on_writing, proves, _fill(dataset))


def _codec(filters: list[tuple[int, int, tuple[int, ...], bytes]]) -> str | None:
    if not filters:
        return "raw"
    if len(filters) > 1:
        return None
    code, _, options, _ = filters[0]
    if code == _LZ4:
        return "lz4"
    if code == _BITSHUFFLE and len(options) >= 5:
        return {_BITSHUFFLE_LZ4: "bslz4", _BITSHUFFLE_ZSTD: "bszstd"}.get(options[4])
    return None


def _fill(dataset: h5py.Dataset) -> Any:
    try:
        return dataset.fillvalue
    except (RuntimeError, ValueError):
        return dataset.dtype.type(0)


def row_chunks(shape: tuple[int, ...], chunks: tuple[int, ...], lo: int, hi: int) -> Iterator[Coordinates]:
    """Yield the coordinates of every chunk that holds part of rows ``lo..hi``."""
    first = range(lo - lo % chunks[0], hi, chunks[0])
    rest = (range(0, size, step) for size, step in zip(shape[1:], chunks[1:], strict=True))
    return itertools.product(first, *rest)


def allocated(dataset: h5py.Dataset, at: Coordinates) -> bool:
    """Say whether a chunk is stored.

    Asked by a direct read into a buffer that is too small: HDF5 looks the chunk up in its index (O(1)) and
    h5py then refuses the buffer. ``get_chunk_info_by_coord`` walks over all chunks instead (11 ms at 50 000).
    Only for datasets with a chunk: before the first is stored there is no index, and HDF5 (2.0) then reports
    success and a size that it never set.
    """
    try:
        _, data = dataset.id.read_direct_chunk(at, out=bytearray(0))
    except ValueError:
        return True
    except (RuntimeError, OSError):
        return False
    return len(data) > 0


def any_stored(dataset: h5py.Dataset) -> bool:
    """Say whether a chunked dataset has any chunk yet; walks over all of them, so ask until it is true."""
    return bool(dataset.id.get_num_chunks())


@dataclass(frozen=True, slots=True)
class RawChunks:
    """The stored bytes of one row's chunks and where each belongs in the row."""

    layout: ChunkLayout
    row_shape: tuple[int, ...]
    parts: tuple[tuple[Coordinates, bytes], ...]

    def decode(self, bitshuffle: Bitshuffle) -> npt.NDArray[Any]:
        """Return the row, decoded; holds no lock of HDF5."""
        layout, tile = self.layout, self._tile_shape
        codec = str(layout.codec)
        if tile == self.row_shape:
            return decoded(codec, layout.dtype, tile, self.parts[0][1], bitshuffle)
        row = np.empty(self.row_shape, layout.dtype)
        for at, data in self.parts:
            where = tuple(slice(o, o + n) for o, n in zip(at, tile, strict=True))
            target = row[where]
            part = decoded(codec, layout.dtype, tile, data, bitshuffle)
            target[...] = part[tuple(slice(0, n) for n in target.shape)]
        return row

    @property
    def _tile_shape(self) -> tuple[int, ...]:
        chunks = self.layout.chunks or ()
        return chunks[1:]


def read_raw(dataset: h5py.Dataset, layout: ChunkLayout, row: int) -> RawChunks | None:
    """Read one row's stored bytes, or None where a chunk is not stored or skipped its filter.

    Only for layouts with a ``codec``.
    """
    chunks, shape = layout.chunks or (), dataset.shape
    tiles = prod(-(-size // step) for size, step in zip(shape[1:], chunks[1:], strict=True))
    if tiles > _MOST_TILES:
        return None
    parts = []
    for at in row_chunks(shape, chunks, row, row + 1):
        try:
            skipped, data = dataset.id.read_direct_chunk(at)
        except (RuntimeError, OSError, ValueError):
            return None
        if skipped or not data:
            return None
        parts.append((at[1:], data))
    return RawChunks(layout, tuple(shape[1:]), tuple(parts))
