"""FrameReader: from a FrameRequest to its pixels, whatever they are stored in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed, NotYet, Where
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers.asks import HDF5, JPEG, NPY, TIFF, ZARR, Ask, ask_for, document_shape
from streamproc.frames.readers.handlers import HandlerReader
from streamproc.frames.readers.hdf5 import Hdf5Reader
from streamproc.frames.readers.images import ImageReader, read_jpeg, read_tiff
from streamproc.frames.readers.inline import read_inline
from streamproc.frames.readers.npy import NpyReader
from streamproc.frames.readers.shapes import finished
from streamproc.frames.readers.zarr import ZarrReader
from streamproc.frames.requests import FrameRequest, Inline, Locator

__all__ = ["FrameReader"]

_MOST_NOTES = 100
_MOST_DARKS = 8

Array = npt.NDArray[Any]


class _Reads(Protocol):
    def read(self, ask: Ask) -> Array: ...


class FrameReader:
    """Reads frames from events and files; never waits: what is not there yet is :class:`NotYet`.

    Threads may share one reader; two threads never read one file at the same time.

    Parameters
    ----------
    policy : PathPolicy
        Which files may be opened.
    max_frame_bytes : int
        Largest reading (bytes), checked before memory is taken.
    max_open_files : int
        Most files kept open between frames, per storage form.
    """

    def __init__(
        self, policy: PathPolicy, *, max_frame_bytes: int = 512 * 1024 * 1024, max_open_files: int = 64
    ) -> None:
        self._policy = policy
        self._max_bytes = max_frame_bytes
        self._hdf5 = Hdf5Reader(policy, max_frame_bytes=max_frame_bytes, max_open_files=max_open_files)
        self._zarr = ZarrReader(policy, max_frame_bytes=max_frame_bytes, max_open_files=max_open_files)
        self._handlers = HandlerReader(policy, max_frame_bytes=max_frame_bytes, max_open_files=max_open_files)
        self._readers: dict[str, _Reads] = {
            HDF5: self._hdf5,
            ZARR: self._zarr,
            TIFF: ImageReader(policy, read_tiff, max_frame_bytes=max_frame_bytes),
            JPEG: ImageReader(policy, read_jpeg, max_frame_bytes=max_frame_bytes),
            NPY: NpyReader(policy, max_frame_bytes=max_frame_bytes),
        }
        self._lock = Lock()
        self._notes: dict[str, dict[str, str]] = {}
        self._darks: OrderedDict[tuple[str, str, str], Array] = OrderedDict()

    def read(self, request: FrameRequest) -> Array:
        """Return the frame a request names.

        Returns
        -------
        ndarray
            Read-only, the file's own dtype in native byte order. ``(H, W)``; ``(n, H, W)`` for n > 1 frames
            per reading; ``(N,)`` for a pattern, also where it is stored as ``(1, N)``; ``(1,)`` for one
            number in a file.

        Raises
        ------
        NotYet
            The file or row may still come: ask again, until your deadline.
        FrameFailed
            It will not: refused path, no numbers, no reader, too large, or a file of another kind.
        """
        where = Where(request.run_uid, request.stream, request.seq_num, request.key)
        array = self._read(request.locator, request.data_key, where)
        self._compare(array, request)
        return array

    def dark(self, request: FrameRequest) -> Array | None:
        """Return the request's dark frame, or None where it has none; the newest few are kept.

        The same dark of a run is the same array object while it is kept. Raises as :meth:`read`.
        """
        if request.dark is None:
            return None
        key = _dark_key(request)
        with self._lock:
            if key is not None and key in self._darks:
                self._darks.move_to_end(key)
                return self._darks[key]
        where = Where(request.run_uid, request.stream, request.seq_num, f"{request.key} (dark)")
        array = self._read(request.dark, request.dark_data_key or request.data_key, where)
        if key is not None:
            with self._lock:
                array = self._darks.setdefault(key, array)
                while len(self._darks) > _MOST_DARKS:
                    self._darks.popitem(last=False)
        return array

    def read_value(self, locator: Locator, data_key: Mapping[str, Any], where: Where) -> Array:
        """Return any external or inline array: a fly scan's motor positions, a pattern's axis.

        As :meth:`read`, for what is not the request's own frame.
        """
        return self._read(locator, data_key, where)

    def notes(self, run_uid: str) -> tuple[str, ...]:
        """Return where a run's files differ from its documents (the file is believed), each once."""
        with self._lock:
            return tuple(self._notes.get(run_uid, {}).values())

    def release(self, run_uid: str) -> None:
        """Close the files only this run used and forget its notes and darks."""
        with self._lock:
            self._notes.pop(run_uid, None)
            for key in [key for key in self._darks if key[0] == run_uid]:
                del self._darks[key]
        for holder in (self._hdf5, self._zarr, self._handlers):
            holder.release(run_uid)

    def close(self) -> None:
        """Close all files."""
        for holder in (self._hdf5, self._zarr, self._handlers):
            holder.close()

    def _read(self, locator: Locator, data_key: Mapping[str, Any], where: Where) -> Array:
        """Read and say in every error where it happened; what a library raises stays with this frame."""
        try:
            return finished(self._raw(locator, data_key, where.run_uid or ""), self._max_bytes, "the reading")
        except (FrameFailed, NotYet) as error:
            raise type(error)(error.message, where) from error
        except Exception as error:
            message = f"the reading cannot be read: {type(error).__name__}: {error}"
            raise FrameFailed(message, where) from error

    def _raw(self, locator: Locator, data_key: Mapping[str, Any], run_uid: str) -> Array:
        if isinstance(locator, Inline):
            return read_inline(locator.value, data_key)
        ask = ask_for(locator, data_key, run_uid, self._policy)
        reader = self._handlers if ask.handler is not None else self._readers[ask.form]
        return reader.read(ask)

    def _compare(self, array: Array, request: FrameRequest) -> None:
        for kind, note in _differences(array, request.data_key):
            with self._lock:
                notes = self._notes.setdefault(request.run_uid, {})
                if len(notes) < _MOST_NOTES:
                    notes.setdefault(f"{request.stream}/{request.key}/{kind}", f"{request.key}: {note}")


def _differences(array: Array, data_key: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say how an array differs from its data key: dtype (byte order apart) and shape (leading ones apart)."""
    found = []
    declared = data_key.get("dtype_numpy")
    if isinstance(declared, str) and not _same_dtype(declared, array.dtype):
        note = f"dtype {array.dtype.str} read, {declared} declared (dtype_numpy); the data are believed"
        found.append(("dtype", note))
    shape = document_shape(data_key)
    if shape and not _same_shape(shape, array.shape):
        note = f"shape {array.shape} read, {tuple(shape)} declared; the data are believed"
        found.append(("shape", note))
    return found


def _same_dtype(declared: str, dtype: np.dtype[Any]) -> bool:
    try:
        return np.dtype(declared).newbyteorder("=") == dtype
    except TypeError:
        return False


def _same_shape(declared: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    while len(declared) > 1 and declared[0] == 1:
        declared = declared[1:]
    return len(declared) == len(shape) and all(
        d in (None, 0, n) for d, n in zip(declared, shape, strict=True)
    )


def _dark_key(request: FrameRequest) -> tuple[str, str, str] | None:
    """Return what identifies a dark in a file; inline darks are not kept, they cost nothing to read."""
    dark = request.dark
    if dark is None or isinstance(dark, Inline):
        return None
    if hasattr(dark, "datum"):
        return (request.run_uid, request.key, str(dark.datum.get("datum_id")))
    return (request.run_uid, request.key, f"{dark.stream_resource.get('uid')}/{dark.index}")
