"""TIFF and JPEG frames: one file per frame or per reading, or one multi-page file."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed, NotYet
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers.asks import Ask, whole_number
from streamproc.frames.readers.shapes import check_size
from streamproc.frames.readers.templates import file_names

__all__ = ["ImageReader", "read_jpeg", "read_tiff"]

Load = Callable[[Path, int], npt.NDArray[Any]]

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))


class ImageReader:
    """Reads sequences of image files; opens each when it is asked for and closes it again.

    Parameters
    ----------
    policy : PathPolicy
        Asked for every file name a template gives.
    load : callable
        ``load(path, max_bytes)`` returns the file's pages as ``(n, H, W)`` or raises NotYet or FrameFailed.
    max_frame_bytes : int
        Largest reading (bytes).
    """

    def __init__(self, policy: PathPolicy, load: Load, *, max_frame_bytes: int) -> None:
        self._policy = policy
        self._load = load
        self._max_bytes = max_frame_bytes

    def read(self, ask: Ask) -> npt.NDArray[Any]:
        """Return one reading, ``(n, H, W)``."""
        if ask.parameters.get("template") is None:
            return self._pages_of_one_file(ask)
        names = file_names(ask, _files_per_reading(ask))
        pages = []
        room = self._max_bytes
        for name in names:
            pages.append(self._load(self._policy.check(name), room))
            room -= pages[-1].nbytes
        if len({page.shape[1:] for page in pages}) != 1 or len({page.dtype for page in pages}) != 1:
            shapes = ", ".join(f"{p.shape[1:]} {p.dtype}" for p in pages[:4])
            raise FrameFailed(f"the {len(pages)} files of one reading differ in shape or dtype: {shapes}")
        return pages[0] if len(pages) == 1 else np.concatenate(pages)

    def _pages_of_one_file(self, ask: Ask) -> npt.NDArray[Any]:
        path = self._policy.check(ask.base)
        frames = _frames_per_reading(ask)
        pages = self._load(path, self._max_bytes)
        lo, hi = ask.index * frames, (ask.index + 1) * frames
        if hi > len(pages):
            raise NotYet(f"{path} has {len(pages)} pages (so far), pages {lo}..{hi - 1} are wanted")
        return pages[lo:hi]


def _frames_per_reading(ask: Ask) -> int:
    if ask.frames is not None:
        return ask.frames
    return (ask.shape[0] or 1) if len(ask.shape) >= 3 else 1


def _files_per_reading(ask: Ask) -> int:
    """Return over how many files a reading's frames are spread, by the rules of bluesky's consolidators.

    ``files_per_datum`` where it is given; one file per frame where frame_per_point or multiplier is; else
    ``shape[0] / chunk_shape[0]`` where the chunks are whole frames; else one.
    """
    stated = ask.parameters.get("files_per_datum")
    if stated is not None:
        return max(whole_number(stated, "files_per_datum"), 1)
    frames = _frames_per_reading(ask)
    if ask.frames is not None:
        return frames
    chunks = ask.parameters.get("chunk_shape") or ()
    if ask.parameters.get("join_method") != "concat" and len(chunks) != len(ask.shape):
        return 1
    per_file = whole_number(chunks[0], "chunk_shape[0]") if chunks else 1
    return frames // per_file if per_file and frames % per_file == 0 else 1


def read_tiff(path: Path, max_bytes: int) -> npt.NDArray[Any]:
    """Return a TIFF file's first series as ``(pages, H, W)``.

    Raises
    ------
    NotYet
        Not there, empty, or cut short: the writer is still at it.
    FrameFailed
        Colour, more than three axes, or too large.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            if not file.series:
                raise NotYet(f"{path} has no image (yet)")
            series = file.series[0]
            if series.dtype is None or "S" in series.axes or series.ndim not in (2, 3):
                raise FrameFailed(
                    f"{path} is no grey image or stack: axes {series.axes}, shape {series.shape}"
                )
            check_size(tuple(series.shape), series.dtype.itemsize, max_bytes, str(path))
            _check_pages_there(file, path)
            array = np.asarray(series.asarray())
    except (FrameFailed, NotYet):
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    return array.reshape(-1, *array.shape[-2:])


def _check_pages_there(file: Any, path: Path) -> None:
    """Refuse a file that ends before its pixels do (tifffile reads missing tail strips as zeros)."""
    size = file.filehandle.size
    for page in file.series[0].pages:
        if page is None:
            continue
        ends = (at + n for at, n in zip(page.dataoffsets, page.databytecounts, strict=False))
        if max(ends, default=0) > size:
            raise NotYet(f"{path} is cut short at {size} bytes: still being written")
        if any(n == 0 for n in page.databytecounts):
            raise NotYet(f"{path} has strips without data (yet)")


def read_jpeg(path: Path, max_bytes: int) -> npt.NDArray[Any]:
    """Return a grey JPEG file as ``(1, H, W)`` uint8; NotYet while its end marker is missing."""
    import imagecodecs

    try:
        if path.stat().st_size > max_bytes:
            raise FrameFailed(f"{path} is larger than {max_bytes} bytes: raise frames.max_frame_bytes")
        data = path.read_bytes()
        if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise NotYet(f"{path} is cut short at {len(data)} bytes: still being written")
        rows, columns, colours = _jpeg_size(data, path)
        if colours != 1:
            raise FrameFailed(f"{path} is a colour image; a detector frame is grey")
        check_size((rows, columns), 1, max_bytes, str(path))
        return np.asarray(imagecodecs.jpeg8_decode(data))[np.newaxis]
    except (FrameFailed, NotYet):
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _jpeg_size(data: bytes, path: Path) -> tuple[int, int, int]:
    """Return rows, columns and components from the start-of-frame segment (ITU-T T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _START_OF_FRAME:
            rows, columns, colours = struct.unpack_from(">HHB", data, at + 5)
            return rows, columns, colours
        at += 2 if marker in _BARE_MARKERS else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise FrameFailed(f"{path} is no JPEG image: it has no start-of-frame segment")


def _unreadable(path: Path, error: Exception) -> NotYet | FrameFailed:
    if isinstance(error, FileNotFoundError):
        return NotYet(f"{path} is not there (yet)")
    if isinstance(error, PermissionError):
        return FrameFailed(f"not allowed to read {path}: {error}")
    if isinstance(error, IsADirectoryError):
        return FrameFailed(f"{path} is a folder: its stream_resource or resource gives no file name template")
    return NotYet(f"{path} cannot be read (yet): {type(error).__name__}: {error}")
