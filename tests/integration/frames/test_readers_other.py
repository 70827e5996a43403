from __future__ import annotations

import ast
import itertools
import json
import os
import pickle
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from streamproc.errors import FrameFailed, NotYet
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.frames.readers.asks import ask_for
from streamproc.frames.readers.handlers import HandlerReader, registered_handlers
from streamproc.frames.requests import DatumRef

from .requests_of import datum, inline, request, stream

NPY = "multipart/related;type=application/x-npy"
ZARR = "application/x-zarr"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def reader(root: Path) -> Iterator[FrameReader]:
    made = FrameReader(PathPolicy((root,)))
    yield made
    made.close()


def frames(n: int = 4, dtype: str = "u2") -> np.ndarray:
    return np.random.default_rng(5).poisson(50, (n, 30, 41)).astype(dtype)


# --- inline -----------------------------------------------------------------------------------------------


def test_an_inline_array_is_given_as_it_is_without_a_copy(reader: FrameReader) -> None:
    raw = frames(1)[0].tobytes()
    value = np.frombuffer(raw, "u2").reshape(30, 41)
    got = reader.read(inline(value, dtype_numpy="<f8", shape=[30, 41]))
    assert np.shares_memory(got, value)
    assert got.dtype == np.uint16
    assert "<u2 read, <f8 declared" in reader.notes("run-1")[0]


def test_an_inline_array_that_others_can_write_is_given_read_only(reader: FrameReader) -> None:
    value = frames(1)[0]
    assert not reader.read(inline(value)).flags.writeable
    assert value.flags.writeable


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 4, 5), (4, 5)),
        ((3, 4, 5), (3, 4, 5)),
        ((1, 7), (7,)),
        ((7,), (7,)),
        ((1, 1, 7), (7,)),
        ((4, 1), (4, 1)),
    ],
)
def test_leading_axes_of_one_are_dropped(reader: FrameReader, shape: Any, expected: Any) -> None:
    assert reader.read(inline(np.ones(shape))).shape == expected


@pytest.mark.parametrize(
    ("value", "declared", "expected"),
    [
        ([[1, 2], [3, 4]], "<u2", "u2"),
        ([[1, 2], [3, 70000]], "<u2", "i8"),
        ([1.5, 2.0], "<u2", "f8"),
        ([1.5, 0.1], "<f4", "f4"),
        ([1, 2], None, "i8"),
        ([1, 2], "nonsense", "i8"),
        ([-1, 2], "|O", "i8"),
    ],
)
def test_lists_take_the_declared_dtype_only_if_every_value_survives(
    reader: FrameReader, value: Any, declared: str | None, expected: str
) -> None:
    got = reader.read(inline(value, **({"dtype_numpy": declared} if declared else {})))
    assert got.dtype == np.dtype(expected)
    np.testing.assert_allclose(got, value, rtol=1e-7)


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3]],
        ["a", "b"],
        [None, 1],
        [[]],
        [],
        3.0,
        7,
        "text",
        None,
        {"a": 1},
        b"bytes",
        [1, [2, 3]],
        [10**40],
    ],
)
def test_what_is_no_regular_array_of_numbers_fails(reader: FrameReader, value: Any) -> None:
    with pytest.raises(FrameFailed):
        reader.read(inline(value))


def test_one_number_is_an_array_of_one_where_the_data_key_promised_one(reader: FrameReader) -> None:
    assert reader.read(inline(37, dtype="integer", shape=[])).tolist() == [37]
    assert reader.read(inline(2.5, dtype="number", shape=[])).tolist() == [2.5]
    for value, declared in ((7, {"dtype": "array", "shape": [3]}), (True, {"dtype": "number", "shape": []})):
        with pytest.raises(FrameFailed, match="no array"):
            reader.read(inline(value, **declared))


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a"]),
        np.array([object()], dtype=object),
        np.zeros(3, "M8[s]"),
        np.zeros((2, 2), [("a", "u2")]),
        np.zeros((0, 4)),
        np.zeros((2, 2, 2, 2)),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_arrays_of_other_kinds_or_shapes_fail(reader: FrameReader, array: np.ndarray) -> None:
    with pytest.raises(FrameFailed):
        reader.read(inline(array))


def test_an_inline_array_over_the_limit_fails() -> None:
    with pytest.raises(FrameFailed, match=r"frames\.max_frame_bytes"):
        FrameReader(PathPolicy(()), max_frame_bytes=10).read(inline(np.zeros(100)))


# --- NPY --------------------------------------------------------------------------------------------------


def test_ophyds_npy_sequence_is_read_as_its_handler_reads_it(reader: FrameReader, root: Path) -> None:
    from ophyd.sim import NumpySeqHandler, SynSignalWithRegistry

    data, count = frames(4), itertools.count()
    detector = SynSignalWithRegistry(name="img", func=lambda: data[next(count) % 4], save_path=str(root))
    detector.stage()
    for _ in range(3):
        detector.trigger()
        detector.read()
    documents = list(detector.collect_asset_docs())
    resource = next(doc for name, doc in documents if name == "resource")
    handler = NumpySeqHandler(resource["resource_path"], root=resource["root"])
    datums = [doc for name, doc in documents if name == "datum"]
    assert len(datums) == 3
    for doc in datums:
        got = reader.read(request(DatumRef(resource, doc)))
        np.testing.assert_array_equal(got, handler(**doc["datum_kwargs"]))


def test_an_npy_stream_resource_is_read_by_the_consolidators_naming(reader: FrameReader, root: Path) -> None:
    data = frames(3)
    for i in range(3):
        np.save(root / f"abc_{i}.npy", data[i])
        np.save(root / f"img{i:03d}.npy", data[i])
    for more, uri in (
        ({}, root / "abc"),
        ({"template": "%s_%d.npy"}, root / "abc"),
        ({"template": "img{:03d}.npy"}, root),
    ):
        got = reader.read(stream(f"file://localhost{uri}", NPY, 2, (30, 41), **more))
        np.testing.assert_array_equal(got, data[2])


def test_one_npy_file_gives_a_row_per_event(reader: FrameReader, root: Path) -> None:
    data = frames(4)
    np.save(root / "all.npy", data)
    np.testing.assert_array_equal(
        reader.read(stream(root / "all.npy", "application/x-npy", 3, (30, 41))), data[3]
    )
    np.testing.assert_array_equal(
        reader.read(stream(root / "all.npy", "application/x-npy", 1, (2, 30, 41))), data[2:]
    )
    with pytest.raises(NotYet):
        reader.read(stream(root / "all.npy", "application/x-npy", 4, (30, 41)))


def test_an_npy_file_that_is_missing_or_cut_is_not_yet(reader: FrameReader, root: Path) -> None:
    data = frames(1)[0]
    np.save(root / "whole.npy", data)
    whole = (root / "whole.npy").read_bytes()
    asked = stream(root / "a", NPY, 0, (30, 41))
    with pytest.raises(NotYet, match="not there"):
        reader.read(asked)
    for keep in (0, 3, 10, 100, 128, len(whole) - 1):
        (root / "a_0.npy").write_bytes(whole[:keep])
        with pytest.raises(NotYet):
            reader.read(asked)
    (root / "a_0.npy").write_bytes(whole)
    np.testing.assert_array_equal(reader.read(asked), data)


def test_fortran_order_and_big_endian_npy_come_out_c_ordered_and_native(
    reader: FrameReader, root: Path
) -> None:
    data = frames(1)[0]
    np.save(root / "a_0.npy", np.asfortranarray(data.astype(">u2")))
    got = reader.read(stream(root / "a", NPY, 0, (30, 41)))
    np.testing.assert_array_equal(got, data)
    assert got.flags.c_contiguous
    assert got.dtype.isnative


@pytest.mark.parametrize("dtype", ["<u2", ">i4", "|u1", "<f4", "<f8", "|b1"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (2, 3, 4)])
def test_npy_headers_are_read_without_pythons_parser(
    reader: FrameReader, root: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, version: Any, shape: Any
) -> None:
    # CPython 3.11 raises a SystemError now and then when two threads parse at once: a frame would be lost.
    data = np.random.default_rng(3).integers(0, 2, shape).astype(dtype)
    for name, written in (("c", data), ("f", np.asfortranarray(data))):
        with (root / f"{name}_0.npy").open("wb") as file:
            np.lib.format.write_array(file, written, version)
    monkeypatch.setattr(ast, "literal_eval", lambda text: pytest.fail("parsed"))
    for name in "cf":
        np.testing.assert_array_equal(reader.read(stream(root / name, NPY, 0, shape)), data)


def test_an_npy_header_that_is_no_plain_array_is_refused_with_what_it_says(
    reader: FrameReader, root: Path
) -> None:
    np.save(root / "a_0.npy", np.zeros(3, [("x", "<f8"), ("y", "<i4")]))
    with pytest.raises(FrameFailed, match=r"no plain array: its header is .*'x'"):
        reader.read(stream(root / "a", NPY, 0, (3,)))


class _Bomb:
    def __reduce__(self) -> Any:
        return (os.mkdir, (os.environ["BOMB"],))


def test_a_pickle_in_an_npy_file_is_never_run(
    reader: FrameReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMB", str(root / "ran"))
    np.save(root / "a_0.npy", np.array([_Bomb()], dtype=object), allow_pickle=True)
    (root / "b_0.npy").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(FrameFailed, match="not numbers"):
        reader.read(stream(root / "a", NPY, 0))
    with pytest.raises(NotYet):
        reader.read(stream(root / "b", NPY, 0))
    assert not (root / "ran").exists()


def test_an_npy_header_that_claims_a_huge_array_is_refused(reader: FrameReader, root: Path) -> None:
    with (root / "a_0.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"shape": (2**30, 2**30), "fortran_order": False, "descr": "<u8"}
        )
    with pytest.raises(FrameFailed, match=r"frames\.max_frame_bytes"):
        reader.read(stream(root / "a", NPY, 0))


# --- Zarr -------------------------------------------------------------------------------------------------


def make_zarr(path: Path, data: np.ndarray, version: int, **options: Any) -> Any:
    array = zarr.create_array(
        str(path), shape=(0, *data.shape[1:]), dtype=data.dtype, zarr_format=version,
        **{"chunks": (1, *data.shape[1:]), **options},
    )  # fmt: skip
    return array


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("chunks", [(1, 30, 41), (1, 16, 16), (2, 30, 41)])
def test_zarr_rows_are_given_once_they_are_written(
    reader: FrameReader, root: Path, version: int, chunks: Any
) -> None:
    data = frames(5) + 1
    array = make_zarr(root / "z.zarr", data, version, chunks=chunks)
    for i in range(4):
        asked = stream(root / "z.zarr", ZARR, i, (1, 30, 41))
        with pytest.raises(NotYet):
            reader.read(asked)
        array.resize((2 * (i // 2 + 1), 30, 41))
        if chunks[0] == 1:
            with pytest.raises(NotYet, match="not written"):
                reader.read(asked)
        array[i] = data[i]
        np.testing.assert_array_equal(reader.read(asked), data[i])


def test_sharded_and_grouped_zarr_and_several_rows_per_event_are_read(
    reader: FrameReader, root: Path
) -> None:
    data = frames(4)
    group = zarr.open_group(str(root / "g.zarr"), mode="w", zarr_format=3)
    array = group.create_array(
        "entry/data", shape=data.shape, dtype="u2", chunks=(1, 30, 41), shards=(2, 30, 41)
    )
    array[:] = data
    got = reader.read(stream(root / "g.zarr", ZARR, 1, (2, 30, 41), path="entry/data"))
    np.testing.assert_array_equal(got, data[2:])


def test_a_blank_zarr_frame_is_known_once_the_next_is_there(reader: FrameReader, root: Path) -> None:
    data = frames(2) + 1
    array = make_zarr(root / "z.zarr", data, 3)
    array.resize((2, 30, 41))
    array[0] = 0
    asked = stream(root / "z.zarr", ZARR, 0, (1, 30, 41))
    with pytest.raises(NotYet):
        reader.read(asked)
    array[1] = data[1]
    assert not reader.read(asked).any()


def test_a_zarr_that_is_missing_is_not_yet(reader: FrameReader, root: Path) -> None:
    (root / "empty.zarr").mkdir()
    for name in ("none.zarr", "empty.zarr"):
        with pytest.raises(NotYet):
            reader.read(stream(root / name, ZARR, 0, (1, 30, 41)))


def test_a_zarr_codec_that_could_run_code_is_refused_before_it_is_built(
    reader: FrameReader, root: Path
) -> None:
    make_zarr(root / "z.zarr", frames(1), 2)
    metadata = json.loads((root / "z.zarr/.zarray").read_text())
    for change in (
        {"filters": [{"id": "pickle"}]},
        {"compressor": {"id": "pickle"}},
        {"filters": ["pickle"]},
    ):
        (root / "z.zarr/.zarray").write_text(json.dumps({**metadata, **change}))
        with pytest.raises(FrameFailed, match=r"pickle"):
            reader.read(stream(root / "z.zarr", ZARR, 0))
    sharded = {
        "codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "numcodecs.pickle"}]}}]
    }
    (root / "z.zarr/.zarray").unlink()
    (root / "z.zarr/zarr.json").write_text(json.dumps(sharded))
    with pytest.raises(FrameFailed, match="pickle"):
        reader.read(stream(root / "z.zarr", ZARR, 0))


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_chunk_that_links_out_of_the_roots_is_refused(
    reader: FrameReader, root: Path, version: int
) -> None:
    array = make_zarr(root / "z.zarr", frames(1), version)
    array.resize((1, 30, 41))
    array[0] = frames(1)[0]
    chunk = next(
        p for p in (root / "z.zarr").rglob("*") if p.is_file() and p.suffix != ".json" and p.name[0] != "."
    )
    secret = root.parent / "secret"
    chunk.rename(secret)
    chunk.symlink_to(secret)
    with pytest.raises(FrameFailed, match=r"frames\.roots"):
        reader.read(stream(root / "z.zarr", ZARR, 0, (1, 30, 41)))


# --- registered handlers ----------------------------------------------------------------------------------


class GoodHandler:
    """Reads raw bytes; counts how often it is made."""

    made = 0

    def __init__(self, path: str, width: int) -> None:
        type(self).made += 1
        self._path, self._width = path, width

    def __call__(self, index: int) -> Any:
        import dask.array

        whole = np.fromfile(self._path, "u2").reshape(-1, self._width, self._width)
        if index >= len(whole):
            raise ValueError("not so many")
        return dask.array.from_array(whole[index])

    def get_file_list(self, datum_kwargs: Any) -> list[str]:
        return [self._path]


class BadHandler:
    def __init__(self, path: str, **_: Any) -> None:
        pass

    def __call__(self, what: str = "raise") -> Any:
        if what == "raise":
            raise RuntimeError("broken")
        return {"text": "abc", "none": None, "ragged": [[1], [2, 3]], "outside": np.ones(3)}[what]

    def get_file_list(self, datum_kwargs: Any) -> list[str]:
        return ["/etc/hostname"] if any(k.get("what") == "outside" for k in datum_kwargs) else []


def handler_reader(root: Path) -> HandlerReader:
    def points() -> dict[str, EntryPoint]:
        here = f"{__name__}"
        return {
            name: EntryPoint(name, f"{here}:{kind}", "databroker.handlers")
            for name, kind in (("GOOD", "GoodHandler"), ("BAD", "BadHandler"), ("GONE", "Missing"))
        }

    return HandlerReader(PathPolicy((root,)), max_frame_bytes=10_000, max_open_files=4, handlers=points)


def via_handler(
    root: Path, spec: str, kwargs: dict[str, Any], datum_kwargs: dict[str, Any], path: str = "f.raw"
) -> Any:
    asked = datum(spec, root, path, kwargs, datum_kwargs)
    assert isinstance(asked.locator, DatumRef)
    ask = ask_for(asked.locator, asked.data_key, "run-1", PathPolicy((root,)))
    return handler_reader(root).read(ask)


def test_a_registered_handler_reads_what_we_have_no_reader_for(root: Path) -> None:
    with pytest.raises(NotYet):
        via_handler(root, "GOOD", {"width": 4}, {"index": 0})
    data = np.arange(48, dtype="u2").reshape(3, 4, 4)
    data.tofile(root / "f.raw")
    np.testing.assert_array_equal(via_handler(root, "GOOD", {"width": 4}, {"index": 2}), data[2])
    with pytest.raises(NotYet, match="not so many"):
        via_handler(root, "GOOD", {"width": 4}, {"index": 3})


@pytest.mark.parametrize(
    ("spec", "datum_kwargs", "match"),
    [
        ("BAD", {}, "RuntimeError: broken"),
        ("BAD", {"wrong": 1}, "TypeError"),
        ("BAD", {"what": "outside"}, r"frames\.roots"),
        ("BAD", {"what": "../x"}, "climbs"),
        ("GONE", {}, "cannot be loaded"),
        ("NOBODY", {}, r"registered: BAD, GONE, GOOD"),
    ],
)
def test_a_handlers_failure_stays_with_its_frame(
    root: Path, spec: str, datum_kwargs: dict[str, Any], match: str
) -> None:
    (root / "f.raw").write_bytes(b"x")
    with pytest.raises(FrameFailed, match=match):
        via_handler(root, spec, {}, datum_kwargs)


def test_a_handler_never_sees_a_path_outside_the_roots(root: Path) -> None:
    (root.parent / "secret").write_bytes(b"\0" * 32)
    before = GoodHandler.made
    with pytest.raises(FrameFailed, match=r"frames\.roots"):
        via_handler(root, "GOOD", {"width": 4}, {"index": 0}, "../secret")
    assert GoodHandler.made == before


def test_a_handlers_answer_over_the_limit_is_refused_before_it_is_computed(root: Path) -> None:
    np.zeros((1, 100, 100), "u2").tofile(root / "f.raw")
    with pytest.raises(FrameFailed, match=r"frames\.max_frame_bytes"):
        via_handler(root, "GOOD", {"width": 100}, {"index": 0})


def test_the_installed_handlers_are_found_and_used(reader: FrameReader, root: Path) -> None:
    import h5py
    from area_detector_handlers.handlers import AreaDetectorHDF5TimestampHandler

    assert {"NPY_SEQ", "AD_CBF", "XSP3", "AD_HDF5_TS"} <= set(registered_handlers())
    with h5py.File(root / "f.h5", "w") as file:
        file["/entry/instrument/NDAttributes/NDArrayEpicsTSSec"] = np.arange(6.0)
        file["/entry/instrument/NDAttributes/NDArrayEpicsTSnSec"] = np.arange(6.0) * 1e8
    handler = AreaDetectorHDF5TimestampHandler(str(root / "f.h5"), frame_per_point=3)
    expected = handler(point_number=1)
    handler.close()
    asked = datum("AD_HDF5_TS", root, "f.h5", {"frame_per_point": 3}, {"point_number": 1})
    np.testing.assert_array_equal(reader.read(asked), expected)
    reader.release("run-1")


# --- dispatch ---------------------------------------------------------------------------------------------


def test_an_unknown_mimetype_is_named_with_the_known_ones(reader: FrameReader, root: Path) -> None:
    with pytest.raises(FrameFailed, match=r"text/plain.*application/x-hdf5"):
        reader.read(stream(root / "a", "text/plain"))


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"mimetype": "application/x-hdf5"},
        {"mimetype": "application/x-hdf5", "uri": 3, "parameters": {}},
        {"mimetype": "application/x-hdf5", "uri": "/x", "parameters": [1]},
        {"mimetype": None, "uri": "/x"},
        {"spec": "X", "resource_path": "y"},
    ],
    ids=str,
)
def test_broken_stream_resources_fail_and_say_where(reader: FrameReader, broken: dict[str, Any]) -> None:
    from streamproc.frames.requests import StreamSlice

    with pytest.raises(FrameFailed) as raised:
        reader.read(request(StreamSlice(broken, 0)))
    assert (raised.value.where.run_uid, raised.value.where.seq_num) == ("run-1", 1)


@pytest.mark.parametrize("shape", ["x", [None, 30, 41], [-1, "a", 41], [0, 30, 41], [2.5], 7])
def test_a_nonsense_shape_in_the_document_is_no_obstacle(reader: FrameReader, root: Path, shape: Any) -> None:
    import h5py

    data = frames(2)
    with h5py.File(root / "f.h5", "w") as file:
        file["d"] = data
    asked = stream(root / "f.h5", "application/x-hdf5", 1, dataset="d")
    asked = request(asked.locator, {"shape": shape})
    np.testing.assert_array_equal(reader.read(asked), data[1])
