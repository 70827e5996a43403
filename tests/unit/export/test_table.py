from __future__ import annotations

import copy
import random

import numpy as np
import pytest

from streamproc.errors import ConfigurationError
from streamproc.export import read_table
from tests.unit.export.runs import Hashes, answer, late_documents, raw_run, result_documents


def test_a_row_per_point_in_the_order_of_seq_num_whatever_order_they_came_in():
    made = result_documents(seq_nums=range(1, 9))
    events = [d for d in made if d[0] == "event"]
    shuffled = random.Random(1).sample(events, len(events))
    table = read_table([*[d for d in made if d[0] != "event"], *shuffled])
    assert table["seq_num"].values.tolist() == list(range(1, 9))
    assert table["share"].values == pytest.approx(0.1 * np.arange(1, 9), rel=1e-15)
    assert table["x"].values.tolist() == [n / 3 for n in range(1, 9)]
    assert table["time"].values.tolist() == [1.7e9 + n for n in range(1, 9)]
    assert table["pattern"].values.shape == (8, 4)
    assert set(table["model"].values) == {"qpa:1@aaaaaaaaaaaa"}


def test_columns_know_their_unit_their_role_and_what_they_belong_to():
    table = read_table(result_documents())
    assert (table["x"].kind, table["x"].units) == ("motor", "mm")
    assert (table["share"].kind, table["share"].units, table["share"].hinted) == ("value", "1", True)
    roles = {n: (table[n].kind, table[n].of) for n in ("share_sigma", "share_lo90", "share_hi90")}
    assert roles == {
        "share_sigma": ("sigma", "share"), "share_lo90": ("low", "share"), "share_hi90": ("high", "share"),
    }  # fmt: skip
    assert (table["in_domain"].kind, table["reasons"].kind, table["pattern"].kind) == (
        "flag",
        "text",
        "curve",
    )


def test_repeated_documents_give_one_row_and_a_changed_repeat_is_remarked_on():
    made = result_documents()
    assert len(read_table([*made, *copy.deepcopy(made)])) == 3
    changed = copy.deepcopy(made)
    changed[3][1]["data"]["share"] = 0.9
    table = read_table([*made, *changed])
    assert table["share"].values[1] == pytest.approx(0.2)
    assert "different content" in table.notes[0]


def test_late_results_join_the_run_they_supplement():
    made = result_documents(seq_nums=(1, 3), failed=(2, 4))
    table = read_table([*made, *late_documents(made, [2])], "raw-run-0001")
    assert table["seq_num"].values.tolist() == [1, 2, 3]
    assert table["late"].values.tolist() == [False, True, False]
    assert table["result_uid"].values[1] != table["result_uid"].values[0] == made[0][1]["uid"]
    assert {k: table.ledger[k] for k in ("expected", "done", "failed", "late")} == {
        "expected": 4, "done": 2, "failed": 2, "late": 1,
    }  # fmt: skip


def test_a_run_that_goes_on_gives_what_there_is_and_says_so():
    table = read_table(result_documents(stop=False))
    assert len(table) == 3 and not table.finished and table.ledger == {}
    assert "no stop yet" in table.notes[0]


@pytest.mark.parametrize("order", ["first", "last"])
def test_what_an_interrupted_replay_left_of_a_run_gives_way_to_the_whole_run(order):
    whole = result_documents()
    stop = {**whole[-1][1], "uid": "aborted", "interrupted": True, "exit_status": "abort", "ledger": {}}
    aborted = [*copy.deepcopy(whole[:3]), ("stop", stop)]
    table = read_table([*aborted, *whole] if order == "first" else [*whole, *aborted])
    assert len(table) == 3 and table.stops == (whole[-1][1],) and table.notes == ()
    alone = read_table(aborted)
    assert "interrupted" in alone.notes[0] and alone.stops == (stop,)


def test_a_run_without_any_answer_gives_no_rows_and_its_ledger():
    table = read_table(result_documents(seq_nums=(), failed=(1, 2)))
    assert len(table) == 0 and table.finished
    assert table.ledger["failed"] == 2 and table.ledger["failed_reasons"][0]["reason"] == "file cut off"


def test_two_models_within_one_run_stand_in_their_rows():
    answers = {3: answer(3, model="qpa:2@bbbbbbbbbbbb")}
    table = read_table(result_documents(answers=answers))
    assert [m[:5] for m in table["model"].values] == ["qpa:1", "qpa:1", "qpa:2"]


@pytest.mark.parametrize("model", ["qpa:2", "qpa:2@bbbbbbbbbbbb", "bbbbbb"])
def test_of_two_models_for_one_run_one_must_be_chosen(model):
    both = [*result_documents(), *result_documents(provenance=Hashes.b)]
    with pytest.raises(ConfigurationError, match=r"2 result runs fit .*qpa:1@.*qpa:2@.*--model"):
        read_table(both, "raw-run-0001")
    assert read_table(both, "raw-run-0001", model=model).starts[0]["streamproc"]["model_sha256"] == "b" * 64
    own = both[0][1]["uid"]
    assert read_table(both, own[:9]).starts[0]["uid"] == own


def test_a_scan_number_and_minus_one_name_the_newest_run():
    made = [d for k in (1, 2, 3) for d in result_documents(raw_run(f"raw-run-000{k}", 411 + k // 2))]
    assert read_table(made, "412").starts[0]["original_run_uid"] == "raw-run-0003"
    assert read_table(made, "411").starts[0]["original_run_uid"] == "raw-run-0001"
    assert read_table(made, "-1").starts[0]["original_run_uid"] == "raw-run-0003"


@pytest.mark.parametrize(
    ("run", "says"),
    [("ffffffff", "no results"), ("raw-run", "may be any of"), ("abc", "at least 6"), ("999", "no results")],
)
def test_a_run_that_is_not_there_or_not_clear_is_said_with_what_there_is(run, says):
    made = [*result_documents(), *result_documents(raw_run("raw-run-0002"))]
    with pytest.raises(ConfigurationError, match=says):
        read_table(made, run)


def test_what_the_analysis_says_of_the_whole_run_is_a_stream_of_its_own():
    made = result_documents()
    assert read_table(made, stream="summary")["points"].values.tolist() == [3.0]
    with pytest.raises(ConfigurationError, match="no stream 'cells'; it has primary, summary"):
        read_table(made, stream="cells")


def test_events_in_pages_are_the_same_rows():
    import event_model

    made = result_documents()
    events = [d for n, d in made if n == "event" and "share" in d["data"]]
    page = ("event_page", dict(event_model.pack_event_page(*events)))
    paged = [d for d in made if d[0] != "event"]
    table = read_table([*paged[:2], page, *paged[2:]])
    assert table["share"].values.tolist() == read_table(made)["share"].values.tolist()


def test_a_curve_of_another_shape_is_not_taken_for_one():
    made = copy.deepcopy(result_documents())
    made[3][1]["data"]["pattern"] = [1.0, 2.0]
    table = read_table(made)
    assert np.isnan(table["pattern"].values[1]).all() and not np.isnan(table["pattern"].values[0]).any()
    assert any("shape" in note for note in table.notes)
