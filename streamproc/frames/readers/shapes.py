"""What every reader's answer goes through: allowed dtypes and shapes, native byte order, read-only."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed

__all__ = ["check_dtype", "check_size", "finished"]

_KINDS = "biufc"


def check_dtype(dtype: np.dtype[Any], what: str) -> None:
    """Refuse what is no number: text, objects, structures, references, times."""
    if dtype.kind not in _KINDS:
        raise FrameFailed(
            f"{what} holds {dtype!s:.200}, not numbers (expected booleans, integers, floats or complex)"
        )


def check_size(shape: tuple[int, ...], itemsize: int, max_bytes: int, what: str) -> None:
    """Refuse a frame larger than ``max_bytes`` before anything is allocated for it."""
    size = prod(int(n) for n in shape) * itemsize
    if size > max_bytes:
        raise FrameFailed(
            f"{what} has shape {tuple(shape)} = {size} bytes, over the limit of {max_bytes}: "
            "raise frames.max_frame_bytes if that is right"
        )
    if 0 in shape:
        raise FrameFailed(f"{what} is empty: its shape is {tuple(shape)}")


def finished(array: npt.NDArray[Any], max_bytes: int, what: str = "the array") -> npt.NDArray[Any]:
    """Return the array as every reader hands it on.

    Leading axes of length one are dropped: ``(1, H, W)`` becomes ``(H, W)`` and a pattern ``(1, N)`` becomes
    ``(N,)``; several frames per reading stay ``(n, H, W)``. One number becomes ``(1,)``. The byte order is
    native, memory C-ordered, and the array (or the view that is returned) read-only.

    Raises
    ------
    FrameFailed
        Not numbers, empty, more than three axes, or larger than ``max_bytes``.
    """
    check_dtype(array.dtype, what)
    check_size(array.shape, array.dtype.itemsize, max_bytes, what)
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    if array.ndim > 3:
        raise FrameFailed(
            f"{what} has shape {array.shape}: a reading has at most three axes (frames, rows, columns)"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.ndim == 0:
        array = array.reshape(1)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    view = array.view()
    view.flags.writeable = False
    return view
