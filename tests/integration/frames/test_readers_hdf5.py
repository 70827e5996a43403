from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from streamproc.errors import FrameFailed, NotYet
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.frames.requests import FrameRequest, StreamSlice

from .live_writer import LiveWriter, frame
from .requests_of import datum, hdf5, request

KEY = "/entry/data/data"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[FrameReader]:
    (tmp_path / "data").mkdir()
    made = FrameReader(PathPolicy((tmp_path / "data",)), max_open_files=4)
    yield made
    made.close()


@pytest.fixture
def root(tmp_path: Path, reader: FrameReader) -> Path:
    return tmp_path / "data"


def frames(n: int = 5, shape: tuple[int, int] = (30, 41), dtype: str = "u2") -> np.ndarray:
    rng = np.random.default_rng(7)
    return rng.poisson(3, (n, *shape)).astype(dtype)


def write(path: Path, data: np.ndarray, **kwargs: Any) -> Path:
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset(KEY, data=data, **{"chunks": (1, *data.shape[1:]), **kwargs})
    return path


FILTERS: dict[str, Any] = {
    "none": {},
    "bslz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bszstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "bitshuffle only": hdf5plugin.Bitshuffle(cname="none"),
    "lz4": hdf5plugin.LZ4(),
    "zstd": hdf5plugin.Zstd(),
    "blosc2": hdf5plugin.Blosc2(),
    "gzip": {"compression": "gzip", "shuffle": True},
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "i4", "u4", "f4", ">f8"])
def test_every_filter_and_dtype_gives_what_was_written(
    reader: FrameReader, root: Path, name: str, dtype: str
) -> None:
    data = frames(3, dtype=dtype)
    write(root / "f.h5", data, **FILTERS[name])
    for _ in range(2):
        for i in range(3):
            got = reader.read(hdf5(root / "f.h5", i, (1, 30, 41)))
            np.testing.assert_array_equal(got, data[i])
            assert got.dtype == data.dtype.newbyteorder("=")
            assert not got.flags.writeable


@pytest.mark.parametrize("shape", [(64, 64), (8, 1), (3, 5), (100, 333)])
@pytest.mark.parametrize("block", [0, 64, 2048])
def test_bitshuffle_blocks_of_any_length_are_decoded(
    reader: FrameReader, root: Path, shape: tuple[int, int], block: int
) -> None:
    data = frames(2, shape, "u4")
    write(root / "f.h5", data, **hdf5plugin.Bitshuffle(nelems=block, cname="lz4"))
    for i in (0, 1, 0):
        got = reader.read(hdf5(root / "f.h5", i, (1, *shape)))
        np.testing.assert_array_equal(got.reshape(shape), data[i])


@pytest.mark.parametrize("chunks", [(1, 8, 16), (2, 30, 41), (100, 30, 41), (1, 1, 1), None])
def test_any_chunking_gives_what_was_written(reader: FrameReader, root: Path, chunks: Any) -> None:
    data = frames(5)
    write(root / "f.h5", data, chunks=chunks, maxshape=None if chunks is None else (None, 30, 41))
    for i in (4, 0, 3, 1, 2):
        np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", i, (1, 30, 41))), data[i])


def test_indices_count_events_so_rows_are_index_times_the_shapes_first_number(
    reader: FrameReader, root: Path
) -> None:
    data = frames(12)
    write(root / "f.h5", data)
    got = reader.read(hdf5(root / "f.h5", 2, (3, 30, 41)))
    np.testing.assert_array_equal(got, data[6:9])


def test_a_shape_without_the_frames_axis_means_one_row_per_event(reader: FrameReader, root: Path) -> None:
    data = frames(12)
    write(root / "f.h5", data)
    np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 7, (30, 41))), data[7])


def test_a_pattern_row_is_one_dimensional(reader: FrameReader, root: Path) -> None:
    data = np.arange(40.0).reshape(4, 10)
    with h5py.File(root / "f.h5", "w") as file:
        file.create_dataset(KEY, data=data)
    for shape in ((1, 10), (10,)):
        np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 3, shape)), data[3])


def test_numbers_along_a_scan_are_read_one_per_event(reader: FrameReader, root: Path) -> None:
    with h5py.File(root / "f.h5", "w") as file:
        file.create_dataset("x", data=np.arange(7.0), maxshape=(None,), chunks=(1024,))
    got = reader.read(hdf5(root / "f.h5", 6, (1,), dataset="/x"))
    assert got.tolist() == [6.0]


def test_a_dataset_of_one_frame_without_frames_axis_is_its_reading_zero(
    reader: FrameReader, root: Path
) -> None:
    data = frames(1)[0]
    with h5py.File(root / "f.h5", "w") as file:
        file[KEY] = data
    np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 0, (1, 30, 41))), data)
    with pytest.raises(FrameFailed, match="one frame"):
        reader.read(hdf5(root / "f.h5", 1, (1, 30, 41)))


def test_a_file_that_is_not_there_is_not_yet(reader: FrameReader, root: Path) -> None:
    with pytest.raises(NotYet, match="not there") as raised:
        reader.read(hdf5(root / "f.h5", 0))
    assert raised.value.where.run_uid == "run-1"
    data = frames(1)
    write(root / "f.h5", data)
    np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 0)), data[0])


@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF", b"nothing like HDF5 at all, but longer", b"\x89HDF\r\n\x1a\n\x00\x00"]
)
def test_a_file_that_is_no_hdf5_yet_is_not_yet(reader: FrameReader, root: Path, content: bytes) -> None:
    (root / "f.h5").write_bytes(content)
    with pytest.raises(NotYet):
        reader.read(hdf5(root / "f.h5", 0))


def test_a_truncated_file_is_not_yet(reader: FrameReader, root: Path) -> None:
    write(root / "whole.h5", frames(5))
    whole = (root / "whole.h5").read_bytes()
    for keep in (50, 500, len(whole) // 2, len(whole) - 10):
        (root / "f.h5").write_bytes(whole[:keep])
        with pytest.raises(NotYet):
            reader.read(hdf5(root / "f.h5", 4))


def test_a_missing_dataset_is_not_yet_and_says_what_is_there(reader: FrameReader, root: Path) -> None:
    write(root / "f.h5", frames(1))
    with pytest.raises(NotYet, match=r"'dat'.*holds data"):
        reader.read(hdf5(root / "f.h5", 0, dataset="/entry/dat"))


@pytest.mark.parametrize("dataset", ["/entry", "/entry/data/data/deeper", "/"])
def test_a_path_that_ends_at_no_dataset_fails(reader: FrameReader, root: Path, dataset: str) -> None:
    write(root / "f.h5", frames(1))
    with pytest.raises(FrameFailed):
        reader.read(hdf5(root / "f.h5", 0, dataset=dataset))


def test_a_row_beyond_the_extent_is_not_yet(reader: FrameReader, root: Path) -> None:
    write(root / "f.h5", frames(3))
    with pytest.raises(NotYet, match="3 rows"):
        reader.read(hdf5(root / "f.h5", 3, (1, 30, 41)))
    with pytest.raises(NotYet):
        reader.read(hdf5(root / "f.h5", 1, (2, 30, 41)))


def test_a_row_whose_chunk_is_not_stored_is_not_yet_even_in_a_closed_file(
    reader: FrameReader, root: Path
) -> None:
    data = frames(2)
    for name, chunks in (("f", (1, 30, 41)), ("g", (1, 15, 41))):
        with h5py.File(root / name, "w", libver="latest") as file:
            dset = file.create_dataset(KEY, (4, 30, 41), "u2", chunks=chunks)
            dset[0], dset[2] = data
        np.testing.assert_array_equal(reader.read(hdf5(root / name, 0)), data[0])
        for row in (1, 3):
            with pytest.raises(NotYet, match="not stored"):
                reader.read(hdf5(root / name, row))


def test_a_tiled_row_with_one_tile_missing_is_not_yet(reader: FrameReader, root: Path) -> None:
    with h5py.File(root / "f.h5", "w", libver="latest") as file:
        dset = file.create_dataset(KEY, (1, 30, 41), "u2", chunks=(1, 15, 41))
        dset[0, :15] = 7
    with pytest.raises(NotYet, match="not stored"):
        reader.read(hdf5(root / "f.h5", 0))


def test_a_blank_frame_that_was_written_is_given(reader: FrameReader, root: Path) -> None:
    data = np.zeros((2, 30, 41), "u2")
    for rows in (1, 2, None):
        write(root / f"{rows}.h5", data, chunks=rows and (rows, 30, 41))
        assert not reader.read(hdf5(root / f"{rows}.h5", 1, (1, 30, 41))).any()


def soon(reader: FrameReader, asked: FrameRequest) -> np.ndarray:
    """Ask again until the frame is there, as the service does."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return reader.read(asked)
        except NotYet:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("options", [{}, {"compressed": True}, {"rows_per_chunk": 3}], ids=str)
def test_a_live_file_gives_each_row_once_it_is_written_and_not_before(
    reader: FrameReader, root: Path, options: dict[str, Any]
) -> None:
    asked = [hdf5(root / "f.h5", i, (1, 30, 41)) for i in range(5)]
    with LiveWriter(root / "f.h5", **options) as live:
        with pytest.raises(NotYet, match="without SWMR"):
            reader.read(asked[0])
        live.swmr()
        for i in range(4):
            with pytest.raises(NotYet, match=f"{i} rows"):
                reader.read(asked[i])
            live.grow(i + 1)
            with pytest.raises(NotYet, match=r"not stored|being written|no chunk"):
                reader.read(asked[i])
            written = live.write(i)
            proved = "rows_per_chunk" not in options
            np.testing.assert_array_equal(
                reader.read(asked[i]) if proved else soon(reader, asked[i]), written
            )
        live.close()
        with pytest.raises(NotYet, match="4 rows"):
            reader.read(asked[4])
        np.testing.assert_array_equal(reader.read(asked[3]), frame(3, (30, 41)))


def why(reader: FrameReader, asked: FrameRequest, reason: str) -> None:
    """Ask until the reader says it is for this reason that it waits."""
    deadline = time.monotonic() + 30
    while True:
        with pytest.raises(NotYet) as raised:
            reader.read(asked)
        if reason in str(raised.value):
            return
        assert time.monotonic() < deadline, raised.value
        time.sleep(0.01)


def test_a_blank_live_row_that_proves_nothing_waits_for_the_next_row_or_the_close(
    reader: FrameReader, root: Path
) -> None:
    with LiveWriter(root / "f.h5", rows_per_chunk=3) as live:
        live.swmr()
        live.write(0, blank=True)
        why(reader, hdf5(root / "f.h5", 0), "fill value")
        live.write(1)
        assert not reader.read(hdf5(root / "f.h5", 0)).any()
        live.write(2, blank=True)
        why(reader, hdf5(root / "f.h5", 2), "fill value")
        live.close()
        assert not reader.read(hdf5(root / "f.h5", 2)).any()


def test_a_series_of_blank_live_rows_is_known_when_the_next_chunk_begins(
    reader: FrameReader, root: Path
) -> None:
    with LiveWriter(root / "f.h5", rows_per_chunk=3) as live:
        live.swmr()
        for row in range(3):
            live.write(row, blank=True)
        why(reader, hdf5(root / "f.h5", 0), "fill value")
        live.write(3, blank=True)
        for row in range(3):
            assert not reader.read(hdf5(root / "f.h5", row)).any()
        why(reader, hdf5(root / "f.h5", 3), "fill value")


@pytest.mark.parametrize("rows_per_chunk", [1, 3])
def test_rows_stored_before_they_are_written_are_not_taken_for_frames(
    reader: FrameReader, root: Path, rows_per_chunk: int
) -> None:
    with LiveWriter(root / "f.h5", rows_per_chunk=rows_per_chunk, early=True) as live:
        live.swmr()
        why(reader, hdf5(root / "f.h5", 0), "fill value")
        live.write(0)
        live.write(1)
        np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 0)), frame(0, (30, 41)))
        np.testing.assert_array_equal(soon(reader, hdf5(root / "f.h5", 1)), frame(1, (30, 41)))
        why(reader, hdf5(root / "f.h5", 2), "fill value")


def test_a_row_that_could_be_half_written_is_given_at_once_when_the_next_is_there(
    reader: FrameReader, root: Path
) -> None:
    with LiveWriter(root / "f.h5", rows_per_chunk=3) as live:
        live.swmr()
        for row in range(7):
            live.write(row)
            with pytest.raises(NotYet, match="being written"):
                reader.read(hdf5(root / "f.h5", row))
            if row:
                got = reader.read(hdf5(root / "f.h5", row - 1))
                np.testing.assert_array_equal(got, frame(row - 1, (30, 41)))


def test_a_blank_live_row_in_a_chunk_of_its_own_is_given_at_once(reader: FrameReader, root: Path) -> None:
    with LiveWriter(root / "f.h5") as live:
        live.swmr()
        live.write(0, blank=True)
        assert not reader.read(hdf5(root / "f.h5", 0)).any()


@pytest.mark.parametrize("libver", ["latest", "earliest"])
def test_a_file_open_by_a_writer_without_swmr_is_not_yet(
    reader: FrameReader, root: Path, libver: str
) -> None:
    with LiveWriter(root / "f.h5", libver=libver) as writer:
        writer.write(0)
        with pytest.raises(NotYet, match="without SWMR"):
            reader.read(hdf5(root / "f.h5", 0))
        writer.close()
        np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 0)), frame(0, (30, 41)))


def test_a_writer_that_died_leaves_a_file_whose_written_rows_are_read(
    reader: FrameReader, root: Path
) -> None:
    with LiveWriter(root / "f.h5") as live:
        live.swmr()
        live.write(0)
        live.kill()
    np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 0)), frame(0, (30, 41)))
    with pytest.raises(NotYet):
        reader.read(hdf5(root / "f.h5", 1))


def test_our_open_handle_does_not_keep_a_writer_out(reader: FrameReader, root: Path) -> None:
    write(root / "f.h5", frames(2), maxshape=(None, 30, 41))
    reader.read(hdf5(root / "f.h5", 1))
    code = (
        "import h5py,sys\nwith h5py.File(sys.argv[1], 'a', libver='latest') as f:\n"
        " d = f[sys.argv[2]]; d.resize(3, 0); d[2] = 9\n"
    )
    subprocess.run([sys.executable, "-c", code, str(root / "f.h5"), KEY], check=True, timeout=60)
    assert (reader.read(hdf5(root / "f.h5", 2)) == 9).all()


@pytest.mark.parametrize("how", ["replaced", "overwritten"])
def test_a_file_that_was_written_anew_is_opened_anew(reader: FrameReader, root: Path, how: str) -> None:
    data = frames(2)
    write(root / "f.h5", data)
    np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 0)), data[0])
    if how == "replaced":
        write(root / "g.h5", data + 1)
        os.replace(root / "g.h5", root / "f.h5")
    else:
        fresh = write(root / "g.h5", data + 1).read_bytes()
        (root / "f.h5").write_bytes(fresh)
    np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 0)), data[0] + 1)


def test_several_datasets_of_one_file_are_read_in_turn(reader: FrameReader, root: Path) -> None:
    data = frames(3)
    with h5py.File(root / "f.h5", "w") as file:
        file["a"], file["b"] = data, data + 1
    for i in range(3):
        np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", i, (1, 30, 41), dataset="a")), data[i])
        np.testing.assert_array_equal(
            reader.read(hdf5(root / "f.h5", i, (1, 30, 41), dataset="/b")), data[i] + 1
        )


def test_soft_links_inside_the_file_are_followed(reader: FrameReader, root: Path) -> None:
    data = frames(1)
    write(root / "f.h5", data)
    with h5py.File(root / "f.h5", "a") as file:
        file["short"] = h5py.SoftLink("/entry/data")
        file["entry/data/rel"] = h5py.SoftLink("data")
        file["circle"] = h5py.SoftLink("/circle")
        file["gone"] = h5py.SoftLink("/nowhere")
    for name in ("short/data", "short/rel", "entry/data/rel"):
        np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", dataset=name)), data[0])
    with pytest.raises(FrameFailed, match="circle"):
        reader.read(hdf5(root / "f.h5", dataset="circle"))
    with pytest.raises(NotYet, match="nowhere"):
        reader.read(hdf5(root / "f.h5", dataset="gone"))


def test_an_external_link_inside_the_roots_is_followed(reader: FrameReader, root: Path) -> None:
    data = frames(2)
    write(root / "raw_1.h5", data)
    with h5py.File(root / "master.h5", "w") as file:
        file["data_1"] = h5py.ExternalLink("raw_1.h5", KEY)
        file["group"] = h5py.ExternalLink(str(root / "raw_1.h5"), "/entry")
        file["later"] = h5py.ExternalLink("raw_2.h5", KEY)
    np.testing.assert_array_equal(reader.read(hdf5(root / "master.h5", 1, dataset="data_1")), data[1])
    np.testing.assert_array_equal(
        reader.read(hdf5(root / "master.h5", 1, dataset="group/data/data")), data[1]
    )
    with pytest.raises(NotYet, match="raw_2"):
        reader.read(hdf5(root / "master.h5", 1, dataset="later"))


def outside(root: Path) -> Path:
    folder = root.parent / "secret"
    folder.mkdir(exist_ok=True)
    return write(folder / "s.h5", frames(1))


@pytest.mark.parametrize("how", ["relative", "absolute", "through a soft link", "in a circle"])
def test_an_external_link_that_leaves_the_roots_is_refused(reader: FrameReader, root: Path, how: str) -> None:
    target = outside(root)
    with h5py.File(root / "f.h5", "w") as file:
        name = {"relative": "../secret/s.h5", "in a circle": "f.h5"}.get(how, str(target))
        file["x"] = h5py.ExternalLink(name, "x" if how == "in a circle" else KEY)
        file["soft"] = h5py.SoftLink("/x")
    with pytest.raises(FrameFailed, match=r"frames\.roots|linked in a row"):
        reader.read(hdf5(root / "f.h5", dataset="soft" if "soft" in how else "x"))


def test_an_external_link_to_a_fifo_is_refused_without_blocking(reader: FrameReader, root: Path) -> None:
    os.mkfifo(root / "pipe")
    with h5py.File(root / "f.h5", "w") as file:
        file["x"] = h5py.ExternalLink("pipe", KEY)
    with pytest.raises(FrameFailed, match="FIFO"):
        reader.read(hdf5(root / "f.h5", dataset="x"))


def test_external_raw_storage_is_refused(reader: FrameReader, root: Path) -> None:
    (root.parent / "raw.bin").write_bytes(b"secret!!" * 4)
    with h5py.File(root / "f.h5", "w") as file:
        file.create_dataset("x", (1, 4, 4), "u2", external=[(str(root.parent / "raw.bin"), 0, 32)])
    with pytest.raises(FrameFailed, match="external storage"):
        reader.read(hdf5(root / "f.h5", dataset="x"))


def virtual(path: Path, layout: h5py.VirtualLayout) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file.create_virtual_dataset(KEY, layout)


def test_a_virtual_dataset_of_interleaved_writers_gives_each_frame(reader: FrameReader, root: Path) -> None:
    data = frames(7)
    layout = h5py.VirtualLayout((7, 30, 41), "u2", maxshape=(None, 30, 41))
    for part in range(2):
        mine = data[part::2]
        write(root / f"part{part}.h5", mine)
        source = h5py.VirtualSource(f"part{part}.h5", KEY, (len(mine), 30, 41), maxshape=(None, 30, 41))
        layout[part : h5py.h5s.UNLIMITED : 2] = source[: h5py.h5s.UNLIMITED]
    virtual(root / "f.h5", layout)
    for i in range(7):
        np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", i, (1, 30, 41))), data[i])
    np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 1, (3, 30, 41))), data[3:6])
    with pytest.raises(NotYet, match=r"part1.* 3 rows"):
        reader.read(hdf5(root / "f.h5", 7, (1, 30, 41)))


def test_a_virtual_dataset_of_modules_and_of_single_frame_files_is_assembled(
    reader: FrameReader, root: Path
) -> None:
    data = frames(3)
    layout = h5py.VirtualLayout((3, 62, 41), "u2")
    for part, (top, bottom) in enumerate(((0, 30), (32, 62))):
        write(root / f"module{part}.h5", data + part)
        layout[:, top:bottom] = h5py.VirtualSource(root / f"module{part}.h5", KEY, (3, 30, 41))
    with h5py.File(root / "f.h5", "w", libver="latest") as file:
        file.create_virtual_dataset(KEY, layout, fillvalue=65535)
    got = reader.read(hdf5(root / "f.h5", 2, (1, 62, 41)))
    np.testing.assert_array_equal(got, np.vstack([data[2], np.full((2, 41), 65535), data[2] + 1]))

    stack = h5py.VirtualLayout((3, 30, 41), "u2")
    for i in range(3):
        with h5py.File(root / f"one{i}.h5", "w") as file:
            file["d"] = data[i]
        stack[i] = h5py.VirtualSource(root / f"one{i}.h5", "d", (30, 41))
    virtual(root / "s.h5", stack)
    for i in range(3):
        np.testing.assert_array_equal(reader.read(hdf5(root / "s.h5", i, (1, 30, 41))), data[i])
    np.testing.assert_array_equal(reader.read(hdf5(root / "s.h5", 0, (3, 30, 41))), data)


def test_a_virtual_dataset_waits_for_a_missing_source_where_hdf5_would_give_zeros(
    reader: FrameReader, root: Path
) -> None:
    layout = h5py.VirtualLayout((2, 30, 41), "u2")
    layout[0:2] = h5py.VirtualSource("part.h5", KEY, (2, 30, 41))
    virtual(root / "f.h5", layout)
    with h5py.File(root / "f.h5") as file:
        assert not file[KEY][0].any()
    del file
    with pytest.raises(NotYet, match=r"part\.h5"):
        reader.read(hdf5(root / "f.h5", 0, (1, 30, 41)))


@pytest.mark.parametrize("unlimited", [False, True])
def test_a_virtual_source_outside_the_roots_or_a_fifo_is_refused(
    reader: FrameReader, root: Path, unlimited: bool
) -> None:
    outside(root)
    os.mkfifo(root / "pipe")
    for name in ("../secret/s.h5", "pipe"):
        layout = h5py.VirtualLayout((1, 30, 41), "u2", maxshape=(None, 30, 41))
        source = h5py.VirtualSource(name, KEY, (1, 30, 41), maxshape=(None, 30, 41))
        if unlimited:
            layout[0 : h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
        else:
            layout[:] = source
        virtual(root / f"{len(name)}.h5", layout)
        with pytest.raises(FrameFailed, match=r"frames\.roots|FIFO"):
            reader.read(hdf5(root / f"{len(name)}.h5", 0, (1, 30, 41)))


@pytest.mark.parametrize(
    "dtype", [h5py.string_dtype(), h5py.vlen_dtype("u2"), h5py.ref_dtype, np.dtype([("a", "u2")]), "S5"]
)
def test_what_holds_no_numbers_fails(reader: FrameReader, root: Path, dtype: Any) -> None:
    with h5py.File(root / "f.h5", "w") as file:
        file.create_dataset(KEY, (2, 3), dtype, chunks=(1, 3))
    with pytest.raises(FrameFailed, match="not numbers"):
        reader.read(hdf5(root / "f.h5", 0))


def test_a_frame_over_the_limit_is_refused_before_memory_is_taken(root: Path) -> None:
    with h5py.File(root / "f.h5", "w") as file:
        file.create_dataset(KEY, (10, 2**20, 2**20), "u8", chunks=(1, 1024, 1024))
    reader = FrameReader(PathPolicy((root,)), max_frame_bytes=1000)
    with pytest.raises(FrameFailed, match=r"frames\.max_frame_bytes"):
        reader.read(hdf5(root / "f.h5", 0))


def test_a_filter_that_is_not_installed_is_named(reader: FrameReader, root: Path) -> None:
    with h5py.File(root / "f.h5", "w", libver="latest") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 4, 4))
        plist.set_filter(40_123, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((2, 4, 4))
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT16, space, plist)
    with pytest.raises(FrameFailed, match="40123"):
        reader.read(hdf5(root / "f.h5", 0, dataset="x"))


@pytest.mark.parametrize("damage", ["cut", "header", "block"])
def test_a_damaged_compressed_chunk_fails_and_does_not_crash(
    reader: FrameReader, root: Path, damage: str
) -> None:
    data = frames(3, (64, 64))
    write(root / "f.h5", data, **hdf5plugin.Bitshuffle(cname="lz4"))
    with h5py.File(root / "f.h5", "a", libver="latest") as file:
        chunk = bytearray(file[KEY].id.read_direct_chunk((1, 0, 0))[1])
        if damage == "cut":
            del chunk[len(chunk) // 2 :]
        elif damage == "header":
            chunk[0:8] = (2**40).to_bytes(8, "big")
        else:
            chunk[12:16] = b"\x7f\xff\xff\xff"
        file[KEY].id.write_direct_chunk((1, 0, 0), bytes(chunk))
    np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 0)), data[0])
    with pytest.raises((FrameFailed, NotYet)):
        reader.read(hdf5(root / "f.h5", 1))
    np.testing.assert_array_equal(reader.read(hdf5(root / "f.h5", 2)), data[2])


def test_files_are_closed_with_their_run_and_never_more_than_the_limit_are_open(
    reader: FrameReader, root: Path
) -> None:
    def ours() -> int:
        links = (os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
        return sum(link.startswith(str(root)) for link in links)

    for i in range(10):
        write(root / f"{i}.h5", frames(1))
        reader.read(hdf5(root / f"{i}.h5", 0))
    assert ours() == 4
    reader.release("another run")
    assert ours() == 4
    reader.release("run-1")
    assert ours() == 0


def test_threads_share_a_reader_and_each_gets_its_own_frame(reader: FrameReader, root: Path) -> None:
    data = frames(40)
    for name in "abcdef":
        write(root / f"{name}.h5", data, **hdf5plugin.Bitshuffle(cname="lz4"))
    wrong: list[Any] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(60):
            name, i = "abcdef"[rng.integers(6)], int(rng.integers(40))
            if not np.array_equal(reader.read(hdf5(root / f"{name}.h5", i)), data[i]):
                wrong.append((name, i))

    threads = [threading.Thread(target=work, args=(s,)) for s in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_the_file_is_believed_over_the_document_and_the_difference_said_once(
    reader: FrameReader, root: Path
) -> None:
    data = frames(3, dtype="i4")
    write(root / "f.h5", data)
    for i in range(3):
        asked = hdf5(root / "f.h5", i, (1, 31, 41))
        asked = request(asked.locator, {**asked.data_key, "dtype_numpy": "<f8"})
        assert reader.read(asked).dtype == np.int32
    notes = reader.notes("run-1")
    assert len(notes) == 2
    assert "<i4 read, <f8 declared" in notes[0]
    assert "(30, 41) read, (1, 31, 41) declared" in notes[1]
    reader.release("run-1")
    assert reader.notes("run-1") == ()


def test_big_endian_files_are_no_difference(reader: FrameReader, root: Path) -> None:
    write(root / "f.h5", frames(1, dtype=">u2"))
    asked = hdf5(root / "f.h5", 0, (1, 30, 41))
    reader.read(request(asked.locator, {**asked.data_key, "dtype_numpy": ">u2"}))
    reader.read(request(asked.locator, {**asked.data_key, "dtype_numpy": "<u2"}))
    assert reader.notes("run-1") == ()


@pytest.mark.parametrize("spec", ["AD_HDF5", "AD_HDF5_SWMR"])
@pytest.mark.parametrize("per_point", [1, 3])
def test_area_detector_resources_read_as_their_handlers_read_them(
    reader: FrameReader, root: Path, spec: str, per_point: int
) -> None:
    from area_detector_handlers.handlers import AreaDetectorHDF5Handler

    write(root / "f.h5", frames(6))
    handler = AreaDetectorHDF5Handler(str(root / "f.h5"), frame_per_point=per_point)
    expected = [np.asarray(handler(point_number=p)).squeeze() for p in range(6 // per_point)]
    handler.close()
    for point, array in enumerate(expected):
        asked = datum(spec, root, "f.h5", {"frame_per_point": per_point}, {"point_number": point})
        np.testing.assert_array_equal(reader.read(asked), array)


def test_the_single_file_per_frame_resource_reads_as_its_handler(reader: FrameReader, root: Path) -> None:
    from area_detector_handlers.handlers import AreaDetectorHDF5SingleHandler

    data = frames(4)
    for i in range(4):
        write(root / f"img_{i:06d}.h5", data[i : i + 1])
    kwargs = {"template": "%s%s_%6.6d.h5", "filename": "img", "frame_per_point": 2}
    handler = AreaDetectorHDF5SingleHandler(str(root), **kwargs)
    asked = datum("AD_HDF5_SINGLE", root.parent, "data", kwargs, {"point_number": 1})
    expected = handler(1).squeeze()
    gc.collect()  # the handler leaves its files open
    np.testing.assert_array_equal(reader.read(asked), expected)


def test_a_swmr_stream_resource_names_its_dataset_in_the_datum(reader: FrameReader, root: Path) -> None:
    data = frames(3)
    with h5py.File(root / "dataset.h5", "w") as file:
        file.create_dataset("/entry/data/data_2", data=data, chunks=(100, 30, 41), maxshape=(None, 30, 41))
    kwargs = {"chunk_shape": [100, 30, 41], "frame_per_point": 1}
    for i in range(3):
        asked = datum(
            "AD_HDF5_SWMR_STREAM", root, "/dataset.h5", kwargs, {"dataset": "/entry/data/data_2", "frame": i}
        )
        np.testing.assert_array_equal(reader.read(asked), data[i])


def test_a_stream_resource_of_the_older_schema_is_read(reader: FrameReader, root: Path) -> None:
    data = frames(2)
    write(root / "f.h5", data)
    old = {
        "uid": "s",
        "spec": "AD_HDF5_SWMR",
        "root": str(root),
        "resource_path": "f.h5",
        "resource_kwargs": {},
    }
    got = reader.read(request(StreamSlice(old, 1), {"shape": [1, 30, 41]}))
    np.testing.assert_array_equal(got, data[1])


@pytest.mark.parametrize("bad", [-1, 1.5, "0", None, True, 2**60])
def test_an_index_that_is_no_whole_number_fails(reader: FrameReader, root: Path, bad: Any) -> None:
    write(root / "f.h5", frames(1))
    with pytest.raises(FrameFailed, match="index"):
        reader.read(hdf5(root / "f.h5", bad))
    with pytest.raises(FrameFailed, match="point_number"):
        reader.read(datum("AD_HDF5", root, "f.h5", {}, {"point_number": bad}))


def test_a_dark_is_read_once_and_kept(reader: FrameReader, root: Path) -> None:
    data = frames(2)
    write(root / "f.h5", data)
    asked = request(hdf5(root / "f.h5", 0).locator, {}, dark=hdf5(root / "f.h5", 1).locator)
    dark = reader.dark(asked)
    np.testing.assert_array_equal(dark, data[1])
    assert reader.dark(asked) is dark
    assert reader.dark(hdf5(root / "f.h5", 0)) is None
