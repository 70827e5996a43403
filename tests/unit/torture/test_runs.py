from __future__ import annotations

import h5py
import numpy as np
import pytest

from streamproc.torture.runs import LiveRun, model_patterns
from streamproc.validation import DocumentValidator

AXIS = np.linspace(20.0, 100.0, 50)
PATTERNS = [np.full(50, 10.0), np.full(50, 20.0)]


def composed(folder=None, count=3, uid="run-1"):
    run = LiveRun(uid, 7, count, folder, AXIS, PATTERNS)
    pairs = run.begin()
    for _ in range(count):
        pairs += run.reading()
    return [*pairs, *run.stop()]


@pytest.mark.parametrize("stored", [False, True])
def test_runs_are_sound_bluesky_documents(tmp_path, stored):
    validator = DocumentValidator()
    pairs = composed(tmp_path if stored else None)
    for name, doc in pairs:
        validator.check(name, doc)
    assert pairs[-1][1]["num_events"] == {"primary": 3}
    assert [doc["seq_num"] for name, doc in pairs if name == "event"] == [1, 2, 3]


def test_the_same_run_has_the_same_uids(tmp_path):
    first, second = ([doc["uid"] for _, doc in composed()] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)


def test_patterns_inside_the_events_are_whole():
    events = [doc for name, doc in composed() if name == "event"]
    assert [event["data"]["intensity"][0] for event in events] == [10.0, 20.0, 10.0]


def test_a_pattern_is_in_the_file_before_its_document_is_there(tmp_path):
    run = LiveRun("run-2", 1, 5, tmp_path, AXIS, PATTERNS)
    run.begin()
    with h5py.File(tmp_path / "run-2.h5", "r", libver="latest", swmr=True) as file:
        for taken in range(1, 6):
            pairs = run.reading()
            file["/entry/data/data"].refresh()
            assert file["/entry/data/data"].shape[0] == taken
            assert pairs[0][1]["seq_nums"] == {"start": taken, "stop": taken + 1}
    run.stop()


def test_patterns_are_some_that_the_model_knows():
    axis, patterns = model_patterns()
    assert len(patterns) > 5
    assert all(pattern.shape == axis.shape and pattern.max() > 0 for pattern in patterns)
