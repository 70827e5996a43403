"""Deliveries without transactions that arrive in part: nothing is lost, and what is said again is the same."""

from __future__ import annotations

import random
from itertools import groupby

import numpy as np
import pytest

from streamproc.errors import DeliveryError
from streamproc.testing.makers import fly_run, inline_run, page_run, stream_run, with_darks
from streamproc.testing.memory import Delivery, MemorySink, MemorySource, MemoryState
from tests.unit.service.messages import as_read, interleaved

PATIENT = {"wait_s": 30.0}
FRAMES = [np.full((40, 60), n, np.uint16) for n in range(1, 8)]


class TornSink(MemorySink):
    """A broker that goes away in the middle of one delivery.

    It has the stages before, of one stage what each of its partitions had taken by then, and no position.
    """

    def __init__(self, at, choose):
        super().__init__()
        self._at, self._choose = at, choose

    def deliver(self, outgoing, consumed):
        if len(self.deliveries) < self._at:
            super().deliver(outgoing, consumed)
            return
        stages = [list(stage) for _, stage in groupby(outgoing, key=lambda m: m.stage)]
        last = self._choose.randrange(len(stages)) if stages else 0
        kept = [m for stage in stages[:last] for m in stage]
        torn = stages[last] if stages else []
        for where in sorted({(m.topic, m.partition or 0) for m in torn}):
            there = [m for m in torn if (m.topic, m.partition or 0) == where]
            kept += there[: self._choose.randint(0, len(there))]
        self.deliveries.append(Delivery(tuple(kept), {}))
        raise DeliveryError("the broker went away")


def said(bench, *sinks):
    """Every result document of all sinks by result run, without what is said again."""
    topic, runs = bench.settings.topic("results"), {}
    for message in (m for sink in sinks for m in sink.on_topic(topic)):
        documents = runs.setdefault(message.key, [])
        if bytes(message.value) not in documents:
            documents.append(bytes(message.value))
    return runs


@pytest.mark.usefixtures("stubborn")
def test_torn_anywhere_nothing_is_lost_and_what_is_said_again_is_the_same(bench, tmp_path):
    dark = {0: np.full((40, 60), 1, np.uint16), 3: np.full((40, 60), 2, np.uint16)}
    runs = [
        with_darks(inline_run(FRAMES, uid="inline"), dark),
        page_run(FRAMES, uid="page"),
        stream_run(FRAMES, tmp_path / "s.h5", uid="stream"),
        fly_run(FRAMES, tmp_path / "f.h5", [3, 4], uid="fly"),
    ]
    messages = as_read(interleaved(runs, random.Random(3)))
    expected = said(whole := bench(messages, tmp_path, frames=PATIENT).run(), whole.sink)
    assert len(expected) == 4
    for trial in range(10):
        choose = random.Random(trial)
        sinks, committed, finished = [], None, False
        while not finished:
            sizes = [choose.randint(1, 6) for _ in range(200)]
            sink = TornSink(choose.randint(0, 5), choose) if len(sinks) < 20 else MemorySink()
            b = bench(
                [], tmp_path, source=MemorySource(messages, sizes), sink=sink, before=sinks,
                committed=committed, frames=PATIENT,
            )  # fmt: skip
            sinks = [*sinks, sink]
            try:
                b.run()
                finished = True
            except DeliveryError:
                pass
            committed = sink.committed.get(("memory", 0), committed)
        assert said(b, *sinks) == expected, f"trial {trial}"
        left = MemoryState(b.settings.state_topic("toy"), *sinks).load(0).records
        keys = {key.replace("/second/", "/") for key in left}
        assert keys == {"%lane/position", "%lane/memory", "%lane/failed", "%lane/life"}
