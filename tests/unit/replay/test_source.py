from __future__ import annotations

import time

import pytest

from streamproc.documents import Document, Position
from streamproc.errors import ArchiveDamaged
from streamproc.replay.clock import RunningClock
from streamproc.replay.pacer import Pacer
from streamproc.replay.source import ArchiveSource


class Clock:
    """Time that passes only while somebody sleeps (and a little with each look)."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        self.now_s += 1e-6
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


def events(times):
    return [("start", {"time": times[0]}), *(("event", {"time": t, "uid": str(t)}) for t in times)]


def documents(pairs):
    return [Document(name, doc, Position("a", 0, n)) for n, (name, doc) in enumerate(pairs)]


@pytest.mark.parametrize("speed", [1.0, 10.0, 0.5])
def test_events_keep_their_distances(speed):
    times, clock = [5.0, 5.3, 5.301, 7.0, 7.0], Clock()
    pacer = Pacer(speed, clock, clock.sleep)
    given = [(clock.now_s, d, due_s) for d, due_s in pacer.paced(documents(events(times)))]
    came = [when for when, d, _ in given if d.name == "event"]
    for a, b, one, other in zip(came, came[1:], times, times[1:], strict=False):
        assert b - a == pytest.approx((other - one) / speed, abs=1e-3)
    assert max(when - due_s for when, _, due_s in given) < 1e-3


def test_a_document_without_a_time_of_its_own_keeps_its_place():
    clock = Clock()
    pairs = [("start", {"time": 0.0}), ("descriptor", {"time": 1.0}), ("event", {"time": 2.0})]
    pacer = Pacer(1.0, clock, clock.sleep)
    given = [(round(clock.now_s - 100.0, 2), d.name) for d, _ in pacer.paced(documents(pairs))]
    assert [name for _, name in given] == ["start", "descriptor", "event"]
    assert given[-1][0] == 2.0


def test_a_pause_costs_no_document_and_shifts_all_that_come_after_it():
    clock, given = Clock(), []
    pacer = Pacer(1.0, clock, lambda seconds: (clock.sleep(seconds), holding(clock.now_s)))

    def holding(now_s):
        if 101.5 < now_s < 151.5:
            pacer.hold()
        elif now_s >= 151.5:
            pacer.release()

    for document, _ in pacer.paced(documents(events([0.0, 1.0, 2.0, 3.0]))):
        given.append((clock.now_s - 100.0, document.name))
    assert [when for when, name in given if name == "event"] == pytest.approx([0, 1, 52, 53], abs=0.05)


def test_while_the_process_is_stopped_no_time_passes():
    now = [10.0]
    clock = RunningClock(lambda: now[0])
    now[0] = 11.0
    assert clock() == 11.0
    now[0] = 71.0  # stopped for a minute; nobody looked
    clock.continued()
    now[0] = 72.0
    assert clock() == 12.0


def test_a_paced_run_comes_whole_while_the_loop_is_busy_and_says_how_late_it_was_taken():
    source = ArchiveSource(iter(events([0.0, 0.01, 0.02, 0.03])), "a", 1.0)
    source.begin(("a", 0), None)
    given = []
    while source.lag():
        time.sleep(0.05)  # the loop does something else
        given += source.poll(0.05)
    assert [d.position.offset for d in given] == [0, 1, 2, 3, 4]
    assert len(source.late_s) == len(source.taken_s) == 5
    assert all(taken >= late for taken, late in zip(source.taken_s, source.late_s, strict=True))
    source.close()


def test_more_documents_than_may_lie_ready_are_all_given_in_order():
    source = ArchiveSource(iter(events([0.0] * 100)), "a", 1.0)
    source.begin(("a", 0), None)
    given = []
    while source.lag():
        given += source.poll(0.05)
    assert [d.position.offset for d in given] == list(range(101)) and source.given == 101
    source.close()


@pytest.mark.parametrize("speed", [1.0, float("inf")])
def test_held_it_gives_nothing_and_released_it_gives_the_rest(speed):
    source = ArchiveSource(iter(events([0.0, 0.0])), "a", speed)
    source.hold()
    source.begin(("a", 0), None)
    assert [d for _ in range(5) for d in source.poll(0.01)] == [] and source.lag() == 1
    source.release()
    given = []
    while source.lag():
        given += source.poll(0.05)
    assert [d.position.offset for d in given] == [0, 1, 2]
    source.close()


def test_a_paced_archive_that_fails_in_an_unknown_way_ends_and_says_so():
    def broken():
        yield "start", {"time": 1.0}
        raise RuntimeError("surprise")

    source = ArchiveSource(broken(), "a", 1.0)
    source.begin(("a", 0), None)
    while source.lag():
        source.poll(0.05)
    assert source.fault == "RuntimeError: surprise"


def test_nothing_is_given_before_begin_or_while_paused():
    source = ArchiveSource(iter(events([1.0])), "a")
    assert source.gained() == [("a", 0)] and source.poll(0.0) == ()
    source.begin(("a", 0), None)
    source.pause()
    assert source.gained() == [] and source.poll(0.0) == () and source.lag() == 1
    source.resume()
    assert [d.position.offset for d in source.poll(0.0)] == [0, 1]


def test_begun_in_the_middle_the_positions_are_the_same():
    source = ArchiveSource(iter(events([1.0, 2.0, 3.0])), "a")
    source.begin(("a", 0), 2)
    assert [(d.position.offset, d.doc["time"]) for d in source.poll(0.0)] == [(2, 2.0), (3, 3.0)]


def test_a_damaged_archive_gives_what_came_before_and_says_why():
    def damaged():
        yield "start", {"time": 1.0}
        raise ArchiveDamaged("cut off here")

    source = ArchiveSource(damaged(), "a")
    source.begin(("a", 0), None)
    assert [d.name for d in source.poll(0.0)] == ["start"]
    assert (source.exhausted, source.fault, source.lag()) == (True, "cut off here", 0)
