"""Whole runs as lists of ``(name, doc)``, composed by event-model, with real arrays in real files.

Every maker gives the same documents for the same arguments: uids derive from ``uid``, times from ``time_s``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import event_model
import h5py
import numpy as np
import numpy.typing as npt

__all__ = ["Pair", "datum_run", "fly_run", "inline_run", "page_run", "stream_run", "with_darks"]

Pair = tuple[str, dict[str, Any]]
"""``(name, doc)``."""

Frames = Sequence[npt.NDArray[Any]] | npt.NDArray[Any]


@dataclass(slots=True)
class _Maker:
    """Composes one run; the uid of everything in it is derived from the run's."""

    uid: str
    key: str
    motor: str | None
    metadata: Mapping[str, Any]
    time_s: float
    stream: str
    pairs: list[Pair] = field(default_factory=list)
    _bundle: Any = None
    _described: Any = None
    _count: int = 0

    def __post_init__(self) -> None:
        self._bundle = event_model.compose_run(uid=self.uid, time=self.time_s, metadata=dict(self.metadata))
        self.add("start", self._bundle.start_doc)

    def add(self, name: str, doc: Mapping[str, Any]) -> None:
        """Append a document."""
        self.pairs.append((name, dict(doc)))

    def new_uid(self, what: str) -> str:
        """Return the next uid."""
        self._count += 1
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.uid}/{what}/{self._count}"))

    def describe(self, frame: npt.NDArray[Any], external: str = "", per_event: int | None = None) -> None:
        """Append the descriptor."""
        shape = [*frame.shape] if per_event is None else [per_event, *frame.shape]
        entry: dict[str, Any] = {
            "source": "sim:detector",
            "dtype": "array",
            "shape": shape,
            "dtype_numpy": frame.dtype.str,
        }
        data_keys = {self.key: {**entry, "external": external} if external else entry}
        if self.motor is not None:
            data_keys[self.motor] = {"source": "sim:motor", "dtype": "number", "shape": [], "units": "mm"}
        self._described = self._bundle.compose_descriptor(
            name=self.stream,
            data_keys=data_keys,
            time=self.time_s,
            uid=self.new_uid("descriptor"),
            configuration={
                self.key: {
                    "data": {f"{self.key}_exposure_s": 0.1},
                    "timestamps": {f"{self.key}_exposure_s": self.time_s},
                    "data_keys": {
                        f"{self.key}_exposure_s": {"source": "sim", "dtype": "number", "shape": []}
                    },
                }
            },
        )
        self.add("descriptor", self._described.descriptor_doc)

    def event(self, number: int, data: Mapping[str, Any], filled: Mapping[str, bool] | None = None) -> None:
        """Append event ``number`` (from 0), with the motor's reading."""
        self.add("event", self.event_doc(number, data, filled))

    def event_doc(
        self, number: int, data: Mapping[str, Any], filled: Mapping[str, bool] | None = None
    ) -> dict[str, Any]:
        """Return event ``number`` (from 0), with the motor's reading."""
        values = {**data, **({self.motor: 0.5 * number} if self.motor is not None else {})}
        time_s = self.time_s + 1.0 + number
        return dict(
            self._described.compose_event(
                data=values,
                timestamps=dict.fromkeys(values, time_s),
                seq_num=number + 1,
                filled=dict(filled or {}),
                uid=self.new_uid("event"),
                time=time_s,
            )
        )

    def stream_resource(self, uri: str, mimetype: str, parameters: Mapping[str, Any]) -> Any:
        """Append a stream_resource for the frame key and return its bundle."""
        bundle = self._bundle.compose_stream_resource(
            mimetype=mimetype,
            uri=uri,
            data_key=self.key,
            parameters=dict(parameters),
            uid=self.new_uid("stream_resource"),
        )
        self.add("stream_resource", bundle.stream_resource_doc)
        return bundle

    def stream_datum(self, bundle: Any, start: int, stop: int, first: int) -> None:
        """Append a stream_datum: file events ``start`` to ``stop`` are seq_nums ``first`` on."""
        doc = bundle.compose_stream_datum(
            indices={"start": start, "stop": stop},
            seq_nums={"start": first, "stop": first + stop - start},
            descriptor=self._described.descriptor_doc,
        )
        self.add("stream_datum", doc)

    def stop(self, num_events: int) -> list[Pair]:
        """Append the stop and return all documents."""
        doc = self._bundle.compose_stop(uid=self.new_uid("stop"), time=self.time_s + 10.0 + num_events)
        self.add("stop", {**doc, "num_events": {self.stream: num_events}})
        return self.pairs


def _maker(
    uid: str, key: str, motor: str | None, metadata: Mapping[str, Any] | None, time_s: float
) -> _Maker:
    return _Maker(uid, key, motor, {"plan_name": "scan", "scan_id": 1, **(metadata or {})}, time_s, "primary")


def inline_run(
    frames: Frames,
    *,
    uid: str = "run-inline",
    key: str = "det",
    motor: str | None = "motor",
    metadata: Mapping[str, Any] | None = None,
    time_s: float = 1.7e9,
) -> list[Pair]:
    """Return a run whose events carry the arrays themselves.

    Parameters
    ----------
    frames : sequence of ndarray
        One per event, all of one shape and dtype.
    uid, key, motor
        Run uid, data key of the frames, data key of a motor that reads 0, 0.5, 1, ... mm (None for none).
    metadata : Mapping, optional
        More for the start document.
    time_s : float
        Time of the start (Unix s); events follow at one a second.
    """
    maker = _maker(uid, key, motor, metadata, time_s)
    maker.describe(np.asarray(frames[0]))
    for number, frame in enumerate(frames):
        maker.event(number, {key: np.asarray(frame)})
    return maker.stop(len(frames))


def page_run(
    frames: Frames,
    page_rows: int = 3,
    *,
    uid: str = "run-page",
    key: str = "det",
    motor: str | None = "motor",
    metadata: Mapping[str, Any] | None = None,
    time_s: float = 1.7e9,
) -> list[Pair]:
    """Return a run as :func:`inline_run`, its events packed into event_pages of ``page_rows``."""
    maker = _maker(uid, key, motor, metadata, time_s)
    maker.describe(np.asarray(frames[0]))
    events: list[Any] = [maker.event_doc(n, {key: np.asarray(frame)}) for n, frame in enumerate(frames)]
    for at in range(0, len(events), page_rows):
        maker.add("event_page", dict(event_model.pack_event_page(*events[at : at + page_rows])))
    return maker.stop(len(frames))


def write_hdf5(path: Path, frames: Iterable[npt.NDArray[Any]], dataset: str = "/entry/data/data") -> None:
    """Write frames as one dataset, a chunk per frame, as area detectors do."""
    stack = np.asarray(list(frames))
    stack = stack.reshape(-1, *stack.shape[-2:]) if stack.ndim > 3 else stack
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset(
            dataset, data=stack, chunks=(1, *stack.shape[1:]), maxshape=(None, *stack.shape[1:])
        )


def stream_run(
    frames: Frames,
    path: Path | str,
    *,
    uid: str = "run-stream",
    key: str = "det",
    motor: str | None = "motor",
    metadata: Mapping[str, Any] | None = None,
    time_s: float = 1.7e9,
) -> list[Pair]:
    """Return a step scan into an HDF5 file: stream_resource once, then a stream_datum and an event per frame.

    ``path`` is written. Frames of three dimensions are several rows per event (``shape[0]`` of them).
    """
    path = Path(path)
    write_hdf5(path, frames)
    maker = _maker(uid, key, motor, metadata, time_s)
    first = np.asarray(frames[0])
    frame, per_event = (first[0], len(first)) if first.ndim > 2 else (first, 1)
    maker.describe(frame, "STREAM:", per_event)
    bundle = maker.stream_resource(
        path.absolute().as_uri().replace("file://", "file://localhost"),
        "application/x-hdf5",
        {"dataset": "/entry/data/data", "chunk_shape": [1, *frame.shape]},
    )
    for number in range(len(frames)):
        maker.stream_datum(bundle, number, number + 1, number + 1)
        maker.event(number, {})
    return maker.stop(len(frames))


def fly_run(
    frames: Frames,
    path: Path | str,
    batches: Sequence[int] | None = None,
    *,
    uid: str = "run-fly",
    key: str = "det",
    metadata: Mapping[str, Any] | None = None,
    time_s: float = 1.7e9,
) -> list[Pair]:
    """Return a fly scan into an HDF5 file: no events, stream_datums of ``batches`` frames each."""
    path = Path(path)
    write_hdf5(path, frames)
    maker = _maker(uid, key, None, metadata, time_s)
    frame = np.asarray(frames[0])
    maker.describe(frame, "STREAM:", 1)
    bundle = maker.stream_resource(
        path.absolute().as_uri().replace("file://", "file://localhost"),
        "application/x-hdf5",
        {"dataset": "/entry/data/data", "chunk_shape": [1, *frame.shape]},
    )
    done = 0
    for size in batches or [len(frames)]:
        maker.stream_datum(bundle, done, done + size, done + 1)
        done += size
    return maker.stop(done)


def datum_run(
    frames: Frames,
    folder: Path | str,
    *,
    uid: str = "run-datum",
    key: str = "det",
    motor: str | None = "motor",
    metadata: Mapping[str, Any] | None = None,
    time_s: float = 1.7e9,
) -> list[Pair]:
    """Return a run in event-model's older style: one resource (NPY_SEQ), then a datum and an event per frame.

    The frames are written to ``folder`` as ``frames_0.npy``, ``frames_1.npy``, ...
    """
    folder = Path(folder).absolute()
    maker = _maker(uid, key, motor, metadata, time_s)
    maker.describe(np.asarray(frames[0]), "FILESTORE:")
    resource = {
        "uid": maker.new_uid("resource"),
        "run_start": uid,
        "spec": "NPY_SEQ",
        "root": str(folder),
        "resource_path": "frames",
        "resource_kwargs": {},
        "path_semantics": "posix",
    }
    maker.add("resource", resource)
    for number, frame in enumerate(frames):
        np.save(folder / f"frames_{number}.npy", np.asarray(frame))
        datum_id = f"{resource['uid']}/{number}"
        datum = {"datum_id": datum_id, "resource": resource["uid"], "datum_kwargs": {"index": number}}
        maker.add("datum", datum)
        maker.event(number, {key: datum_id}, {key: False})
    return maker.stop(len(frames))


def with_darks(pairs: Sequence[Pair], darks: Mapping[int, npt.NDArray[Any]], key: str = "det") -> list[Pair]:
    """Return an inline run with dark readings as bluesky-darkframes sends them, in a stream ``dark``.

    Parameters
    ----------
    pairs : sequence of Pair
        A run.
    darks : Mapping of int to ndarray
        Which dark is read just before which event of the run (numbers from 0).
    """
    uid = pairs[0][1]["uid"]
    described = next(doc for name, doc in pairs if name == "descriptor")
    dark_descriptor = {**described, "uid": f"{uid}-dark", "name": "dark"}
    dark_descriptor["data_keys"] = {key: described["data_keys"][key]}
    out: list[Pair] = []
    number = taken = 0
    for name, doc in pairs:
        if name == "event":
            if number in darks:
                if not taken:
                    out.append(("descriptor", dark_descriptor))
                taken += 1
                out.append(
                    ("event", _dark_event(dark_descriptor["uid"], taken, doc["time"], key, darks[number]))
                )
            number += 1
        if name == "stop":
            doc = {**doc, "num_events": {**doc["num_events"], "dark": taken}}
        out.append((name, doc))
    return out


def _dark_event(
    descriptor: str, seq_num: int, time_s: float, key: str, dark: npt.NDArray[Any]
) -> dict[str, Any]:
    return {
        "uid": f"{descriptor}-{seq_num}",
        "descriptor": descriptor,
        "seq_num": seq_num,
        "time": time_s - 0.5,
        "data": {key: dark},
        "timestamps": {key: time_s - 0.5},
        "filled": {},
    }
