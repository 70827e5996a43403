"""HDF5 frames, live or closed: which rows of which file make up a reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers.asks import Ask
from streamproc.frames.readers.handles import HandleCache
from streamproc.frames.readers.hdf5_chunks import RawChunks
from streamproc.frames.readers.hdf5_codecs import Bitshuffle
from streamproc.frames.readers.hdf5_file import Redirect
from streamproc.frames.readers.hdf5_rows import Checked, OpenRows, Select
from streamproc.frames.readers.hdf5_virtual import VirtualRows
from streamproc.frames.readers.templates import file_names

__all__ = ["Hdf5Reader"]

_MOST_HOPS = 8


class Hdf5Reader:
    """Reads rows of HDF5 datasets.

    Parameters
    ----------
    policy : PathPolicy
        Asked for every file, also those that links and virtual datasets point to.
    max_frame_bytes : int
        Largest reading (bytes).
    max_open_files : int
        Most files kept open.
    """

    def __init__(self, policy: PathPolicy, *, max_frame_bytes: int, max_open_files: int) -> None:
        import hdf5plugin  # noqa: F401  (registers the filters with HDF5)

        self._policy = policy
        self._max_bytes = max_frame_bytes
        self._files: HandleCache[Path, OpenRows] = HandleCache(max_open_files)
        self._bitshuffle = Bitshuffle()

    def read(self, ask: Ask) -> npt.NDArray[Any]:
        """Return the rows of one reading, ``(rows, ...)``.

        Rows are ``index x rows per reading``: the stated number of frames, else ``shape[0]`` where the data
        key's shape has as many axes as the dataset, else 1. With a template every file is one frame or one
        reading, read whole.
        """
        if ask.parameters.get("slice"):
            raise FrameFailed(
                "a stream_resource with a 'slice' parameter is not read: it selects part of a row"
            )
        name = str(ask.parameters.get("dataset") or ask.parameters.get("path") or "")
        if not name:
            raise FrameFailed("the stream_resource names no dataset in its parameters")
        if ask.parameters.get("template") is None:
            return self._rows(self._policy.check(ask.base), name, ask.run_uid, lambda s: _wanted(ask, s))
        files = file_names(ask, (ask.frames or 1) if ask.datum_style else 1)
        parts = [self._rows(self._policy.check(f), name, ask.run_uid, lambda s: (0, s[0])) for f in files]
        return np.concatenate([part[np.newaxis] if part.ndim == 2 else part for part in parts])

    def release(self, run_uid: str) -> None:
        """Close the files only this run used."""
        self._files.release(run_uid)

    def close(self) -> None:
        """Close all files."""
        self._files.close()

    def _rows(self, path: Path, name: str, run_uid: str, select: Select, hops: int = 0) -> npt.NDArray[Any]:
        if hops > _MOST_HOPS:
            raise FrameFailed(f"{name!r} in {path}: more than {_MOST_HOPS} files linked in a row")
        with self._files.use(path, run_uid, lambda: OpenRows(path, self._bitshuffle)) as file:
            got = file.fetch(name, select, run_uid, self._max_bytes)
        if isinstance(got, Redirect):
            return self._rows(self._neighbour(path, got.file), got.dataset, run_uid, select, hops + 1)
        if isinstance(got, VirtualRows):
            return self._virtual(path, got, run_uid, hops)
        if isinstance(got, RawChunks):
            return got.decode(self._bitshuffle)[np.newaxis]
        if isinstance(got, Checked):
            return self._checked(path, name, run_uid, got)
        return got

    def _neighbour(self, path: Path, other: str) -> Path:
        """Return the file an HDF5 file points to, relative to its own folder, if it may be read."""
        if other == ".":
            return path
        if other.startswith("/") or ":" in other or "\\" in other:
            return self._policy.resolve(other)
        return self._policy.check(path.parent / other)

    def _virtual(self, path: Path, rows: VirtualRows, run_uid: str, hops: int) -> npt.NDArray[Any]:
        out = np.full(rows.shape, rows.fill, rows.dtype)
        for piece in rows.pieces:
            file = self._neighbour(path, piece.file)
            part = self._rows(file, piece.dataset, run_uid, piece.select, hops + 1)
            try:
                out[piece.target] = part[piece.source].reshape(out[piece.target].shape)
            except (ValueError, IndexError) as error:
                raise FrameFailed(f"{file} does not fit the virtual dataset in {path}: {error}") from error
        return out

    def _checked(self, path: Path, name: str, run_uid: str, got: Checked) -> npt.NDArray[Any]:
        """Compare our own decoding with the library's on a dataset's first row; trust the library."""
        try:
            same = np.array_equal(got.raw.decode(self._bitshuffle), got.array[0])
        except FrameFailed:
            same = False
        with self._files.use(path, run_uid, lambda: OpenRows(path, self._bitshuffle)) as file:
            file.direct[name] = same
        return got.array


def _wanted(ask: Ask, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the rows of a reading in a dataset of ``shape``."""
    said = ask.shape
    one_frame = len(said) == len(shape) + 1 > 2 and said[0] == 1 and said[1] != 1
    if ask.frames is None and one_frame:
        if ask.index:
            raise FrameFailed(f"the dataset holds one frame of shape {shape}, reading {ask.index} is wanted")
        return 0, shape[0]
    rows = ask.frames
    if rows is None:
        rows = (said[0] or 1) if len(said) == len(shape) else 1
    return ask.index * rows, (ask.index + 1) * rows
