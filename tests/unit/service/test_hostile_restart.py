"""Hostile messages and restarts together: nothing crashes, nothing is lost or said twice."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from streamproc.documents import BadMessage, Document, Position
from streamproc.errors import DocumentRefused
from streamproc.testing.hostile import hostile_messages
from streamproc.testing.makers import inline_run, with_darks
from streamproc.testing.memory import MemorySink, MemorySource
from streamproc.transports.codec import decode, encode


def as_polled(raws):
    for offset, raw in enumerate(raws):
        position = Position("memory", 0, offset)
        try:
            yield Document(*decode(raw), position, b"k", raw)
        except DocumentRefused as error:
            yield BadMessage(position, error.message, b"k", raw)


def said(bench, *sinks):
    results, letters = {}, Counter()
    for sink in sinks:
        for message in sink.on_topic(bench.settings.topic("results")):
            results.setdefault(message.key, []).append(bytes(message.value))
        letters.update(m.key for m in sink.on_topic(bench.settings.topic("deadletters")))
    return results, letters


@pytest.mark.usefixtures("stubborn")
def test_the_hostile_corpus_survives_restarts_at_any_turn(bench, tmp_path):
    hostile = [m.raw for m in hostile_messages(tmp_path / "canary", large=False)]
    frames = [np.full((50, 60), n, np.uint16) for n in range(1, 9)]
    dark = {0: np.full((50, 60), 1, np.uint16)}
    good = [encode(*pair) for uid in "abc" for pair in with_darks(inline_run(frames, uid=uid), dark)]
    choose = random.Random(4)
    raws = sorted([*((choose.random(), r) for r in hostile), *zip(np.linspace(0, 1, len(good)), good, strict=True)],
                  key=lambda pair: pair[0])  # fmt: skip
    messages = list(as_polled([raw for _, raw in raws]))
    options = {"frames": {"wait_s": 0.05}}
    # One message a turn: what a start that comes late still changes depends on what was read before it.
    whole = bench([], tmp_path, source=MemorySource(messages, 1), **options).run()
    expected, letters = said(whole, whole.sink)
    assert set(letters.values()) == {1}
    for trial in range(3):
        choose, sinks = random.Random(trial), []
        for _ in range(25):
            sink = MemorySink()
            source = MemorySource(messages, 1)
            b = bench([], tmp_path, source=source, sink=sink, before=sinks, **options)
            sinks = [*sinks, sink]
            for _ in range(choose.randint(1, 60)):
                b.service.step()
        last = MemorySink()
        b = bench([], tmp_path, source=MemorySource(messages, 1), sink=last, before=sinks, **options).run()
        results, again = said(b, *sinks, last)
        assert again == letters
        assert results == expected
