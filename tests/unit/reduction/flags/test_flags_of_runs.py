"""What a reading shows within its run: levels, drifts, copies, hot pixels, new lines, hysteresis."""

import msgpack
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from streamproc.reduction.flags.against import compare, strain_slope
from streamproc.reduction.flags.patterns import PatternReader
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.watch import FlagWatch


def up(judgement):
    return {name for name, raised in judgement.flags.items() if raised}


def watched(bench, means, settings=None, monitor=None):
    watch = FlagWatch(settings or FlagSettings())
    readings = [bench.read(bench.draw(mean, "i4")) for mean in means]
    monitors = monitor if monitor is not None else [float("nan")] * len(readings)
    return [watch.take(r, m) for r, m in zip(readings, monitors, strict=True)]


def test_a_run_whose_lattice_and_lines_change_raises_nothing(bench):
    means = [bench.expected(strain=5e-4 * k, width=0.3 * (1 + 0.04 * k)) for k in range(12)]
    assert [up(j) for j in watched(bench, means)] == [set()] * 12


def test_beam_loss_rises_at_once_and_falls_when_the_beam_is_back(bench):
    sound = bench.expected()
    judged = watched(bench, [sound] * 4 + [0.02 * sound] * 2 + [sound] * 2)
    assert [up(j) for j in judged] == [set()] * 4 + [{"beam_loss"}] * 2 + [set()] * 2
    assert judged[4].bad and judged[4].numbers["beam_loss"] == pytest.approx(0.98, abs=0.01)
    assert judged[4].evidence["beam_loss"]["by"] == "pattern"


def test_the_monitor_decides_where_there_is_one(bench):
    sound = bench.expected()
    absorbed = watched(bench, [sound] * 4 + [0.1 * sound], monitor=[1e5] * 5)
    assert "beam_loss" not in up(absorbed[-1])
    lost = watched(bench, [sound] * 5, monitor=[1e5] * 4 + [2e3])
    assert "beam_loss" in up(lost[-1]) and lost[-1].evidence["beam_loss"]["by"] == "monitor"


def test_a_beam_that_decays_is_a_drift_and_the_reading_stays_good(bench):
    judged = watched(bench, [bench.expected() * (1 - 0.025 * k) for k in range(12)])
    assert up(judged[-1]) == {"i0_drift"} and not judged[-1].bad
    assert up(judged[3]) == set()


def test_a_copy_is_counted_and_an_empty_frame_is_none(bench):
    watch, reading = FlagWatch(FlagSettings()), bench.read(bench.draw())
    counts = [watch.take(r).numbers["stale"] for r in (reading, reading, reading, bench.read(bench.draw()))]
    assert counts == [0, 1, 2, 0]
    empty = bench.read(np.zeros((384, 384), "u2"))
    watch.take(empty)
    assert watch.take(empty).numbers["stale"] == 0


def test_rows_that_are_at_the_limit_in_one_reading_only_are_missing_and_gaps_are_not(bench):
    def read(*stripes):
        frame = bench.draw()
        for rows in stripes:
            frame[rows] = 65535  # beyond LIMIT
        return bench.read(frame)

    gap, watch = slice(190, 200), FlagWatch(FlagSettings())
    assert not any(watch.take(read(gap)).bad for _ in range(3))  # as between modules
    judged = watch.take(read(gap, slice(0, 128)))
    assert judged.bad and "missing_rows" in up(judged) and judged.numbers["missing_rows"] == 128
    assert judged.evidence["missing_rows"]["without_a_usable_value"] == 128
    again = FlagWatch(FlagSettings())
    again.restore(msgpack.unpackb(msgpack.packb(watch.snapshot())))
    assert "missing_rows" in up(again.take(read(gap, slice(0, 1))))
    assert not again.take(read(gap)).bad


def test_a_pixel_high_three_times_running_is_hot_and_no_spike(bench):
    watch, judged = FlagWatch(FlagSettings()), []
    for _ in range(4):
        frame = bench.draw(dtype="i4")
        for row, column in ((50, 60), (200, 310), (301, 17), (320, 90)):
            frame[row, column] = 9000
        judged.append(watch.take(bench.read(frame)))
    assert [up(j) for j in judged] == [{"spikes"}] * 2 + [{"hot"}] * 2
    assert sorted(judged[3].evidence["hot"]["pixels"])[0] == [50, 60]


@pytest.mark.parametrize("by", [(3, 0), (0, -3), (2, 2), (-9, 4)])
def test_a_beam_that_moves_on_the_detector_is_a_zero_drift(bench, by):
    sound = bench.expected()
    judged = watched(bench, [sound] * 4 + [np.roll(sound, by, (0, 1))] * 3)
    assert ["zero_drift" in up(j) for j in judged] == [False] * 4 + [True] * 3
    assert not judged[-1].bad
    pixel_deg = np.rad2deg(2e-4 / 0.16)
    assert np.hypot(*judged[4].evidence["zero_drift"]["beam"]) == pytest.approx(
        np.hypot(*by) * pixel_deg, rel=0.25
    )


def test_one_more_ring_is_told_with_its_place(bench):
    sound = bench.expected()
    more = sound + 300 * np.exp(-0.5 * ((bench.angle - 10.8) / 0.1) ** 2)
    judged = watched(bench, [sound] * 4 + [more] * 3)
    assert [up(j) for j in judged] == [set()] * 4 + [{"parasitic_rings"}] * 3
    ((low, high),) = judged[4].evidence["parasitic_rings"]["axis"]
    assert low < 10.8 < high and high - low < 1 and not judged[4].bad


def test_a_phase_that_takes_the_place_of_another_is_no_parasite(bench):
    sound, other = bench.expected(), bench.expected(at=(5.1, 8.0, 10.8, 13.7))
    judged = watched(bench, [sound] * 4 + [0.4 * sound + 0.6 * other] + [other] * 8)
    assert [up(j) for j in judged] == [set()] * 13


def test_a_faint_shadow_is_seen_against_the_readings_before(bench):
    sound = bench.expected(level=200)
    shaded = sound.copy()
    shaded[:192, :192] *= 0.7
    judged = watched(bench, [sound] * 3 + [shaded])
    assert "shadow" in up(judged[-1]) and "shadow" not in up(judged[2])
    boxes = judged[-1].evidence["shadow"]["boxes"]
    assert max(b[1] for b in boxes) <= 192 and max(b[3] for b in boxes) <= 192


def test_a_flag_falls_below_its_release_only(bench):
    limits = {"limits": {"spikes": {"threshold": 6, "release": 3}}}
    watch, flags = FlagWatch(FlagSettings(**limits)), []
    for count in (5, 6, 4, 3, 2, 5):
        frame = bench.draw(dtype="i4")
        for k in range(count):
            frame[40 * k + len(flags) + 5, 300 - 30 * k] += 9000
        flags.append(watch.take(bench.read(frame)).flags["spikes"])
    assert flags == [False, True, True, True, False, False]


def test_a_kind_that_is_off_is_not_said(bench):
    judged = watched(bench, [bench.expected()] * 2, FlagSettings(off=("stale", "spotty")))
    assert "stale" not in judged[-1].numbers and "spotty" not in judged[-1].flags


def test_a_restored_watch_says_the_same_bytes(bench):
    means = [bench.expected(strain=3e-4 * k) * (1 - 0.02 * k) for k in range(8)]
    readings = [bench.read(bench.draw(mean, "i4")) for mean in means]
    straight = FlagWatch(FlagSettings())
    expected = [straight.take(r, 1e5) for r in readings]
    for cut in (1, 4, 7):
        first = FlagWatch(FlagSettings())
        said = [first.take(r, 1e5) for r in readings[:cut]]
        second = FlagWatch(FlagSettings())
        second.restore(msgpack.unpackb(msgpack.packb(first.snapshot())))
        said += [second.take(r, 1e5) for r in readings[cut:]]
        assert [repr(dict(j.numbers)) for j in said] == [repr(dict(j.numbers)) for j in expected]


def test_a_restored_watch_goes_on_where_patterns_drift_and_broaden(pattern):
    axis, y = pattern
    random, reader = np.random.default_rng(40), PatternReader()
    means = [gaussian_filter(np.interp(axis - 0.01 * k, axis, y), 0.01 + 0.3 * k) for k in range(14)]
    drawn = [random.poisson(mean).astype(float) for mean in means]
    readings = [reader.read(axis, now, "two_theta_deg", 1.5406) for now in drawn]
    straight = FlagWatch(FlagSettings())
    expected = [straight.take(r) for r in readings]
    for cut in (2, 6, 11):
        first, second = FlagWatch(FlagSettings()), FlagWatch(FlagSettings())
        said = [first.take(r) for r in readings[:cut]]
        stored = msgpack.packb(first.snapshot())
        second.restore(msgpack.unpackb(stored))
        assert msgpack.packb(second.snapshot()) == stored
        said += [second.take(r) for r in readings[cut:]]
        assert [repr(dict(j.numbers)) for j in said] == [repr(dict(j.numbers)) for j in expected]
        assert [repr(j.evidence) for j in said] == [repr(j.evidence) for j in expected]
    assert up(expected[-1])


@pytest.mark.parametrize(
    ("zero", "strain"), [(0.0, 0.0), (0.05, 0.0), (0.0, 2e-3), (-0.08, 1e-3), (0.3, 0.0)]
)
def test_zero_shift_and_strain_are_told_apart(pattern, zero, strain):
    axis, y = pattern
    slope = strain_slope(axis, "two_theta_deg")
    moved = np.interp(axis - zero - strain * slope, axis, y)
    noisy = np.random.default_rng(1).poisson(1.3 * moved + 20).astype(float)
    found = compare(axis, slope, y, noisy, np.maximum(noisy, 1), (0.0, 0.0), 0.0, 7.0)
    assert found.scale == pytest.approx(1.3, rel=0.01)
    assert found.zero == pytest.approx(zero, abs=4e-3) and found.strain == pytest.approx(strain, abs=2e-4)
    assert abs(found.zero - zero) < 5 * found.zero_sigma and found.agreement > 0.95


@pytest.mark.parametrize("shift", [0.1, -0.2, 0.4])
def test_a_shifted_zero_of_a_pattern_is_found_and_an_expanding_lattice_is_none(pattern, shift):
    axis, y = pattern
    random = np.random.default_rng(2)

    def judged(moves):
        watch = FlagWatch(FlagSettings())
        return [
            up(
                watch.take(
                    PatternReader().read(axis, random.poisson(m).astype(float), "two_theta_deg", 1.5406)
                )
            )
            for m in moves
        ]

    moved = np.interp(axis - shift, axis, y)
    assert judged([y] * 4 + [moved] * 2) == [set()] * 4 + [{"zero_drift"}] * 2
    slope = strain_slope(axis, "two_theta_deg")
    assert judged([np.interp(axis - 5e-4 * k * slope, axis, y) for k in range(10)]) == [set()] * 10


def judged_patterns(axis, means, seed=3, settings=None):
    random, watch = np.random.default_rng(seed), FlagWatch(settings or FlagSettings())
    return [
        watch.take(PatternReader().read(axis, random.poisson(m).astype(float), "two_theta_deg", 1.5406))
        for m in means
    ]


def with_ice(axis, y, height):
    from streamproc.reduction.flags.lines import ICE_LINES_A

    for spacing, strength in ICE_LINES_A:
        at = 2 * np.rad2deg(np.arcsin(1.5406 / (2 * spacing)))
        y = y + height * strength * np.exp(-0.5 * ((axis - at) / 0.06) ** 2)
    return y


def test_ice_below_lines_of_the_sample_is_found_in_what_has_come_and_stays_up(pattern):
    """Two of the first three lines of ice lie on flanks of the sample's: alone the pattern cannot tell."""
    axis, y = pattern
    for at in (22.5, 24.6):
        y = y + 5000 * np.exp(-0.5 * ((axis - at) / 0.2) ** 2)
    iced = with_ice(axis, y, 600)
    alone = PatternReader().read(
        axis, np.random.default_rng(1).poisson(iced).astype(float), "two_theta_deg", 1.5406
    )
    assert alone.numbers["ice_rings"] < 0.75
    judged = judged_patterns(axis, [y] * 5 + [iced] * 9)
    assert ["ice_rings" in up(j) for j in judged] == [False] * 5 + [True] * 9
    assert not any(j.bad for j in judged)


def test_a_parasitic_ring_stays_up_longer_than_a_changed_sample_is_followed(bench):
    sound = bench.expected()
    more = sound + 1500 * np.exp(-0.5 * ((bench.angle - 10.8) / 0.1) ** 2)
    assert [up(j) for j in watched(bench, [sound] * 4 + [more] * 12)] == [set()] * 4 + [
        {"parasitic_rings"}
    ] * 12


def test_a_shadow_over_lines_of_a_pattern_is_told_from_lines_that_have_gone(pattern):
    axis, y = pattern
    inside = (axis > 25) & (axis < 42)
    weaker = y.copy()
    for at, height in ((28.4, 4000), (33.1, 1200)):
        weaker -= 0.6 * height * np.exp(-0.5 * ((axis - at) / 0.09) ** 2)
    judged = judged_patterns(axis, [y] * 4 + [np.where(inside, 0.5 * y, y)] * 2)
    assert [up(j) for j in judged] == [set()] * 4 + [{"shadow"}] * 2
    assert not any("shadow" in up(j) for j in judged_patterns(axis, [y] * 4 + [weaker] * 4))


def test_lines_that_broaden_slowly_do_not_hide_a_zero_drift(pattern):
    axis, _ = pattern

    def broad(k, shift=0.0):
        y = 150 + 200 * np.exp(-axis / 25)
        width = 0.09 * (1 + 0.02 * k)
        for at, height in ((28.4, 4000), (33.1, 1200), (47.5, 2500), (56.3, 1900), (76.7, 800)):
            y = y + height * 0.09 / width * np.exp(-0.5 * ((axis - shift - at) / width) ** 2)
        return y

    means = [broad(k) for k in range(20)] + [broad(k, 0.15) for k in range(20, 26)]
    assert ["zero_drift" in up(j) for j in judged_patterns(axis, means)] == [False] * 20 + [True] * 6


def test_a_change_of_the_beam_is_read_right_from_weak_patterns(pattern):
    """Ten counts a channel: the noise of the first reading must not make the fitted scale too small."""
    axis, y = pattern
    judged = judged_patterns(axis, [0.03 * y] * 4 + [0.03 * 1.4 * y] * 20)
    assert judged[-1].numbers["i0_drift"] == pytest.approx(0.4, abs=0.08)


def test_without_beam_nothing_is_said_of_spikes_ice_and_dead_channels(pattern):
    axis, y = pattern
    judged = judged_patterns(axis, [y] * 4 + [0.002 * y] * 3)
    assert [up(j) for j in judged[4:]] == [{"beam_loss"}] * 3
    assert all(np.isnan(judged[5].numbers[n]) for n in ("spikes", "ice_rings", "dead"))


def test_what_is_dead_is_no_shadow_and_spots_are_no_hits(bench):
    sound = bench.expected()
    frames = [bench.draw(sound, "i4") for _ in range(6)]
    for frame in frames[4:]:
        frame[250:380, 20:150] = 0
    watch = FlagWatch(FlagSettings())
    assert [up(watch.take(bench.read(f))) for f in frames] == [set()] * 4 + [{"dead"}] * 2
    grains = (bench.random.random(sound.shape) < 0.002) * bench.random.exponential(1.0, sound.shape)
    spotty = np.where(sound > 80, 60 + (sound - 60) * gaussian_filter(grains, 0.9) / 0.002, sound)
    flags = up(FlagWatch(FlagSettings()).take(bench.read(bench.draw(spotty, "i4"))))
    assert "spotty" in flags and not flags & {"spikes", "hot", "shadow"}


def test_hits_make_no_ring(bench):
    """A hundred hits so strong that they look like grains at first."""
    watch, sound = FlagWatch(FlagSettings()), bench.expected()
    flags = []
    for k in range(8):
        frame = bench.draw(sound, "i4")
        if k >= 4:
            where = bench.random.choice(frame.size, 100, replace=False)
            frame.flat[where] += 20_000
        flags.append(up(watch.take(bench.read(frame))))
    assert flags[:4] == [set()] * 4
    assert all("spikes" in f and "parasitic_rings" not in f for f in flags[4:])


def test_weak_patterns_do_not_drift_and_a_drift_of_theirs_is_found():
    axis = np.linspace(12, 110, 6000)
    lines = (19.0, 27.0, 33.0, 43.0, 55.0, 72.0, 88.0)
    random = np.random.default_rng(5)

    def judged(shifts):
        watch, found = FlagWatch(FlagSettings()), []
        for shift in shifts:
            y = 15 + sum(80 * np.exp(-0.5 * ((axis - at - shift) / 0.06) ** 2) for at in lines)
            found.append(
                up(
                    watch.take(
                        PatternReader().read(axis, random.poisson(y).astype(float), "two_theta_deg", 1.5406)
                    )
                )
            )
        return found

    assert judged([0.0] * 12) == [set()] * 12
    assert judged([0.0] * 4 + [0.1] * 4) == [set()] * 4 + [{"zero_drift"}] * 4


def test_a_broad_line_that_weakens_is_no_shadow():
    """A narrow range in which one line fills some sixteenths of the axis; each reading is another sample."""
    axis = np.linspace(37, 48, 550)
    random, watch = np.random.default_rng(6), FlagWatch(FlagSettings())
    for k in range(12):
        y = 20 + 700 * 0.82**k * np.exp(-0.5 * ((axis - 44.3) / 0.45) ** 2)
        judgement = watch.take(
            PatternReader().read(axis, random.poisson(y).astype(float), "two_theta_deg", 1.5406)
        )
        assert not judgement.flags["shadow"] and not judgement.bad


def test_a_new_line_is_found_although_all_lines_broaden(pattern):
    axis, _ = pattern
    random, watch = np.random.default_rng(7), FlagWatch(FlagSettings())
    for k in range(12):
        y = np.full(axis.size, 1500.0)
        for at in (25.0, 33.0, 41.0, 56.0, 70.0, 83.0):
            y += 9e4 / (1 + 0.01 * k) * np.exp(-0.5 * ((axis - at) / (0.09 * (1 + 0.01 * k))) ** 2)
        if k >= 6:
            y += 4e3 * np.exp(-0.5 * ((axis - 48.0) / 0.09) ** 2)
        judgement = watch.take(
            PatternReader().read(axis, random.poisson(y).astype(float), "two_theta_deg", 1.5406)
        )
        assert judgement.flags["parasitic_rings"] == (k >= 6)
