"""The hostile corpus as documents: one field wrong, the wrong order, files that must not be opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from streamproc.testing.makers import Pair

__all__ = ["Expectation", "HostileRun", "hostile_paths", "hostile_runs"]

Expectation = Literal["undecodable", "refused", "skipped", "fails", "harmless"]
"""What must become of an entry.

``undecodable``: the codec refuses the bytes. ``refused``: the codec or the checks refuse the document.
``skipped``: counted and left alone. ``fails``: its frame is recorded as failed or refused, nothing is read.
``harmless``: it may be taken for what it says, bounded in time and memory.
"""


@dataclass(frozen=True, slots=True)
class HostileRun:
    """One or more documents that belong together; ``expectation`` is about the last one (or its frame)."""

    label: str
    pairs: tuple[Pair, ...]
    expectation: Expectation


def _start(uid: str, /, **changes: Any) -> dict[str, Any]:
    return {"uid": uid, "time": 1.7e9, "plan_name": "scan", **changes}


def _descriptor(run: str, /, **changes: Any) -> dict[str, Any]:
    key = {"source": "sim", "dtype": "array", "shape": [8, 8], **changes.pop("key", {})}
    doc = {
        "uid": f"{run}-d", "run_start": run, "time": 1.7e9, "name": "primary", "data_keys": {"det": key},
        "configuration": {}, "hints": {}, "object_keys": {},
    }  # fmt: skip
    return {**doc, **changes}


def _event(run: str, /, **changes: Any) -> dict[str, Any]:
    data = changes.pop("data", {"det": np.zeros((8, 8))})
    doc = {
        "uid": f"{run}-e", "descriptor": f"{run}-d", "seq_num": 1, "time": 1.7e9, "filled": {},
        "data": data, "timestamps": dict.fromkeys(data, 1.7e9) if isinstance(data, dict) else {},
    }  # fmt: skip
    return {**doc, **changes}


def _stream_resource(run: str, /, **changes: Any) -> dict[str, Any]:
    doc = {
        "uid": f"{run}-s", "run_start": run, "data_key": "det", "uri": "file://localhost/nowhere/a.h5",
        "mimetype": "application/x-hdf5", "parameters": {"dataset": "/entry/data/data"},
    }  # fmt: skip
    return {**doc, **changes}


def _stream_datum(run: str, /, **changes: Any) -> dict[str, Any]:
    doc = {
        "uid": f"{run}-s/0", "descriptor": f"{run}-d", "stream_resource": f"{run}-s",
        "indices": {"start": 0, "stop": 1}, "seq_nums": {"start": 1, "stop": 2},
    }  # fmt: skip
    return {**doc, **changes}


def _stop(run: str, /, **changes: Any) -> dict[str, Any]:
    doc = {"uid": f"{run}-z", "run_start": run, "time": 1.7e9, "exit_status": "success", "num_events": {}}
    return {**doc, **changes}


_Changes = Mapping[str, Any]


def hostile_runs() -> Iterator[HostileRun]:
    """Iterate over the corpus as documents; each entry has run uids of its own (``hostile-...``)."""
    for number, (label, make, expectation) in enumerate((*_bad_fields(), *_sequences(), *_paths())):
        yield HostileRun(label, tuple(make(f"hostile-{number}")), expectation)


_Case = tuple[str, Callable[[str], list[Pair]], Expectation]


def _opened(run: str, **key: Any) -> list[Pair]:
    return [("start", _start(run)), ("descriptor", _descriptor(run, key=key))]


_ODD: dict[str, Any] = {
    "null": None, "a number": 7, "a fraction": 0.5, "bool": True, "a list": [1], "a map": {"a": 1},
    "bytes": b"\x00\xff", "empty text": "", "a text of 1 MB": "x" * 1_000_000, "an array": np.zeros(3),
}  # fmt: skip
_NUMBERS = {
    "0": 0, "negative": -1, "a fraction": 1.5, "a whole fraction": 1.0, "bool": True, "NaN": float("nan"),
    "a text": "1", "2**62": 2**62, "null": None, "an array": np.array([1]),
}  # fmt: skip
_TIMES = {"NaN": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "null": None, "a text": "now"}


def _bad_fields() -> Iterator[_Case]:
    """One field wrong, everything else right."""
    makers: dict[str, tuple[Callable[..., dict[str, Any]], tuple[str, ...], int]] = {
        "start": (_start, ("uid",), 0),
        "descriptor": (_descriptor, ("uid", "run_start", "name", "data_keys"), 1),
        "event": (_event, ("uid", "descriptor", "data", "timestamps"), 2),
        "stream_resource": (_stream_resource, ("uid", "data_key", "uri", "mimetype", "parameters"), 2),
        "stream_datum": (_stream_datum, ("uid", "descriptor", "stream_resource", "indices", "seq_nums"), 2),
        "stop": (_stop, ("run_start",), 2),
    }
    texts = ("uid", "run_start", "name", "descriptor", "data_key", "uri", "mimetype", "stream_resource")
    for name, (make, fields, before) in makers.items():
        for field in fields:
            for odd, value in _ODD.items():
                if field in texts or odd != "a map":
                    yield _changed(f"{name}.{field} is {odd}", name, make, before, {field: value})
        for odd, value in _TIMES.items():
            if "time" in make("x"):
                yield _changed(f"{name}.time is {odd}", name, make, before, {"time": value})
    for odd, value in _NUMBERS.items():
        yield _changed(f"event.seq_num is {odd}", "event", _event, 2, {"seq_num": value})
        bad = {"start": value, "stop": 5}
        yield _changed(
            f"stream_datum.seq_nums.start is {odd}", "stream_datum", _stream_datum, 2, {"seq_nums": bad}
        )
        if odd != "0":
            yield _changed(f"num_events is {odd}", "stop", _stop, 2, {"num_events": {"primary": value}})
    huge = {"indices": {"start": 0, "stop": 10**12}, "seq_nums": {"start": 1, "stop": 10**12 + 1}}
    yield _changed("stream_datum of 10**12 events", "stream_datum", _stream_datum, 2, huge)
    far = {"indices": {"start": 0, "stop": 10**8}, "seq_nums": {"start": 1, "stop": 10**8 + 1}}
    yield _changed("stream_datum of 10**8 events", "stream_datum", _stream_datum, 2, far)
    uneven = {"indices": {"start": 0, "stop": 5}, "seq_nums": {"start": 1, "stop": 3}}
    yield _changed("stream_datum with uneven ranges", "stream_datum", _stream_datum, 2, uneven)
    backwards = {"indices": {"start": 5, "stop": 0}, "seq_nums": {"start": 6, "stop": 1}}
    yield _changed("stream_datum that runs backwards", "stream_datum", _stream_datum, 2, backwards)
    yield _changed("stop with 10**15 events", "stop", _stop, 2, {"num_events": {"primary": 10**15}})
    for odd, shape in {"negative": [-8, 8], "text": ["8"], "10**18": [10**18], "a number": 8}.items():
        keys = {"data_keys": {"det": {"source": "s", "dtype": "array", "shape": shape}}}
        yield _changed(f"descriptor shape is {odd}", "descriptor", _descriptor, 1, keys)
    many = {f"k{i}": {"source": "s", "dtype": "number", "shape": []} for i in range(30_000)}
    yield _changed("descriptor with 30000 keys", "descriptor", _descriptor, 1, {"data_keys": many})
    timestamps = {"timestamps": {"other": 1.0}}
    yield _changed("event whose timestamps have other keys", "event", _event, 2, timestamps)


def _changed(
    label: str, name: str, make: Callable[..., dict[str, Any]], before: int, changes: _Changes
) -> _Case:
    def build(run: str) -> list[Pair]:
        return [*_opened(run)[:before], (name, make(run, **changes))]

    return label, build, "refused"


def _sequences() -> Iterator[_Case]:
    """Documents that are right by themselves and wrong where they come."""

    def nested(run: str) -> list[Pair]:
        deep: Any = {}
        for _ in range(60):
            deep = {"a": deep}
        return [("start", _start(run, deep=[[[[deep]]]]))]

    numbers = {"seq_num": 2**31 - 1, "uid": "far"}
    page = {
        "descriptor": "", "uid": ["a", "b"], "seq_num": [1, 2], "time": [1.0, 2.0],
        "data": {"det": [np.zeros((8, 8))]}, "timestamps": {"det": [1.0, 2.0]}, "filled": {},
    }  # fmt: skip
    text = {"descriptor": "", "uid": "ab", "seq_num": "12", "time": "34", "data": {}, "timestamps": {}}
    cases: dict[str, tuple[Callable[[str], list[Pair]], Expectation]] = {
        "start nested 65 deep": (nested, "refused"),
        "start with dots and slashes in its keys": (
            lambda r: [("start", _start(r, **{"a.b": 1, "c/d": {"e.f": 2}}))], "harmless"),
        "start that says it is our own result": (
            lambda r: [("start", _start(r, streamproc={})), ("descriptor", _descriptor(r))], "skipped"),
        "start twice": (lambda r: [("start", _start(r)), ("start", _start(r))], "skipped"),
        "stop twice": (lambda r: [("start", _start(r)), ("stop", _stop(r)), ("stop", _stop(r))], "skipped"),
        "event after the stop": (
            lambda r: [*_opened(r), ("stop", _stop(r)), ("event", _event(r))], "skipped"),
        "descriptor of an unknown run": (lambda r: [("descriptor", _descriptor(r))], "harmless"),
        "event of an unknown descriptor": (lambda r: [("event", _event(r))], "skipped"),
        "datum of an unknown resource": (
            lambda r: [("datum", {"datum_id": r, "resource": r, "datum_kwargs": {}})], "skipped"),
        "stream_datum of an unknown stream": (lambda r: [("stream_datum", _stream_datum(r))], "skipped"),
        "stop of an unknown run": (lambda r: [("stop", _stop(r))], "harmless"),
        "event twice": (lambda r: [*_opened(r), ("event", _event(r)), ("event", _event(r))], "skipped"),
        "descriptor that another run has": (
            lambda r: [*_opened(r), ("start", _start(r + "b")),
                       ("descriptor", {**_descriptor(r + "b"), "uid": f"{r}-d"})], "refused"),
        "stream_datum whose descriptor is another run's": (
            lambda r: [*_opened(r), ("start", _start(r + "b")),
                       ("stream_resource", _stream_resource(r + "b")),
                       ("stream_datum", {**_stream_datum(r + "b"), "descriptor": f"{r}-d"})], "harmless"),
        "event without the frame's key": (
            lambda r: [*_opened(r), ("event", _event(r, data={"other": 1.0}))], "fails"),
        "event with a text for a frame": (
            lambda r: [*_opened(r), ("event", _event(r, data={"det": "nonsense"}))], "fails"),
        "event with a scalar for a frame": (
            lambda r: [*_opened(r), ("event", _event(r, data={"det": 3}))], "fails"),
        "event with ragged lists for a frame": (
            lambda r: [*_opened(r), ("event", _event(r, data={"det": [[1, 2], [3]]}))], "fails"),
        "event with another shape than described": (
            lambda r: [*_opened(r), ("event", _event(r, data={"det": np.zeros((3, 5, 7))}))], "fails"),
        "event with a frame of texts": (
            lambda r: [*_opened(r), ("event", _event(r, data={"det": np.full((8, 8), "x")}))], "fails"),
        "event with a frame of NaN": (
            lambda r: [*_opened(r), ("event", _event(r, data={"det": np.full((8, 8), np.nan)}))], "harmless"),
        "event with an empty frame": (
            lambda r: [*_opened(r), ("event", _event(r, data={"det": np.zeros((0, 8))}))], "fails"),
        "seq_num far beyond the last": (lambda r: [*_opened(r), ("event", _event(r, **numbers))], "harmless"),
        "page with columns of different lengths": (
            lambda r: [*_opened(r), ("event_page", {**page, "descriptor": f"{r}-d"})], "refused"),
        "page with texts for columns": (
            lambda r: [*_opened(r), ("event_page", {**text, "descriptor": f"{r}-d"})], "refused"),
        "datum_page with columns of different lengths": (
            lambda r: [("start", _start(r)), ("datum_page", {
                "resource": f"{r}-r", "datum_id": ["a", "b"], "datum_kwargs": {"i": [1]}})], "refused"),
        "bulk_events of numbers": (lambda r: [*_opened(r), ("bulk_events", {f"{r}-d": [1, 2]})], "refused"),
        "bulk_datum with uneven lists": (
            lambda r: [("bulk_datum", {"resource": r, "datum_ids": ["a"], "datum_kwarg_list": []})],
            "refused"),
    }  # fmt: skip
    for label, (make, expectation) in cases.items():
        yield label, make, expectation


def hostile_paths() -> tuple[str, ...]:
    """Return paths and URIs of files a service must not open."""
    return _PATHS


_PATHS = (
    "/etc/passwd", "../../../../../../etc/passwd", "file:///etc/shadow", "file://localhost/etc/passwd",
    "file://localhost/%2e%2e/%2e%2e/etc/passwd", "file://evil.example/share/a.h5",
    "//evil.example/share/a.h5",
    r"\\evil.example\share\a.h5", "file:///proc/self/environ", "/dev/zero", "file:///dev/random",
    "http://evil.example/a.h5", "s3://bucket/a.h5", "ftp://evil.example/a", "data:text/plain,hello",
    "file://localhost/tmp/\x00/etc/passwd", "file://localhost/" + "a/" * 20_000, "~/.ssh/id_rsa",
    "file://localhost/etc/passwd#.h5", "file://localhost/etc/passwd?x=.h5", "$HOME/.bashrc", ".", "/",
)  # fmt: skip


def _paths() -> Iterator[_Case]:
    """Files a service must not open."""
    for path in _PATHS:
        label = path if len(path) < 80 else f"{path[:40]}..."

        def stream(run: str, path: str = path) -> list[Pair]:
            opened = _opened(run, external="STREAM:")
            return [*opened, ("stream_resource", _stream_resource(run, uri=path)),
                    ("stream_datum", _stream_datum(run))]  # fmt: skip

        def resource(run: str, path: str = path) -> list[Pair]:
            doc = {
                "uid": f"{run}-r", "run_start": run, "spec": "AD_TIFF", "root": "/", "resource_path": path,
                "resource_kwargs": {"template": "%s%s", "filename": "", "frame_per_point": 1},
                "path_semantics": "posix",
            }  # fmt: skip
            datum = {"datum_id": f"{run}-r/0", "resource": f"{run}-r", "datum_kwargs": {"point_number": 0}}
            event = _event(run, data={"det": f"{run}-r/0"}, filled={"det": False})
            opened = _opened(run, external="FILESTORE:")
            return [*opened, ("resource", doc), ("datum", datum), ("event", event)]

        yield f"stream_resource to {label!r}", stream, "fails"
        yield f"resource to {label!r}", resource, "fails"
    templates = (
        "../../{:d}.tiff",
        "/etc/{:d}",
        "{0.__class__}",
        "{:1000000000d}.tiff",
        "%1000000000d.tiff",
        "%n",
    )
    for template in templates:

        def sequence(run: str, template: str = template) -> list[Pair]:
            folder = _stream_resource(
                run, uri="file://localhost/nowhere/", mimetype="multipart/related;type=image/tiff",
                parameters={"template": template, "chunk_shape": [1, 8, 8]},
            )  # fmt: skip
            return [*_opened(run, external="STREAM:"), ("stream_resource", folder),
                    ("stream_datum", _stream_datum(run))]  # fmt: skip

        yield f"file name template {template!r}", sequence, "fails"
