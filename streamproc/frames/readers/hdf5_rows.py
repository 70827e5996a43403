"""Rows of one open HDF5 file, live or closed: given only once they are really there.

When is a row there? Its extent says nothing (a writer grows it first). Where a chunk holds one row, the row
is there when all its chunks are stored: HDF5 stores a chunk, then says so. Where storage proves nothing
(several rows per chunk, contiguous or early-allocated storage) and a SWMR writer still has the file open,
the chunk is overwritten in place and may be read half done: a row is there once the row or chunk after it
is, or, unless it is wholly fill value, once the file has not changed for half a second. In a closed file
the extent is final: what is stored is the answer, but an unallocated chunk never is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from streamproc.errors import NotYet
from streamproc.frames.readers.hdf5_chunks import (
    ChunkLayout,
    RawChunks,
    allocated,
    any_stored,
    layout_of,
    read_raw,
    row_chunks,
)
from streamproc.frames.readers.hdf5_codecs import Bitshuffle
from streamproc.frames.readers.hdf5_file import Hdf5File, Redirect
from streamproc.frames.readers.hdf5_virtual import VirtualRows, virtual_rows
from streamproc.frames.readers.shapes import check_size

__all__ = ["Checked", "Got", "OpenRows", "Select"]

_QUIET_S = 0.5

Rows = tuple[int, int]
Select = Callable[[tuple[int, ...]], Rows]
"""Given the dataset's shape, the half-open range of rows wanted."""


class _Missing(Exception):
    """Not there at this look; the handle may be stale."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Rows as the library reads them, and the same row's raw chunks, to be compared once."""

    array: npt.NDArray[Any]
    raw: RawChunks


Got = npt.NDArray[Any] | RawChunks | Checked | Redirect | VirtualRows
"""The rows themselves, rows still to be decoded, or where they are instead."""


class OpenRows:
    """An open file with what is known of its datasets; use under its handle's lock only."""

    def __init__(self, path: Path, bitshuffle: Bitshuffle) -> None:
        self._file = Hdf5File(path)
        self._bitshuffle = bitshuffle
        self._layouts: dict[str, tuple[h5py.Dataset, ChunkLayout]] = {}
        self._runs: set[str] = set()
        self._indexed: set[str] = set()
        self._complete: dict[str, int] = {}
        self._modified = (0, time.monotonic())
        self.direct: dict[str, bool] = {}
        """Datasets whose direct decoding was compared with the library's: whether it agreed."""

    def close(self) -> None:
        """Close the file."""
        self._layouts.clear()
        self._file.close()

    def fetch(self, name: str, select: Select, run_uid: str, max_bytes: int) -> Got:
        """Return the rows, or what to decode or to read elsewhere; look twice before saying NotYet."""
        self._file.reopen_if_replaced(run_uid not in self._runs)
        self._runs.add(run_uid)
        reason: Exception | None = None
        for look in (1, 2):
            if look == 2 and not self._file.renew():
                break
            try:
                return self._look(name, select, max_bytes)
            except (_Missing, NotYet, OSError, RuntimeError, KeyError, ValueError) as error:
                reason = error
        message = reason.message if isinstance(reason, NotYet) else str(reason)
        raise NotYet(message) from reason

    def _look(self, name: str, select: Select, max_bytes: int) -> Got:
        dataset = self._file.dataset(name)
        if isinstance(dataset, Redirect):
            return dataset
        what = f"{name!r} in {self._file.path}"
        if dataset.is_virtual:
            return virtual_rows(dataset, select, max_bytes, what)
        layout = self._layout(name, dataset, what)
        shape = tuple(dataset.shape) or (1,)
        lo, hi = select(shape)
        if hi > shape[0]:
            raise _Missing(f"{what} has {shape[0]} rows (so far), rows {lo}..{hi - 1} are wanted")
        check_size((hi - lo, *shape[1:]), layout.dtype.itemsize, max_bytes, f"rows {lo}..{hi - 1} of {what}")
        if layout.chunks is not None and name not in self._indexed:
            if not any_stored(dataset):
                raise _Missing(f"rows {lo}..{hi - 1} of {what} are not written yet: no chunk is stored")
            self._indexed.add(name)
        if hi - lo == 1 and self._decodes(name, layout):
            return self._raw_row(name, dataset, layout, lo, what)
        self._check_allocated(dataset, layout, lo, hi, what)
        return self._library_rows(name, dataset, layout, lo, hi, what)

    def _layout(self, name: str, dataset: h5py.Dataset, what: str) -> ChunkLayout:
        known = self._layouts.get(name)
        if known is None or known[0] is not dataset:
            self.direct.pop(name, None)
            self._indexed.discard(name)
            self._complete.pop(name, None)
            known = self._layouts[name] = (dataset, layout_of(dataset, what))
        return known[1]

    def _decodes(self, name: str, layout: ChunkLayout) -> bool:
        ours = layout.codec in ("raw", "lz4") or self._bitshuffle.knows(layout.codec or "")
        return layout.proves and ours and self.direct.get(name, True)

    def _raw_row(
        self, name: str, dataset: h5py.Dataset, layout: ChunkLayout, row: int, what: str
    ) -> npt.NDArray[Any] | RawChunks | Checked:
        raw = read_raw(dataset, layout, row)
        if raw is not None and name in self.direct:
            return raw
        self._check_allocated(dataset, layout, row, row + 1, what)
        array = _read(dataset, row, row + 1)
        return array if raw is None else Checked(array, raw)

    def _check_allocated(
        self, dataset: h5py.Dataset, layout: ChunkLayout, lo: int, hi: int, what: str
    ) -> None:
        if layout.chunks is None:
            return
        for at in row_chunks(dataset.shape, layout.chunks, lo, hi):
            if not allocated(dataset, at):
                raise _Missing(
                    f"rows {lo}..{hi - 1} of {what} are not written yet: the chunk at {at} is not stored"
                )

    def _library_rows(
        self, name: str, dataset: h5py.Dataset, layout: ChunkLayout, lo: int, hi: int, what: str
    ) -> npt.NDArray[Any]:
        if layout.proves or not self._file.live or hi <= self._complete.get(name, 0):
            return _read(dataset, lo, hi)
        # What HDF5 has cached of this chunk may be older than what it says about the next one.
        dataset.refresh()
        complete = _complete_rows(dataset, layout, hi)
        if not complete and not self._quiet():
            raise _Missing(f"rows {lo}..{hi - 1} of {what} may be in the middle of being written")
        dataset.refresh()
        array = _read(dataset, lo, hi)
        if complete:
            self._complete[name] = complete
        elif (array[-1] == layout.fill).all():
            raise _Missing(
                f"row {hi - 1} of {what} holds only the fill value {layout.fill!r} and the file is "
                "still being written: not written yet, or really blank (then known when more comes)"
            )
        return array

    def _quiet(self) -> bool:
        """Say whether the file did not change for a while, by our own clock."""
        modified, now = self._file.path.stat().st_mtime_ns, time.monotonic()
        if modified != self._modified[0]:
            self._modified = (modified, now)
        return now - self._modified[1] >= _QUIET_S


def _complete_rows(dataset: h5py.Dataset, layout: ChunkLayout, row: int) -> int:
    """Return below which row all are written, as ``row`` or a later one is; 0 where that is not known.

    Writers append in order. A chunk that is not stored must not be read: once HDF5 has it in its cache as
    fill value, it looks stored.
    """
    rows, step = dataset.shape[0], (layout.chunks or (1,))[0]
    if layout.on_writing:
        for start in (rows - 1 - (rows - 1) % step, row + (-row) % step):
            if row <= start < rows and allocated(dataset, (start, *(0 for _ in dataset.shape[1:]))):
                return start
        if row % step == 0:
            return 0
    written = row < rows and bool((_read(dataset, row, row + 1) != layout.fill).any())
    return row if written else 0


def _read(dataset: h5py.Dataset, lo: int, hi: int) -> npt.NDArray[Any]:
    """Read rows into a fresh buffer (2-3 times as fast as ``dataset[lo:hi]``)."""
    if not dataset.shape:
        return np.asarray(dataset[()])[np.newaxis]
    out = np.empty((hi - lo, *dataset.shape[1:]), dataset.dtype)
    try:
        dataset.read_direct(out, np.s_[lo:hi])
    except (OSError, RuntimeError) as error:
        raise _Missing(f"rows {lo}..{hi - 1} of {dataset.name!r} cannot be read (yet): {error}") from error
    return out
