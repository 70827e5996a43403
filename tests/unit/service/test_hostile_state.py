"""Whatever fills the open-run state, it can be stored: garbage ends no service for good."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamproc.documents import Document, Position
from streamproc.frames.requests import FrameRequest, Origin, StreamSlice
from streamproc.service.work import Pending
from streamproc.testing.makers import inline_run
from streamproc.transports.codec import decode, encode

FRAMES = [np.full((6, 8), n, np.uint16) for n in range(1, 4)]
LIMIT = 200_000


def as_read(pairs):
    raws = [encode(*pair) for pair in pairs]
    return [Document(*decode(raw), Position("memory", 0, i), None, raw, 1.0) for i, raw in enumerate(raws)]


def strangers():
    """Events of nobody's descriptor, which wait for it."""
    for n in range(12):
        data = {"x": [0.5] * 5_000}
        yield "event", {
            "uid": f"e{n}", "descriptor": f"nobody-{n}", "seq_num": 1, "time": 1.0, "data": data,
            "timestamps": {"x": 1.0}, "filled": {},
        }  # fmt: skip


def past_runs():
    """Runs that are over, with long names for all they had."""
    for run in range(4):
        yield "start", {"uid": f"r{run}", "time": 1.0}
        for n in range(200):
            yield "stream_resource", {
                "uid": f"{run}-{n}-{'x' * 400}", "run_start": f"r{run}", "data_key": "det", "uri": "file:///a",
                "mimetype": "image/tiff", "parameters": {},
            }  # fmt: skip
        yield "stop", {"uid": f"s{run}", "run_start": f"r{run}", "time": 1.0}


def waiting_events():
    """Events whose frames never come, with long motor readings."""
    keys = {"det": {"source": "s", "dtype": "array", "shape": [6, 8], "external": "FILESTORE:"},
            "m": {"source": "s", "dtype": "array", "shape": [5000]}}  # fmt: skip
    yield "start", {"uid": "w", "time": 1.0}
    yield "descriptor", {"uid": "wd", "run_start": "w", "time": 1.0, "name": "primary", "data_keys": keys}
    for n in range(12):
        yield "event", {
            "uid": f"w{n}", "descriptor": "wd", "seq_num": n + 1, "time": 1.0, "filled": {"det": False},
            "data": {"det": f"datum-{n}", "m": [0.5] * 5_000}, "timestamps": {"det": 1.0, "m": 1.0},
        }  # fmt: skip


@pytest.mark.parametrize("garbage", [strangers, past_runs, waiting_events])
def test_state_larger_than_a_message_is_stored_and_the_next_run_is_answered(bench, garbage):
    documents = as_read([*garbage(), *inline_run(FRAMES, uid="good")])
    b = bench(documents, kafka={"max_message_bytes": LIMIT}).run()
    stored = b.sink.on_topic(b.settings.state_topic("toy"))
    assert sum(len(m.value) for m in stored if m.value is not None) > LIMIT
    assert max(len(m.value) for m in stored if m.value is not None) <= LIMIT
    assert [x["done"] for x in b.ledgers()] == [len(FRAMES)]


def test_a_reading_in_a_file_counts_with_the_message_it_keeps_in_memory():
    position = Position("raw", 0, 1)
    request = FrameRequest("run", "primary", 1, "det", {}, StreamSlice({}, 0), 1.0, position)
    assert Pending(request, 0.0).inline_bytes == 0
    kept = replace(request, origin=Origin(position, None, b"x" * 1000))
    assert Pending(kept, 0.0).inline_bytes == 1000
