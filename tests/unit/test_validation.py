"""DocumentValidator: refuses what cannot be used, notes what merely deviates."""

from __future__ import annotations

import event_model
import numpy as np
import pytest

from streamproc.errors import DocumentRefused
from streamproc.testing.makers import datum_run, fly_run, inline_run, page_run, stream_run
from streamproc.validation import DOCUMENT_NAMES, DocumentLimits, DocumentValidator

FRAMES = np.zeros((3, 2, 2), "u2")


@pytest.fixture(scope="module")
def validator():
    return DocumentValidator()


@pytest.fixture(scope="module")
def event():
    return inline_run(FRAMES)[2][1]


def test_what_event_model_composes_passes_without_a_note(validator, tmp_path):
    runs = [inline_run(FRAMES), page_run(FRAMES), stream_run(FRAMES, tmp_path / "a.h5"),
            fly_run(FRAMES, tmp_path / "b.h5"), datum_run(FRAMES, tmp_path)]  # fmt: skip
    for name, doc in (pair for run in runs for pair in run):
        assert validator.check(name, doc) == []
        assert not list(event_model.schema_validators[event_model.DocumentNames[name]].iter_errors(doc))


def test_every_name_that_event_model_knows_is_known():
    assert {n.value for n in event_model.DocumentNames} - {"bulk_events", "bulk_datum"} <= DOCUMENT_NAMES


def test_a_deviation_from_the_schema_that_harms_nothing_is_a_note(validator):
    start = {"uid": "a", "time": 1.0, "scan_id": "seven", "a.b": 1}
    notes = validator.check("start", start)
    assert any("scan_id" in note for note in notes) and len(notes) <= 3
    stop = {"uid": "z", "run_start": "a", "time": 1.0, "exit_status": "gone wrong"}
    assert "exit_status" in validator.check("stop", stop)[0]


def test_without_schemas_nothing_is_noted():
    assert DocumentValidator(schema=False).check("start", {"uid": "a", "time": 1.0, "scan_id": "x"}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seq_num": 0}, "seq_num must be an integer from 1"),
        ({"seq_num": True}, "seq_num must be an integer"),
        ({"seq_num": 2**40}, "seq_num must be an integer from 1 to 2147483648, got 1099511627776"),
        ({"time": float("nan")}, r"time must be a finite number \(Unix s\), got nan"),
        ({"uid": ""}, "uid must be a string of 1 to 512 characters"),
        ({"uid": "x" * 513}, "uid must be a string of 1 to 512 characters"),
        ({"timestamps": {"det": 1.0}}, r"same keys; they differ in \['motor'\]"),
        ({"data": [1]}, "data must be a mapping, got list"),
        ({"data": {1: 2}, "timestamps": {1: 2}}, "a key of data must be a string, got 1"),
        ({"filled": 3}, "filled must be a mapping"),
    ],
)
def test_a_refusal_says_which_field_and_what_was_expected(validator, event, changes, words):
    with pytest.raises(DocumentRefused, match=words):
        validator.check("event", {**event, **changes})


def test_a_document_that_is_no_mapping_is_refused(validator):
    for name in DOCUMENT_NAMES:
        with pytest.raises(DocumentRefused, match="expected a mapping, got list"):
            validator.check(name, [])


def test_sizes_are_settings():
    small = DocumentValidator(
        DocumentLimits(max_rows=10, max_keys=2, max_depth=3, max_nodes=20), schema=False
    )
    ranges = {"indices": {"start": 0, "stop": 11}, "seq_nums": {"start": 1, "stop": 12}}
    with pytest.raises(DocumentRefused, match="11 events in one document, at most 10"):
        small.check("stream_datum", {"uid": "a", "descriptor": "d", "stream_resource": "s", **ranges})
    with pytest.raises(DocumentRefused, match="nested deeper than 3"):
        small.check("start", {"uid": "a", "time": 1.0, "x": {"y": {"z": {"w": {}}}}})
    with pytest.raises(DocumentRefused, match="more than 20 values"):
        small.check("start", {"uid": "a", "time": 1.0, "x": list(range(30))})
    data = {"a": 1, "b": 2, "c": 3}
    with pytest.raises(DocumentRefused, match="data has 3 keys, at most 2"):
        small.check("event", {"uid": "a", "descriptor": "d", "seq_num": 1, "time": 1.0, "data": data})


def test_an_image_in_a_descriptors_configuration_costs_no_walk_through_its_pixels(validator):
    pairs = inline_run(FRAMES)
    descriptor = dict(pairs[1][1])
    image = np.zeros((1000, 1000))
    descriptor["configuration"] = {"det": {"data": {"det_image": image}, "timestamps": {}, "data_keys": {}}}
    assert validator.check("descriptor", descriptor) == []


def test_what_is_kept_is_bounded_in_bytes(validator):
    datum = {"datum_id": "a", "resource": "r", "datum_kwargs": {}}
    junk = {"texts": ["y" * 70_000], "values": [0] * 5_000, "maps": [{}] * 5_000}
    for value in junk.values():
        with pytest.raises(DocumentRefused, match="datum: more than 65536 bytes"):
            validator.check("datum", {**datum, "datum_kwargs": {"x": value}})
        with pytest.raises(DocumentRefused, match="datum: more than 65536 bytes"):
            validator.check("datum", {**datum, "beside": value})
    with pytest.raises(DocumentRefused, match="start: more than 67108864 bytes"):
        validator.check("start", {"uid": "a", "time": 1.0, "image": np.zeros(2**24)})


def test_a_document_too_large_for_the_schema_is_noted_not_delayed(validator):
    start = {"uid": "a", "time": 1.0, "positions": list(range(20_000)), "scan_id": "wrong"}
    assert validator.check("start", start) == ["start: too large to compare with event-model's schema"]
