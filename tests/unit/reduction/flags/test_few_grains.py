"""So few grains that a frame shows no line: told by the lines its run knows, and by nothing else."""

import msgpack
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from streamproc.reduction.flags.grains import few_grains
from streamproc.reduction.flags.parts import Parts
from streamproc.reduction.flags.rings import view_rings
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.watch import FlagWatch

SHARE, LEVEL = 0.0002, 6.0
LIMIT = FlagSettings().limit("spotty").threshold


def up(judgement):
    return {name for name, raised in judgement.flags.items() if raised}


def grainy(bench, share=SHARE):
    """Expected counts with a grain in so many of the pixels; floor and mean of the lines are kept."""
    floor, sound = bench.expected(LEVEL, at=()), bench.expected(LEVEL)
    grains = (bench.random.random(sound.shape) < share) * bench.random.exponential(1.0, sound.shape)
    return np.minimum(floor + (sound - floor) * gaussian_filter(grains, 1.4) / share, 40_000)


def sound_frame(bench):
    return bench.draw(bench.expected(LEVEL), "i4")


def silent(bench, n):
    """Readings of few grains that do not show by themselves that they are spotty."""
    found = []
    for _ in range(60):
        reading = bench.read(bench.draw(grainy(bench), "i4"))
        if not reading.numbers["spotty"] >= LIMIT:
            found.append(reading)
        if len(found) == n:
            return found
    raise AssertionError("every frame shows its grains by itself")


def started(bench, n=4):
    watch = FlagWatch(FlagSettings())
    for _ in range(n):
        assert up(watch.take(bench.read(sound_frame(bench)))) == set()
    return watch


def with_heaps(bench, frame, places, counts=3000):
    for row, column in places:
        frame[row - 1 : row + 2, column - 1 : column + 2] += counts
    return frame


def anywhere(bench, n):
    return bench.random.integers(3, 380, (n, 2))


def on_lines(bench, n):
    near = np.abs(bench.angle[:, :, None] - np.array([6.0, 9.2, 12.4, 15.1])).min(axis=2) < 0.1
    near[:3], near[-3:], near[:, :3], near[:, -3:] = False, False, False, False
    return bench.random.permutation(np.argwhere(near))[:n]


def test_a_frame_of_few_grains_is_spotty_where_its_run_knows_the_lines(bench):
    watch = started(bench)
    for reading in silent(bench, 3):
        judged = watch.take(reading)
        assert up(judged) == {"spotty"} and not judged.bad
        assert judged.numbers["spotty"] > LIMIT
        assert np.isnan(judged.numbers["spikes"]) and np.isnan(judged.numbers["shadow"])
        told = judged.evidence["spotty"]
        ((first, last),) = told["axis"]
        assert told["by"] == "run"
        assert any(first - 0.2 < line < last + 0.2 for line in (6.0, 9.2, 12.4, 15.1))


def test_frames_of_few_grains_are_not_learnt_as_what_the_run_is(bench):
    watch = started(bench)
    readings = [bench.read(bench.draw(grainy(bench), "i4")) for _ in range(14)]
    assert all(up(watch.take(r)) == {"spotty"} for r in readings)
    again = FlagWatch(FlagSettings())
    again.restore(msgpack.unpackb(msgpack.packb(watch.snapshot())))
    (late,) = silent(bench, 1)
    assert up(again.take(late)) == {"spotty"}
    assert up(again.take(bench.read(sound_frame(bench)))) == set()


def test_a_run_that_begins_spotty_does_not_take_its_first_sound_frames_for_shaded(bench):
    watch = FlagWatch(FlagSettings())
    grains = [up(watch.take(bench.read(bench.draw(grainy(bench, 0.001), "i4")))) for _ in range(8)]
    assert grains == [{"spotty"}] * 8
    judged = [watch.take(bench.read(sound_frame(bench))) for _ in range(8)]
    assert not any(j.bad or "spotty" in up(j) for j in judged)


def test_nothing_tells_a_first_frame_of_few_grains(bench):
    (reading,) = silent(bench, 1)
    assert not FlagWatch(FlagSettings()).take(reading).flags["spotty"]


def test_its_number_is_what_so_many_grains_leave_uncertain(bench):
    """n grains of exponential strength in a ring: 2 / n of relative variance, of the mean that is there."""
    share = 0.001
    sound, floor = bench.expected(LEVEL), bench.expected(LEVEL, at=())
    known = bench.read(sound_frame(bench)).curve.y
    found, counts = [], np.sum(np.maximum(sound - floor, 0)) ** 2 / np.sum((sound - floor) ** 2)
    for _ in range(50):
        reading = bench.read(bench.draw(grainy(bench, share), "i4"))
        y, floor = reading.curve.y, reading.curve.floor
        every = np.empty(0, bool) if reading.measured is None else reading.measured
        found.append(few_grains(*reading.parts[:4], every, y, floor, known)[0])
    judged = np.array([v for v in found if v == v])
    grains_in_a_ring = share * counts / 4
    assert judged.size > 10
    assert np.sqrt(np.mean(judged**2)) == pytest.approx(np.sqrt(2 / grains_in_a_ring), rel=0.35)


@pytest.mark.parametrize("left", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("hits", [0, 12, 40])
def test_a_sample_that_leaves_the_beam_has_not_few_grains(bench, left, hits):
    floor = bench.expected(LEVEL, at=())
    frame = bench.draw(floor + left * (bench.expected(LEVEL) - floor), "i4")
    frame.flat[bench.random.choice(frame.size, hits, replace=False)] += 2000
    reading = bench.read(with_heaps(bench, frame, anywhere(bench, hits // 3)))
    assert not started(bench).take(reading).flags["spotty"] or reading.numbers["spotty"] >= LIMIT


def test_heaps_on_lines_that_are_there_are_no_grains(bench):
    frame = with_heaps(bench, sound_frame(bench), on_lines(bench, 8))
    watch = started(bench)
    assert "spotty" not in up(watch.take(bench.read(frame)))
    floor = bench.expected(LEVEL, at=())
    gone = with_heaps(bench, bench.draw(floor, "i4"), on_lines(bench, 8))
    assert "spotty" in up(watch.take(bench.read(gone)))  # the same places, where the lines have gone


def test_a_lost_beam_another_phase_and_arcs_are_not_spotty(bench):
    sound, floor = bench.expected(LEVEL), bench.expected(LEVEL, at=())
    arcs = np.exp(-0.5 * (((bench.azimuth + 90) % 180 - 90) / 15) ** 2)
    means = {
        "lost": 0.02 * sound,
        "other": bench.expected(LEVEL, at=(5.1, 8.0, 10.8, 13.7)),
        "arcs": floor + (sound - floor) * arcs / arcs.mean(),
        "amorphous": floor * (1 + 2 * np.exp(-0.5 * ((bench.angle - 8) / 2) ** 2)),
    }
    for name, mean in means.items():
        judged = started(bench).take(bench.read(bench.draw(mean, "i4")))
        assert not judged.flags["spotty"], name
        assert name != "lost" or up(judged) == {"beam_loss"}


def test_rings_that_are_not_measured_are_passed_over(bench):
    known = bench.read(sound_frame(bench)).curve.y
    floor = bench.draw(bench.expected(LEVEL, at=()), "i4")
    reading = bench.read(with_heaps(bench, floor, on_lines(bench, 8)))
    y, floor, there = reading.curve.y, reading.curve.floor, np.ones(300, bool)
    whole = few_grains(*reading.parts[:4], np.empty(0, bool), y, floor, known)
    assert few_grains(*reading.parts[:4], there, y, floor, known) == whole
    there[40:60] = False
    some = few_grains(*reading.parts[:4], there, y[there], floor[there], known[there])
    assert whole[0] > LIMIT and some[0] > LIMIT
    assert some[1] <= some[2] < np.count_nonzero(there)


@pytest.mark.parametrize("seen_by", [(0, 1, 6, 7), (2, 3), (0, 1, 2, 3, 6, 7)], ids=["two", "one", "three"])
def test_a_grain_on_rings_of_a_corner_is_told_from_a_line(seen_by):
    """Two quadrants have no middle: their mean holds the grain, and looked like a line that is still there."""
    n, lines, seen = 70, np.r_[45:48, 50:53, 55:58, 60:63], list(seen_by)
    counts = np.full((n, 8), 40.0)
    counts[40:] = 0.0
    counts[40:, seen] = 40.0
    known, grain = np.full(n, 10.0), counts * 10
    known[lines] = 100.0
    grain[lines[:3], seen[-1]] += 40 * 200.0

    def judged(signal):
        fixed = [v.copy() for v in (counts, counts)]
        for v in fixed:
            v.setflags(write=False)
        parts = Parts(signal, np.maximum(signal, 1.0), *fixed, 0)
        y = view_rings(parts).sturdy[0].copy()
        return few_grains(*parts[:4], np.empty(0, bool), y, np.full(n, 10.0), known)[0]

    assert judged(grain) > LIMIT
    assert np.isnan(judged(counts * 10))  # the sample has left the beam
    assert np.isnan(judged(counts * known[:, None]))  # the line is there
