from __future__ import annotations

import random
import threading
from dataclasses import replace

import numpy as np
import pytest
from event_model import DocumentNames, schema_validators

from streamproc.analysis import Output
from streamproc.documents import BadMessage, Position
from streamproc.errors import DeliveryError, FatalError
from streamproc.testing.makers import datum_run, fly_run, inline_run, page_run, stream_run, with_darks
from streamproc.testing.memory import MemorySink, MemorySource, documents

FRAMES = [np.full((6, 8), n, np.uint16) for n in range(1, 8)]


def means(results):
    descriptors = {d["uid"]: d["name"] for n, d in results if n == "descriptor"}
    events = [d for n, d in results if n == "event" and descriptors[d["descriptor"]] == "primary"]
    return {e["seq_num"]: e["data"]["mean"] for e in events}


@pytest.mark.parametrize("form", ["inline", "page", "stream", "fly", "datum"])
def test_every_storage_form_gives_every_frame_once_and_a_full_ledger(bench, tmp_path, form):
    pairs = {
        "inline": lambda: inline_run(FRAMES),
        "page": lambda: page_run(FRAMES),
        "stream": lambda: stream_run(FRAMES, tmp_path / "f.h5"),
        "fly": lambda: fly_run(FRAMES, tmp_path / "f.h5", [3, 4]),
        "datum": lambda: datum_run(FRAMES, tmp_path),
    }[form]()
    b = bench(documents(pairs), tmp_path).run()
    assert means(b.results()) == {n: float(n) for n in range(1, 8)}
    (ledger,) = b.ledgers()
    assert {k: ledger[k] for k in ("expected", "done", "failed", "dropped")} == {
        "expected": 7, "done": 7, "failed": 0, "dropped": 0,
    }  # fmt: skip
    assert b.sink.committed == {("memory", 0): len(pairs)}


def test_result_documents_are_valid_and_in_order(bench):
    results = bench(documents(inline_run(FRAMES))).run().results()
    for name, doc in results:
        schema_validators[DocumentNames[name]].validate(doc)
    names = [n for n, _ in results]
    assert names == ["start", "descriptor", *["event"] * 7, "descriptor", "event", "stop"]
    assert results[-1][1]["exit_status"] == "success"
    assert results[0][1]["original_run_uid"] == "run-inline"


def test_batch_sizes_workers_and_repetition_do_not_change_a_byte(bench, tmp_path):
    pairs = stream_run(FRAMES, tmp_path / "f.h5")
    expected = bench(documents(pairs), tmp_path).run().wire()
    choose = random.Random(1)
    for workers in (1, 2, 5):
        sizes = [choose.randint(1, 6) for _ in range(60)]
        b = bench(documents(pairs), tmp_path, batch_size=sizes, service={"workers": workers},
                  inference={"max_batch": choose.randint(1, 5)})  # fmt: skip
        assert b.run().wire() == expected


def test_interleaved_runs_keep_apart(bench):
    one, two = inline_run(FRAMES[:4], uid="one"), inline_run(FRAMES[3:], uid="two")
    mixed = [pair for both in zip(one, two, strict=True) for pair in both]
    b = bench(documents(mixed)).run()
    assert len(b.ledgers()) == 2
    assert all(ledger["done"] == 4 for ledger in b.ledgers())


def test_a_missing_file_fails_its_frames_with_the_reason_and_holds_up_no_other_run(bench, tmp_path):
    (tmp_path / "gone").mkdir()
    lost = stream_run(FRAMES, tmp_path / "gone" / "f.h5", uid="lost")
    (tmp_path / "gone" / "f.h5").unlink()
    b = bench(documents([*lost, *inline_run(FRAMES, uid="good")]), tmp_path, frames={"wait_s": 0.1}).run()
    stops = {d["run_start"]: d for n, d in b.results() if n == "stop"}
    starts = {d["original_run_uid"]: d["uid"] for n, d in b.results() if n == "start"}
    assert stops[starts["good"]]["exit_status"] == "success"
    ledger = stops[starts["lost"]]["ledger"]["primary"]
    assert ledger["failed"] == 7
    assert "f.h5" in ledger["failed_reasons"][0]["reason"]
    assert stops[starts["lost"]]["exit_status"] == "fail"


def test_one_frame_that_breaks_the_analysis_costs_no_other_frame(bench, toy):
    b = bench(documents(inline_run(FRAMES)), toy=toy(fault=lambda f: f.seq_num == 3)).run()
    (ledger,) = b.ledgers()
    assert (ledger["done"], ledger["failed"]) == (6, 1)
    assert ledger["failed_reasons"][0]["first_seq_nums"] == [3]
    assert "cannot digest 3" in ledger["failed_reasons"][0]["reason"]


def test_a_fault_of_the_per_run_half_fails_that_reading_and_no_other(bench, toy):
    b = bench(
        documents(inline_run(FRAMES[:5])), toy=toy(run_fault=lambda answer: answer.seq_num in (2, 4))
    ).run()
    (ledger,) = b.ledgers()
    assert (ledger["done"], ledger["failed"]) == (3, 2)
    assert [r["first_seq_nums"] for r in ledger["failed_reasons"]] == [[2], [4]]
    assert "cannot add up 2" in ledger["failed_reasons"][0]["reason"]
    assert [d["seq_num"] for n, d in b.results() if n == "event"][:3] == [1, 3, 5]
    assert len(b.dead()) == 2


def test_a_fault_at_the_end_of_a_run_is_named_in_its_stop(bench, toy):
    b = bench(documents(inline_run(FRAMES[:3])), toy=toy(end_fault=ZeroDivisionError("no weight"))).run()
    (stop,) = [d for n, d in b.results() if n == "stop"]
    assert "no weight" in stop["reason"]
    assert stop["ledger"]["primary"]["done"] == 3


def test_unusable_messages_become_dead_letters_and_good_data_goes_on(bench):
    good = documents(inline_run(FRAMES))
    bad = BadMessage(Position("memory", 0, 500), "not msgpack", raw=b"\xff\xff")
    messages = [*good[:4], bad, *documents([("start", {"uid": 5})], first_offset=501), *good[4:]]
    b = bench(messages).run()
    assert b.ledgers()[0]["done"] == 7
    assert b.dead()[0].value == b"\xff\xff"
    assert len(b.dead()) == 2


def test_nothing_is_committed_before_its_result_is_delivered(bench):
    pairs = inline_run(FRAMES)
    for fail_at in range(4):
        sink = MemorySink(fail_at=[fail_at])
        b = bench(documents(pairs), sink=sink, batch_size=2)
        with pytest.raises(DeliveryError):
            b.run()
        done = set(means(b.results()))
        committed = sink.committed.get(("memory", 0), 0)
        events_before = {d["seq_num"] for i, (n, d) in enumerate(pairs) if n == "event" and i < committed}
        assert events_before <= done


def test_policy_latest_drops_the_older_and_says_so(bench, toy):
    gate = threading.Event()
    pairs = inline_run([np.full((4, 4), n, np.uint16) for n in range(40)])
    b = bench(documents(pairs), toy=toy(gate=gate), batch_size=5, service={"policy": "latest", "workers": 1})
    for _ in range(12):
        b.service.step()
    gate.set()
    b.run()
    (ledger,) = b.ledgers()
    assert ledger["expected"] == 40
    assert ledger["dropped"] > 20
    assert ledger["done"] + ledger["dropped"] == 40
    assert 40 in means(b.results())
    assert b.results()[-1][1]["exit_status"] == "success"


def test_policy_every_pauses_the_source_and_loses_nothing(bench, toy):
    gate = threading.Event()
    pairs = inline_run([np.full((4, 4), n, np.uint16) for n in range(60)])
    b = bench(documents(pairs), toy=toy(gate=gate), batch_size=5, frames={"max_waiting_frames": 10})
    for _ in range(12):
        b.service.step()
    assert b.source.paused
    assert len(b.service._lanes["memory", 0].desk.works["run-inline"].pending) <= 15
    gate.set()
    assert b.run().ledgers()[0]["done"] == 60


def test_a_fly_scan_announced_at_once_stays_folded_up(bench, toy, tmp_path):
    gate = threading.Event()
    frames = [np.full((4, 4), n, np.uint16) for n in range(300)]
    pairs = fly_run(frames, tmp_path / "f.h5", [300])
    b = bench(documents(pairs), tmp_path, toy=toy(gate=gate), frames={"max_waiting_frames": 10})
    for _ in range(5):
        b.service.step()
    assert len(b.service._lanes["memory", 0].desk.works["run-fly"].pending) <= 10
    gate.set()
    assert b.run().ledgers()[0]["done"] == 300
    assert b.sink.committed == {("memory", 0): len(pairs)}


def test_an_analysis_that_hangs_ends_the_process_with_a_clear_message(bench, toy):
    gate = threading.Event()
    b = bench(documents(inline_run(FRAMES)), toy=toy(gate=gate), service={"frame_timeout_s": 0.05})
    with pytest.raises(FatalError, match="frame_timeout_s"):
        b.run()
    gate.set()


def test_a_run_joined_in_the_middle_is_taken_up_from_its_start(bench):
    pairs = inline_run(FRAMES)
    source = MemorySource(documents(pairs), start_at=5)
    b = bench([], source=source).run()
    assert b.ledgers()[0]["done"] == 7
    assert source.rewinds


def test_a_run_whose_start_cannot_be_found_says_what_is_missing(bench):
    source = MemorySource(documents(inline_run(FRAMES)), start_at=5, rewind_limit=0)
    b = bench([], source=source).run()
    assert b.results() == [] or b.results()[0][1]["streamproc"]["raw_start_known"] is False


def test_an_ambiguous_run_is_refused_in_a_result_run_that_says_why(bench):
    pairs = inline_run(FRAMES)
    pairs[1][1]["data_keys"]["other"] = {**pairs[1][1]["data_keys"]["det"]}
    for name, doc in pairs:
        if name == "event":
            doc["data"]["other"], doc["timestamps"]["other"] = doc["data"]["det"], doc["timestamps"]["det"]
    b = bench(documents(pairs)).run()
    (ledger,) = b.ledgers()
    assert ledger["failed"] == 7
    assert "more than one key fits" in ledger["failed_reasons"][0]["reason"]


def test_a_run_without_frames_is_left_alone(bench):
    pairs = inline_run([np.array(3.0)] * 3)
    assert bench(documents(pairs)).run().results() == []


def test_our_own_result_runs_are_ignored(bench):
    first = bench(documents(inline_run(FRAMES))).run()
    again = bench(documents(first.results())).run()
    assert again.results() == []
    assert again.dead() == []


def test_darks_of_the_run_reach_the_analysis(bench):
    darks = {0: np.full((6, 8), 1, np.uint16), 4: np.full((6, 8), 2, np.uint16)}
    b = bench(documents(with_darks(inline_run(FRAMES), darks))).run()
    assert means(b.results()) == {n: float(n) - (1.0 if n <= 4 else 2.0) for n in range(1, 8)}


def test_a_dark_taken_before_the_stream_is_described_counts(bench):
    pairs = with_darks(inline_run(FRAMES), {0: np.full((6, 8), 1, np.uint16)})
    names = [(n, d.get("name")) for n, d in pairs]
    primary = pairs.pop(names.index(("descriptor", "primary")))
    dark_event = next(i for i, (n, _) in enumerate(pairs) if n == "event")
    pairs.insert(dark_event + 1, primary)
    b = bench(documents(pairs)).run()
    assert means(b.results()) == {n: n - 1.0 for n in range(1, 8)}


def test_runs_of_a_partition_taken_away_are_dropped_without_a_word(bench, toy):
    gate = threading.Event()
    pairs = inline_run(FRAMES)
    b = bench(documents(pairs), toy=toy(gate=gate), batch_size=4)
    b.service.step()
    before = len(b.sink.deliveries)
    b.source.revoke(("memory", 0))
    b.service.step()
    gate.set()
    b.run()
    assert b.ledgers() == []
    assert all(("memory", 0) not in d.consumed for d in b.sink.deliveries[before:])


def test_stop_finishes_and_commits_what_is_in_work(bench, toy):
    gate = threading.Event()
    pairs = inline_run(FRAMES)[:-1]
    b = bench(documents(pairs), toy=toy(gate=gate), batch_size=3, service={"one_pass": False})
    b.service.step()
    b.service.step()
    b.service.stop()
    gate.set()
    b.run()
    done = means(b.results())
    assert done
    assert b.sink.committed[("memory", 0)] >= 2 + len(done)
    assert b.sink.closed


def test_metrics_count_what_happened(bench, toy):
    b = bench(documents(inline_run(FRAMES)), toy=toy(fault=lambda f: f.seq_num == 2)).run()
    text = b.metrics.text().decode()
    assert 'streamproc_frames_total{analysis="toy",outcome="done"} 6.0' in text
    assert 'streamproc_frames_total{analysis="toy",outcome="failed"} 1.0' in text
    assert 'streamproc_documents_total{analysis="toy",name="event"} 7.0' in text


class OtherToy:
    """The toy analysis under another model name, optionally with one more quantity."""

    def __new__(cls, toy, model, more=False):
        made = toy()
        begin = made.begin

        def begin_other(run):
            running = begin(run)
            one = running._one
            running._one = lambda frame: replace(one(frame), model_id=model)
            return running

        made.begin = begin_other
        if more:
            outputs = made.outputs()
            made.outputs = lambda: (*outputs, Output("extra", "number"))
        return made


def models(results):
    return [d["data"]["model"] for n, d in results if n == "event" and "model" in d["data"]]


def test_a_model_is_swapped_between_two_frames_and_each_event_says_which_made_it(bench, toy):
    messages = documents(inline_run(FRAMES))
    b = bench([], source=MemorySource(messages[:5]))
    while len(models(b.results())) < 3:
        b.service.step()
    b.service.reload(OtherToy(toy, "toy:2"))
    b.source.append(*messages[5:])
    b.run()
    assert models(b.results()) == ["toy:1"] * 3 + ["toy:2"] * 4
    assert means(b.results()) == {n: float(n) for n in range(1, 8)}
    assert [d["data"]["sum"] for n, d in b.results() if n == "event" and "sum" in d["data"]] == [28.0]


def test_an_open_run_keeps_a_model_whose_quantities_the_new_one_does_not_give(bench, toy):
    messages = documents(inline_run(FRAMES))
    b = bench([], source=MemorySource(messages[:5]))
    while len(models(b.results())) < 3:
        b.service.step()
    b.service.reload(OtherToy(toy, "toy:2", more=True))
    b.source.append(*messages[5:])
    b.run()
    assert models(b.results()) == ["toy:1"] * 7
    assert b.ledgers()[0]["done"] == 7


def test_a_restart_with_other_quantities_fails_the_rest_of_an_open_run_by_name(bench, toy):
    messages = documents(inline_run(FRAMES))
    first = bench([], source=MemorySource(messages[:5]))
    while len(models(first.results())) < 3:
        first.service.step()
    other = OtherToy(toy, "toy:2", more=True)
    second = bench([], source=MemorySource(messages), toy=other, before=[first.sink]).run()
    ledger = second.ledgers()[0]
    assert (ledger["expected"], ledger["done"], ledger["failed"]) == (7, 3, 4)
    assert "other quantities" in ledger["failed_reasons"][0]["reason"]
