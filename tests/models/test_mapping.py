"""Regions of simulated maps, in one, two and three coordinates, and their pictures."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from streamproc.models.mapping.drawing import draw_map, draw_regions, flat_places, matched_colours
from streamproc.models.mapping.scores import adjusted_rand_index
from streamproc.models.mapping.so_far import PhaseMapSoFar


def halves(random, noise: float, n: int = 20) -> tuple[PhaseMapSoFar, np.ndarray]:
    """A square whose left half is component 0 and right half component 1, with noisy shares."""
    so_far = PhaseMapSoFar(("x", "y"), 3)
    truth = []
    for x in range(n):
        for y in range(n):
            share = (0.7 if x < n // 2 else 0.3) + random.normal() * noise
            so_far.add({"x": 0.1 * x, "y": 5.0 * y}, [share, 1 - share], [noise, noise])
            truth.append(int(x >= n // 2))
    return so_far, np.array(truth)


def test_neighbours_correct_noisy_points():
    so_far, truth = halves(np.random.default_rng(0), 0.2)
    alone = so_far.shares.argmax(axis=1)
    regions = so_far.regions()
    wrong = (alone != truth).mean()
    assert wrong > 0.1
    assert (regions.label != truth).mean() < wrong / 3
    assert regions.count == 2


def test_a_clear_point_keeps_its_label_among_others():
    so_far = PhaseMapSoFar(("x", "y"), 2)
    for x in range(7):
        for y in range(7):
            middle = (x, y) == (3, 3)
            so_far.add({"x": x, "y": y}, [0.0, 1.0] if middle else [1.0, 0.0], [0.01, 0.01])
    assert so_far.regions().label[24] == 1


def test_confidence_is_low_at_the_border_and_high_inside():
    so_far = PhaseMapSoFar(("x",), 2)
    for x in np.linspace(0, 1, 41):
        so_far.add({"x": x}, [1 - x, x], [0.05, 0.05])
    confidence = so_far.regions().confidence
    assert confidence[20] < 0.75
    assert confidence[[0, 5, 35, 40]].min() > 0.95


def test_confidence_is_about_the_share_of_right_labels():
    right, said = [], []
    for seed in range(6):
        so_far, truth = halves(np.random.default_rng(seed), 0.35)
        regions = so_far.regions()
        right.append(regions.label == truth)
        said.append(regions.confidence)
    assert abs(np.mean(right) - np.mean(said)) < 0.1


def test_presence_needs_more_than_a_sigma_above_the_least_share():
    so_far = PhaseMapSoFar(("x",), 2)
    so_far.add({"x": 0.0}, [0.85, 0.15], [0.01, 0.01])
    so_far.add({"x": 1.0}, [0.85, 0.15], [0.1, 0.1])
    assert so_far.regions(least_share=0.1).present.tolist() == [[True, True], [True, False]]


def test_points_without_a_place_or_without_shares_are_said_so():
    so_far = PhaseMapSoFar(("x", "y"), 2)
    assert not so_far.add({"x": 1.0}, [1.0, 0.0], [0.1, 0.1])
    assert so_far.add({"x": 1.0, "y": 2.0}, [0.0, 0.0], [0.0, 0.0])
    regions = so_far.regions()
    assert (regions.label.tolist(), regions.confidence.tolist(), regions.count) == ([-1], [0.0], 0)


def test_three_shares_that_add_up_are_a_ternary_system_and_three_motors_are_not():
    random = np.random.default_rng(1)
    composition, motors = PhaseMapSoFar(("a", "b", "c"), 2), PhaseMapSoFar(("x", "y", "z"), 2)
    for place in random.dirichlet(np.ones(3), 20):
        composition.add(dict(zip("abc", 100 * place, strict=True)), [1, 0], [0.1, 0.1])
        motors.add(dict(zip("xyz", random.uniform(size=3), strict=True)), [1, 0], [0.1, 0.1])
    assert (composition.ternary, motors.ternary) == (True, False)
    flat, corners = flat_places(composition)
    assert corners is not None
    assert flat[:, 1].max() <= np.sqrt(0.75)
    assert flat_places(motors)[1] is None


def test_a_map_has_one_to_three_axes():
    with pytest.raises(ValueError, match="1 to 3"):
        PhaseMapSoFar(("a", "b", "c", "d"), 2)


def test_snapshot_brings_the_map_back_and_new_shares_take_the_place_of_old():
    so_far, truth = halves(np.random.default_rng(2), 0.1, n=10)
    again = PhaseMapSoFar(("x", "y"), 3)
    again.restore(msgpack.unpackb(msgpack.packb(so_far.snapshot())))
    assert np.array_equal(again.regions().label, so_far.regions().label)
    assert np.array_equal(again.regions().confidence, so_far.regions().confidence)
    again.set_shares(np.eye(3)[2 - truth], np.full((100, 3), 0.01))
    assert np.array_equal(again.regions().label, 2 - truth)


@pytest.mark.parametrize("axes", [("x",), ("x", "y"), ("a", "b", "c")])
def test_pictures_of_every_kind_of_map_are_drawn(axes, tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="pictures need matplotlib (extra train)")
    random = np.random.default_rng(3)
    so_far = PhaseMapSoFar(axes, 3)
    for place in random.dirichlet(np.ones(3), 30):
        so_far.add(dict(zip(axes, place, strict=False)), random.dirichlet(np.ones(2)), [0.1, 0.1])
    path = draw_map(
        so_far, tmp_path / "map.png", ["one", "two"], title="so far", beside=("known", [0, 1, 1] * 10)
    )
    picture = image.imread(path)
    assert picture.shape[0] > 500
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 100


def test_the_rand_index_counts_pairs_and_is_zero_by_chance():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert adjusted_rand_index(labels, ["b", "b", "c", "c", "a", "a"]) == 1.0
    # worked by hand: pairs together in both 1, in one 3 and 3, of 15
    assert adjusted_rand_index(labels, [0, 0, 1, 2, 1, 2]) == pytest.approx((1 - 9 / 15) / (3 - 9 / 15))
    random = np.random.default_rng(0)
    by_chance = [
        adjusted_rand_index(random.integers(0, 4, 200), random.integers(0, 4, 200)) for _ in range(50)
    ]
    assert abs(np.mean(by_chance)) < 0.01


def test_known_regions_are_drawn_in_the_colours_of_the_regions_they_share_most_points_with():
    pytest.importorskip("matplotlib", reason="pictures need matplotlib (extra train)")
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    so_far = PhaseMapSoFar(("x",), 3)
    for x in range(12):
        so_far.add({"x": float(x)}, np.eye(3)[x // 4], np.full(3, 0.01))
    found = so_far.regions().label
    known = np.array([2] * 4 + [0] * 4 + [1] * 4)
    axes = Figure().subplots()
    draw_regions(axes, so_far, known, ["a", "b", "c"], colour=matched_colours(found, known))
    tab = colormaps["tab10"]
    drawn = {c.get_label()[0]: tuple(c.get_facecolor()[0]) for c in axes.collections}
    assert drawn == {"c": tab(0), "a": tab(1), "b": tab(2)}
    # a fourth known region has no colour of a found one
    assert sorted(matched_colours(found, np.arange(12) // 3).tolist())[-1] >= 3
