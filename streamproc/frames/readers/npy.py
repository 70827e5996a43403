"""NumPy files: one per reading (ophyd's ``NPY_SEQ``), or one whose rows are the readings."""

from __future__ import annotations

import os
import re
import struct
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

_MAGIC = b"\x93NUMPY"
_LENGTHS = {1: "<H", 2: "<I"}
"""How the length of the header is written, by version of the format."""

_LONGEST_HEADER = 10_000
_DESCR = re.compile(r"""["']descr["']\s*:\s*["']([<>|=]?[a-zA-Z]\d*)["']""")
_FORTRAN = re.compile(r"""["']fortran_order["']\s*:\s*(True|False)""")
_SHAPE = re.compile(r"""["']shape["']\s*:\s*\(([\dL,\s]*)\)""")


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
            shape, columns_first, dtype = _header(file, path)
            check_dtype(dtype, str(path))
            check_size(shape, dtype.itemsize, max_bytes, str(path))
            count = int(np.prod(shape, dtype=np.int64))
            if os.fstat(file.fileno()).st_size < file.tell() + count * dtype.itemsize:
                raise NotYet(f"{path} is cut short: still being written")
            return np.fromfile(file, dtype, count).reshape(shape, order="F" if columns_first else "C")
    except FileNotFoundError as error:
        raise NotYet(f"{path} is not there (yet)") from error
    except PermissionError as error:
        raise FrameFailed(f"not allowed to read {path}: {error}") from error
    except (OSError, ValueError, EOFError) as error:
        raise NotYet(f"{path} cannot be read (yet): {error}") from error


def _header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and dtype.

    numpy reads a header with Python's parser, and CPython's (3.11) now and then raises a SystemError when two
    threads use it at once.
    """
    start = file.read(8)
    if len(start) < 8 or start[:6] != _MAGIC:
        raise NotYet(f"{path} does not begin as an .npy file (yet)")
    if start[6] not in _LENGTHS:
        raise FrameFailed(f"{path} has the .npy version {start[6]}, which only structured arrays need")
    form = _LENGTHS[start[6]]
    (length,) = struct.unpack(form, file.read(struct.calcsize(form)).ljust(struct.calcsize(form), b"\0"))
    if length > _LONGEST_HEADER:
        raise FrameFailed(f"{path} has a header of {length} bytes, at most {_LONGEST_HEADER} are read")
    text = file.read(length).decode("latin-1")
    if len(text) < length or not text:
        raise NotYet(f"{path} is cut short: still being written")
    descr, fortran, shape = (pattern.search(text) for pattern in (_DESCR, _FORTRAN, _SHAPE))
    if descr is None or fortran is None or shape is None:
        raise FrameFailed(f"{path} holds no plain array: its header is {text.strip()[:200]!r}")
    sizes = tuple(int(n.strip().rstrip("L")) for n in shape[1].split(",") if n.strip())
    return sizes, fortran[1] == "True", np.dtype(descr[1])
