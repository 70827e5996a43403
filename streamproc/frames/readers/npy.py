"""NumPy files: one per reading (ophyd's ``NPY_SEQ``), or one whose rows are the readings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed, NotYet
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers.asks import Ask
from streamproc.frames.readers.shapes import check_dtype, check_size
from streamproc.frames.readers.templates import file_names

__all__ = ["NpyReader", "read_npy"]


class NpyReader:
    """Reads ``<base>_<index>.npy``, a template's files, or rows of one ``.npy`` file; never a pickle."""

    def __init__(self, policy: PathPolicy, *, max_frame_bytes: int) -> None:
        self._policy = policy
        self._max_bytes = max_frame_bytes

    def read(self, ask: Ask) -> npt.NDArray[Any]:
        """Return one reading as the file has it."""
        if ask.base.endswith(".npy") and not ask.datum_style:
            return self._rows(ask)
        named = ask.parameters.get("template") is not None and not ask.datum_style
        name = file_names(ask, 1)[0] if named else f"{ask.base}_{ask.index}.npy"
        return read_npy(self._policy.check(name), self._max_bytes)

    def _rows(self, ask: Ask) -> npt.NDArray[Any]:
        path = self._policy.check(ask.base)
        array = read_npy(path, self._max_bytes)
        if array.ndim == len(ask.shape) and ask.index == 0 and array.shape == ask.shape:
            return array
        rows = ask.frames or ((ask.shape[0] or 1) if len(ask.shape) == array.ndim else 1)
        lo, hi = ask.index * rows, (ask.index + 1) * rows
        if array.ndim == 0 or hi > len(array):
            raise NotYet(f"{path} has shape {array.shape} (so far), rows {lo}..{hi - 1} are wanted")
        return array[lo:hi]


def read_npy(path: Path, max_bytes: int) -> npt.NDArray[Any]:
    """Return the array of a ``.npy`` file.

    Raises
    ------
    NotYet
        Not there, or cut short.
    FrameFailed
        Objects, text, or an array beyond ``max_bytes``.
    """
    try:
        with path.open("rb") as file:
            shape, _, dtype = _header(file, path)
            check_dtype(dtype, str(path))
            check_size(shape, dtype.itemsize, max_bytes, str(path))
            data_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            if os.fstat(file.fileno()).st_size < file.tell() + data_bytes:
                raise NotYet(f"{path} is cut short: still being written")
            file.seek(0)
            return np.asarray(np.load(file, allow_pickle=False))
    except FileNotFoundError as error:
        raise NotYet(f"{path} is not there (yet)") from error
    except PermissionError as error:
        raise FrameFailed(f"not allowed to read {path}: {error}") from error
    except (OSError, ValueError, EOFError) as error:
        raise NotYet(f"{path} cannot be read (yet): {error}") from error


def _header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise FrameFailed(f"{path} has the .npy version {version}, which only structured arrays need")
