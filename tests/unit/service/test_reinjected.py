"""Dead letters that come again: late results in the open run, or in a supplementary run."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from streamproc.documents import Document, Position
from streamproc.ledger import Ledger
from streamproc.runs import RunTracker
from streamproc.service.late import FailedRuns, supplement
from streamproc.testing.makers import datum_run, inline_run, stream_run
from streamproc.testing.memory import MemorySink, MemorySource
from streamproc.transports.codec import decode, encode

FRAMES = [np.full((6, 8), n, np.uint16) for n in range(1, 8)]


def as_read(pairs, first=0):
    raws = [encode(*pair) for pair in pairs]
    return [Document(*decode(raw), Position("memory", 0, first + i), b"k", raw) for i, raw in enumerate(raws)]


def reinjected(letter, offset, analysis=b"toy", raw=None):
    """The message that `streamproc dlq reinject` writes for a dead letter."""
    name, doc = decode(raw or bytes(letter.value))
    headers = (("streamproc-reinjected", analysis), ("streamproc-origin", letter.key))
    return Document(name, doc, Position("memory", 0, offset), b"k", raw or bytes(letter.value), None, headers)


def means(results):
    return {d["seq_num"]: d["data"]["mean"] for n, d in results if n == "event" and "mean" in d["data"]}


def work_off(bench, until, deadline_s=30.0):
    end_s = time.monotonic() + deadline_s
    while not until():
        bench.service.step()
        assert time.monotonic() < end_s, "it did not come to that"


def letters_left(*sinks, topic):
    """Keys of the letters that no later message settles."""
    newest = {}
    for message in (m for sink in sinks for m in sink.on_topic(topic)):
        newest[message.key] = message.value
    return {key for key, value in newest.items() if value is not None}


class Fault:
    """Breaks some frames until it is mended."""

    def __init__(self, *numbers):
        self.numbers = set(numbers)

    def __call__(self, frame):
        return frame.seq_num in self.numbers


@pytest.mark.parametrize("form", ["inline", "stream", "datum"])
def test_a_failed_frame_that_comes_again_is_answered_in_its_open_run(bench, toy, tmp_path, form):
    pairs = {
        "inline": lambda: inline_run(FRAMES),
        "stream": lambda: stream_run(FRAMES, tmp_path / "f.h5"),
        "datum": lambda: datum_run(FRAMES, tmp_path),
    }[form]()
    messages, fault = as_read(pairs), Fault(3)
    b = bench([], tmp_path, source=MemorySource(messages[:-1]), toy=toy(fault=fault))
    work_off(b, lambda: len(means(b.results())) == 6)
    (letter,) = b.dead()
    assert dict(letter.headers)["kind"] == b"frame" and dict(letter.headers)["seq_num"] == b"3"
    fault.numbers.clear()
    b.source.append(reinjected(letter, 500), *as_read(pairs[-1:], 501))
    b.run()
    assert means(b.results()) == {n: float(n) for n in range(1, 8)}
    (ledger,) = b.ledgers()
    assert (ledger["expected"], ledger["done"], ledger["failed"]) == (7, 7, 0)
    assert len([1 for n, _ in b.results() if n == "start"]) == 1
    assert letters_left(b.sink, topic=b.settings.topic("deadletters")) == set()


@pytest.mark.parametrize("form", ["inline", "stream", "datum"])
def test_after_the_stop_it_is_answered_in_a_supplementary_run_linked_to_the_first(bench, toy, tmp_path, form):
    pairs = {
        "inline": lambda: inline_run(FRAMES),
        "stream": lambda: stream_run(FRAMES, tmp_path / "f.h5"),
        "datum": lambda: datum_run(FRAMES, tmp_path),
    }[form]()
    fault = Fault(3, 5)
    b = bench([], tmp_path, source=MemorySource(as_read(pairs)), toy=toy(fault=fault))
    work_off(b, lambda: b.ledgers() != [])
    first = next(d for n, d in b.results() if n == "start")
    assert b.ledgers()[0]["failed"] == 2
    fault.numbers = {5}
    three, five = b.dead()
    b.source.append(reinjected(three, 500), reinjected(five, 501))
    b.run()
    starts = [d for n, d in b.results() if n == "start"]
    assert [s.get("supplements") for s in starts] == [None, first["uid"]]
    assert starts[1]["original_run_uid"] == first["original_run_uid"]
    assert means(b.results()) == {n: float(n) for n in (1, 2, 3, 4, 6, 7)}
    assert b.ledgers()[1]["done"] == 1
    assert letters_left(b.sink, topic=b.settings.topic("deadletters")) == {five.key}


def test_a_supplement_interrupted_by_a_restart_is_said_once(bench, toy, tmp_path):
    messages, fault = as_read(inline_run(FRAMES)), Fault(3)
    first = bench([], source=MemorySource(messages), toy=toy(fault=fault))
    work_off(first, lambda: first.ledgers() != [])
    messages.append(reinjected(first.dead()[0], 500))
    sinks, fault.numbers = [first.sink], set()
    for turns in (1, 2, 3):
        again = bench([], source=MemorySource(messages), sink=MemorySink(), before=sinks)
        for _ in range(turns):
            again.service.step()
        sinks.append(again.sink)
    last = bench([], source=MemorySource(messages), before=sinks).run()
    said = [r for sink in (*sinks, last.sink) for r in last.results(sink)]
    uids = [d["uid"] for _, d in said]
    assert len(uids) == len(set(uids))
    assert means(said) == {n: float(n) for n in range(1, 8)}
    assert len([1 for n, d in said if n == "start" and "supplements" in d]) == 1


def test_a_repaired_document_completes_the_open_run(bench):
    pairs = inline_run(FRAMES)
    messages = as_read(pairs)
    broken = as_read([("event", {**pairs[4][1], "seq_num": "three"})], 4)[0]
    b = bench([], source=MemorySource([*messages[:4], broken, *messages[5:-1]]))
    work_off(b, lambda: len(means(b.results())) == 6)
    (letter,) = b.dead()
    repaired = reinjected(letter, 500, raw=encode(*pairs[4]))
    b.source.append(repaired, *as_read(pairs[-1:], 501))
    b.run()
    assert b.ledgers()[0]["done"] == 7
    assert letters_left(b.sink, topic=b.settings.topic("deadletters")) == set()


def test_what_was_answered_is_not_answered_again_and_says_why(bench, toy):
    messages, fault = as_read(inline_run(FRAMES)), Fault(3)
    b = bench([], source=MemorySource(messages), toy=toy(fault=fault))
    work_off(b, lambda: b.ledgers() != [])
    fault.numbers.clear()
    letter = b.dead()[0]
    b.source.append(reinjected(letter, 500))
    work_off(b, lambda: len(b.ledgers()) == 2)
    b.source.append(reinjected(letter, 501))
    b.run()
    assert len(b.ledgers()) == 2
    again = b.dead()[-1]
    assert again.key == letter.key
    assert b"no reading that failed" in dict(again.headers)["reason"]


def test_what_is_meant_for_another_analysis_or_makes_no_sense_harms_nobody(bench):
    messages = as_read(inline_run(FRAMES))
    event = messages[3]
    odd = [
        replace(event, headers=(("streamproc-reinjected", b"other"), ("streamproc-origin", b"x"))),
        replace(event, headers=(("streamproc-reinjected", b"toy"), ("streamproc-origin", b"\xff@@/"))),
        replace(event, headers=(("streamproc-reinjected", b"toy"),)),
        replace(messages[0], headers=(("streamproc-reinjected", b"toy"), ("streamproc-origin", b"a/0@9"))),
    ]
    odd = [replace(d, position=Position("memory", 0, 100 + i)) for i, d in enumerate(odd)]
    b = bench([], source=MemorySource([*messages[:5], *odd, *messages[5:]])).run()
    assert b.ledgers()[0]["done"] == 7
    later = [replace(d, position=Position("memory", 0, 200 + i)) for i, d in enumerate(odd)]
    b = bench([], source=MemorySource([*messages, *later])).run()
    assert b.ledgers() == [b.ledgers()[0]]
    assert len(b.dead()) == 3


@pytest.mark.parametrize("form", ["inline", "stream"])
def test_a_reinjected_document_whose_descriptor_was_refused_is_refused_in_a_sentence(bench, tmp_path, form):
    pairs = inline_run(FRAMES) if form == "inline" else stream_run(FRAMES, tmp_path / "f.h5")
    described = {**pairs[1][1], "configuration": 7}
    document = next(p for p in pairs if p[0] in ("event", "stream_datum"))
    messages = as_read([pairs[0], ("descriptor", described), pairs[-1]])
    headers = (("streamproc-reinjected", b"toy"), ("streamproc-origin", b"memory/0@1"))
    again = replace(as_read([document], 3)[0], headers=headers)
    b = bench([*messages, again], tmp_path).run()
    kinds = [dict(letter.headers)["kind"] for letter in b.dead()]
    assert kinds == [b"refused", b"refused"]


@pytest.mark.parametrize(
    ("name", "doc"),
    [
        ("stream_datum", {"uid": "s/0", "stream_resource": "s", "descriptor": "d", "seq_nums": 7,
                          "indices": {"start": 0, "stop": 1}}),
        ("datum_page", {"resource": "r", "datum_id": ["r/0"], "datum_kwargs": {"index": 3}}),
        ("event_page", {"uid": ["e"], "descriptor": "d", "time": [1.0], "seq_num": 5, "data": {},
                        "timestamps": {}}),
        ("event", None),
    ],
)  # fmt: skip
def test_a_reinjected_document_that_makes_no_sense_is_refused_and_never_unexpected(bench, name, doc):
    messages = as_read(inline_run(FRAMES))
    headers = (("streamproc-reinjected", b"toy"), ("streamproc-origin", b"memory/0@1"))
    descriptor, start = messages[1].doc["uid"], messages[0].doc["uid"]
    wrong = doc if doc is None else {**doc, "descriptor": descriptor, "run_start": start}
    again = Document(name, wrong, Position("memory", 0, 100), None, b"", 1.0, headers)
    for at in (4, len(messages)):
        b = bench([], source=MemorySource([*messages[:at], again, *messages[at:]])).run()
        assert [dict(letter.headers)["kind"] for letter in b.dead()] == [b"refused"]
        assert b.ledgers()[0]["done"] == 7


def test_documents_of_another_run_among_the_earlier_ones_do_no_harm(toy, tmp_path):
    mine, other = as_read(inline_run(FRAMES, uid="mine")), as_read(inline_run(FRAMES, uid="other"), 20)
    failed = FailedRuns()
    ledger = Ledger()
    ledger.failed(1, "broken")
    failed.note("mine", "result", ledger.failures)
    letter = replace(mine[2], letter=b"memory/0@2")
    for earlier in ([*mine, *other], [*mine[:2], *other, *mine[2:]]):
        made, requests = supplement(letter, earlier, toy(), failed, lambda: RunTracker(), None)
        assert made.run.uid == "mine"
        assert [r.seq_num for r in requests] == [1]
