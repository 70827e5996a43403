"""Run makers give valid, reproducible documents and real files."""

from __future__ import annotations

import event_model
import h5py
import numpy as np
import pytest

from streamproc.testing.makers import datum_run, fly_run, inline_run, page_run, stream_run, with_darks

FRAMES = np.arange(3 * 6, dtype="<u2").reshape(3, 2, 3)


@pytest.mark.parametrize("make", [inline_run, page_run])
def test_documents_are_valid_and_the_same_every_time(make):
    pairs = make(FRAMES)
    assert repr(pairs) == repr(make(FRAMES))
    for name, doc in with_darks(pairs, {1: FRAMES[0]}):
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)


def test_files_hold_the_frames(tmp_path):
    for pairs in (stream_run(FRAMES, tmp_path / "a.h5"), fly_run(FRAMES, tmp_path / "a.h5", [1, 2])):
        uri = next(d["uri"] for n, d in pairs if n == "stream_resource")
        with h5py.File(uri.removeprefix("file://localhost")) as file:
            np.testing.assert_array_equal(file["/entry/data/data"][:], FRAMES)
    resource = next(d for n, d in datum_run(FRAMES, tmp_path) if n == "resource")
    stored = np.load(f"{resource['root']}/{resource['resource_path']}_2.npy")
    np.testing.assert_array_equal(stored, FRAMES[2])


def test_event_models_own_filler_reads_the_datum_run(tmp_path):
    sim = pytest.importorskip("ophyd.sim")
    filled = []
    with event_model.Filler({"NPY_SEQ": sim.NumpySeqHandler}, inplace=False) as filler:
        for name, doc in datum_run(FRAMES, tmp_path):
            name, doc = filler(name, doc)
            if name == "event":
                filled.append(doc["data"]["det"])
    np.testing.assert_array_equal(filled, FRAMES)
