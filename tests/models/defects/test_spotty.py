"""Spotty rings against counting grains one by one, and the closed form of their scatter."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

from streamproc.models.defects.material import material_of
from streamproc.models.defects.spotty import GrainStatistics, draw_rings, expected_spots, graininess
from streamproc.models.powder.optics import CU_KA1_A
from streamproc.models.powder.structures import structure

from streamproc.errors import ConfigurationError

IRON = material_of(structure("iron"), CU_KA1_A)


def test_the_number_of_spots_is_that_of_randomly_turned_grains() -> None:
    """200,000 random plane normals: how many lie on the cone within the acceptance."""
    statistics = GrainStatistics(grains=200_000, acceptance_deg=0.5)
    normals = np.random.default_rng(1).standard_normal((200_000, 3))
    angle = np.rad2deg(np.arccos(normals[:, 2] / np.linalg.norm(normals, axis=1)))
    for row in (0, 2):
        theta = np.rad2deg(np.arcsin(IRON.norm[row] / IRON.a_nm * CU_KA1_A / 20))
        seen = np.sum(np.abs(angle - (90 - theta)) < 0.25) * IRON.multiplicity[row]
        expected = expected_spots(IRON, CU_KA1_A, statistics)[row]
        assert seen == pytest.approx(expected, rel=0.1)


def test_rings_are_one_on_average_and_scatter_as_the_closed_form_says() -> None:
    rng, statistics = np.random.default_rng(2), GrainStatistics(grains=3000, size_sigma=0.2)
    draws = np.array([draw_rings(rng, IRON, CU_KA1_A, statistics).mean(1) for _ in range(1500)])
    expected = graininess(IRON, CU_KA1_A, statistics)
    seen = np.isfinite(expected)
    np.testing.assert_allclose(draws.mean(0)[seen], 1.0, atol=0.05)
    np.testing.assert_allclose(draws.std(0)[seen], expected[seen], rtol=0.12)


def test_many_grains_make_smooth_rings_and_few_make_spots() -> None:
    rng = np.random.default_rng(3)
    smooth = draw_rings(rng, IRON, CU_KA1_A, GrainStatistics(grains=1e7))[0]
    spotty = draw_rings(rng, IRON, CU_KA1_A, GrainStatistics(grains=2e3))[0]
    assert smooth.std() < 0.1
    assert spotty.std() > 1.0
    assert spotty.min() > -1e-9 * spotty.max() - 1e-6


def test_impossible_statistics_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="grains must be positive, got 0"):
        GrainStatistics(grains=0)
