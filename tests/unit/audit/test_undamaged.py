"""What the service publishes stands the comparison, whatever the raw run was like."""

from __future__ import annotations

import numpy as np
import pytest

from streamproc.audit import audit_runs
from streamproc.documents import BadMessage, Document, Position
from streamproc.errors import DocumentRefused
from streamproc.testing.hostile import hostile_messages
from streamproc.testing.makers import datum_run, fly_run, inline_run, page_run, stream_run, with_darks
from streamproc.testing.memory import documents
from streamproc.transports.codec import decode

COUNTS = ("expected", "done", "failed", "dropped", "late", "lost", "doubled", "waiting")


def counts(row):
    return {name: getattr(row, name) for name in COUNTS if getattr(row, name)}


@pytest.mark.parametrize("form", ["inline", "page", "stream", "fly", "datum", "darks"])
def test_an_untouched_run_of_every_storage_form_shows_no_difference(topics, frames, metadata, tmp_path, form):
    more = {"metadata": metadata}
    pairs = {
        "inline": lambda: inline_run(frames, **more),
        "page": lambda: page_run(frames, **more),
        "stream": lambda: stream_run(frames, tmp_path / "f.h5", **more),
        "fly": lambda: fly_run(frames, tmp_path / "f.h5", [3, 4]),
        "datum": lambda: datum_run(frames, tmp_path, **more),
        "darks": lambda: with_darks(inline_run(frames, **more), {0: frames[0], 4: frames[1]}),
    }[form]()
    report = topics(documents(pairs)).audit()
    assert not report.differs
    assert report.findings.kept == []
    (row,) = report.runs
    assert counts(row) == {"expected": 7, "done": 7}
    assert row.verdict == "complete"


def test_interleaved_runs_are_told_apart(topics, frames, metadata):
    one = inline_run(frames[:4], uid="one", metadata=metadata)
    two = inline_run(frames[3:], uid="two", metadata=metadata, time_s=1.8e9)
    mixed = [pair for both in zip(one, two, strict=True) for pair in both]
    report = topics(documents(mixed)).audit()
    assert not report.differs
    assert [(row.run_uid, row.done) for row in report.runs] == [("one", 4), ("two", 4)]
    assert report.totals()["expected"] == 8


def test_failed_readings_that_the_ledger_names_are_counted_and_no_difference(topics, toy):
    report = topics(toy=toy(fault=lambda f: f.seq_num in (3, 5))).audit()
    assert not report.differs
    (row,) = report.runs
    assert counts(row) == {"expected": 7, "done": 5, "failed": 2}
    assert row.verdict == "accounted for"
    assert sum(row.reasons.values()) == 2
    assert "cannot digest 3" in " ".join(row.reasons)


def test_a_reading_whose_event_never_came_is_in_the_ledger_and_no_difference(topics, frames, metadata):
    pairs = inline_run(frames, metadata=metadata)
    del pairs[4]
    (row,) = topics(documents(pairs)).audit().runs
    assert counts(row) == {"expected": 7, "done": 6, "failed": 1}


def test_a_refused_run_is_accounted_for(topics, frames):
    pairs = inline_run(frames)
    pairs[1][1]["data_keys"]["other"] = {**pairs[1][1]["data_keys"]["det"]}
    for name, doc in pairs:
        if name == "event":
            doc["data"]["other"], doc["timestamps"]["other"] = doc["data"]["det"], doc["time"]
    report = topics(documents(pairs)).audit()
    assert not report.differs
    assert counts(report.runs[0]) == {"expected": 7, "failed": 7}


def test_a_run_without_frames_needs_no_result_run(topics, frames, metadata):
    plain = inline_run([np.array(3.0)] * 3, uid="plain")
    good = inline_run(frames, uid="good", metadata=metadata)
    report = topics(documents([*good, *plain])).audit()
    assert not report.differs
    assert [row.run_uid for row in report.runs] == ["good"]


def test_a_redelivered_and_an_unusable_document_change_nothing(topics, frames, metadata):
    good = documents(inline_run(frames, metadata=metadata))
    bad = BadMessage(Position("memory", 0, 500), "not msgpack", raw=b"\xff")
    strange = documents([("start", {"uid": 5}), ("cookie", {})], first_offset=501)
    again = [Document(d.name, d.doc, Position("memory", 0, 510 + n)) for n, d in enumerate(good[2:5])]
    report = topics([*good[:6], bad, *strange, *again, *good[6:]]).audit()
    assert not report.differs
    assert report.counts["raw_undecodable"] == report.counts["raw_refused"] == 1
    assert counts(report.runs[0]) == {"expected": 7, "done": 7}


def test_the_hostile_corpus_on_both_topics_breaks_no_comparison(topics, tmp_path):
    hostile = []
    for at, message in enumerate(hostile_messages(tmp_path / "canary")):
        try:
            name, doc = decode(message.raw)
        except DocumentRefused as error:
            hostile.append(BadMessage(Position("hostile", 0, at), error.message))
        else:
            hostile.append(Document(name, doc, Position("hostile", 0, at), raw=message.raw))
    made = topics()
    report = audit_runs([*made.raw[:5], *hostile, *made.raw[5:]], made.results())
    assert len(hostile) > 100
    row = next(row for row in report.runs if row.run_uid == "run-inline")
    assert (row.expected, row.done, row.faults) == (7, 7, 0)
    results = made.results()
    report = audit_runs(made.raw, [*results[:5], *hostile, *results[5:]])
    row = next(row for row in report.runs if row.run_uid == "run-inline")
    assert (row.expected, row.done, row.faults) == (7, 7, 0)


def test_a_reading_that_was_taken_again_under_its_number_counts_once(topics, frames, metadata):
    pairs = inline_run(frames, metadata=metadata)
    again = {**pairs[4][1], "uid": "taken-again", "time": pairs[4][1]["time"] + 0.5}
    pairs.insert(6, ("event", again))
    report = topics(documents(pairs)).audit()
    assert not report.differs
    assert counts(report.runs[0]) == {"expected": 7, "done": 7}


def test_an_open_run_is_reported_as_open_and_not_as_a_fault(topics, frames, metadata):
    pairs = inline_run(frames, metadata=metadata)[:-1]
    made = topics(documents(pairs))
    made.drop(made.events()[-1])
    report = made.audit()
    assert not report.differs
    (row,) = report.runs
    assert row.verdict == row.state == "open"
    assert counts(row) == {"expected": 7, "done": 6, "waiting": 1}


def test_within_the_grace_after_the_raw_stop_answers_may_be_missing(topics):
    made = topics()
    made.drop(made.of("stop")[0])
    made.drop(made.events()[-1])
    stop_s = made.raw[-1].doc["time"]
    report = made.audit(now_s=stop_s + 10, grace_s=30.0)
    assert not report.differs
    assert report.runs[0].verdict == "waiting"
    assert report.runs[0].waiting == 1
    assert made.audit(now_s=stop_s + 31, grace_s=30.0).differs


def test_results_in_another_order_are_only_remarked_on(topics):
    made = topics()
    first, second = (m for m in made.messages if m[0] == "event" and m[1]["seq_num"] in (4, 5))
    a, b = made.messages.index(first), made.messages.index(second)
    made.messages[a], made.messages[b] = second, first
    report = made.audit()
    assert not report.differs
    (finding,) = report.findings.kept
    assert (finding.kind, finding.severity, finding.seq_num) == ("order", "info", 4)


def test_identical_repeats_are_allowed_where_delivery_is_at_least_once(topics):
    made = topics()
    made.add("event", made.events()[2])
    report = made.audit(repeats_allowed=True)
    assert not report.differs
    assert report.findings.counts == {"repeated": 1}
    assert report.runs[0].doubled == 0


def test_only_the_runs_that_are_asked_for_are_compared(topics, frames, metadata):
    one = inline_run(frames, uid="one", metadata=metadata)
    two = inline_run(frames, uid="two", metadata=metadata)
    made = topics(documents([*one, *two]))
    made.drop(made.events()[-1])
    assert made.audit(only={"two"}).differs
    report = made.audit(only={"one"})
    assert not report.differs
    assert [row.run_uid for row in report.runs] == ["one"]


def test_results_whose_raw_run_was_deleted_are_passed_over_when_the_topic_was_not_read_whole(topics):
    made = topics()
    report = audit_runs([], made.results(), whole_raw=False)
    assert not report.differs
    assert report.runs[0].verdict == "not comparable"
    assert audit_runs([], made.results()).differs


def test_a_run_that_was_read_from_its_middle_is_not_judged_by_what_came_before(topics):
    made = topics()
    report = audit_runs(made.raw[5:], made.results(), whole_raw=False)
    assert not report.differs
    assert report.runs[0].verdict == "not comparable"


def test_result_documents_may_be_missing_at_the_front_when_the_topic_was_not_read_whole(topics):
    made = topics()
    report = audit_runs([], made.results()[3:], whole_raw=False, whole_results=False)
    assert not report.differs
    assert report.runs == ()


def test_no_frame_is_kept(topics, frames):
    """Half a gigabyte of frames goes through; what stays is a few numbers for each."""
    import tracemalloc

    made = topics()
    start, descriptor, event, stop = (
        next(d for d in made.raw if d.name == n) for n in ("start", "descriptor", "event", "stop")
    )

    def raw():
        yield start
        yield descriptor
        for number in range(1, 257):
            big = {**event.doc["data"], "det": np.zeros((512, 512))}
            doc = {**event.doc, "uid": f"e{number}", "seq_num": number, "data": big}
            yield Document("event", doc, Position("memory", 0, 10 + number), raw=bytes(2**21))
        yield Document("stop", {**stop.doc, "num_events": {"primary": 256}}, Position("memory", 0, 999))

    tracemalloc.start()
    report = audit_runs(raw(), made.results())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.runs[0].expected == 256
    assert peak < 48 * 2**20
