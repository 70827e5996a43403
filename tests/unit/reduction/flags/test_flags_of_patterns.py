"""What a 1-D pattern shows by itself."""

import numpy as np
import pytest

from streamproc.reduction.flags.curve import describe_curve
from streamproc.reduction.flags.lines import ICE_LINES_A, ice_places, ice_rings
from streamproc.reduction.flags.patterns import PatternReader
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.watch import FlagWatch, judged_alone


def drawn(y, seed=0):
    return np.random.default_rng(seed).poisson(y).astype(float)


def up(axis, y, **settings):
    made = FlagSettings(**settings)
    judgement = judged_alone(PatternReader(made).read(axis, y, "two_theta_deg", 1.5406), made)
    return {name for name, raised in judgement.flags.items() if raised}, judgement


@pytest.mark.parametrize("scale", [1.0, 3.7e-4, 1e6])
def test_a_sound_pattern_in_any_unit_raises_nothing(pattern, scale):
    axis, y = pattern
    for seed in range(20):
        assert up(axis, scale * drawn(y, seed))[0] == set()


def test_noise_and_width_are_those_put_in(pattern):
    axis, y = pattern
    curve = describe_curve(axis, 2.5 * drawn(y))
    assert curve.per_count == pytest.approx(2.5, rel=0.15)
    assert curve.width * curve.step == pytest.approx(2.355 * 0.09, rel=0.1)


def test_flat_tops_are_saturation(pattern):
    axis, y = pattern
    flags, judgement = up(axis, np.minimum(drawn(y), 2200))
    assert flags == {"saturated"}
    assert any(a < 28.4 < b for a, b in judgement.evidence["saturated"]["axis"])


def test_the_limit_of_the_counter_may_be_given(pattern):
    axis, y = pattern
    assert up(axis, drawn(y), saturation=2000.0)[0] == {"saturated"}


def test_dead_channels_are_listed(pattern):
    axis, y = pattern
    data = drawn(y)
    data[1000:1012] = 0
    flags, judgement = up(axis, data)
    assert flags == {"dead"}
    assert judgement.evidence["dead"]["axis"] == [[axis[1000], axis[1011]]]


def test_single_high_channels_are_spikes_and_sharp_lines_are_not(pattern):
    axis, y = pattern
    data = drawn(y)
    hits = [200, 900, 1500, 2600]
    data[hits] += 3000
    flags, judgement = up(axis, data)
    assert flags == {"spikes"}
    assert [a for a, _ in judgement.evidence["spikes"]["axis"]] == [axis[i] for i in hits]
    coarse = axis[::12]
    sharp = 200 + sum(5000 * np.exp(-0.5 * ((coarse - at) / 0.1) ** 2) for at in (20, 30, 41, 55, 63))
    assert up(coarse, drawn(sharp))[0] == set()


def test_over_subtraction_is_told(pattern):
    axis, y = pattern
    data = drawn(y) - 260
    assert "over_exposed_dark" in up(axis, data)[0]


def test_ice_needs_its_lines_and_a_wavelength(pattern):
    axis, y = pattern
    ice = y.copy()
    for spacing, strength in ((3.895, 1), (3.661, 0.56), (3.438, 0.61), (2.248, 0.6), (2.068, 0.52)):
        at = 2 * np.rad2deg(np.arcsin(1.5406 / (2 * spacing)))
        ice += 400 * strength * np.exp(-0.5 * ((axis - at) / 0.1) ** 2)
    assert up(axis, drawn(ice))[0] == {"ice_rings"}
    without = PatternReader().read(axis, drawn(ice), "two_theta_deg", None)
    assert np.isnan(without.numbers["ice_rings"])


def test_settings_that_cannot_be_meant_are_refused():
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="no such data flag: stail"):
        FlagSettings(off=("stail",))
    with pytest.raises(ValidationError, match="must not be above threshold"):
        FlagSettings(limits={"spotty": {"threshold": 0.1, "release": 0.2}})


def test_the_width_of_weak_lines_is_not_that_of_noise():
    """Lines of some hundred counts on a floor of twenty, over many channels."""
    axis = np.linspace(12, 110, 6000)
    y = 20 + sum(150 * np.exp(-0.5 * ((axis - at) / 0.12) ** 2) for at in range(20, 105, 12))
    for seed in range(8):
        curve = describe_curve(axis, drawn(y, seed))
        assert curve.width * curve.step == pytest.approx(2.355 * 0.12, rel=0.15)


def test_zeros_of_a_pattern_whose_background_was_subtracted_are_not_dead(pattern):
    """Negative values made zero: zeros side by side are chance there, a stretch of them is none."""
    axis, _ = pattern
    random = np.random.default_rng(4)
    for _ in range(10):
        y = np.maximum(random.normal(10, 9, axis.size), 0) + 400 * np.exp(-0.5 * ((axis - 40) / 0.4) ** 2)
        assert up(axis, y)[0] == set()
        y[1500:1540] = 0
        assert up(axis, y)[0] == {"dead"}


@pytest.mark.parametrize(
    "y",
    [
        np.arange(200.0),
        np.full(200, 3.0),
        np.r_[np.zeros(100), np.full(100, 1e9)],
        1e-30 * np.arange(200.0) ** 2,
        1e30 + np.arange(200.0),
        np.eye(1, 200, 100)[0],
    ],
    ids=["ramp", "flat", "step", "faint", "huge", "one channel"],
)
def test_a_pattern_without_noise_is_judged_like_any_other(y):
    watch, axis = FlagWatch(FlagSettings()), np.linspace(20.0, 100.0, y.size)
    for shift in (0, 0, 1, 3):
        reading = PatternReader(FlagSettings()).read(axis, np.roll(y, shift), "two_theta_deg", 1.5406)
        numbers = watch.take(reading).numbers
        assert not any(np.isinf(v) for v in numbers.values())


def places(*spacings):
    return 2 * np.rad2deg(np.arcsin(0.3 / (2 * np.array(spacings))))


@pytest.mark.parametrize("width", [4.4, 5.2])
def test_one_line_where_two_of_ice_are_not_resolved_is_not_both_of_them(width):
    """Coarse channels and weak lines: 3.895 and 3.661 A lie two and a half channels apart."""
    axis = np.linspace(2.0, 42.0, 360)
    step = axis[1] - axis[0]

    def seen(at, heights, width):
        y = np.full(axis.size, 10.0)
        for place, height in zip(at, heights, strict=True):
            y += height * np.exp(-0.5 * ((axis - place) / (width * step / 2.355)) ** 2)
        return ice_rings(describe_curve(axis, y, np.full(y.size, 2.5)), ice_places("two_theta_deg", 0.3))

    sample = [np.mean(places(3.895, 3.661)), *places(2.667, 1.916)]
    assert seen(sample, [24.0] * 3, width) == (0.0, [])
    of_ice = [d for d, _ in ICE_LINES_A]
    share, tops = seen(places(*of_ice), [60.0 * s for _, s in ICE_LINES_A], 1.4)
    assert share > 0.9 and len(tops) >= 6
