"""Zarr arrays, versions 2 and 3, in a folder: a row is there when the files of its chunks are."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed, NotYet
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers.asks import Ask
from streamproc.frames.readers.handles import HandleCache
from streamproc.frames.readers.shapes import check_dtype, check_size

__all__ = ["ZarrReader"]

_SAFE_CODECS = frozenset(
    (
        *("blosc", "zlib", "gzip", "zstd", "lz4", "lzma", "bz2", "zfpy", "pcodec"),
        *("shuffle", "bitshuffle", "delta", "bitround", "fixedscaleoffset", "quantize", "astype", "packbits"),
        *("crc32", "crc32c", "adler32", "fletcher32", "bytes", "transpose", "sharding_indexed"),
    )
)
"""Codecs that only move numbers: numcodecs also has ``pickle``, which runs what it decodes."""

_LARGEST_METADATA = 1 << 20


class ZarrReader:
    """Reads rows of a Zarr array; needs the package ``zarr`` (extra ``streamproc[zarr]``)."""

    def __init__(self, policy: PathPolicy, *, max_frame_bytes: int, max_open_files: int) -> None:
        self._policy = policy
        self._max_bytes = max_frame_bytes
        self._arrays: HandleCache[Path, _Open] = HandleCache(max_open_files)

    def read(self, ask: Ask) -> npt.NDArray[Any]:
        """Return the rows of one reading; rows are counted as for HDF5."""
        inside = next((ask.parameters[n] for n in ("path", "dataset", "array") if ask.parameters.get(n)), "")
        folder = self._policy.check(f"{ask.base.rstrip('/')}/{inside!s}".rstrip("/"))
        with self._arrays.use(folder, ask.run_uid, lambda: _Open(folder, self._policy)) as array:
            return array.rows(ask, self._max_bytes)

    def release(self, run_uid: str) -> None:
        """Let go of the arrays only this run used."""
        self._arrays.release(run_uid)

    def close(self) -> None:
        """Let go of everything."""
        self._arrays.close()


class _Open:
    """One array; its shape is read again whenever the wanted rows are not there."""

    def __init__(self, folder: Path, policy: PathPolicy) -> None:
        self._folder = folder
        self._policy = policy
        self._array: Any = None
        self._metadata_ns = -1

    def close(self) -> None:
        self._array = None

    def rows(self, ask: Ask, max_bytes: int) -> npt.NDArray[Any]:
        """Return the wanted rows or raise NotYet."""
        array = self._current()
        if not array.shape:
            raise FrameFailed(f"{self._folder} holds one number, not rows of frames")
        rows = ask.frames or ((ask.shape[0] or 1) if len(ask.shape) == array.ndim else 1)
        lo, hi = ask.index * rows, (ask.index + 1) * rows
        if hi > array.shape[0]:
            raise NotYet(f"{self._folder} has {array.shape[0]} rows (so far), rows {lo}..{hi - 1} are wanted")
        check_size((hi - lo, *array.shape[1:]), array.dtype.itemsize, max_bytes, str(self._folder))
        self._check_there(array, lo, hi)
        try:
            got = np.asarray(array[lo:hi])
            self._check_written(array, got, hi)
            return got
        except (FrameFailed, NotYet):
            raise
        except Exception as error:
            raise NotYet(f"rows {lo}..{hi - 1} of {self._folder} cannot be read (yet): {error}") from error

    def _current(self) -> Any:
        """Return the array, opened again when its metadata file changed."""
        metadata = next((f for n in ("zarr.json", ".zarray") if (f := self._folder / n).exists()), None)
        if metadata is None:
            raise NotYet(f"{self._folder} is no Zarr array (yet): it has neither zarr.json nor .zarray")
        modified = self._policy.check(metadata).stat().st_mtime_ns
        if self._array is None or modified != self._metadata_ns:
            self._array = _opened(self._folder, metadata)
            self._metadata_ns = modified
        return self._array

    def _check_there(self, array: Any, lo: int, hi: int) -> None:
        """Refuse rows with a missing chunk, unless a later row has all of its own.

        Zarr does not write a chunk that is all fill value, so a blank frame is known to be one only once a
        later frame is there.
        """
        missing = next((c for c in _chunk_files(array, lo, hi) if not self._stored(c)), None)
        if missing is None:
            return
        step = _stored_chunks(array)[0]
        later = hi + (-hi) % step
        after = later < array.shape[0] and all(map(self._stored, _chunk_files(array, later, later + 1)))
        if not after:
            raise NotYet(f"rows {lo}..{hi - 1} of {self._folder} are not written yet: no chunk {missing}")

    def _check_written(self, array: Any, rows: npt.NDArray[Any], hi: int) -> None:
        """Refuse a blank row of a chunk of several rows, unless a later row is there: it proves nothing."""
        step = _stored_chunks(array)[0]
        blank = (rows.reshape(len(rows), -1) == array.fill_value).all(axis=1).any()
        if step == 1 or not blank:
            return
        later = hi + (-hi) % step
        next_file = later < array.shape[0] and any(map(self._stored, _chunk_files(array, later, later + 1)))
        rest = np.asarray(array[hi : min(later, array.shape[0])])
        if not next_file and not (rest != array.fill_value).any():
            raise NotYet(
                f"rows before {hi} of {self._folder} hold only the fill value {array.fill_value!r}: not "
                "written yet, or really blank (then known when a later row comes)"
            )

    def _stored(self, name: str) -> bool:
        return self._policy.check(self._folder / name).exists()


def _stored_chunks(array: Any) -> tuple[int, ...]:
    """Return the shape one file holds: the shard where there are shards, else the chunk."""
    return tuple(array.shards or array.chunks)


def _chunk_files(array: Any, lo: int, hi: int) -> Iterator[str]:
    steps = _stored_chunks(array)
    first = range(lo // steps[0], -(-hi // steps[0]))
    rest = (range(-(-size // step)) for size, step in zip(array.shape[1:], steps[1:], strict=True))
    for at in itertools.product(first, *rest):
        yield array.metadata.encode_chunk_key(at)


def _opened(folder: Path, metadata: Path) -> Any:
    try:
        import zarr
    except ImportError as error:
        raise FrameFailed("reading Zarr needs the package zarr: pip install 'streamproc[zarr]'") from error
    _check_codecs(metadata)
    try:
        array = zarr.open_array(str(folder), mode="r")
    except Exception as error:
        raise NotYet(f"{folder} cannot be opened (yet): {type(error).__name__}: {error}") from error
    check_dtype(np.dtype(array.dtype), str(folder))
    return array


def _check_codecs(metadata: Path) -> None:
    """Refuse codecs that are not known to be harmless before zarr builds any."""
    try:
        if metadata.stat().st_size > _LARGEST_METADATA:
            raise FrameFailed(f"{metadata} is larger than {_LARGEST_METADATA} bytes")
        described = json.loads(metadata.read_text())
    except (OSError, ValueError) as error:
        raise NotYet(f"{metadata} cannot be read (yet): {error}") from error
    for name in _codec_names(described):
        if name.removeprefix("numcodecs.") not in _SAFE_CODECS:
            raise FrameFailed(f"{metadata} names the codec {name!r:.80}, which is not allowed")


def _codec_names(described: Any) -> Iterator[str]:
    """Yield every codec a version 2 or 3 metadata document names, nested ones (shards) included."""
    if not isinstance(described, dict):
        raise FrameFailed("Zarr metadata is no mapping")
    codecs = [described.get("compressor"), *(described.get("filters") or [])]
    configuration = described.get("configuration") or {}
    for holder in (described, configuration):
        codecs += [*(holder.get("codecs") or []), *(holder.get("index_codecs") or [])]
    for codec in codecs:
        if codec is None:
            continue
        if not isinstance(codec, dict):
            raise FrameFailed(f"Zarr metadata has a codec that is no mapping: {codec!r:.80}")
        yield str(codec.get("id") or codec.get("name"))
        yield from _codec_names({k: v for k, v in codec.items() if k == "configuration"})
