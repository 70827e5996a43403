"""A reading that ends its process is found, failed by name, and nothing else waits for it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from streamproc.errors import AnalysisHangs
from streamproc.service.life import Life
from streamproc.testing.makers import inline_run, stream_run
from streamproc.testing.memory import MemorySource, documents
from streamproc.transports.ports import Held

FRAMES = [np.full((40, 60), n, np.uint16) for n in range(1, 13)]
DEADLY = (5, 9)


class Death(threading.Event):
    """What a frame does to its process: nothing of it is heard again."""

    def __init__(self):
        super().__init__()
        self.over = threading.Event()

    def meet(self, frame):
        if frame.array[0, 0] in DEADLY:
            self.set()
            self.over.wait(30)
        return False


def lives_until_answered(bench, toy, tmp_path, runs, **overrides):
    """Live and die, as under a supervisor; returns all lives."""
    lives, deaths = [], []
    while len(lives) < 20:
        death = Death()
        life = bench(
            [], tmp_path, toy=toy(fault=death.meet), before=[b.sink for b in lives],
            source=MemorySource(documents([pair for run in runs for pair in run])), **overrides,
        )  # fmt: skip
        lives.append(life)
        deaths.append(death)
        while not death.is_set() and not (
            life.service.all_answered() and life.ledgers_of(lives) == len(runs)
        ):
            life.service.step()
        if not death.is_set():
            break
    for death in deaths:
        death.over.set()
    return lives


@pytest.fixture
def bench_of_lives(bench):
    class Lives(bench):
        @staticmethod
        def ledgers_of(lives):
            return sum(len(b.ledgers()) for b in lives)

    return Lives


@pytest.mark.parametrize("form", ["inline", "file"])
def test_a_reading_that_kills_is_failed_by_name_and_all_others_are_answered(
    bench_of_lives, toy, tmp_path, form
):
    deadly = (
        inline_run(FRAMES, uid="d") if form == "inline" else stream_run(FRAMES, tmp_path / "d.h5", uid="d")
    )
    good = inline_run(FRAMES[:4], uid="good")
    lives = lives_until_answered(bench_of_lives, toy, tmp_path, [deadly, good])
    ledgers = {ledger["expected"]: ledger for b in lives for ledger in b.ledgers()}
    assert (ledgers[4]["done"], ledgers[4]["failed"]) == (4, 0)
    assert (ledgers[12]["done"], ledgers[12]["failed"]) == (10, 2)
    (failed,) = ledgers[12]["failed_reasons"]
    assert failed["first_seq_nums"] == list(DEADLY)
    assert "the service ended 3 times while this reading alone was in work" in failed["reason"]
    assert len(lives) == 2 + 3 + 3 + 1
    events = [
        d["seq_num"] for b in lives for n, d in b.results() if n == "event" and "in_domain" in d["data"]
    ]
    assert len(events) == 14


def test_care_ends_with_what_was_there_when_the_owner_came(bench, toy):
    run, there, gate, lives, batches = documents(inline_run(FRAMES)), 7, threading.Event(), [], []
    for _ in range(2):
        life = bench([], toy=toy(gate=gate), before=[b.sink for b in lives], source=MemorySource(run[:there]))
        life.service.step()
        lives.append(life)

    class Counting(toy):
        def begin(self, opened):
            made = super().begin(opened)
            process = made.process
            made.process = lambda frames: (batches.append(len(frames)), process(frames))[1]
            return made

    third = bench(
        [], toy=Counting(), before=[b.sink for b in lives], source=MemorySource(run, [there, 100]),
        held=Held(0, there),
    )  # fmt: skip
    third.run()
    gate.set()
    (ledger,) = third.ledgers()
    assert ledger["done"] == sum(batches) == len(FRAMES)
    n_there = there - 2  # a start and a descriptor
    assert batches[:n_there] == [1] * n_there and max(batches[n_there:]) > 1


def test_an_analysis_without_end_is_tried_alone_and_then_left_aside(bench, toy):
    lives, deaths, hangs = [], [], 0
    while hangs < 20:
        death = Death()
        deaths.append(death)
        life = bench(
            [], toy=toy(fault=death.meet), before=[b.sink for b in lives],
            source=MemorySource(documents(inline_run(FRAMES[:7]))), service={"frame_timeout_s": 0.2},
        )  # fmt: skip
        lives.append(life)
        try:
            life.run()
            break
        except AnalysisHangs:
            hangs += 1
    for death in deaths:
        death.over.set()
    (ledger,) = [ledger for b in lives for ledger in b.ledgers()]
    assert (ledger["done"], ledger["failed"]) == (6, 1)
    assert ledger["failed_reasons"][0]["first_seq_nums"] == [5]
    assert hangs == 1 + 3


def test_who_ends_in_order_or_lives_long_leaves_no_death():
    first = Life(0.0)
    assert not first.careful(0.0)
    second = Life.restored(first.to_state(10.0), 100.0)
    third = Life.restored(second.to_state(110.0), 200.0)
    assert (second.deaths, third.deaths) == (1, 2)
    assert not second.careful(100.0) and third.careful(200.0) and not third.careful(216.0)
    assert Life.restored(third.to_state(216.0), 300.0).deaths == 1
    third.ended = True
    assert Life.restored(third.to_state(210.0), 300.0).deaths == 0


def test_a_reading_is_given_up_only_after_three_tries_in_a_row():
    life = Life(0.0, 2)
    for _ in range(3):
        assert life.tries("run", 7) == "" and life.tries("run", 7) == ""
        life = Life.restored(life.to_state(1.0), 2.0)
    assert life.tries("run", 8) == ""
    assert "3 times" in life.tries("run", 7)
    assert Life.restored(life.to_state(1.0), 2.0).tries("run", 7) == ""
