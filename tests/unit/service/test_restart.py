"""Interrupted anywhere and restarted from the stored state, a service says everything once."""

from __future__ import annotations

import random
import threading
from collections import Counter

import numpy as np
import pytest

from streamproc.errors import DeliveryError
from streamproc.testing.makers import datum_run, fly_run, inline_run, page_run, stream_run, with_darks
from streamproc.testing.memory import MemorySink, MemorySource, MemoryState, documents
from tests.unit.service.messages import as_read, interleaved

PATIENT = {"wait_s": 30.0}
FRAMES = [np.full((40, 60), n, np.uint16) for n in range(1, 8)]


def every_form(folder):
    dark = {0: np.full((40, 60), 1, np.uint16), 3: np.full((40, 60), 2, np.uint16)}
    return [
        with_darks(inline_run(FRAMES, uid="inline"), dark),
        page_run(FRAMES, uid="page"),
        stream_run(FRAMES, folder / "s.h5", uid="stream"),
        fly_run(FRAMES, folder / "f.h5", [3, 4], uid="fly"),
        datum_run(FRAMES, folder, uid="datum"),
    ]


def said(bench, *sinks):
    """Every result document of all sinks by result run, in order."""
    topic, runs = bench.settings.topic("results"), {}
    for message in (m for sink in sinks for m in sink.on_topic(topic)):
        runs.setdefault(message.key, []).append(bytes(message.value))
    return runs


@pytest.mark.usefixtures("stubborn")
def test_interrupted_after_any_delivery_nothing_is_lost_or_said_twice(bench, tmp_path):
    messages = as_read(interleaved(every_form(tmp_path), random.Random(3)))
    expected = said(whole := bench(messages, tmp_path, frames=PATIENT).run(), whole.sink)
    assert len(expected) == 5
    for trial in range(25):
        choose = random.Random(trial)
        sinks, finished = [], False
        while not finished:
            sizes = [choose.randint(1, 9) for _ in range(200)]
            sink = MemorySink(fail_at=[choose.randint(1, 6)] if len(sinks) < 30 else ())
            source = MemorySource(messages, sizes)
            workers = {"workers": choose.randint(1, 3)}
            b = bench([], tmp_path, source=source, sink=sink, before=sinks, service=workers, frames=PATIENT)
            sinks = [*sinks, sink]
            try:
                b.run()
                finished = True
            except DeliveryError:
                pass
        assert said(b, *sinks) == expected
        left = MemoryState(b.settings.state_topic("toy"), *sinks).load(0).records
        keys = {key.replace("/second/", "/") for key in left}
        assert keys == {"%lane/position", "%lane/memory", "%lane/failed", "%lane/life"}


@pytest.mark.usefixtures("stubborn")
def test_interrupted_between_any_two_turns_nothing_is_lost_or_said_twice(bench, tmp_path):
    messages = as_read(interleaved(every_form(tmp_path), random.Random(5)))
    expected = said(whole := bench(messages, tmp_path, frames=PATIENT).run(), whole.sink)
    for trial in range(15):
        choose = random.Random(100 + trial)
        sinks = []
        for _ in range(12):
            sink = MemorySink()
            sizes = [choose.randint(1, 6) for _ in range(300)]
            b = bench(
                [], tmp_path, source=MemorySource(messages, sizes), sink=sink, before=sinks, frames=PATIENT
            )
            sinks = [*sinks, sink]
            for _ in range(choose.randint(1, 12)):
                b.service.step()
        last = MemorySink()
        b = bench([], tmp_path, source=MemorySource(messages), sink=last, before=sinks, frames=PATIENT).run()
        assert said(b, *sinks, last) == expected


def test_no_run_is_looked_for_or_read_from_its_start_after_a_restart(bench, tmp_path):
    messages = as_read(stream_run(FRAMES, tmp_path / "s.h5"))
    first = bench([], tmp_path, source=MemorySource(messages, 4))
    first.service.step()
    first.service.step()
    source = MemorySource(messages)
    second = bench([], tmp_path, source=source, before=[first.sink])
    second.service.step()
    assert source.rewinds == []
    assert second.run().ledgers()[0]["done"] == 7
    assert source.rewinds == []


def test_a_message_that_left_the_topic_fails_its_reading_by_name(bench, toy):
    gate = threading.Event()
    messages = as_read(inline_run(FRAMES))
    first = bench([], source=MemorySource(messages, 5), toy=toy(gate=gate))
    for _ in range(3):
        first.service.step()
    gate.set()
    assert first.sink.committed[("memory", 0)] == 2
    kept = [m for m in messages if m.position.offset not in (2, 3)]
    second = bench([], source=MemorySource(kept), before=[first.sink]).run()
    ledger = second.ledgers()[0]
    assert (ledger["expected"], ledger["done"], ledger["failed"]) == (7, 5, 2)
    assert "no longer in the topic" in ledger["failed_reasons"][0]["reason"]


def test_a_moved_group_position_drops_the_state_and_reads_the_run_again(bench):
    messages = as_read(inline_run(FRAMES))
    first = bench([], source=MemorySource(messages, 5))
    for _ in range(2000):
        first.service.step()
    assert first.sink.committed[("memory", 0)] == 10
    moved = bench([], source=MemorySource(messages), before=[first.sink], committed=0).run()
    assert moved.ledgers()[0]["done"] == 7


def test_a_partition_handed_over_delivers_what_is_finished_and_the_new_owner_the_rest(bench, tmp_path):
    messages = as_read(interleaved(every_form(tmp_path), random.Random(8)))
    expected = said(whole := bench(messages, tmp_path, frames=PATIENT).run(), whole.sink)
    one = bench([], tmp_path, source=MemorySource(messages, 7), service={"one_pass": False})
    for _ in range(5):
        one.service.step()
    one.source.hand_over(("memory", 0))
    for _ in range(3):
        one.service.step()
    other = bench([], tmp_path, source=MemorySource(messages), before=[one.sink]).run()
    assert said(other, one.sink, other.sink) == expected


@pytest.mark.parametrize("ended", [False, True])
def test_a_run_that_comes_again_in_another_partition_is_not_answered_twice(bench, ended):
    pairs = inline_run(FRAMES)
    here = documents(pairs if ended else pairs[:-1])
    again = documents(pairs, partition=1, first_offset=0)
    b = bench([*here, *again, *([] if ended else documents(pairs[-1:], first_offset=100))]).run()
    assert len(b.dead()) == len(again)
    assert [n for n, _ in b.results()].count("start") == 1
    assert [x["done"] for x in b.ledgers()] == [len(FRAMES)]


def test_documents_of_one_run_in_two_partitions_are_refused_with_what_to_do(bench):
    pairs = inline_run(FRAMES)
    here = documents(pairs[:5])
    there = documents(pairs[5:7], partition=1, first_offset=0)
    rest = documents(pairs[7:], first_offset=10)
    b = bench([*here, *there, *rest], batch_size=3).run()
    reasons = Counter(dict(m.headers)["reason"].decode() for m in b.dead())
    assert sum(reasons.values()) == 2
    assert "one message key" in next(iter(reasons))
    (ledger,) = b.ledgers()
    assert (ledger["done"], ledger["failed"]) == (5, 2)


def test_dead_letters_are_not_repeated_by_a_restart(bench):
    good = as_read(inline_run(FRAMES))
    bad = documents([("start", {"uid": 5}), ("event", {})], first_offset=100)
    messages = [*good, *bad]
    first = bench([], source=MemorySource(messages, 4))
    for _ in range(6):
        first.service.step()
    second = bench([], source=MemorySource(messages), before=[first.sink]).run()
    keys = Counter(m.key for m in [*first.dead(), *second.dead()])
    assert keys == {b"memory/0@100": 1, b"memory/0@101": 1}
