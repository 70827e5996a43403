"""Requests as the assembler makes them, for tests of readers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamproc.documents import Position
from streamproc.frames.requests import DatumRef, FrameRequest, Inline, Locator, StreamSlice


def request(locator: Locator, data_key: Mapping[str, Any] | None = None, **more: Any) -> FrameRequest:
    given = {
        "run_uid": "run-1",
        "stream": "primary",
        "seq_num": 1,
        "key": "det_image",
        "data_key": data_key or {},
        "locator": locator,
        "time_s": 0.0,
        "position": Position("t", 0, 0),
    }
    return FrameRequest(**{**given, **more})


def inline(value: Any, **data_key: Any) -> FrameRequest:
    return request(Inline(value), data_key)


def stream(
    uri: str | Path,
    mimetype: str,
    index: int = 0,
    shape: Any = (),
    dtype: str | None = None,
    **parameters: Any,
) -> FrameRequest:
    resource = {"uid": "sres", "mimetype": mimetype, "uri": str(uri), "parameters": parameters}
    data_key: dict[str, Any] = {"shape": list(shape), "dtype": "array", "external": "STREAM:"}
    if dtype is not None:
        data_key["dtype_numpy"] = dtype
    return request(StreamSlice(resource, index), data_key)


def hdf5(uri: str | Path, index: int = 0, shape: Any = (), **parameters: Any) -> FrameRequest:
    return stream(uri, "application/x-hdf5", index, shape, **{"dataset": "/entry/data/data", **parameters})


def datum(
    spec: str, root: str | Path, path: str, kwargs: Mapping[str, Any], datum_kwargs: Mapping[str, Any]
) -> FrameRequest:
    resource = {
        "uid": "res",
        "spec": spec,
        "root": str(root),
        "resource_path": path,
        "resource_kwargs": dict(kwargs),
        "path_semantics": "posix",
    }
    return request(
        DatumRef(resource, {"resource": "res", "datum_id": "res/0", "datum_kwargs": dict(datum_kwargs)}),
        {"shape": [], "dtype": "array", "external": "FILESTORE:"},
    )
