"""Each kind of damage is planted in what the service published, and found with its place."""

from __future__ import annotations

import copy
import functools
import random

import pytest

from streamproc.documents import BadMessage, Position
from streamproc.results import document_uid
from streamproc.testing.makers import inline_run
from streamproc.testing.memory import documents


def found(report):
    """Kinds and seq_nums of the faults."""
    return {(f.kind, f.seq_num) for f in report.findings.kept if f.severity == "fault"}


def drop_event(made):
    made.drop(made.events()[3])


def double_event(made):
    made.add("event", made.events()[3])


def double_event_with_another_value(made):
    other = copy.deepcopy(made.events()[3])
    other["data"]["mean"] += 1.0
    made.add("event", other)


def double_event_with_another_uid(made):
    made.add("event", {**made.events()[3], "uid": "elsewhere"})


def alter_motor(made):
    made.events()[3]["data"]["motor"] += 1e-9


def alter_motor_timestamp(made):
    made.events()[3]["timestamps"]["motor"] += 1.0


def alter_time(made):
    made.events()[3]["time"] += 1e-6


def alter_event_uid(made):
    made.events()[3]["uid"] = "b3c8"


def invent_event(made):
    event = copy.deepcopy(made.events()[3])
    run_uid = made.of("start")[0]["uid"]
    made.add("event", {**event, "seq_num": 70, "uid": document_uid(run_uid, "primary", "70")})


def remove_stop(made):
    made.drop(made.of("stop")[0])


def remove_start(made):
    made.drop(made.of("start")[0])


def remove_descriptor(made):
    made.drop(made.of("descriptor")[0])


def double_stop(made):
    made.messages.append(("stop", made.of("stop")[0], ()))


def second_stop(made):
    made.messages.append(("stop", {**made.of("stop")[0], "uid": "other-stop"}, ()))


def second_descriptor(made):
    made.messages.insert(2, ("descriptor", {**made.of("descriptor")[0], "uid": "other-descriptor"}, ()))


def double_start(made):
    made.messages.insert(1, made.messages[0])


def wrong_num_events(made):
    made.of("stop")[0]["num_events"]["primary"] = 6


def ledger_that_does_not_add_up(made):
    made.of("stop")[0]["ledger"]["primary"]["failed"] = 1


def ledger_of_another_length(made):
    made.of("stop")[0]["ledger"]["primary"].update(expected=6, done=6)


def ledger_that_calls_an_answer_failed(made):
    entry = {"reason": "no such row", "count": 1, "first_seq_nums": [4]}
    made.of("stop")[0]["ledger"]["primary"].update(done=6, failed=1, failed_reasons=[entry])


def no_ledger(made):
    del made.of("stop")[0]["ledger"]


def failed_without_a_reason(made):
    made.drop(made.events()[3])
    made.of("stop")[0]["num_events"]["primary"] = 6
    made.of("stop")[0]["ledger"]["primary"].update(done=6, failed=1)


def invalid_event(made):
    made.events()[3]["filled"] = {"det": 3}


def event_without_a_key(made):
    del made.events()[3]["data"]["mean"]
    del made.events()[3]["timestamps"]["mean"]


def event_with_odd_timestamps(made):
    del made.events()[3]["timestamps"]["mean"]


def invalid_start(made):
    made.of("start")[0]["time"] = "noon"


def unusual_start(made):
    made.of("start")[0]["data_groups"] = "not a list"


def another_start_time(made):
    made.of("start")[0]["time"] += 1.0


def another_stop_time(made):
    made.of("stop")[0]["time"] += 1.0


def another_run_uid(made):
    made.of("start")[0]["streamproc"]["model_sha256"] = "another"


CASES = {
    drop_event: {("lost", 4), ("ledger", None), ("num-events", None)},
    double_event: {("doubled", 4)},
    double_event_with_another_value: {("conflict", 4)},
    double_event_with_another_uid: {("doubled", 4), ("uid", 4), ("num-events", None)},
    alter_motor: {("unlike", 4)},
    alter_motor_timestamp: {("unlike", 4)},
    alter_time: {("unlike", 4)},
    alter_event_uid: {("uid", 4)},
    invent_event: {("unfounded", 70), ("num-events", None), ("ledger", None)},
    remove_stop: {("no-stop", None)},
    remove_start: {("no-start", None), ("lost-run", None)},
    remove_descriptor: {("no-descriptor", 1)},
    double_stop: {("doubled", None)},
    second_stop: {("second", None)},
    second_descriptor: {("second", None), ("uid", None)},
    double_start: {("doubled", None)},
    wrong_num_events: {("num-events", None)},
    ledger_that_does_not_add_up: {("ledger", None)},
    ledger_of_another_length: {("ledger", None)},
    ledger_that_calls_an_answer_failed: {("ledger", 4), ("ledger", None)},
    no_ledger: {("ledger", None)},
    failed_without_a_reason: {("ledger", None)},
    invalid_event: {("invalid", 4)},
    event_without_a_key: {("invalid", 4)},
    event_with_odd_timestamps: {("invalid", 4), ("lost", 4), ("ledger", None), ("num-events", None)},
    invalid_start: {("invalid", None), ("no-start", None), ("lost-run", None)},
    unusual_start: {("invalid", None)},
    another_start_time: {("unlike", None)},
    another_stop_time: {("unlike", None)},
    another_run_uid: {("uid", None)},
}


@pytest.mark.parametrize("damage", CASES, ids=lambda damage: damage.__name__)
def test_damage_is_found_with_its_place(topics, damage):
    made = topics()
    damage(made)
    report = made.audit()
    assert report.differs
    assert CASES[damage] <= found(report)
    assert {kind for kind, _ in found(report)} == {kind for kind, _ in CASES[damage]}


def test_a_lost_and_a_doubled_reading_stand_in_the_line_of_their_run(topics):
    made = topics()
    events = made.events()
    made.drop(events[1])
    made.add("event", events[4])
    (row,) = made.audit().runs
    assert (row.expected, row.done, row.lost, row.doubled, row.verdict) == (7, 6, 1, 1, "differs")


def test_a_finding_says_where_both_messages_lie(topics):
    made = topics()
    made.add("event", made.events()[3])
    (finding,) = made.audit().findings.kept
    assert finding.positions == ("results/0@5", "results/0@11")
    for part in ("seq_num 4", "run-inline", "results/0@5", "toy", "doubled"):
        assert part in str(finding)


def test_a_lost_reading_is_found_in_the_raw_topic_by_its_position(topics):
    made = topics()
    drop_event(made)
    lost = next(f for f in made.audit().findings.kept if f.kind == "lost")
    assert lost.positions == ("memory/0@5",)
    assert made.raw[5].doc["seq_num"] == 4


def test_another_content_under_one_uid_is_not_taken_for_a_mere_repeat(topics):
    made = topics()
    double_event_with_another_value(made)
    report = made.audit(repeats_allowed=True)
    assert found(report) == {("conflict", 4)}


def test_all_readings_of_a_run_without_a_stop_that_have_no_answer_are_lost(topics):
    made = topics()
    remove_stop(made)
    for event in made.events()[4:]:
        made.drop(event)
    report = made.audit()
    (lost,) = (f for f in report.findings.kept if f.kind == "lost")
    assert (lost.seq_num, lost.last_seq_num) == (5, 7)
    assert report.runs[0].lost == 3


def test_a_lost_reading_among_many_failed_ones_is_told_by_their_number(topics, toy, frames, metadata):
    pairs = inline_run([frames[0]] * 40, metadata=metadata)
    made = topics(documents(pairs), toy=toy(fault=lambda f: f.seq_num > 20))
    ledger = made.of("stop")[0]["ledger"]["primary"]
    reasons = [
        {"reason": "out of range", "count": 20, "first_seq_nums": list(range(21, 31))},
    ]
    ledger["failed_reasons"] = reasons
    assert not made.audit().differs
    made.drop(made.events()[4])
    report = made.audit()
    assert report.runs[0].lost == 1
    (lost,) = (f for f in report.findings.kept if f.kind == "lost")
    assert lost.seq_num is None
    assert "1 of the 11 readings 5, 31-40" in lost.got


def test_a_run_without_any_result_run_is_lost(topics, frames, metadata):
    one = inline_run(frames, uid="one", metadata=metadata)
    two = inline_run(frames[:3], uid="two", metadata=metadata)
    made = topics(documents([*one, *two]))
    gone = made.of("start")[1]["uid"]
    descriptors = {d["uid"] for d in made.of("descriptor") if d["run_start"] == gone}
    for _, doc, _ in list(made.messages):
        if gone in (doc["uid"], doc.get("run_start")) or doc.get("descriptor") in descriptors:
            made.drop(doc)
    report = made.audit()
    assert found(report) == {("lost-run", None)}
    assert [(r.run_uid, r.result_uid != "", r.lost) for r in report.runs] == [
        ("one", True, 0),
        ("two", False, 3),
    ]
    assert "toy" in str(report.findings.kept[0])


def test_where_nothing_was_published_at_all_every_run_with_frames_is_lost(topics):
    made = topics()
    made.messages = []
    assert found(made.audit()) == {("lost-run", None)}
    assert found(made.audit(analysis="toy")) == {("lost-run", None)}


def test_an_analysis_that_is_named_is_missed_where_only_another_answered(topics):
    made = topics()
    assert not made.audit(analysis="toy").differs
    report = made.audit(analysis="phase-map")
    assert found(report) == {("lost-run", None)}
    assert [r.analysis for r in report.runs] == ["phase-map"]


def test_a_result_message_that_cannot_be_decoded_is_a_difference(topics):
    made = topics()
    results = [*made.results(), BadMessage(Position("results", 0, 99), "not msgpack")]
    made.results = lambda: results
    report = made.audit()
    assert found(report) == {("invalid", None)}
    assert "results/0@99" in str(report.findings.kept[0])


def test_findings_are_bounded_and_counted(topics, frames, metadata, monkeypatch):
    from streamproc.audit import compare
    from streamproc.audit.findings import Findings

    monkeypatch.setattr(compare, "Findings", lambda: Findings(most=3))
    made = topics()
    for event in made.events():
        event["time"] += 1.0
    report = made.audit()
    assert len(report.findings.kept) == 3
    assert report.findings.more == 4
    assert report.runs[0].faults == 7
    assert report.to_json()["findings_not_listed"] == 4


JUNK = [None, 3, -1, 2**40, 0.5, float("nan"), "x", "", [], [1, [2]], {}, {"a": {"b": 1}}, b"x", True]


def places(value, path=()):
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


OURS = {
    ("start", "uid"), ("start", "time"), ("start", "original_run_uid"),
    ("descriptor", "uid"), ("descriptor", "run_start"),
    ("event", "uid"), ("event", "descriptor"), ("event", "seq_num"),
    ("stop", "uid"), ("stop", "run_start"), ("stop", "time"), ("stop", "num_events"), ("stop", "ledger"),
}  # fmt: skip


def test_junk_in_a_result_document_breaks_no_comparison_and_is_found_where_it_counts(topics):
    made = topics()
    choose = random.Random(6)
    sound = made.messages
    for at, (name, doc, headers) in enumerate(sound):
        for path in places(doc):
            altered, junk = copy.deepcopy(doc), choose.choice(JUNK)
            holder = functools.reduce(lambda inner, key: inner[key], path[:-1], altered)
            if holder[path[-1]] == junk:
                continue
            holder[path[-1]] = junk
            made.messages = [*sound[:at], (name, altered, headers), *sound[at + 1 :]]
            report = made.audit()
            assert report.differs or (name, *path) not in OURS, (name, path, junk)
