"""What one frame shows by itself: faults put in by hand are found where they are, and nothing else is."""

import numpy as np
import pytest
from numba.core import dispatcher

from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
from streamproc.reduction.flags import counting, outliers, sight
from streamproc.reduction.flags.hits import scattered
from streamproc.reduction.flags.kinds import ALONE, KINDS
from streamproc.reduction.flags.parts import COMBS, PARTS
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.scan import PIECE, Scanner
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.watch import FlagWatch, judged_alone


def up(reading, settings=None):
    judgement = judged_alone(reading, settings or FlagSettings())
    return {name for name, raised in judgement.flags.items() if raised}


@pytest.mark.parametrize("dtype", ["u2", "u4", "i4", "f8", ">u2"])
def test_a_sound_frame_of_any_type_raises_nothing(bench, dtype):
    reading = bench.read(bench.draw(dtype=dtype))
    assert up(reading) == set()
    assert set(reading.numbers) == set(ALONE)


@pytest.mark.parametrize(
    "change",
    [{"width": 1.2}, {"width": 0.12}, {"texture": 0.6}, {"strain": 0.01}, {"level": 3.0}, {"at": ()}],
    ids=["broad lines", "sharp lines", "texture", "strain", "few counts", "no lines"],
)
def test_what_a_sample_does_to_a_pattern_is_no_fault(bench, change):
    assert up(bench.read(bench.draw(bench.expected(**change)))) == set()


@pytest.mark.parametrize("dtype", ["u2", "u4", "i4", "f8"])
def test_the_scan_is_what_numpy_counts_piece_by_piece(dtype):
    random = np.random.default_rng(3)
    used = random.random((40, 150)) > 0.2
    frame = random.poisson(3, used.shape).astype(dtype)
    frame[5, 7], frame[6, 100] = 900, 1000
    if dtype == "i4":
        frame[8, 8:20] = -1
    scan = Scanner(used).scan(frame.ravel(), 900)
    for row in range(40):
        for piece in range(scan.plain.shape[1]):
            where = (row, slice(piece * PIECE, (piece + 1) * PIECE))
            values = frame[where][used[where]].astype(float)
            fine = values[(values >= 0) & (values < 900)]
            got = (*scan.of_pieces[:, row, piece], *scan.counts[:, row, piece])
            assert got == (
                fine.sum(), fine.max(initial=0), (values == 0).sum(), (values < 0).sum(), (values >= 900).sum()
            )  # fmt: skip


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4"])
def test_one_count_anywhere_changes_the_checksum(dtype):
    random = np.random.default_rng(4)
    scanner = Scanner(np.ones((64, 200), bool))
    frame = random.poisson(20, (64, 200)).astype(dtype)
    before = scanner.scan(frame.ravel(), 1e4).checksum
    for pixel in random.choice(frame.size, 300, replace=False):
        other = frame.copy()
        other.flat[pixel] += 1
        assert scanner.scan(other.ravel(), 1e4).checksum != before


def test_the_parts_of_the_rings_are_sums_over_their_pixels_and_make_the_profile(bench):
    frame = bench.draw()
    profile, parts, _ = bench.reader.parted.integrate(frame)
    plain = bench.plan.integrate(frame)
    assert np.array_equal(profile.signal, plain.signal) and np.array_equal(profile.counts, plain.counts)
    np.testing.assert_allclose(profile.intensity, plain.intensity, rtol=1e-12)
    np.testing.assert_allclose(profile.variance, plain.variance, rtol=1e-12)
    quadrant = np.clip((bench.azimuth.ravel() + 180) // 90, 0, 3)
    comb = (bench.azimuth.ravel() + 180) // 2.5 % COMBS
    part = (quadrant * COMBS + comb).astype(int)
    expected = np.zeros((300, PARTS))
    inside = bench.reader.parted.bins < 300
    np.add.at(expected, (bench.reader.parted.bins[inside], part[inside]), frame.ravel()[inside])
    assert np.array_equal(parts.signal, expected)


@pytest.mark.parametrize("floor", ["pixel", "bin"])
@pytest.mark.parametrize("dark", [None, 7])
@pytest.mark.parametrize("zeros", [0, 9])
@pytest.mark.parametrize("images", [1, 2])
def test_the_profile_of_a_reading_is_that_of_the_plan(bench, floor, dark, zeros, images):
    """Where no pixel is zero one array is sums and variances: a dark makes two of them, and so do results."""
    plan = AzimuthalPlan.build(
        bench.plan.geometry, bench.plan.correction, PlanOptions(bins=300, variance_floor=floor)
    )
    stack = np.array([bench.draw() for _ in range(images)])
    stack[:, 40, 40 : 40 + zeros] = 0
    frame, dark = stack[0] if images == 1 else stack, dark and np.full(plan.shape, dark, np.uint16)
    profile, plain = FrameReader(plan).read(frame, dark)[1], plan.integrate(frame, dark)
    for name in ("signal", "signal_variance", "normalisation", "counts", "intensity", "variance"):
        np.testing.assert_allclose(getattr(profile, name), getattr(plain, name), rtol=1e-12)
    assert not np.shares_memory(profile.signal, profile.signal_variance)


def test_saturated_pixels_are_counted_and_boxed(bench):
    frame = bench.draw()
    frame[100:110, 200:212] = 50_000
    reading = bench.read(frame)
    assert up(reading) == {"saturated"}
    assert reading.numbers["saturated"] == pytest.approx(120 / reading.used)
    (box,) = reading.evidence["saturated"]["boxes"]
    assert box[0] == 100 and box[1] == 109 and box[2] <= 200 and box[3] >= 211


def test_a_dead_module_is_found_wherever_it_lies(bench):
    frame = bench.draw()
    frame[30:130, 37:137] = 0
    reading = bench.read(frame)
    assert up(reading) == {"dead"}
    assert reading.numbers["dead"] == pytest.approx(100 * 100 / reading.used, rel=0.1)
    boxes = reading.evidence["dead"]["boxes"]
    assert min(b[0] for b in boxes) == 30 and max(b[1] for b in boxes) == 129


def test_single_dead_pixels_are_listed(bench):
    frame = bench.draw()
    dead = bench.random.choice(frame.size, 700, replace=False)
    frame.flat[dead] = 0
    reading = bench.read(frame)
    assert up(reading) == {"dead"}
    assert reading.numbers["dead"] == pytest.approx(700 / reading.used, rel=0.2)
    assert all(frame[row, column] == 0 for row, column in reading.evidence["dead"]["pixels"])


def test_a_hot_module_is_found_and_casts_no_shadow_on_its_rings(bench):
    frame = bench.draw()
    frame[20:150, 20:150] *= 12
    reading = bench.read(frame)
    assert up(reading) == {"hot"}
    (box,) = reading.evidence["hot"]["boxes"]
    assert box[0] > 20 - 64 and box[1] < 150 + 64


def test_missing_rows_are_told_from_a_dead_module(bench):
    frame = bench.draw()
    frame[77:80] = 0
    frame[300:] = 0
    reading = bench.read(frame)
    assert up(reading) == {"missing_rows"}
    assert reading.numbers["missing_rows"] == 3 + 84
    assert reading.evidence["missing_rows"]["rows"] == [[77, 79], [300, 383]]


def test_spikes_are_listed_and_spots_of_grains_are_none(bench):
    frame = bench.draw().astype("i4")
    hits = [(50, 60), (51, 61), (200, 310), (301, 17)]
    for row, column in hits:
        frame[row, column] += 9000
    reading = bench.read(frame)
    assert up(reading) == {"spikes"}
    assert sorted(map(tuple, reading.evidence["spikes"]["pixels"])) == sorted(hits)
    spots = bench.draw().astype("i4")
    for row, column in hits:
        spots[row - 1 : row + 3, column - 1 : column + 3] += 9000
    assert bench.read(spots).numbers["spikes"] == 0


def with_hits(frame, number, random):
    """Tracks of one to three pixels, anywhere."""
    out = frame.copy()
    for pixel in random.choice(frame.size - 4, number, replace=False):
        out.flat[pixel : pixel + random.integers(1, 4)] += np.uint16(random.integers(2000, 10_000))
    return out


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_hits_on_a_weak_pattern_are_neither_grains_nor_shadows(bench, seed):
    """So many that rings are hit in two quadrants, where the middle ones no longer tell."""
    frame = with_hits(bench.draw(bench.expected(level=4.0)), 90, np.random.default_rng(seed))
    reading = bench.read(frame)
    assert up(reading) == {"spikes"}
    assert not reading.numbers["spotty"] >= 0.1
    away = np.abs(reading.tiles.ratio[reading.tiles.smooth] - 1)
    assert away.max() < 0.5  # a tile with hits is as bright as its rings promise


def test_hits_lie_anywhere_and_grains_on_rings(bench):
    random, parts = np.random.default_rng(1), bench.reader.parted.integrate(bench.draw())[1]
    on_lines = np.abs(bench.angle[..., None] - (6.0, 9.2, 12.4, 15.1)).min(axis=2).ravel() < 0.4
    told = {True: [], False: []}
    for number in (50, 80, 200):
        for _ in range(20):
            anywhere = random.choice(on_lines.size, number, replace=False)
            grains = random.choice(np.flatnonzero(on_lines), number, replace=False)
            told[True].append(scattered(bench.reader.parted, parts, np.sort(anywhere)))
            told[False].append(scattered(bench.reader.parted, parts, np.sort(grains)))
    assert sum(told[True]) >= 58  # three sigma of a skew distribution
    assert not any(told[False])
    assert scattered(bench.reader.parted, parts, np.arange(0, 60, 4)) is None


def test_spottiness_is_the_scatter_that_its_grains_give_a_ring(bench):
    floor, rings = bench.expected(at=()), bench.expected() - bench.expected(at=())
    measured, true = [], []
    for _ in range(6):
        grains = bench.random.gamma(0.02, 1 / 0.02, rings.shape)  # relative variance 50 per pixel
        reading = bench.read(bench.draw(np.minimum(floor + rings * grains, 40000), "i4"))
        measured.append(reading.numbers["spotty"])
        lines = rings > 0.5 * rings.max()
        per_ring = [np.sum(lines & (np.abs(bench.angle - at) < 1)) for at in (6.0, 9.2, 12.4)]
        true.append(np.sqrt(50 / np.mean(per_ring)))
    assert np.mean(measured) == pytest.approx(np.mean(true), rel=0.6)
    assert bench.read(bench.draw()).numbers["spotty"] < 0.02


def test_a_spotty_sample_is_a_doubt_and_not_bad(bench):
    floor, rings = bench.expected(at=()), bench.expected() - bench.expected(at=())
    grains = bench.random.gamma(0.0015, 1 / 0.0015, rings.shape)
    reading = bench.read(bench.draw(np.minimum(floor + rings * grains, 40000), "i4"))
    assert "spotty" in up(reading)
    assert not judged_alone(reading, FlagSettings()).bad


def test_a_deep_shadow_is_found_and_texture_is_none(bench):
    mean = bench.expected(level=200)
    mean[:, 320:] *= 0.3
    reading = bench.read(bench.draw(mean))
    assert up(reading) == {"shadow"}
    assert reading.numbers["shadow"] == pytest.approx(64 / 384, abs=0.08)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_dark_that_saw_the_beam_is_found_and_a_clean_one_is_not(bench, share):
    pedestal = np.full((384, 384), 100.0)
    frame = bench.draw(bench.expected() + pedestal)
    clean = bench.random.poisson(pedestal).astype("u2")
    assert up(bench.read(frame, clean)) == set()
    exposed = bench.random.poisson(pedestal + share * bench.expected()).astype("u2")
    reading = bench.read(frame, exposed)
    assert "over_exposed_dark" in up(reading)
    assert reading.numbers["over_exposed_dark"] == pytest.approx(share, rel=0.25)


def test_rings_of_ice_are_told_by_their_places(bench):
    lines = {3.895: 1.0, 3.661: 0.56, 3.438: 0.61, 2.667: 0.3, 2.248: 0.6, 2.068: 0.52}
    mean = bench.expected()
    for spacing, strength in lines.items():
        at = 2 * np.rad2deg(np.arcsin(0.7 / (2 * spacing)))
        mean += 250 * strength * np.exp(-0.5 * ((bench.angle - at) / 0.09) ** 2)
    reading = bench.read(bench.draw(mean))
    assert up(reading) == {"ice_rings"}
    first = 2 * np.rad2deg(np.arcsin(0.7 / (2 * 3.895)))
    assert any(abs(a - first) < 0.2 for a, _ in reading.evidence["ice_rings"]["axis"])


def test_masked_pixels_are_never_judged(bench, tmp_path):
    from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
    from streamproc.reduction.correction import Correction
    from streamproc.reduction.flags.reader import FrameReader

    mask = np.zeros((384, 384), bool)
    mask[90:120, :], mask[:, 200:230] = True, True
    plan = AzimuthalPlan.build(bench.plan.geometry, Correction(mask=mask), PlanOptions(300))
    frame = bench.draw()
    frame[mask] = 65535
    assert up(FrameReader(plan).read(frame)[0]) == set()


def test_every_kind_has_a_threshold_above_its_release():
    for name, kind in KINDS.items():
        limit = FlagSettings().limit(name)
        assert 0 < limit.falls_below <= limit.threshold == kind.threshold


def test_after_warming_up_no_usual_frame_waits_for_the_compiler(bench):
    """Not one without faults, and not one whose single pixels must be looked at."""
    bench.reader.warm_up()
    kernels = [counting.count_and_scan, outliers._search, sight._see_rings, sight._see_tiles]
    compiled = [len(kernel.signatures) for kernel in kernels]
    assert min(compiled) > 0
    for dtype in ("u2", "u4", "i4"):
        frame = bench.draw(dtype=dtype)
        assert up(bench.read(frame)) == set()
        for row, column in ((50, 60), (200, 310), (301, 17), (12, 300)):
            frame[row, column] += 9000
        assert up(bench.read(frame)) == {"spikes"}
    assert [len(kernel.signatures) for kernel in kernels] == compiled


def test_nothing_is_handed_to_compiled_code_that_python_must_look_at(bench, monkeypatch):
    """As a type is, or an array that cannot be written to: each took ten microseconds of every frame."""
    watch, frames = FlagWatch(FlagSettings()), [bench.draw() for _ in range(4)]
    for frame in frames:
        watch.take(bench.read(frame))
    looked_at = []
    monkeypatch.setattr(
        dispatcher._DispatcherBase, "typeof_pyval", lambda kernel, value: looked_at.append((kernel, value))
    )
    for frame in frames:
        watch.take(bench.read(frame))
    assert looked_at == []


def test_a_reading_says_what_strain_does_to_its_rings(bench):
    reading = bench.read(bench.draw())
    np.testing.assert_allclose(
        reading.slope, -2 * np.rad2deg(np.tan(np.deg2rad(reading.curve.axis / 2))), rtol=1e-12
    )
