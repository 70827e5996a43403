"""Patterns of simulated series: instrument and structure told apart, no transition where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.series.align import Alignment
from streamproc.models.series.curves import prepare_curves
from streamproc.models.series.patterns import PatternWatch
from streamproc.models.series.segments import draw_divisions
from streamproc.models.series.states import find_gradual

CHANNELS = np.arange(600)
POSITIONS = np.array([80, 150, 155, 230, 300, 390, 460, 540.0])
AREAS = np.array([300, 800, 400, 500, 200, 350, 250, 150.0])
UNEVEN = np.array([1, 0, 1, 0.5, 0, 1, 0.5, 0.2])
X = np.linspace(100, 400, 60)


def pattern(positions=POSITIONS, areas=AREAS, width=4.0):
    each = np.exp(-0.5 * ((CHANNELS - np.asarray(positions)[:, None]) / width) ** 2)
    return 30 + 20 * np.exp(-CHANNELS / 200) + areas @ each


def change_points(clean, seed, x=X):
    random = np.random.default_rng(seed)
    watch = PatternWatch("t", CHANNELS.size)
    for place, y in zip(x, clean, strict=True):
        watch.add(place, random.poisson(y))
    watch.search()
    return watch.change_points


def share_of_second(t):
    return 1 / (1 + np.exp(-(X - t) / 8))


SPLIT = pattern(POSITIONS + np.array([0, 2, -2, 0, 3, 0, -2, 0]))


# -- alignment --------------------------------------------------------------------------------------------


def test_shift_and_stretch_are_found_where_they_are_whatever_the_fraction_of_a_channel():
    alignment, random = Alignment(CHANNELS.size), np.random.default_rng(1)
    reference = np.sqrt(random.poisson(pattern()))
    off = []
    for by in np.linspace(-2, 2, 41):
        u = (POSITIONS - 299.5) / 299.5
        moved = np.sqrt(random.poisson(pattern(POSITIONS + by + 0.3 * by * u)))
        found = alignment.on(reference, moved)
        off.append((found.shift - by, found.stretch - 0.3 * by))
    off = np.array(off) - np.mean(off, axis=0)  # the noise of the reference is common to all
    assert np.abs(off).max() < 0.4
    # not drawn to half channels: what is left does not depend on the fraction
    fraction = np.cos(2 * np.pi * np.linspace(-2, 2, 41))
    assert abs(np.corrcoef(off[:, 0], fraction)[0, 1]) < 0.4


def test_a_pattern_on_itself_has_no_shift_and_a_background_is_no_strength():
    alignment = Alignment(CHANNELS.size)
    reference = np.sqrt(pattern())
    same = alignment.on(reference, reference)
    assert (same.shift, same.stretch, same.scale) == pytest.approx((0, 0, 0), abs=1e-9)
    assert np.allclose(same.moved, reference)
    raised = alignment.on(reference, 0.5 * reference + 2 + np.linspace(0, 1, CHANNELS.size))
    assert (raised.shift, raised.stretch) == pytest.approx((0, 0), abs=1e-6)
    assert raised.scale == pytest.approx(np.log(0.5), abs=1e-6)


# -- no transition ----------------------------------------------------------------------------------------


def drift(kind, share):
    """Pattern at a share of the series: what happens to a sample that has no transition."""
    if kind == "even expansion":
        return pattern(POSITIONS * (1 - 0.01 * share))
    if kind == "uneven expansion":
        return pattern(POSITIONS * (1 - 0.006 * (share**2 + 0.3 * share) * UNEVEN))
    if kind == "lines cross their widths":
        return pattern(POSITIONS * (1 - 0.04 * share * UNEVEN))
    if kind == "expansion that turns round":
        return pattern(POSITIONS * (1 - 0.004 * (1 - (2 * share - 1) ** 2) * UNEVEN))
    if kind == "vibrations":
        return pattern(areas=AREAS * np.exp(-0.5 * share * (POSITIONS / 300) ** 2))
    if kind == "sharpening":
        return pattern(width=4 - 1.2 * share)
    return pattern() * (1 - 0.3 * share)  # a beam that fades


DRIFTS = (
    "even expansion", "uneven expansion", "lines cross their widths", "expansion that turns round",
    "vibrations", "sharpening", "beam that fades",
)  # fmt: skip


@pytest.mark.parametrize("kind", DRIFTS)
def test_a_series_that_only_drifts_has_no_change_points(kind):
    clean = [drift(kind, share) for share in np.linspace(0, 1, X.size)]
    false = sum(bool(change_points(clean, seed)) for seed in range(8))
    assert false <= 1


# -- instrument or structure ------------------------------------------------------------------------------


@pytest.mark.parametrize("moved", [POSITIONS + 1.0, POSITIONS * 1.004], ids=["shift", "stretch"])
def test_a_jolt_of_the_instrument_is_said_to_be_a_shift_and_nothing_else(moved):
    clean = [pattern() if x < 251 else pattern(moved) for x in X]
    for seed in range(4):
        (found,) = change_points(clean, seed)
        assert (found.quantity, found.kind) == ("shift", "jump")
        assert abs(found.value - 250) <= 5


def test_lines_that_split_are_a_change_of_the_pattern():
    clean = [pattern() if x < 251 else SPLIT for x in X]
    for seed in range(4):
        (found,) = change_points(clean, seed)
        assert "pattern" in found.quantity
        assert abs(found.value - 250) <= 5
        assert found.interval90[0] <= 252 <= found.interval90[1] + 5


def test_a_jolt_and_a_transition_of_one_series_are_told_apart():
    clean = [pattern(POSITIONS + (x > 160)) if x < 301 else pattern(POSITIONS + 1 + UNEVEN * 3) for x in X]
    found = change_points(clean, 2)
    assert [c.quantity == "shift" for c in found] == [True, False]
    assert [c.value for c in found] == pytest.approx([160, 300], abs=6)


# -- gradual transitions ----------------------------------------------------------------------------------


def test_two_phases_side_by_side_are_one_gradual_transition_half_way_between_them():
    inside = 0
    for seed in range(6):
        truth = 220 + 10.0 * seed
        clean = [(1 - s) * pattern() + s * SPLIT for s in share_of_second(truth)]
        (found,) = change_points(clean, seed)
        assert found.kind == "gradual"
        assert "pattern" in found.quantity
        assert abs(found.value - truth) < 6
        # of a logistic curve of 8 the middle 80 % are 35 wide
        assert found.span is not None
        assert found.span[0] < truth < found.span[1]
        assert 15 < found.span[1] - found.span[0] < 80
        inside += found.interval90[0] <= truth <= found.interval90[1]
    assert inside >= 4


def test_a_gradual_transition_is_not_said_before_it_is_over():
    clean = [(1 - s) * pattern() + s * SPLIT for s in share_of_second(330)]
    before = int(np.searchsorted(X, 335))
    assert not [c for c in change_points(clean[:before], 3, X[:before]) if c.kind == "gradual"]
    assert [c.kind for c in change_points(clean, 3)] == ["gradual"]


def curves_of(y, sigma):
    return prepare_curves(np.arange(float(len(y))), y, np.full(y.shape, sigma))


def test_a_path_is_divided_where_its_pieces_meet():
    random = np.random.default_rng(4)
    x = np.arange(45.0)
    clean = np.stack([np.interp(x, [0, 15, 30, 44], [0, 0, 5, 5]), np.interp(x, [0, 15, 44], [0, 3, 3])], 1)
    curves = curves_of(clean + 0.05 * random.normal(size=clean.shape), 0.05)
    draws = draw_divisions(curves.x, curves.y, curves.sigma, random, 200)
    assert all(cuts[0] == 0 and cuts[-1] == 45 for cuts in draws)
    assert np.mean([len(cuts) == 4 for cuts in draws]) > 0.8
    inner = np.array([cuts[1:3] for cuts in draws if len(cuts) == 4])
    assert np.abs(inner - [15, 30]).max() <= 2


@pytest.mark.parametrize(
    "path",
    [lambda t: t, lambda t: t**2, lambda t: np.exp(3 * t) / 20, lambda t: (2 * t - 1) ** 2, lambda t: 0 * t],
    ids=["even", "faster and faster", "exponential", "turning round", "at rest"],
)
def test_a_path_that_is_not_slow_fast_and_slow_again_has_no_gradual_transition(path):
    random = np.random.default_rng(5)
    t = np.linspace(0, 1, 50)
    false = 0
    for _ in range(30):
        y = np.stack([path(t), 0.3 * t, 0 * t], 1) + 0.02 * random.normal(size=(50, 3))
        false += bool(find_gradual(curves_of(y, 0.02)))
    assert false <= 1
