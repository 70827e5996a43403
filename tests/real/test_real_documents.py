"""Documents that real beamlines and devices emitted are tracked without a complaint that is not true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamproc.documents import Document
from streamproc.frames.assembler import Assembler
from streamproc.frames.requests import DatumRef, FrameRequest, Inline, StreamSlice
from streamproc.runs import NeedsRewind, Outcome, Run, RunClosed, RunOpened, RunTracker, RunUpdated
from streamproc.testing import documents

pytestmark = pytest.mark.real

SINGLE = "tiled_plugins_external_assets_single_key"


def load(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the documents of one file with its placeholders filled."""
    text = (
        path.read_text().replace("{{ uuid }}", "12345678-1234-1234-1234").replace("{{ root_path }}", "/data")
    )
    entries = json.loads(text)
    if isinstance(entries, dict):
        return [("start", fill(entries))]
    pairs = [(e["name"], e["doc"]) if isinstance(e, dict) else (e[0], e[1]) for e in entries]
    return [(name, fill(doc)) for name, doc in pairs]


def fill(value: Any) -> Any:
    """Return random images for array placeholders and byte strings for theirs."""
    if isinstance(value, dict):
        if "__array__" in value:
            return np.random.default_rng(0).integers(0, 1000, value["__array__"]).astype(value["dtype"])
        if "__bytes__" in value:
            return value["__bytes__"].encode()
        return {key: fill(item) for key, item in value.items()}
    return [fill(item) for item in value] if isinstance(value, list) else value


def track(docs: list[Document], key: str) -> tuple[Run, list[FrameRequest], list[Outcome], Assembler]:
    tracker = RunTracker()
    outcomes: list[Outcome] = []
    requests: list[FrameRequest] = []
    assembler = None
    for document in docs:
        for outcome in tracker.feed(document):
            outcomes.append(outcome)
            if isinstance(outcome, RunOpened):
                assembler = Assembler(outcome.run, "primary", key)
            elif isinstance(outcome, RunUpdated) and assembler is not None:
                requests.extend(assembler.feed(outcome.document))
    assert assembler is not None
    return assembler.run, requests, outcomes, assembler


@pytest.fixture(scope="session")
def folder(shared_data: Path) -> Path:
    return shared_data / "real_documents"


def test_every_real_document_is_accepted(folder):
    files = [*sorted(folder.glob("tiled_plugins_*.json")), folder / "sst1_rsoxs_run.json"]
    assert len(files) >= 6
    for path in files:
        pairs = load(path)
        run, _, outcomes, _ = track(documents(pairs), "none")
        assert not any(isinstance(o, NeedsRewind) for o in outcomes), path.name
        assert run.complete_start and not run.missing
        opened_and_kept = [o for o in outcomes if isinstance(o, (RunOpened, RunUpdated, RunClosed))]
        assert len(opened_and_kept) == len(pairs) == len(outcomes), path.name


def test_a_run_of_the_year_2019_with_178_keys_gives_its_image_and_its_readings(folder):
    pairs = load(folder / "sst1_rsoxs_run.json")
    run, (request,), _, _ = track(documents(pairs), "Synced_saxs_image")
    (descriptor,) = run.stream_descriptors("primary")
    assert len(descriptor["data_keys"]) == 178
    assert isinstance(request.locator, Inline) and request.locator.value.shape == (1026, 1024)
    assert request.locator.value.dtype == np.uint32
    assert request.readings["en_energy"] == pytest.approx(270.0012299)
    assert "Synced_waxs_image" not in request.readings
    assert request.time_s == 1573882951.7446995


def test_nothing_is_noted_about_real_documents_because_they_keep_the_schema(folder):
    for path in sorted(folder.glob("*.json")):
        if path.stem != "xpd_start":
            run, *_ = track(documents(load(path)), "none")
            assert run.notes == [], path.name


def test_the_start_of_an_xpd_run_keeps_its_calibration(folder):
    ((name, start),) = load(folder / "xpd_start.json")
    whole = {"uid": "xpd", "time": 1.6e9, **start}  # the file was stored without the two
    (outcome,) = RunTracker().feed(documents([(name, whole)])[0])
    assert outcome.run.start["calibration_md"]["dist"] == 0.24877604283795038
    assert outcome.run.notes == []


def test_internal_events_with_empty_and_ragged_lists_and_a_new_descriptor_are_read(folder):
    pairs = load(folder / "tiled_plugins_internal_events.json")
    run, requests, _, assembler = track(documents(pairs), "long")
    assert [r.seq_num for r in requests] == [1, 2, 3]
    assert len(run.stream_descriptors("primary")) == 2
    assert requests[1].locator.value == [10, 11, 12, 13, 14, 15, 16, 17]
    assert [r.readings["ragged"] for r in requests] == [[0, 1, 2, 3], [10, 11], [20, 21, 22, 23]]
    assert all(r.readings["empty"] == [] for r in requests)
    assert assembler.missing(run.stop) == []


@pytest.mark.parametrize("name", ["tiled_plugins_external_assets", SINGLE])
def test_stream_resources_of_real_devices_give_their_frames(folder, name):
    run, requests, _, assembler = track(documents(load(folder / f"{name}.json")), "det-key2")
    assert [(r.seq_num, r.locator.index) for r in requests] == [(1, 0), (2, 1), (3, 2)]
    assert all(isinstance(r.locator, StreamSlice) for r in requests)
    assert requests[0].locator.stream_resource["uri"] == "file://localhost//data/dataset.h5"
    assert assembler.missing(run.stop) == []


def test_the_older_style_gives_the_same_frames_though_its_resource_names_no_run(folder):
    pairs = load(folder / "tiled_plugins_external_assets_legacy.json")
    assert "run_start" not in dict(pairs)["resource"]
    run, requests, _, assembler = track(documents(pairs), "det-key2")
    assert [r.seq_num for r in requests] == [1, 2, 3]
    assert all(isinstance(r.locator, DatumRef) for r in requests)
    assert [r.locator.datum["datum_kwargs"]["frame"] for r in requests] == [0, 1, 2]
    assert assembler.missing(run.stop) == []


def test_a_second_file_that_starts_its_seq_nums_again_gives_only_the_new_ones_and_says_so(folder):
    pairs = load(folder / f"{SINGLE}_two_files.json")
    _, requests, _, assembler = track(documents(pairs), "det-key2")
    assert [(r.seq_num, r.locator.stream_resource["uid"], r.locator.index) for r in requests] == [
        (1, "det-key2-uid", 0),
        (2, "det-key2-uid", 1),
        (3, "det-key2-uid", 2),
        (4, "det-key2-uid-part2", 3),
        (5, "det-key2-uid-part2", 4),
    ]
    assert list(assembler.repeated) == [(1, 4)]
