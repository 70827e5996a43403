"""Arrays from files: one image of whatever format detectors and beamline tools write."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError

__all__ = ["IMAGE_SUFFIXES", "read_array", "split_inner"]

Array = npt.NDArray[Any]

MAX_BYTES = 2 * 2**30
"""Larger datasets (bytes, unpacked) are stacks of frames, not calibration images."""

HDF5_SUFFIXES = frozenset({".h5", ".hdf5", ".hdf", ".nxs", ".nx5"})
TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
FABIO_SUFFIXES = frozenset({".edf", ".cbf", ".msk", ".mccd", ".img", ".mar3450"})
IMAGE_SUFFIXES = HDF5_SUFFIXES | TIFF_SUFFIXES | FABIO_SUFFIXES | {".npy", ".npz"}


def split_inner(name: str) -> tuple[str, str | None]:
    """Split ``file.h5::/entry/data`` into file and inner name (None where there is none)."""
    file, separator, inner = name.partition("::")
    return file, inner if separator else None


def read_array(path: Path, inner: str | None = None) -> Array:
    """Read the one array of a file, with all its dimensions and its own dtype.

    Parameters
    ----------
    path : Path
        .npy, .npz, .tif, .tiff, .edf, .cbf, .msk, .mccd, .img, or an HDF5 file.
    inner : str, optional
        Dataset of an HDF5 file or array of an .npz file; needed where there are several.

    Raises
    ------
    ConfigurationError
        When the file is missing, of an unknown format or unreadable, or when it holds several arrays (listed)
            and ``inner`` does not choose one.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise ConfigurationError(
            f"{path}: unknown array format, expected one of {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    if not path.is_file():
        raise ConfigurationError(f"{path} does not exist")
    if inner is not None and suffix not in HDF5_SUFFIXES | {".npz"}:
        raise ConfigurationError(f"{path}::{inner}: only HDF5 and .npz files have named arrays inside")
    try:
        array = _read(path, suffix, inner)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    if array.dtype.kind not in "buif":
        raise ConfigurationError(f"{path} holds {array.dtype}, expected integers or real numbers")
    return array


def _read(path: Path, suffix: str, inner: str | None) -> Array:
    if suffix in HDF5_SUFFIXES:
        return _read_hdf5(path, inner)
    if suffix in TIFF_SUFFIXES:
        import tifffile

        with tifffile.TiffFile(path) as file:
            kinds = [f"{series.dtype}{series.shape}" for series in file.series]
            if len(kinds) != 1:
                raise ConfigurationError(
                    f"{path} holds {len(kinds)} image series, expected one: {', '.join(kinds)}"
                )
            return np.asarray(file.asarray())
    if suffix in FABIO_SUFFIXES:
        return _read_fabio(path)
    if suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False))
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays[_choose(path, list(arrays.files), inner)])


def _read_hdf5(path: Path, inner: str | None) -> Array:
    import h5py
    import hdf5plugin  # noqa: F401  (registers the compression filters detectors write)

    with h5py.File(path, "r") as file:
        if inner is not None and isinstance(file.get(inner), h5py.Dataset):
            return _load(path, file[inner])
        found: list[str] = []
        file.visititems(lambda name, item: found.append("/" + name) if _is_image(item) else None)
        return _load(path, file[_choose(path, found, inner)])


def _load(path: Path, dataset: Any) -> Array:
    if dataset.nbytes > MAX_BYTES:
        raise ConfigurationError(
            f"{path}::{dataset.name} has shape {dataset.shape}: more bytes ({dataset.nbytes}) than an image"
        )
    return np.asarray(dataset[()])


def _read_fabio(path: Path) -> Array:
    import fabio

    with fabio.open(str(path)) as image:
        if image.nframes == 1:
            return np.asarray(image.data)
        return np.stack([np.asarray(image.get_frame(i).data) for i in range(image.nframes)])


def _choose(path: Path, names: list[str], wanted: str | None) -> str:
    """Return the one array to read, or raise with the list of what the file holds."""
    holds = f"it holds {', '.join(names[:20])}" if names else "it holds no array"
    if wanted is not None:
        if wanted not in names:
            raise ConfigurationError(f"{path} has no array {wanted}: {holds}")
        return wanted
    if len(names) != 1:
        raise ConfigurationError(f"{path}: which array? Write {path.name}::NAME; {holds}")
    return names[0]


def _is_image(item: Any) -> bool:
    return getattr(item, "ndim", 0) >= 2 and item.dtype.kind in "buif"
