"""The own count is held against damage of every kind, done to sound results."""

from __future__ import annotations

import pytest

from streamproc.documents import BadMessage, Document, Position
from streamproc.torture.count import Wait, count_results

READINGS = {"raw-1": 3, "raw-2": 2}


def messages():
    documents = []
    for raw_uid, count in READINGS.items():
        result_uid = f"result-{raw_uid}"
        documents.append(("start", {"uid": result_uid, "original_run_uid": raw_uid}))
        for stream in ("primary", "summary"):
            uid = f"{result_uid}-{stream}"
            documents.append(("descriptor", {"uid": uid, "run_start": result_uid, "name": stream}))
        for number in range(1, count + 1):
            event = {
                "uid": f"{result_uid}-{number}",
                "seq_num": number,
                "descriptor": f"{result_uid}-primary",
            }
            documents.append(("event", event))
        documents.append(
            ("event", {"uid": f"{result_uid}-s", "seq_num": 1, "descriptor": f"{result_uid}-summary"})
        )
        ledger = {"primary": {"expected": count, "done": count, "failed": 0, "dropped": 0}}
        documents.append(("stop", {"uid": f"{result_uid}-stop", "run_start": result_uid, "ledger": ledger}))
    headers = (("produced_s", b"1.0"), ("latency_ms", b"12.5"))
    return [
        Document(name, doc, Position("results", 0, offset), headers=headers if name == "event" else ())
        for offset, (name, doc) in enumerate(documents)
    ]


def find(documents, uid):
    return next(i for i, document in enumerate(documents) if document.doc["uid"] == uid)


def test_sound_results_are_complete():
    count = count_results(READINGS, messages())
    assert (count.produced, count.answered) == (5, 5)
    assert (count.lost, count.doubled, count.unknown, count.failed, count.unfinished) == (0, 0, 0, 0, [])
    assert count.latencies_ms == [12.5] * 5
    assert count.waits[3] == Wait(12.5, "raw-2", 1, pytest.approx(0.9875))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_missing_event_is_lost_and_named(number):
    documents = messages()
    del documents[find(documents, f"result-raw-1-{number}")]
    count = count_results(READINGS, documents)
    assert (count.lost, count.missing, count.answered) == (1, {"raw-1": [number]}, 4)


def test_a_run_without_results_is_lost_whole():
    documents = [d for d in messages() if "raw-2" not in d.doc["uid"]]
    count = count_results(READINGS, documents)
    assert (count.lost, count.missing, count.unfinished) == (2, {"raw-2": [1, 2]}, ["raw-2"])


@pytest.mark.parametrize(
    "uid", ["result-raw-1", "result-raw-1-primary", "result-raw-1-2", "result-raw-1-stop"]
)
def test_any_document_that_is_there_twice_is_doubled(uid):
    documents = messages()
    at = find(documents, uid)
    count = count_results(READINGS, [*documents, documents[at]])
    assert (count.doubled, dict(count.repeated)) == (1, {uid: 1})


def test_a_second_answer_under_another_uid_is_doubled():
    documents = messages()
    event = documents[find(documents, "result-raw-1-2")]
    other = Document("event", {**event.doc, "uid": "another"}, event.position, headers=event.headers)
    count = count_results(READINGS, [*documents, other])
    assert (count.doubled, count.answered_twice, count.lost) == (1, {"raw-1": [2]}, 0)


def test_an_answer_to_what_was_never_published_is_unknown():
    assert count_results({**READINGS, "raw-2": 1}, messages()).unknown == 1


def test_a_run_without_a_stop_is_unfinished():
    documents = [d for d in messages() if d.doc["uid"] != "result-raw-2-stop"]
    assert count_results(READINGS, documents).unfinished == ["raw-2"]


def test_failed_and_dropped_readings_of_the_ledger_are_counted():
    documents = messages()
    stop = documents[find(documents, "result-raw-1-stop")]
    stop.doc["ledger"]["primary"] |= {"done": 0, "failed": 2, "dropped": 1}
    assert count_results(READINGS, documents).failed == 3


def test_partitions_may_come_in_any_order():
    documents = messages()
    half = [d for d in documents if "raw-2" in d.doc["uid"]] + [
        d for d in documents if "raw-1" in d.doc["uid"]
    ]
    assert count_results(READINGS, half).answered == 5


def test_what_is_no_document_does_not_count_as_one():
    bad = BadMessage(Position("results", 0, 99), "message without a value", None, b"")
    assert count_results(READINGS, [*messages(), bad]).answered == 5
