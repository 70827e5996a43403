"""Runs composed one reading at a time: patterns inside the events, or in an HDF5 file that grows."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import event_model
import h5py
import numpy as np
import numpy.typing as npt

__all__ = ["AXIS_KEY", "LiveRun", "Pair", "model_patterns"]

Pair = tuple[str, dict[str, Any]]
Pattern = npt.NDArray[np.float64]

AXIS_KEY = "two_theta"
"""Data key of the axis that the patterns are given on."""

_KEY, _MOTOR, _STREAM = "intensity", "motor", "primary"
_DATASET = "/entry/data/data"
_TWO_THETA_DEG = (20.0, 100.0)


def model_patterns() -> tuple[Pattern, list[Pattern]]:
    """Return the axis (two-theta, degrees) and patterns (counts) that the shipped model was released with."""
    from streamproc.inference.registry import find_model
    from streamproc.settings import InferenceSettings

    with np.load(find_model("phase_qpa", InferenceSettings()).with_name("golden.npz")) as golden:
        sound = golden["x"][golden["x"].any(axis=1)].astype(float)
    patterns = [np.round(row**2 * 1e5) for row in sound]
    return np.linspace(*_TWO_THETA_DEG, sound.shape[1]), patterns


class LiveRun:
    """One run that goes on until :meth:`stop`.

    Parameters
    ----------
    uid : str
        Uid of the run; those of its documents are derived from it.
    number : int
        Becomes ``scan_id``.
    planned : int
        How many readings it is to have.
    folder : Path or None
        Where its HDF5 file is written; None: patterns go into the events.
    axis, patterns
        What is measured; the patterns repeat.
    """

    def __init__(
        self,
        uid: str,
        number: int,
        planned: int,
        folder: Path | None,
        axis: Pattern,
        patterns: Sequence[Pattern],
    ) -> None:
        self.uid, self.planned, self.taken = uid, planned, 0
        self.storage = "inline" if folder is None else "hdf5"
        self._axis, self._patterns = axis, patterns
        metadata = {"plan_name": "torture", "scan_id": number, "num_points": planned}
        self._bundle: Any = event_model.compose_run(uid=uid, time=time.time(), metadata=metadata)
        self._path = None if folder is None else folder / f"{uid}.h5"
        self._file: h5py.File | None = None
        self._described: Any = None
        self._compose_datum: Any = None

    def begin(self) -> list[Pair]:
        """Return start, descriptor and, with a file, stream_resource."""
        external = {} if self._path is None else {"external": "STREAM:"}
        one_row = [len(self._axis)] if self._path is None else [1, len(self._axis)]
        array = {"source": "sim:detector", "dtype": "array", "dtype_numpy": "<f8"}
        self._described = self._bundle.compose_descriptor(
            name=_STREAM,
            time=time.time(),
            uid=self._uid("descriptor"),
            data_keys={
                _KEY: {**array, "shape": one_row, **external},
                AXIS_KEY: {**array, "shape": [len(self._axis)], "units": "deg"},
                _MOTOR: {"source": "sim:motor", "dtype": "number", "shape": [], "units": "mm"},
            },
        )
        pairs: list[Pair] = [
            ("start", dict(self._bundle.start_doc)),
            ("descriptor", dict(self._described.descriptor_doc)),
        ]
        if self._path is not None:
            pairs.append(("stream_resource", self._open(self._path)))
        return pairs

    def reading(self) -> list[Pair]:
        """Take one reading: write its pattern where there is a file, and return its documents."""
        pattern = self._patterns[self.taken % len(self._patterns)]
        data: dict[str, Any] = {AXIS_KEY: self._axis, _MOTOR: 0.5 * self.taken}
        pairs: list[Pair] = []
        if self._file is None:
            data[_KEY] = pattern
        else:
            pairs.append(("stream_datum", self._write(self._file, pattern)))
        self.taken += 1
        now_s = time.time()
        event = self._described.compose_event(
            data=data,
            timestamps=dict.fromkeys(data, now_s),
            seq_num=self.taken,
            filled={},
            uid=self._uid(f"event/{self.taken}"),
            time=now_s,
        )
        return [*pairs, ("event", dict(event))]

    def stop(self) -> list[Pair]:
        """End the run; return the stop."""
        self.close()
        doc = self._bundle.compose_stop(uid=self._uid("stop"), time=time.time())
        return [("stop", {**doc, "num_events": {_STREAM: self.taken}})]

    def close(self) -> None:
        """Close its file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, path: Path) -> dict[str, Any]:
        """Begin the file as detectors do: one row a chunk, readable while it is written."""
        rows = (1, len(self._axis))
        self._file = h5py.File(path, "w", libver="latest")
        self._file.create_dataset(_DATASET, (0, rows[1]), "<f8", chunks=rows, maxshape=(None, rows[1]))
        self._file.swmr_mode = True
        resource = self._bundle.compose_stream_resource(
            mimetype="application/x-hdf5",
            uri=path.absolute().as_uri().replace("file://", "file://localhost"),
            data_key=_KEY,
            parameters={"dataset": _DATASET, "chunk_shape": list(rows)},
            uid=self._uid("stream_resource"),
        )
        self._compose_datum = resource.compose_stream_datum
        return dict(resource.stream_resource_doc)

    def _write(self, file: h5py.File, pattern: Pattern) -> dict[str, Any]:
        dataset = file[_DATASET]
        dataset.resize(self.taken + 1, 0)
        dataset[self.taken] = pattern
        dataset.flush()
        return dict(
            self._compose_datum(
                indices={"start": self.taken, "stop": self.taken + 1},
                seq_nums={"start": self.taken + 1, "stop": self.taken + 2},
                descriptor=self._described.descriptor_doc,
            )
        )

    def _uid(self, what: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.uid}/{what}"))
