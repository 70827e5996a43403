"""Simulated mixtures, whose truth is known, are taken apart again: number, shares, shifts; online and restarted."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from streamproc.models.unmixing.factorise import Options, activations_of, factorise
from streamproc.models.unmixing.floor import noise_of, subtract_floor
from streamproc.models.unmixing.grid import Grid
from streamproc.models.unmixing.number import estimate_number, likeness
from streamproc.models.unmixing.rows import Rows
from streamproc.models.unmixing.store import PatternStore
from streamproc.models.unmixing.unmixer import Unmixer, UnmixerSettings

N = 400


def mixtures(k: int, m: int, seed: int, shift: float = 3.0, noise: float = 0.005):
    """Patterns of k phases with six Gaussian peaks each on a curved floor; shares, shifts and pure patterns."""
    random = np.random.default_rng(seed)
    x = np.arange(N)
    peaks = [(random.uniform(25, N - 25, 6), random.uniform(0.2, 1.0, 6)) for _ in range(k)]

    def pure(j: int, moved: float) -> np.ndarray:
        y = sum(h * np.exp(-0.5 * ((x - c - moved) / 3) ** 2) for c, h in zip(*peaks[j], strict=True))
        return y / y.sum()

    shares = random.dirichlet(np.full(k, 0.4), m)
    shifts = random.uniform(-shift, shift, (m, k))
    y = np.array([sum(shares[i, j] * pure(j, shifts[i, j]) for j in range(k)) for i in range(m)])
    floor = 0.3 * np.exp(-x / 150) * y.max()
    y = np.maximum(y + floor + random.normal(size=y.shape) * noise * y.max(), 0)
    return y, shares, shifts, np.array([pure(j, 0.0) for j in range(k)])


def settings(**other) -> UnmixerSettings:
    return UnmixerSettings(reach=8, floor_width=25, runs=3, **other)


def unmixed(y, **other) -> Unmixer:
    unmixer = Unmixer(N, settings(**other))
    for pattern in y:
        unmixer.add(pattern)
    unmixer.estimate()
    return unmixer


@pytest.mark.parametrize(("k", "seed"), [(2, 0), (2, 5), (3, 0), (3, 1), (4, 2)])
def test_number_shares_and_shifts_of_simulated_mixtures_are_recovered(k, seed):
    y, shares, shifts, pure = mixtures(k, 60, seed)
    unmixer = unmixed(y)
    assert (unmixer.number.number, unmixer.number.certain) == (k, True)
    alike = likeness(pure, unmixer.components, 8)
    order = alike.argmax(axis=1)
    assert sorted(order) == list(range(k))
    assert alike.max(axis=1).min() > 0.97
    found = unmixer.activations / unmixer.activations.sum(axis=1, keepdims=True)
    error = found[:, order] - shares
    assert np.sqrt((error**2).mean()) < 0.03
    for j, own in enumerate(order):
        there = shares[:, j] > 0.3
        apart = unmixer.shifts[there, own] - shifts[there, j]
        assert (apart - np.median(apart)).std() < 0.7


def test_without_shifts_the_moved_copies_count_as_components_of_their_own():
    y, *_ = mixtures(2, 60, 0, shift=4.0)
    tolerant, rigid = unmixed(y), Unmixer(N, UnmixerSettings(reach=0, floor_width=25, runs=3))
    for pattern in y:
        rigid.add(pattern)
    rigid.estimate()
    assert tolerant.number.number == 2
    assert rigid.number.at_most > 2


def test_sigma_of_the_shares_is_about_their_error():
    errors = []
    for seed in range(4):
        y, shares, _, pure = mixtures(3, 50, seed, noise=0.02)
        unmixer = unmixed(y)
        if unmixer.number.number != 3:
            continue
        order = likeness(pure, unmixer.components, 8).argmax(axis=1)
        total = unmixer.activations.sum(axis=1, keepdims=True)
        z = (unmixer.activations / total)[:, order] - shares
        errors.append((z / (unmixer.sigma / total)[:, order]).ravel())
    z = np.concatenate(errors)
    assert (np.abs(z) < 2).mean() > 0.8
    assert 0.4 < np.sqrt(np.median(z**2)) / 0.6745 < 2.0


def test_one_phase_alone_is_one_component():
    y, shares, *_ = mixtures(2, 120, 1)
    unmixer = unmixed(y[shares[:, 0] > 0.98])
    assert unmixer.number.number == 1


def test_where_the_runs_disagree_it_says_that_it_cannot_tell():
    # peaks that move over more than is allowed: any number of components explains a little more
    x = np.arange(N)
    y = np.array([np.exp(-0.5 * ((x - 60 - 5 * i) / 4) ** 2) for i in range(50)])
    unmixer = unmixed(y, most_components=6)
    assert not unmixer.number.certain
    assert unmixer.number.reason
    assert unmixer.number.at_least <= unmixer.number.at_most


def test_interrupted_anywhere_it_ends_with_the_same_bits():
    y, *_ = mixtures(2, 40, 3)
    small = settings(most_patterns=16, number_patterns=12)
    expected = Unmixer(N, small)
    for pattern in y:
        expected.add(pattern)
    for cut in (0, 7, 8, 15, 16, 17, 30):
        unmixer = Unmixer(N, small)
        for i, pattern in enumerate(y):
            if i == cut:
                state = msgpack.unpackb(msgpack.packb(unmixer.snapshot()), strict_map_key=False)
                unmixer = Unmixer(N, small)
                unmixer.restore(state)
            unmixer.add(pattern)
        assert unmixer.snapshot() == expected.snapshot(), cut


def test_memory_is_bounded_and_old_points_keep_their_shares():
    y, shares, _, pure = mixtures(2, 120, 4)
    unmixer = unmixed(y, most_patterns=24)
    assert len(unmixer.snapshot()["store"]["points"]) == 24
    order = likeness(pure, unmixer.components, 8).argmax(axis=1)
    found = unmixer.activations / unmixer.activations.sum(axis=1, keepdims=True)
    assert found.shape == (120, 2)
    assert np.sqrt(((found[:, order] - shares) ** 2).mean()) < 0.05


def test_snapshot_shares_its_large_pieces_while_they_do_not_change():
    rows = Rows(512)
    for i in range(20):
        rows.append(np.full(512, i))
    before = rows.snapshot()["blocks"]
    rows.append(np.ones(512))
    after = rows.snapshot()["blocks"]
    assert all(a is b for a, b in zip(before[:-1], after, strict=False))
    again = Rows(512)
    again.restore(rows.snapshot())
    assert np.array_equal(again.array, rows.array)


def test_sum_constraint_holds():
    y, *_ = mixtures(2, 40, 6)
    sums = unmixed(y, sum_to_one=True).activations.sum(axis=1)
    assert np.abs(sums - 1).mean() < 0.05


def test_smoothness_brings_neighbours_together():
    random = np.random.default_rng(0)
    y, _, _, pure = mixtures(2, 5, 2)
    share = np.linspace(0, 1, 60)
    y = share[:, None] * pure[0] + (1 - share[:, None]) * pure[1]
    y = np.maximum(y + random.normal(size=y.shape) * 0.3 * y.max(), 0)
    near = np.clip(np.arange(60)[:, None] + np.array([-2, -1, 1, 2]), 0, 59)
    rough = factorise(y, 2, np.random.default_rng(1), Options(reach=0), start=pure)
    smooth = factorise(
        y, 2, np.random.default_rng(1), Options(reach=0, smoothness=3.0), start=pure, neighbours=near
    )

    def jumpiness(f):
        shares = f.activations / f.activations.sum(axis=1, keepdims=True)
        return np.abs(np.diff(shares, 2, axis=0)).mean()

    assert jumpiness(smooth) < 0.6 * jumpiness(rough)


def test_activations_of_a_moved_component_are_found_with_its_shift():
    x = np.arange(N)
    component = np.exp(-0.5 * ((x - 200) / 4) ** 2)
    component /= component.sum()
    moved = np.roll(component, 5) * 7
    activations, shifts, left = activations_of(moved[None], component[None], Options(reach=8))
    assert activations[0, 0] == pytest.approx(7, rel=1e-3)
    assert shifts[0, 0] == 5
    assert left[0] < 1e-6 * (moved @ moved)


def test_floor_is_removed_and_peaks_are_kept():
    x = np.arange(N)
    peaks = 500 * np.exp(-0.5 * ((x - 150) / 4) ** 2) + 300 * np.exp(-0.5 * ((x - 280) / 4) ** 2)
    rest = subtract_floor(100 + 200 * np.exp(-x / 120) + peaks, 25)
    assert rest.sum() == pytest.approx(peaks.sum(), rel=0.08)
    assert rest[330:].max() < 5


def test_noise_is_read_from_the_channels():
    y = 100 + 0.1 * np.arange(4000) + np.random.default_rng(0).normal(size=4000) * 3
    assert noise_of(y) == pytest.approx(3, rel=0.1)


def test_grid_keeps_the_mean_of_a_finer_pattern_and_leaves_holes_out():
    grid = Grid(0.0, 10.0, 101)
    fine = np.arange(-0.05, 10.05, 0.01)
    values, coverage = grid.rebin(fine, 3.0 * fine)
    assert coverage == 1.0
    assert values[1:-1] == pytest.approx(3.0 * grid.axis[1:-1], abs=1e-6)
    kept = (fine < 4) | (fine > 6)
    values, coverage = grid.rebin(fine[kept], np.ones(kept.sum()))
    assert coverage == pytest.approx(0.8, abs=0.02)
    assert values[50] == 0.0


def test_store_keeps_what_differs():
    store = PatternStore(N, 4)
    for i in range(12):
        store.add(np.roll(np.eye(1, N)[0] + 1e-3, 10 * (i % 3)), i)
    unlike = {int(np.argmax(p)) for p in store.patterns}
    assert unlike == {0, 10, 20}
    assert store.weight.sum() == 12


def test_the_estimate_of_the_number_is_the_same_for_the_same_seed():
    y, *_ = mixtures(2, 20, 8)
    z = np.array([subtract_floor(p / p.max() * 1000, 25) for p in y])
    first, second = (estimate_number(z, Options(reach=8), 3, most=3, runs=3) for _ in range(2))
    assert first.candidates == second.candidates
    assert np.array_equal(first.factors.components, second.factors.components)
