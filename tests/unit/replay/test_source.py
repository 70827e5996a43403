from __future__ import annotations

import time

import pytest

from streamproc.errors import ArchiveDamaged
from streamproc.replay.clock import RunningClock
from streamproc.replay.paced import PacedSource
from streamproc.replay.source import ArchiveSource
from streamproc.replay.ticker import Timetable


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


def told(table, clock, until_s, turn=lambda: None):
    """What a timetable tells up to a time, and when."""
    given = []
    while clock.now_s < until_s:
        turn()
        given += [(clock.now_s - 100.0, number, due_s) for number, due_s in table.due()]
        clock.sleep(0.001)
    return given


@pytest.mark.parametrize("speed", [1.0, 10.0, 0.5])
def test_documents_are_told_at_their_distances(speed):
    clock, offsets = Clock(), [0.0, 0.3, 0.301, 2.0, 2.0]
    table = Timetable(clock)
    for number, offset_s in enumerate(offsets):
        table.ask(number, offset_s / speed)
    given = told(table, clock, 100.0 + 2.1 / speed)
    assert [number for _, number, _ in given] == [0, 1, 2, 3, 4]
    assert [when for when, _, _ in given] == pytest.approx([t / speed for t in offsets], abs=2e-3)
    assert [due_s - 100.0 for *_, due_s in given] == pytest.approx([t / speed for t in offsets], abs=1e-3)


def test_a_pause_costs_no_document_and_shifts_all_that_come_after_it():
    clock = Clock()
    table = Timetable(clock)
    for number in range(4):
        table.ask(number, float(number))

    def turn():
        (table.hold if 101.5 < clock.now_s < 151.5 else table.release)("user")
        (table.hold if 151.0 < clock.now_s < 161.5 else table.release)("stopped")

    given = told(table, clock, 170.0, turn)
    assert [when for when, *_ in given] == pytest.approx([0, 1, 62, 63], abs=0.01)


def test_what_is_asked_for_late_is_told_at_once_with_the_time_it_was_due():
    clock = Clock()
    table = Timetable(clock)
    table.ask(0, 0.0)
    told(table, clock, 105.0)
    table.ask(1, 1.0)
    [(when, number, due_s)] = told(table, clock, 105.1)
    assert number == 1 and when == pytest.approx(5.0, abs=0.01) and due_s == pytest.approx(101.0, abs=1e-3)


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
    source = PacedSource(iter(events([0.0, 0.01, 0.02, 0.03])), "a", 1.0)
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
    source = PacedSource(iter(events([0.0] * 200)), "a", 1.0)
    source.begin(("a", 0), None)
    given = []
    while source.lag():
        given += source.poll(0.05)
    assert [d.position.offset for d in given] == list(range(201)) and source.given == 201
    source.close()


@pytest.mark.parametrize("make", [ArchiveSource, lambda *known: PacedSource(*known, 1.0)])
def test_held_it_gives_nothing_and_released_it_gives_the_rest(make):
    source = make(iter(events([0.0, 0.0])), "a")
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

    source = PacedSource(broken(), "a", 1.0)
    source.begin(("a", 0), None)
    while source.lag():
        source.poll(0.05)
    assert source.fault == "RuntimeError: surprise"
    source.close()


def test_documents_without_a_time_come_in_their_place():
    pairs = [
        ("start", {"time": 0.0}),
        ("descriptor", {"time": 9.0}),
        ("event", {"time": 0.05}),
        ("datum", {}),
    ]
    source = PacedSource(iter(pairs), "a", 1.0)
    source.begin(("a", 0), None)
    given = []
    while source.lag():
        given.append([d.name for d in source.poll(0.05)])
    assert [name for names in given for name in names] == ["start", "descriptor", "event", "datum"]
    assert ["event", "datum"] in given or ["event"] in given  # not before the event
    source.close()


def test_a_ticker_that_dies_is_a_fault_and_no_endless_wait():
    source = PacedSource(iter(events([0.0, 500.0])), "a", 1.0)
    source.begin(("a", 0), None)
    while source.given < 2:
        source.poll(0.05)
    source._ticker.kill()
    while source.lag():
        source.poll(0.05)
    assert "gives out documents at their times ended" in source.fault
    source.close()


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
