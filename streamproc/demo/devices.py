"""Bluesky devices of the demo: one area detector per way of storing frames, emitting what such devices emit.

========== ==================================================================================================
storage    what the RunEngine emits
========== ==================================================================================================
inline     the array in the event
hdf5       stream_resource and stream_datum, as ophyd-async: one HDF5 file that is written in SWMR mode while
           the scan runs, one chunk per frame
tiff       stream_resource and stream_datum: a TIFF sequence with the new-style ``{:06d}`` template
resource   resource and datum, as ophyd's FileStoreTIFF: spec ``AD_TIFF``, ``%s%s_%6.6d.tiff``
========== ==================================================================================================
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from bluesky.protocols import WritesExternalAssets, WritesStreamAssets
from event_model import compose_resource, compose_stream_resource
from ophyd.sim import SynAxis

from streamproc.demo.calibration import SHAPE
from streamproc.demo.detector import DTYPE
from streamproc.demo.scanning import EventDetector, Key

__all__ = [
    "STORAGES",
    "Expose",
    "Hdf5Detector",
    "InlineDetector",
    "ResourceDetector",
    "Storage",
    "TiffDetector",
    "make_detector",
    "make_motor",
]

Storage = Literal["inline", "hdf5", "tiff", "resource"]
STORAGES: tuple[Storage, ...] = ("inline", "hdf5", "tiff", "resource")

Image = npt.NDArray[np.uint16]
Expose = Callable[[int], Image]
"""Makes the frame of the n-th trigger (from 0) since staging."""

_EXPOSURE_S = 0.1


class _Detector(EventDetector):
    """What all storages share: a frame per trigger, the sum of its counts, configuration."""

    def __init__(self, name: str, expose: Expose) -> None:
        total = f"{name}_total"  # what a live plot shows: an image is no line
        super().__init__(name, {total: Key("integer", "<i8", "counts")}, self._stored, plotted=total)
        self._expose = expose

    def stage(self) -> list[Any]:
        """Get ready for a run: count triggers from 0, open the storage."""
        staged = super().stage()
        self._open()
        return staged

    def unstage(self) -> list[Any]:
        """Close the storage."""
        self._close()
        return super().unstage()

    def _stored(self, index: int) -> dict[str, Any]:
        image = self._expose(index)
        return {f"{self.name}_total": int(image.sum(dtype=np.int64)), **self._store(index, image)}

    def describe(self) -> dict[str, Any]:
        """Describe the image and the sum of its counts."""
        return {self.name: self._image_key(), **super().describe()}

    def read_configuration(self) -> dict[str, Any]:
        """Return the exposure time."""
        return {f"{self.name}_exposure": {"value": _EXPOSURE_S, "timestamp": time.time()}}

    def describe_configuration(self) -> dict[str, Any]:
        """Describe the exposure time (s)."""
        source = f"SIM:{self.name}:exposure"
        key = {"source": source, "dtype": "number", "dtype_numpy": "<f8", "shape": [], "units": "s"}
        return {f"{self.name}_exposure": key}

    def _image_key(self) -> dict[str, Any]:
        return {
            "source": f"SIM:{self.name}:image",
            "dtype": "array",
            "dtype_numpy": DTYPE.str,
            "shape": list(SHAPE),
            "units": "counts",
        }

    def _open(self) -> None:
        """Prepare for storing; nothing by default."""

    def _close(self) -> None:
        """Finish storing; nothing by default."""

    def _store(self, index: int, image: Image) -> dict[str, Any]:
        """Store one frame; return what the event says about it."""
        raise TypeError(f"{type(self).__name__} stores nothing")


class InlineDetector(_Detector):
    """The frame travels in the event."""

    def _store(self, index: int, image: Image) -> dict[str, Any]:
        return {self.name: image}


class _StreamDetector(_Detector, WritesStreamAssets):
    """Emits one stream_resource per run and a stream_datum per frame, as ophyd-async detectors do."""

    mimetype: ClassVar[str]

    def __init__(self, name: str, expose: Expose, folder: Path) -> None:
        super().__init__(name, expose)
        self._folder = folder
        self._emitted = 0
        self._bundle: Any = None

    def get_index(self) -> int:
        """Return how many frames are written."""
        return self._taken

    def collect_asset_docs(self, index: int | None = None) -> Iterator[Any]:
        """Yield the asset documents of the frames written since the last call, up to ``index``."""
        written = self._taken if index is None else min(index, self._taken)
        if written > 0 and self._emitted == 0:
            yield "stream_resource", self._bundle.stream_resource_doc
        if written > self._emitted:
            yield "stream_datum", self._bundle.compose_stream_datum({"start": self._emitted, "stop": written})
            self._emitted = written

    def _image_key(self) -> dict[str, Any]:
        return {**super()._image_key(), "shape": [1, *SHAPE], "external": "STREAM:"}

    def _announce(self, uri_path: str, parameters: dict[str, Any]) -> None:
        self._emitted = 0
        self._bundle = compose_stream_resource(
            mimetype=self.mimetype,
            uri=f"file://localhost{uri_path}",
            data_key=self.name,
            parameters={"chunk_shape": [1, *SHAPE], **parameters},
        )


class Hdf5Detector(_StreamDetector):
    """One HDF5 file per run, in SWMR mode from before the first frame until the run ends."""

    mimetype = "application/x-hdf5"
    dataset: ClassVar[str] = "/entry/data/data"

    def _open(self) -> None:
        import h5py

        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self.name}_{uuid.uuid4().hex[:8]}.h5"
        self._file = h5py.File(path, "w", libver="latest")
        self._data = self._file.create_dataset(
            self.dataset, shape=(0, *SHAPE), maxshape=(None, *SHAPE), chunks=(1, *SHAPE), dtype=DTYPE
        )
        self._file.swmr_mode = True
        self._announce(str(path.resolve()), {"dataset": self.dataset})

    def _store(self, index: int, image: Image) -> dict[str, Any]:
        self._data.resize(index + 1, axis=0)
        self._data[index] = image
        self._data.flush()
        return {}

    def _close(self) -> None:
        self._file.close()


class TiffDetector(_StreamDetector):
    """One TIFF file per frame in a folder of the run."""

    mimetype = "multipart/related;type=image/tiff"

    def _open(self) -> None:
        self._into = self._folder / f"{self.name}_{uuid.uuid4().hex[:8]}"
        self._into.mkdir(parents=True)
        self._announce(f"{self._into.resolve()}/", {"template": f"{self.name}_{{:06d}}.tiff"})

    def _store(self, index: int, image: Image) -> dict[str, Any]:
        _write_tiff(self._into / f"{self.name}_{index:06d}.tiff", image)
        return {}


class ResourceDetector(_Detector, WritesExternalAssets):
    """One TIFF file per frame, told by resource and datum documents (spec AD_TIFF)."""

    def __init__(self, name: str, expose: Expose, folder: Path) -> None:
        super().__init__(name, expose)
        self._folder = folder
        self._pending: list[tuple[str, Any]] = []

    def collect_asset_docs(self) -> Iterator[Any]:
        """Yield the resource once and the datum documents made since the last call."""
        pending, self._pending = self._pending, []
        yield from pending

    def _image_key(self) -> dict[str, Any]:
        return {**super()._image_key(), "shape": [1, *SHAPE], "external": "FILESTORE:"}

    def _open(self) -> None:
        self._run_folder = f"{self.name}_{uuid.uuid4().hex[:8]}"
        (self._folder / self._run_folder).mkdir(parents=True)
        bundle = compose_resource(
            spec="AD_TIFF",
            root=str(self._folder.resolve()),
            resource_path=self._run_folder,
            resource_kwargs={"template": "%s%s_%6.6d.tiff", "filename": self.name, "frame_per_point": 1},
        )
        self._compose_datum = bundle.compose_datum
        self._pending = [("resource", bundle.resource_doc)]

    def _store(self, index: int, image: Image) -> dict[str, Any]:
        _write_tiff(self._folder / self._run_folder / f"{self.name}_{index:06d}.tiff", image)
        datum = self._compose_datum(datum_kwargs={"point_number": index})
        self._pending.append(("datum", datum))
        return {self.name: datum["datum_id"]}


def _write_tiff(path: Path, image: Image) -> None:
    """Write under another name first: a reader never sees half a file."""
    import tifffile

    unfinished = path.with_suffix(".part")
    tifffile.imwrite(unfinished, image)
    unfinished.rename(path)


def make_detector(storage: Storage, name: str, expose: Expose, folder: Path) -> Any:
    """Return the detector for one way of storing frames.

    Parameters
    ----------
    storage : {"inline", "hdf5", "tiff", "resource"}
        See the table at the top of this module.
    name : str
        Device name and data key of the image.
    expose : callable
        Makes the frame of the n-th trigger.
    folder : Path
        Where files go; not used for ``inline``.
    """
    if storage == "inline":
        return InlineDetector(name, expose)
    by_storage = {"hdf5": Hdf5Detector, "tiff": TiffDetector, "resource": ResourceDetector}
    return by_storage[storage](name, expose, folder)


class _Motor(SynAxis):  # type: ignore[misc]
    """ophyd's simulated axis, which tells its unit as an EPICS motor does."""

    def describe(self) -> dict[str, Any]:
        """Describe readback and setpoint, with units."""
        return {key: {**entry, "units": self.egu} for key, entry in super().describe().items()}


def make_motor(name: str, units: str = "mm") -> Any:
    """Return a simulated motor."""
    return _Motor(name=name, labels={"motors"}, egu=units)
