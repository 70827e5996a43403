"""MemorySource and MemorySink keep the promises of the transports' protocols."""

from __future__ import annotations

import numpy as np
import pytest

from streamproc.documents import BadMessage, Position
from streamproc.errors import DeliveryError
from streamproc.testing import FakeClock, MemorySink, MemorySource, documents
from streamproc.testing.makers import inline_run
from streamproc.transports.ports import Outgoing, Sink, Source

DOCS = documents(inline_run(np.zeros((4, 2, 2))))
MESSAGE = Outgoing("results", b"key", b"value")


def test_they_fill_the_protocols():
    source: Source = MemorySource(DOCS)
    sink: Sink = MemorySink()
    assert source.lag() == 7 and source.assigned() == [("memory", 0)]
    sink.close()
    source.close()
    assert source.poll(0) == []


def test_batches_have_the_sizes_asked_for_and_everything_comes_once():
    source = MemorySource(DOCS, [1, 0, 3, 2])
    sizes, got = [], []
    while source.lag():
        batch = source.poll(0)
        sizes.append(len(batch))
        got.extend(batch)
    assert sizes == [1, 0, 3, 2, 1] and got == DOCS
    assert source.poll(0) == []


def test_a_paused_source_gives_nothing_and_then_goes_on():
    source = MemorySource(DOCS, 2)
    source.pause()
    assert source.poll(0) == [] and source.lag() == 7
    source.resume()
    assert source.poll(0) == DOCS[:2]


def test_looking_back_leaves_the_read_position_alone():
    bad = BadMessage(Position("memory", 0, 100), "not msgpack")
    source = MemorySource([*DOCS[:4], bad, *DOCS[4:]], 1, start_at=3)
    (event,) = source.poll(0)
    assert source.rewind_to_start(None, event) == DOCS[:3]
    assert source.poll(0) == [bad]


def test_a_revoked_partition_is_told_once_and_gives_no_more():
    other = documents(inline_run(np.zeros((1, 2, 2)), uid="b"), partition=1)
    source = MemorySource([*DOCS[:2], *other, *DOCS[2:]], 1)
    source.poll(0)
    source.revoke(("memory", 0))
    assert source.revoked() == [("memory", 0)] and source.revoked() == []
    assert source.assigned() == [("memory", 1)]
    assert [d.position.partition for _ in range(9) for d in source.poll(0)] == [1] * 4


def test_a_sink_keeps_what_it_was_given_and_can_be_told_to_fail():
    sink = MemorySink(fail_at=[1])
    sink.deliver([MESSAGE], {("memory", 0): 3})
    with pytest.raises(DeliveryError, match="told to fail"):
        sink.deliver([MESSAGE], {("memory", 0): 5})
    assert sink.messages == [MESSAGE] == sink.on_topic("results")
    assert sink.committed == {("memory", 0): 3} and sink.on_topic("other") == []


def test_a_fake_clock_moves_only_when_told():
    clock = FakeClock(5.0)
    assert clock() == clock() == 5.0
    clock.sleep(1.5)
    assert clock.advance(1.0) == clock() == 7.5
