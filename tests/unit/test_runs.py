"""RunTracker: what it makes of real streams and of broken ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.documents import Document
from streamproc.errors import DocumentRefused
from streamproc.runs import (
    NeedsRewind,
    RunClosed,
    RunOpened,
    RunTracker,
    RunUpdated,
    Skipped,
    TrackerLimits,
)
from streamproc.testing import FakeClock, MemorySource, documents
from streamproc.testing.makers import datum_run, fly_run, inline_run, page_run, stream_run
from streamproc.transports.codec import encode
from streamproc.validation import DocumentValidator

FRAMES = np.arange(4 * 6, dtype="u2").reshape(4, 2, 3)
VALIDATOR = DocumentValidator(schema=False)


def tracker(**settings) -> RunTracker:
    return RunTracker(validator=VALIDATOR, **settings)


def feed_all(follower: RunTracker, docs) -> list:
    """Feed everything as a service does, without a source to look back in."""
    outcomes = []
    for document in docs:
        found = follower.feed(document)
        if any(isinstance(o, NeedsRewind) for o in found):
            found = follower.adopt(document)
        outcomes.extend(found)
    return outcomes


def kinds(outcomes) -> list[str]:
    return [type(o).__name__ for o in outcomes]


def accepted(outcomes) -> list[tuple[str, str, str]]:
    return [
        (o.run.uid, o.document.name, str(o.document.doc.get("datum_id") or o.document.doc.get("uid")))
        for o in outcomes
        if isinstance(o, RunUpdated)
    ]


@pytest.fixture
def every_run(tmp_path):
    return [
        inline_run(FRAMES, uid="a"),
        page_run(FRAMES, uid="b"),
        stream_run(FRAMES, tmp_path / "c.h5", uid="c"),
        fly_run(FRAMES, tmp_path / "d.h5", [1, 3], uid="d"),
        datum_run(FRAMES, tmp_path, uid="e"),
    ]


def test_a_run_opens_updates_and_closes_with_its_stop():
    follower = tracker()
    outcomes = feed_all(follower, documents(inline_run(FRAMES, uid="a")))
    assert kinds(outcomes) == ["RunOpened"] + ["RunUpdated"] * 5 + ["RunClosed"]
    run = outcomes[0].run
    assert run.complete_start and not run.missing and run.start["plan_name"] == "scan"
    assert run.stop["num_events"] == {"primary": 4}
    assert outcomes[-1].reason == "stop"
    assert not follower.open_runs


def test_pages_arrive_as_single_events_at_the_position_of_their_page():
    docs = documents(page_run(FRAMES, page_rows=3, uid="b"))
    events = [o.document for o in feed_all(tracker(), docs) if isinstance(o, RunUpdated)][1:]
    assert [e.name for e in events] == ["event"] * 4
    assert [e.doc["seq_num"] for e in events] == [1, 2, 3, 4]
    assert [e.position.offset for e in events] == [2, 2, 2, 3]
    for number, event in enumerate(events):
        np.testing.assert_array_equal(event.doc["data"]["det"], FRAMES[number])
        assert event.doc["data"]["motor"] == 0.5 * number


def test_datum_pages_and_bulk_documents_give_the_same_datums_and_events(tmp_path):
    pairs = datum_run(FRAMES, tmp_path, uid="e")
    datums = [doc for name, doc in pairs if name == "datum"]
    events = [doc for name, doc in pairs if name == "event"]
    resource, kwargs = datums[0]["resource"], [d["datum_kwargs"] for d in datums]
    ids = [d["datum_id"] for d in datums]
    page = {"resource": resource, "datum_id": ids, "datum_kwargs": {"index": [k["index"] for k in kwargs]}}
    bulk = {"resource": resource, "datum_ids": ids, "datum_kwarg_list": kwargs}
    head = [pair for pair in pairs if pair[0] in ("start", "descriptor", "resource")]
    plain = [*head, *[("datum", d) for d in datums], *[("event", e) for e in events]]
    expected = accepted(feed_all(tracker(), documents(plain)))
    for packed in (("datum_page", page), ("bulk_datum", bulk)):
        stream = [*head, packed, ("bulk_events", {events[0]["descriptor"]: events})]
        assert accepted(feed_all(tracker(), documents(stream))) == expected


@given(data=st.data())
def test_interleaved_runs_are_told_apart_however_they_are_mixed(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    runs = [
        inline_run(FRAMES, uid="a"),
        stream_run(FRAMES, folder / "c.h5", uid="c"),
        datum_run(FRAMES, folder, uid="e"),
        fly_run(FRAMES, folder / "d.h5", [2, 2], uid="d"),
    ]
    alone = sorted(chain.from_iterable(accepted(feed_all(tracker(), documents(r))) for r in runs))
    order = data.draw(st.permutations([i for i, run in enumerate(runs) for _ in run]))
    left = [iter(run) for run in runs]
    outcomes = feed_all(tracker(), documents(next(left[i]) for i in order))
    assert sorted(accepted(outcomes)) == alone
    assert sum(isinstance(o, RunClosed) for o in outcomes) == 4
    assert not any(isinstance(o, Skipped) for o in outcomes)


def test_everything_delivered_twice_is_reported_once(every_run):
    docs = documents(chain.from_iterable(every_run))
    once = accepted(feed_all(tracker(), docs))
    doubled = [d for document in docs for d in (document, document)]
    outcomes = feed_all(tracker(), doubled)
    assert accepted(outcomes) == once
    assert {o.kind for o in outcomes if isinstance(o, Skipped)} == {"duplicate", "late"}
    assert sum(isinstance(o, RunOpened) for o in outcomes) == len(every_run)


def test_a_changed_configuration_gives_a_second_descriptor_of_the_same_stream():
    pairs = inline_run(FRAMES, uid="a")
    again = ("descriptor", {**pairs[1][1], "uid": "later"})
    follower = tracker()
    feed_all(follower, documents([*pairs[:3], again]))
    run = follower.open_runs["a"]
    assert [d["uid"] for d in run.stream_descriptors("primary")] == [pairs[1][1]["uid"], "later"]


def test_our_own_result_runs_are_ignored_from_start_to_stop():
    pairs = inline_run(FRAMES, uid="r", metadata={"streamproc": {"analysis": "phase-map"}})
    outcomes = feed_all(tracker(), documents(pairs))
    assert {type(o) for o in outcomes} == {Skipped}
    assert {o.kind for o in outcomes} == {"own-result"}


def test_unknown_names_are_skipped():
    (outcome,) = tracker().feed(documents([("agent_suggestions", {"action": "move"})])[0])
    assert isinstance(outcome, Skipped) and outcome.kind == "unknown-name"


def test_documents_after_the_stop_are_late():
    pairs = inline_run(FRAMES, uid="a")
    outcomes = feed_all(tracker(), documents([*pairs, *pairs]))
    late = outcomes[len(pairs) :]
    assert {type(o) for o in late} == {Skipped} and {o.kind for o in late} == {"late"}


def test_a_run_without_stop_is_closed_when_idle_and_only_then():
    clock = FakeClock()
    follower = tracker(idle_timeout_s=10.0, clock=clock)
    docs = documents([*inline_run(FRAMES, uid="a")[:4]])
    feed_all(follower, docs[:3])
    clock.advance(9.0)
    feed_all(follower, docs[3:])
    clock.advance(9.0)
    assert follower.expire() == []
    clock.advance(2.0)
    (closed,) = follower.expire()
    assert closed.run.stop is None and closed.reason == "no document for 10 s and no stop"
    assert not follower.open_runs


def test_at_most_max_open_runs_are_kept_and_the_one_idle_longest_goes():
    follower = tracker(max_open=2)
    starts = documents(inline_run(FRAMES, uid=uid)[0] for uid in "abc")
    feed_all(follower, starts[:2])
    feed_all(follower, documents([inline_run(FRAMES, uid="a")[1]]))
    outcomes = feed_all(follower, starts[2:])
    assert kinds(outcomes) == ["RunClosed", "RunOpened"]
    assert outcomes[0].run.uid == "b" and "idle longest" in outcomes[0].reason
    assert set(follower.open_runs) == {"a", "c"}


@pytest.mark.parametrize("at", range(1, 9))
def test_a_join_in_the_middle_looks_back_and_misses_nothing(every_run, at):
    for pairs in every_run:
        docs = documents(pairs)
        at_here = min(at, len(docs) - 1)
        source = MemorySource(docs, start_at=at_here)
        follower, outcomes = tracker(), []
        for document in source.poll(0):
            found = follower.feed(document)
            if isinstance(found[0], NeedsRewind):
                earlier = source.rewind_to_start(found[0].run_uid, document)
                assert [d.position.offset for d in earlier] == list(range(at_here))
                outcomes.extend(o for d in earlier for o in follower.feed(d))
                found = follower.feed(document)
            outcomes.extend(found)
        assert accepted(outcomes) == accepted(feed_all(tracker(), docs))
        assert outcomes[0].run.complete_start and len(source.rewinds) == 1


def test_looking_back_picks_one_run_out_of_interleaved_ones():
    first, second = inline_run(FRAMES, uid="a"), inline_run(FRAMES, uid="b")
    mixed = documents(chain.from_iterable(zip(first, second, strict=True)))
    source = MemorySource(mixed)
    event_of_b = mixed[7]
    found = source.rewind_to_start(None, event_of_b)
    assert [d.position.offset for d in found] == [1, 3, 5]
    assert source.rewind_to_start("a", event_of_b) == [mixed[i] for i in (0, 2, 4, 6)]
    assert MemorySource(mixed, rewind_limit=3).rewind_to_start(None, event_of_b) == []


def test_a_run_whose_start_is_gone_goes_on_with_what_is_known_and_says_what_is_missing():
    docs = documents(inline_run(FRAMES, uid="a"))[1:]
    outcomes = feed_all(tracker(), docs)
    assert kinds(outcomes) == ["RunOpened"] + ["RunUpdated"] * 5 + ["RunClosed"]
    run = outcomes[0].run
    assert not run.complete_start and run.start == {"uid": "a"}
    assert run.missing == ["the start document and all before memory/0@1"]


def test_a_start_that_comes_after_all_completes_the_run():
    docs = documents(inline_run(FRAMES, uid="a"))
    follower = tracker()
    feed_all(follower, docs[1:3])
    (outcome,) = follower.feed(docs[0])
    assert isinstance(outcome, RunUpdated) and outcome.run.complete_start
    assert outcome.run.start["plan_name"] == "scan"


def test_documents_that_name_no_run_wait_for_their_descriptor_or_resource(tmp_path):
    pairs = datum_run(FRAMES, tmp_path, uid="e")
    start, descriptor, resource, datum, event = documents(pairs[:5])
    follower = tracker()
    outcomes = feed_all(follower, [datum, event, start])
    assert [o.kind for o in outcomes[:2]] == ["held", "held"]
    released = feed_all(follower, [resource, descriptor])
    assert [o.document.name for o in released] == ["resource", "datum", "descriptor", "event"]
    assert {type(o) for o in released} == {RunUpdated}


def test_a_stream_resource_that_names_no_run_goes_to_the_run_of_its_stream_datum(tmp_path):
    pairs = [
        (name, {k: v for k, v in doc.items() if (name, k) != ("stream_resource", "run_start")})
        for name, doc in stream_run(FRAMES, tmp_path / "c.h5", uid="c")
    ]
    other = inline_run(FRAMES, uid="a")
    outcomes = feed_all(tracker(), documents([*other[:2], *pairs, *other[2:]]))
    mine = [(name, uid) for run, name, uid in accepted(outcomes) if run == "c"]
    expected = accepted(feed_all(tracker(), documents(pairs)))
    assert sorted(mine) == sorted((name, uid) for _, name, uid in expected)


def test_one_unknown_reference_asks_to_look_back_once():
    follower = tracker()
    events = documents(inline_run(FRAMES, uid="a")[2:])
    assert isinstance(follower.feed(events[0])[0], NeedsRewind)
    assert follower.adopt(events[0])[0].kind == "held"
    assert [follower.feed(e)[0].kind for e in events[1:4]] == ["held"] * 3


def test_garbage_cannot_make_the_service_look_back_without_end():
    clock = FakeClock()
    follower = tracker(clock=clock, limits=TrackerLimits(rewinds_per_minute=5, held=10))
    event = inline_run(FRAMES)[2][1]
    docs = documents(("event", {**event, "uid": f"e{i}", "descriptor": f"d{i}"}) for i in range(1000))
    asked = [o for d in docs for o in follower.feed(d) if isinstance(o, NeedsRewind)]
    assert len(asked) == 5
    clock.advance(61.0)
    assert isinstance(follower.feed(replace(docs[0], doc={**event, "descriptor": "new"}))[0], NeedsRewind)


def test_a_descriptor_that_another_run_has_is_refused_and_nothing_changes():
    follower = tracker()
    mine, other = inline_run(FRAMES, uid="a"), inline_run(FRAMES, uid="b")
    feed_all(follower, documents([*mine[:2], other[0]]))
    stolen = {**other[1][1], "uid": mine[1][1]["uid"]}
    with pytest.raises(DocumentRefused, match="belongs to run 'a' already"):
        follower.feed(documents([("descriptor", stolen)])[0])
    assert follower.open_runs["b"].descriptors == {}


def test_a_page_with_one_bad_event_is_refused_whole():
    pairs = page_run(FRAMES, page_rows=4, uid="b")
    bad = {**pairs[2][1], "seq_num": [1, 2, 0, 4]}
    follower = tracker()
    feed_all(follower, documents(pairs[:2]))
    with pytest.raises(DocumentRefused, match="seq_num must be an integer"):
        follower.feed(documents([("event_page", bad)])[0])
    assert len(feed_all(follower, documents(pairs[2:3]))) == 4


def test_memory_of_a_long_run_stays_bounded(tmp_path):
    pairs = datum_run(FRAMES, tmp_path, uid="e")
    limits = TrackerLimits(resources=50, datums=60, recent_ids=70, held=10, past_ids=20)
    follower = tracker(limits=limits)
    feed_all(follower, documents(pairs[:2]))
    for i in range(2000):
        resource = ("resource", {**pairs[2][1], "uid": f"r{i}"})
        datum = ("datum", {**pairs[3][1], "datum_id": f"r{i}/0", "resource": f"r{i}"})
        feed_all(follower, documents([resource, datum]))
    run = follower.open_runs["e"]
    assert len(run.resources) == 50 and len(run.datums) == 60 and "r1999" in run.resources
    assert len(msgpack.packb(follower.to_state())) < 40_000
    feed_all(follower, documents(pairs[-1:]))
    assert len(msgpack.packb(follower.to_state())) < 3_000


def test_past_runs_are_forgotten_one_by_one():
    follower = tracker(limits=TrackerLimits(past_runs=10))
    for i in range(100):
        feed_all(follower, documents(inline_run(FRAMES[:1], uid=f"run-{i}")))
    state = follower.to_state()
    assert [uid for uid, _, _ in state["past"]] == [f"run-{i}" for i in range(90, 100)]


def test_a_forgotten_run_is_as_if_never_seen():
    follower = tracker()
    docs = documents(inline_run(FRAMES, uid="a"))
    feed_all(follower, docs[:3])
    follower.forget("a")
    assert not follower.open_runs
    assert kinds(feed_all(follower, docs))[0] == "RunOpened"


def test_interrupted_anywhere_it_goes_on_from_its_stored_state_as_if_nothing_had_been(every_run):
    docs: list[Document] = documents(chain.from_iterable(zip(*[r[:9] for r in every_run], strict=False)))
    docs += documents(chain.from_iterable(r[len(docs) // 5 :] for r in every_run), first_offset=100)
    expected = accepted(feed_all(tracker(), docs))
    for at in range(len(docs)):
        first = tracker()
        outcomes = feed_all(first, docs[:at])
        stored = msgpack.packb(first.to_state())
        second = RunTracker.from_state(msgpack.unpackb(stored), validator=VALIDATOR)
        outcomes += feed_all(second, docs[at:])
        assert accepted(outcomes) == expected


def test_idle_time_goes_on_counting_across_a_restart():
    clock = FakeClock(1000.0)
    follower = tracker(idle_timeout_s=10.0, clock=clock)
    feed_all(follower, documents(inline_run(FRAMES, uid="a")[:2]))
    clock.advance(8.0)
    elsewhere = FakeClock(5.0)
    second = RunTracker.from_state(
        follower.to_state(), idle_timeout_s=10.0, clock=elsewhere, validator=VALIDATOR
    )
    assert second.expire() == []
    elsewhere.advance(2.5)
    assert [c.run.uid for c in second.expire()] == ["a"]


@given(data=st.data())
def test_any_order_of_a_runs_documents_gives_the_same_documents_of_the_run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("order")
    maker = data.draw(st.sampled_from(["inline", "stream", "datum"]))
    pairs = {
        "inline": lambda: inline_run(FRAMES, uid="a"),
        "stream": lambda: stream_run(FRAMES, folder / "a.h5", uid="a"),
        "datum": lambda: datum_run(FRAMES, folder, uid="a"),
    }[maker]()
    shuffled = [pairs[0], *data.draw(st.permutations(pairs[1:-1])), pairs[-1]]
    outcomes = feed_all(tracker(), documents(shuffled))
    assert sorted(accepted(outcomes)) == sorted(accepted(feed_all(tracker(), documents(pairs))))


def test_descriptors_of_a_run_are_bounded_in_bytes():
    follower = tracker(limits=TrackerLimits(descriptor_bytes=1000))
    start, descriptor, *_ = documents(inline_run(FRAMES, uid="a"))
    feed_all(follower, [start, replace(descriptor, raw=b"x" * 900)])
    second = replace(descriptor, doc={**descriptor.doc, "uid": "later"}, raw=b"x" * 200)
    with pytest.raises(DocumentRefused, match="more than 1000 bytes"):
        follower.feed(second)
    again = RunTracker.from_state(follower.to_state(), limits=follower.limits, validator=VALIDATOR)
    with pytest.raises(DocumentRefused, match="more than 1000 bytes"):
        again.feed(second)


def test_a_document_that_had_to_wait_keeps_its_message_also_over_a_restart():
    whole = [replace(d, raw=encode(d.name, d.doc)) for d in documents(inline_run(FRAMES, uid="a"))]
    start, descriptor, event, *_ = whole
    for restart in (False, True):
        follower = tracker()
        feed_all(follower, [start])
        follower.adopt(event)
        if restart:
            follower = RunTracker.from_state(follower.to_state(), validator=VALIDATOR)
        freed = [o.document for o in follower.feed(descriptor) if isinstance(o, RunUpdated)]
        assert [d.raw for d in freed] == [descriptor.raw, event.raw]


def test_documents_that_wait_are_bounded_in_what_they_take_in_memory():
    small_in_the_message = {"x": [[]] * 1_000_000}
    waiting = documents([("event", _stranger(n, small_in_the_message)) for n in range(30)])
    follower = tracker()
    for document in waiting:
        follower.adopt(document)
    assert 1 <= len(follower.memory_state()["held"]) < 10


def _stranger(number, data):
    return {
        "uid": f"e{number}", "descriptor": f"nobody-{number}", "seq_num": 1, "time": 1.0, "data": data,
        "timestamps": dict.fromkeys(data, 1.0), "filled": {},
    }  # fmt: skip


def test_open_runs_are_bounded_in_bytes_and_the_one_idle_longest_goes():
    follower = tracker(limits=TrackerLimits(open_bytes=1000))
    outcomes = feed_all(follower, [replace(d, raw=b"x" * 400) for d in documents(_starts(4))])
    assert [o.run.uid for o in outcomes if isinstance(o, RunClosed)] == ["r0", "r1"]
    assert list(follower.open_runs) == ["r2", "r3"]
    again = RunTracker.from_state(follower.to_state(), limits=follower.limits, validator=VALIDATOR)
    (fifth,) = documents(_starts(5)[4:])
    assert kinds(again.feed(replace(fifth, raw=b"x" * 400))) == ["RunOpened", "RunClosed"]


def _starts(count):
    return [("start", {"uid": f"r{n}", "time": 1.0}) for n in range(count)]


def test_looking_back_takes_no_more_than_its_share_of_the_time():
    clock = FakeClock()
    limits = TrackerLimits(rewinds_per_minute=1000, rewind_burst_s=20.0, rewind_share=0.1)
    follower = tracker(clock=clock, limits=limits)
    strangers = iter(documents([("event", _stranger(n, {"x": 1})) for n in range(400)]))
    granted = 0
    for _ in range(300):
        clock.advance(1.0)
        if kinds(follower.feed(next(strangers))) == ["NeedsRewind"]:
            clock.advance(6.0)
            follower.looked_back(6.0)
            granted += 1
    # 20 s at once, then a tenth: garbage that asks each second for a look back of 6 s gets 4 of them, then few.
    assert 4 < granted < 4 + (300 + 6 * granted) / 60 + 1
    assert not follower.may_look_back()
    clock.advance(60.0)
    assert follower.may_look_back()
