"""Change points of simulated series: found where they are, with honest intervals, and not where there are none."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from streamproc.models.series.curves import branches, prepare_curves
from streamproc.models.series.onset import find_onset
from streamproc.models.series.patterns import PatternWatch
from streamproc.models.series.scan import Change, find_changes
from streamproc.models.series.watch import KnownChanges, SeriesWatch


def changes(x, y, sigma=None):
    curves = prepare_curves(x, y[:, None], None if sigma is None else np.full((len(x), 1), sigma))
    return find_changes(curves)


SMOOTH = {
    "nothing": lambda x: 0 * x,
    "line": lambda x: x / 50,
    "parabola": lambda x: (x / 100) ** 2 * 5,
    "exponential": lambda x: np.exp(x / 20) / 20,
    "wave": lambda x: np.sin(x / 10),
    "crossover": lambda x: np.tanh((x - 50) / 30),
}


@pytest.mark.parametrize("given", [True, False], ids=["sigma given", "sigma unknown"])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_series_have_no_change_points(name, given):
    random = np.random.default_rng(list(name.encode()))
    false = 0
    for _ in range(40):
        x = np.sort(random.uniform(0, 100, 50))
        y = SMOOTH[name](x) + random.normal(size=50) * 0.05
        false += bool(changes(x, y, 0.05 if given else None))
    assert false <= 4  # a Bayes factor of 30 allows for one in thirty


BROKEN = {
    "jump": (lambda x, t: np.where(x > t, 0.3, 0.0) + x / 100, 2.5, 0.9),
    "kink": (lambda x, t: np.maximum(x - t, 0) / 15, 4.0, 0.9),
    "order parameter": (lambda x, t: np.sqrt(np.maximum(t - x, 0)) / 5, 4.0, 0.9),
}


@pytest.mark.parametrize("name", BROKEN)
def test_change_points_are_found_where_they_are_and_intervals_hold_them(name):
    curve, tolerance, least = BROKEN[name]
    random = np.random.default_rng(list(name.encode()))
    found, inside, extra, n = 0, 0, 0, 40
    for _ in range(n):
        x = np.sort(random.uniform(0, 100, 60))
        truth = random.uniform(35, 65)
        y = curve(x, truth) + random.normal(size=60) * 0.05
        all_found = changes(x, y, 0.05)
        near = [c for c in all_found if abs(c.value - truth) < 4 * tolerance]
        extra += len(all_found) - len(near)
        if near:
            best = min(near, key=lambda c: abs(c.value - truth))
            found += 1
            inside += best.interval90[0] <= truth <= best.interval90[1]
    assert found >= least * n
    assert inside >= 0.8 * found
    assert extra <= 0.075 * n


def test_two_changes_of_one_series_are_told_apart():
    random = np.random.default_rng(4)
    x = np.linspace(100, 400, 61)
    y = np.where(x > 201, 1.0, 0.0) + np.where(x > 302, -0.7, 0.0) + random.normal(size=61) * 0.05
    found = changes(x, y, 0.05)
    assert [round(c.value / 5) * 5 for c in found] == pytest.approx([202.5, 302.5], abs=5)
    assert all(c.kind == "jump" for c in found)


def test_falling_repeated_and_uneven_places_do_not_matter():
    random = np.random.default_rng(5)
    x = np.repeat(np.concatenate([np.linspace(0, 40, 30), np.linspace(41, 100, 12)]), 2)
    y = np.where(x > 43, 1.0, 0.0) + random.normal(size=x.size) * 0.1
    rising, falling = changes(x, y, 0.1), changes(x[::-1], y[::-1], 0.1)
    assert [c.value for c in rising] == pytest.approx([c.value for c in falling])
    assert len(rising) == 1
    assert 41 <= rising[0].value <= 47


def test_one_bad_reading_is_no_change_point():
    random = np.random.default_rng(6)
    for _ in range(20):
        x = np.linspace(0, 100, 50)
        y = x / 100 + random.normal(size=50) * 0.02
        y[random.integers(5, 45)] += 1.0
        assert changes(x, y, 0.02) == []


def test_sigmas_that_are_too_small_are_enlarged_by_the_scatter():
    random = np.random.default_rng(7)
    x = np.linspace(0, 100, 50)
    false = sum(bool(changes(x, random.normal(size=50), 0.01)) for _ in range(40))
    assert false <= 3


def test_a_series_of_few_points_has_no_change_points():
    assert prepare_curves(np.arange(5.0), np.ones((5, 1)), None) is None
    assert changes(np.arange(6.0), np.array([0, 0, 0, 1, 1, 1.0])) is not None


def test_heating_and_cooling_are_two_branches_and_to_and_fro_is_one():
    there, back = np.linspace(100, 200, 20), np.linspace(198, 100, 20)
    assert [len(b) for b in branches(np.concatenate([there, back]))] in ([20, 20], [19, 21])
    assert len(branches(np.random.default_rng(0).uniform(size=60))) == 1
    assert len(branches(np.concatenate([there, back[:3]]))) == 1


def said_by(watch, x, y, sigma):
    said = []
    for value, one in zip(x, y, strict=True):
        said += watch.update(value, {"a": (one, sigma)})
    return said


def test_a_watch_says_a_change_soon_after_it_and_only_once_it_is_significant():
    random = np.random.default_rng(8)
    x = np.arange(100.0, 200.0, 2.0)
    y = np.where(x > 151, 1.0, 0.0) + random.normal(size=50) * 0.05
    watch = SeriesWatch("temperature", ["a"])
    first_said = None
    for value, one in zip(x, y, strict=True):
        said = watch.update(value, {"a": (one, 0.05)})
        assert value > 151 or not said
        if said and first_said is None:
            first_said = value
            assert (said[0].number, said[0].quantity, said[0].significant) == (1, "a", True)
    assert first_said is not None
    assert first_said <= 171
    (last,) = watch.change_points
    assert abs(last.value - 151) <= 2
    assert last.series_key == "temperature"


def test_hysteresis_is_two_change_points_on_two_branches():
    random = np.random.default_rng(9)
    up, down = np.arange(100.0, 200.0, 2.0), np.arange(198.0, 100.0, -2.0)
    y = np.concatenate([np.where(up > 160, 1.0, 0.0), np.where(down > 140, 1.0, 0.0)])
    watch = SeriesWatch("temperature", ["a"])
    said_by(watch, np.concatenate([up, down]), y + random.normal(size=y.size) * 0.05, 0.05)
    assert [(c.branch, round(c.value / 10) * 10) for c in watch.change_points] == [(0, 160), (1, 140)]


def test_a_change_point_that_does_not_last_is_withdrawn_and_may_come_back():
    known = KnownChanges("t")
    change = Change(50.0, 1.0, (48.0, 52.0), 3.0, "jump", 0)
    (said,) = known.compare(("a",), [(0, "a", change)], 20)
    assert known.compare(("a",), [(0, "a", change)], 21) == []
    (withdrawn,) = known.compare(("a",), [], 22)
    assert (withdrawn.number, withdrawn.significant, withdrawn.points) == (said.number, False, 22)
    assert known.significant == ()
    assert known.compare(("a",), [], 23) == []
    (again,) = known.compare(("a",), [(0, "a", change)], 24)
    assert (again.number, again.significant) == (said.number, True)


def test_a_change_point_that_moves_is_said_again_under_its_number():
    known = KnownChanges("t")
    for place, sigma in ((50.0, 2.0), (51.5, 2.0), (51.5, 1.0)):
        (said,) = known.compare(("a",), [(0, "a", Change(place, sigma, (48.0, 52.0), 3.0, "jump", 0))], 20)
        assert (said.number, said.value, said.sigma) == (1, place, sigma)
    (other,) = known.compare(("b",), [(0, "b", Change(51.5, 1.0, (48.0, 52.0), 3.0, "jump", 0))], 20)
    assert other.number == 2


@pytest.mark.parametrize("most", [512, 24])
def test_a_watch_interrupted_anywhere_says_the_same(most):
    random = np.random.default_rng(11)
    x = np.arange(50.0)
    y = np.where(x > 25, 1.0, 0.0) + random.normal(size=50) * 0.05
    expected = said_by(SeriesWatch("t", ["a"], most_points=most), x, y, 0.05)
    for cut in (0, 6, 23, 24, 25, 40):
        watch = SeriesWatch("t", ["a"], most_points=most)
        said = said_by(watch, x[:cut], y[:cut], 0.05)
        state = msgpack.unpackb(msgpack.packb(watch.snapshot()))
        watch = SeriesWatch("t", ["a"], most_points=most)
        watch.restore(state)
        assert said + said_by(watch, x[cut:], y[cut:], 0.05) == expected


def test_quantities_that_are_missing_or_not_finite_are_left_out():
    watch = SeriesWatch("t", ["a", "b"])
    for i in range(30):
        watch.update(
            float(i),
            {"a": (float(i > 14), 0.05)} if i % 2 else {"a": (float(i > 14), 0.05), "b": (np.nan, 1.0)},
        )
    assert watch.update(float("nan"), {"a": (0.0, 0.05)}) == []
    assert {c.quantity for c in watch.change_points} == {"a"}


def patterns_of(x, truth, random, n=300):
    channel = np.arange(n)
    at = np.where(x > truth, 150.0, 140.0) + 0.02 * x
    clean = 20 + 400 * np.exp(-0.5 * ((channel - at[:, None]) / 5) ** 2)
    return random.poisson(clean).astype(float)


def test_patterns_show_the_place_where_a_peak_jumps_and_none_where_it_only_drifts():
    random = np.random.default_rng(12)
    x = np.linspace(0, 100, 40)
    for truth in (30.0, 61.0):
        watch = PatternWatch("t", 300)
        for value, y in zip(x, patterns_of(x, truth, random), strict=True):
            watch.update(value, y)
        assert [round(c.value / 5) * 5 for c in watch.change_points] == [round(truth / 5) * 5]
    false = 0
    for _ in range(10):
        watch = PatternWatch("t", 300)
        for value, y in zip(x, patterns_of(x, 1e9, random), strict=True):
            watch.update(value, y)
        false += bool(watch.change_points)
    assert false <= 1


@pytest.mark.parametrize("most", [256, 16])
def test_a_pattern_watch_interrupted_anywhere_says_the_same(most):
    random = np.random.default_rng(13)
    x = np.linspace(0, 100, 30)
    y = patterns_of(x, 50.0, random)

    def said(cut):
        watch = PatternWatch("t", 300, most_patterns=most)
        out = []
        for i in range(30):
            if i == cut:
                state = msgpack.unpackb(msgpack.packb(watch.snapshot()))
                watch = PatternWatch("t", 300, most_patterns=most)
                watch.restore(state)
            out += watch.update(x[i], y[i])
        return out

    expected = said(None)
    assert expected
    for cut in (0, 8, 15, 16, 17, 29):
        assert said(cut) == expected


ONSETS = {"rising": lambda x, t: np.maximum(x - t, 0), "falling": lambda x, t: np.maximum(t - x, 0)}


@pytest.mark.parametrize("name", ONSETS)
def test_the_solubility_limit_is_found_with_an_honest_interval(name):
    random = np.random.default_rng(14)
    found, inside, n = 0, 0, 60
    for _ in range(n):
        x, truth = random.uniform(0, 1, 50), random.uniform(0.35, 0.65)
        onset = find_onset(x, ONSETS[name](x, truth) + random.normal(size=50) * 0.01, np.full(50, 0.01))
        if onset is None:
            continue
        found += 1
        assert onset.present == {"rising": "above", "falling": "below"}[name]
        assert abs(onset.value - truth) < 0.06
        inside += onset.interval90[0] <= truth <= onset.interval90[1]
    assert found >= 0.75 * n
    assert inside >= 0.75 * found


@pytest.mark.parametrize(
    "curve", [lambda x: 0 * x, lambda x: 0.1 + 0.3 * x, lambda x: 0.3 * x, lambda x: 0 * x + 0.2]
)
def test_a_fraction_that_leaves_zero_nowhere_has_no_solubility_limit(curve):
    random = np.random.default_rng(15)
    false = 0
    for _ in range(60):
        x = random.uniform(0, 1, 40)
        false += find_onset(x, curve(x) + random.normal(size=40) * 0.01, np.full(40, 0.01)) is not None
    assert false <= 4
