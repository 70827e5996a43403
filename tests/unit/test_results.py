from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
from event_model import DocumentNames, schema_validators

from streamproc.analysis import Estimate, FrameResult, Output, Provenance
from streamproc.documents import Position
from streamproc.ledger import Ledger
from streamproc.results import ResultRun, deduplicate, expand_outputs, is_shadow, result_run_uid
from streamproc.runs import Run

OUTPUTS = (
    Output("share", "estimate", units="1", interval=True, hinted=True),
    Output("rwp", "number", units="1"),
    Output("pattern", "curve", shape=(4,)),
)
PROVENANCE = Provenance("phase-map", "1", "m" * 64, "s" * 64, "c" * 64, {"model": "phase_qpa:1"})


def raw_run(**extra):
    start = {
        "uid": "raw", "time": 10.0, "scan_id": 7, "plan_name": "grid_scan", "plan_type": "generator",
        "motors": ["x"], "hints": {"dimensions": [[["x"], "primary"]]}, "sample": {"name": "s.1"}, **extra,
    }  # fmt: skip
    run = Run(uid="raw", start=start, first_position=Position("t", 0, 0))
    run.descriptors["d"] = {
        "uid": "d", "name": "primary", "run_start": "raw", "time": 11.0,
        "data_keys": {
            "x": {"source": "SIM", "dtype": "number", "shape": [], "units": "mm", "object_name": "x"},
            "det": {"source": "SIM", "dtype": "array", "shape": [4, 4], "object_name": "det"},
        },
        "object_keys": {"x": ["x"], "det": ["det"]},
        "hints": {"x": {"fields": ["x"]}},
    }  # fmt: skip
    return run


def answer(seq_num, value=0.5):
    estimate = Estimate(value, 0.01, True, "m", (value - 0.02, value + 0.02))
    values = {"share": estimate, "rwp": 0.1, "pattern": np.arange(4.0)}
    return FrameResult(seq_num, values, True, (), "phase_qpa:1@abc")


def documents(run, seq_nums=(1, 2), ledger=None):
    result = ResultRun(run, "primary", PROVENANCE, OUTPUTS, {})
    ledger = ledger or Ledger()
    made = [result.start(run)]
    for n in seq_nums:
        made += result.event(answer(n), 20.0 + n, {"x": float(n)}, {"x": 19.0 + n})
        ledger.done(n)
    return [*made, result.stop(run, ledger, "")]


def test_documents_pass_the_event_model_schemas():
    for name, doc in documents(raw_run()):
        schema_validators[DocumentNames[name]].validate(doc)


def test_the_same_input_gives_the_same_documents_and_another_hash_another_run():
    assert str(documents(raw_run())) == str(documents(raw_run()))
    other = Provenance("phase-map", "1", "M" * 64, "s" * 64, "c" * 64)
    assert result_run_uid("raw", PROVENANCE) != result_run_uid("raw", other)


def test_a_shadow_has_its_own_uid_and_mark_and_changes_no_other_uid():
    assert result_run_uid("raw", PROVENANCE) == "100e1849-f6e5-5077-9fe5-2362c47b945e"
    marked = dataclasses.replace(PROVENANCE, details={**PROVENANCE.details, "shadow": True})
    assert result_run_uid("raw", marked) != result_run_uid("raw", PROVENANCE)
    (_, start), (_, plain) = (
        ResultRun(raw_run(), "primary", p, OUTPUTS, {}).start(raw_run()) for p in (marked, PROVENANCE)
    )
    assert is_shadow(start) and not is_shadow(plain) and not is_shadow({"streamproc": {"shadow": "yes"}})


def test_no_time_comes_from_a_clock():
    made = documents(raw_run())
    times = [doc["time"] for _, doc in made]
    assert times == [10.0, 21.0, 21.0, 22.0, 22.0]


def test_motors_are_copied_with_their_units_and_timestamps():
    made = documents(raw_run())
    descriptor, event = made[1][1], made[2][1]
    assert descriptor["data_keys"]["x"]["units"] == "mm"
    assert event["data"]["x"] == 1.0
    assert event["timestamps"]["x"] == 20.0
    assert made[0][1]["hints"] == {"dimensions": [[["x"], "primary"]]}


def test_an_estimate_becomes_value_sigma_and_interval_with_units():
    keys = expand_outputs(OUTPUTS, "phase_map")
    assert list(keys) == ["share", "share_sigma", "share_lo90", "share_hi90", "rwp", "pattern"]
    assert all("units" in k for k in keys.values())


@pytest.mark.parametrize(
    ("failed", "raw_status", "expected"),
    [(0, "success", "success"), (1, "success", "fail"), (0, "abort", "abort"), (0, None, "abort")],
)
def test_exit_status_follows_ledger_and_raw_run(failed, raw_status, expected):
    run = raw_run()
    run.stop = None if raw_status is None else {"exit_status": raw_status, "time": 30.0}
    ledger = Ledger()
    for n in range(failed):
        ledger.failed(90 + n, "because")
    name, stop = documents(run, ledger=ledger)[-1]
    assert (name, stop["exit_status"]) == ("stop", expected)
    assert stop["ledger"]["primary"]["done"] == 2


@pytest.mark.parametrize(
    "hints", [None, 3, {"dimensions": 5}, {"dimensions": [["x"]]}, {"dimensions": [[3, 4]]}]
)
def test_malformed_hints_are_survived(hints):
    run = raw_run(hints=hints)
    for name, doc in documents(run):
        schema_validators[DocumentNames[name]].validate(doc)


def test_keys_with_dots_and_slashes_are_made_legal():
    run = raw_run(motors=["a.b"], hints={"dimensions": [[["a.b/c"], "primary"]]})
    run.descriptors["d"]["data_keys"]["a.b/c"] = {"source": "S", "dtype": "number", "shape": []}
    made = documents(run)
    assert "a_b_c" in made[1][1]["data_keys"]
    for name, doc in made:
        schema_validators[DocumentNames[name]].validate(doc)


def test_deduplicate_passes_each_document_once_and_reports_a_repeat_that_differs():
    made = documents(raw_run())
    assert list(deduplicate([*made, *copy.deepcopy(made)])) == made
    changed, conflicts = copy.deepcopy(made), []
    changed[2][1]["data"]["share"] = 0.9
    changed[3][1]["data"]["pattern"][0] = 5.0
    list(deduplicate([*made, *changed], on_conflict=lambda name, doc: conflicts.append(doc["uid"])))
    assert conflicts == [made[2][1]["uid"], made[3][1]["uid"]]


def test_state_lets_a_restart_go_on_with_the_same_documents():
    run, expected = raw_run(), documents(raw_run())
    first = ResultRun(run, "primary", PROVENANCE, OUTPUTS, {})
    ledger = Ledger()
    made = [first.start(run), *first.event(answer(1), 21.0, {"x": 1.0}, {"x": 20.0})]
    ledger.done(1)
    second = ResultRun(run, "primary", PROVENANCE, OUTPUTS, {})
    second.restore_state(first.to_state())
    made += second.event(answer(2), 22.0, {"x": 2.0}, {"x": 21.0})
    ledger.done(2)
    assert str([*made, second.stop(run, ledger, "")]) == str(expected)
