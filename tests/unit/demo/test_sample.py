from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.demo.sample import composition, grid_points, grid_shape


@given(st.integers(1, 3000))
def test_a_map_of_any_size_fits_a_near_square_grid(points: int) -> None:
    rows, columns = grid_shape(points)
    assert (rows - 1) * columns < points <= rows * columns
    assert columns <= 2 * rows or points < 3


@pytest.mark.parametrize(
    ("points", "shape"), [(1, (1, 1)), (40, (5, 8)), (49, (7, 7)), (7, (3, 3)), (9, (3, 3))]
)
def test_a_complete_rectangle_is_preferred(points: int, shape: tuple[int, int]) -> None:
    assert grid_shape(points) == shape


def test_a_map_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 point"):
        grid_shape(0)


@pytest.mark.parametrize("points", [1, 2, 7, 40])
def test_exactly_n_distinct_points_in_snake_order(points: int) -> None:
    places = grid_points(points, seed=0)
    assert [p.index for p in places] == list(range(points))
    assert len({(p.x_mm, p.y_mm) for p in places}) == points
    columns = grid_shape(points)[1]
    turns = [places[i + 1] for i in range(columns - 1, points - 1, columns)]
    ends = [places[i] for i in range(columns - 1, points - 1, columns)]
    assert all(a.x_mm == b.x_mm and a.y_mm < b.y_mm for a, b in zip(ends, turns, strict=True))


def test_fractions_are_a_composition_and_all_phases_dominate_somewhere() -> None:
    fractions = np.array([p.fractions for p in grid_points(400, seed=0)])
    assert np.allclose(fractions.sum(axis=1), 1.0)
    assert fractions.min() >= 0.0
    assert set(fractions.argmax(axis=1)) == {0, 1, 2, 3}


@pytest.mark.parametrize("seed", range(5))
def test_the_map_has_a_sharp_boundary_and_is_smooth_elsewhere(seed: int) -> None:
    x, y = np.meshgrid(np.linspace(-4.5, 4.5, 61), np.linspace(-4.5, 4.5, 61))
    oxides = composition(x, y, seed)[..., :2].sum(axis=-1)
    steps = np.abs(np.diff(oxides, axis=1))
    assert steps.max() > 10 * np.median(steps)
    assert np.median(steps) < 0.02


def test_the_same_seed_is_the_same_sample_whatever_the_number_of_points() -> None:
    coarse = {(p.x_mm, p.y_mm): p.fractions for p in grid_points(9, seed=3)}
    fine = {(p.x_mm, p.y_mm): p.fractions for p in grid_points(25, seed=3)}
    shared = coarse.keys() & fine.keys()
    assert shared
    assert all(coarse[at] == fine[at] for at in shared)
    assert grid_points(9, seed=3) != grid_points(9, seed=4)
