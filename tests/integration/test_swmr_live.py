"""A detector's writer in its own process, running freely; the reader follows it.

Run as a script this file is the writer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamproc.documents import Position
from streamproc.errors import NotYet
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.frames.requests import FrameRequest, StreamSlice

SHAPE = (256, 300)
FRAMES = 200
PERIOD_S = 0.004
DEADLINE_S = 60.0


def frame(row: int) -> np.ndarray:
    """Never zero anywhere, and no two rows alike."""
    return (np.arange(SHAPE[0] * SHAPE[1], dtype="u4") % 997 + row * 1000 + 1).reshape(SHAPE)


def write(path: str, options: dict[str, Any]) -> None:
    """Write as area detectors do, badly: the extent grows and is flushed well before the frame is there."""
    import h5py
    import hdf5plugin

    filters = hdf5plugin.Bitshuffle(cname="lz4") if options["compressed"] else {}
    with h5py.File(path, "w", libver="latest") as file:
        chunks = (options["rows_per_chunk"], *options["tile"])
        dataset = file.create_dataset(
            "/entry/data/data", (0, *SHAPE), "u4", chunks=chunks, maxshape=(None, *SHAPE), **filters
        )
        file.swmr_mode = True
        for row in range(FRAMES):
            dataset.resize(min(row + options["ahead"], FRAMES), 0)
            dataset.flush()
            time.sleep(PERIOD_S)
            dataset[row] = frame(row)
            dataset.flush()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[FrameReader]:
    made = FrameReader(PathPolicy((tmp_path,)))
    yield made
    made.close()


def awaited(reader: FrameReader, request: FrameRequest, deadline: float) -> tuple[np.ndarray, int]:
    looks = 0
    while True:
        try:
            return reader.read(request), looks
        except NotYet:
            looks += 1
            assert time.monotonic() < deadline, f"frame {request.seq_num} did not come"
            time.sleep(0.001)


@pytest.mark.parametrize(
    "options",
    [
        {"compressed": False, "rows_per_chunk": 1, "tile": SHAPE, "ahead": 1},
        {"compressed": True, "rows_per_chunk": 1, "tile": SHAPE, "ahead": 10},
        {"compressed": True, "rows_per_chunk": 1, "tile": (128, 100), "ahead": 3},
        {"compressed": False, "rows_per_chunk": 8, "tile": SHAPE, "ahead": 3},
        {"compressed": True, "rows_per_chunk": 8, "tile": SHAPE, "ahead": 1},
    ],
    ids=["plain", "bslz4, extent ahead", "tiles", "8 rows per chunk", "8 rows per chunk, bslz4"],
)
@pytest.mark.parametrize("per_event", [1, 4])
def test_every_frame_of_a_file_being_written_is_right_and_none_is_ever_zero_filled(
    tmp_path: Path, reader: FrameReader, options: dict[str, Any], per_event: int
) -> None:
    path = tmp_path / "live.h5"
    resource = {
        "uid": "s",
        "mimetype": "application/x-hdf5",
        "uri": f"file://localhost{path}",
        "parameters": {"dataset": "/entry/data/data"},
    }
    writer = subprocess.Popen([sys.executable, __file__, str(path), json.dumps(options)])
    deadline = time.monotonic() + DEADLINE_S
    waited = 0
    try:
        for event in range(FRAMES // per_event):
            request = FrameRequest(
                run_uid="run",
                stream="primary",
                seq_num=event + 1,
                key="det",
                data_key={"shape": [per_event, *SHAPE], "dtype_numpy": "<u4"},
                locator=StreamSlice(resource, event),
                time_s=0.0,
                position=Position("t", 0, event),
            )
            got, looks = awaited(reader, request, deadline)
            waited += looks > 0
            expected = np.stack([frame(event * per_event + i) for i in range(per_event)])
            np.testing.assert_array_equal(got.reshape(expected.shape), expected)
        assert writer.wait(DEADLINE_S) == 0
    finally:
        writer.kill()
        writer.wait()
    assert waited > 0, "the reader never was ahead of the writer, so this showed nothing"
    assert reader.notes("run") == ()


if __name__ == "__main__":
    write(sys.argv[1], json.loads(sys.argv[2]))
