from __future__ import annotations

import pytest

from streamproc.errors import ArchiveDamaged
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


def paced(times, speed):
    clock = Clock()
    source = ArchiveSource(iter(events(times)), "a", speed, clock=clock, sleep=clock.sleep)
    source.begin(("a", 0), None)
    given = []
    while source.lag():
        given += [(clock.now_s, d) for d in source.poll(0.05)]
    return source, given


@pytest.mark.parametrize("speed", [1.0, 10.0, 0.5])
def test_events_keep_their_distances(speed):
    times = [5.0, 5.3, 5.301, 7.0, 7.0]
    source, given = paced(times, speed)
    came = [when for when, d in given if d.name == "event"]
    for a, b, one, other in zip(came, came[1:], times, times[1:], strict=False):
        assert b - a == pytest.approx((other - one) / speed, abs=1e-3)
    assert max(source.late_s) < 1e-3


def test_a_document_without_a_time_of_its_own_keeps_its_place():
    clock = Clock()
    pairs = [("start", {"time": 0.0}), ("descriptor", {"time": 1.0}), ("event", {"time": 2.0})]
    source = ArchiveSource(iter(pairs), "a", 1.0, clock=clock, sleep=clock.sleep)
    source.begin(("a", 0), None)
    given = []
    while source.lag():
        given += [(round(clock.now_s - 100.0, 2), d.name) for d in source.poll(0.5)]
    assert [name for _, name in given] == ["start", "descriptor", "event"]
    assert given[-1][0] == 2.0


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
