"""Rings over azimuth: densities of fibre textures, zones, backgrounds, statistics, and a library of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

from streamproc.models.defects.cake.detector import expected_heights
from streamproc.models.defects.cake.fibre import (
    cosines_to_axis,
    fibre_density,
    pole_density,
    ring_cosines,
    texture_strength,
)
from streamproc.models.defects.cake.heights import AZIMUTHS, ZONES, ring_heights
from streamproc.models.defects.cake.library import CakeSystem, build_cakes, densities, draw_cake
from streamproc.models.defects.cake.ranges import CakeRanges, Scene, targets_of
from streamproc.models.defects.cake.reading import grains_of, ring_zones
from streamproc.models.defects.cake.rings import Rings, members_of, rings_of
from streamproc.models.defects.cake.statistics import points_of, statistics_of
from streamproc.models.defects.spotty import GrainStatistics, draw_spots, expected_spots
from streamproc.models.powder.crystal import Site, Structure
from streamproc.models.powder.optics import CU_KA1_A
from streamproc.models.powder.simulate import march_factor
from streamproc.models.powder.structures import structure

from streamproc.errors import ConfigurationError

COPPER = rings_of(structure("copper"), CU_KA1_A)
SCENE = Scene(1e5, 0.3, 0.3, 0.6, 0.1, (1, 1, 1), np.pi / 2, 0.0)


def test_along_the_fibre_the_density_is_the_march_factor_and_over_the_sphere_its_mean_is_one() -> None:
    members = cosines_to_axis(members_of(np.array([2, 2, 0])), (1, 1, 1))
    along = pole_density(members, np.array([1.0]), 0.6)[0]
    assert along == pytest.approx(march_factor(members[None], 0.6)[0], rel=1e-6)
    assert pole_density(members, np.linspace(0, 1, 4001), 0.6).mean() == pytest.approx(1.0, abs=2e-3)


def test_pole_densities_are_those_of_crystals_turned_at_random() -> None:
    """Crystal axes are drawn by rejection from March's density, poles put anywhere about them."""
    rng = np.random.default_rng(1)
    cosine = rng.uniform(-1, 1, 2_000_000)
    kept = cosine[rng.random(cosine.size) < fibre_density(cosine**2, 0.6) / fibre_density(np.array(1.0), 0.6)]
    gamma, turn = np.arccos(1 / 3), rng.uniform(0, 2 * np.pi, kept.size)
    pole = kept * np.cos(gamma) + np.sqrt(1 - kept**2) * np.sin(gamma) * np.cos(turn)
    seen, edges = np.histogram(np.abs(pole), bins=8, range=(0, 1))
    centre = (edges[1:] + edges[:-1]) / 2
    expected = pole_density(np.array([1 / 3]), centre, 0.6)
    np.testing.assert_allclose(seen / seen.mean(), expected, rtol=0.03)


def test_the_strength_is_the_departure_of_the_density_from_random() -> None:
    u = (np.arange(200_000) + 0.5) / 200_000
    for r in (0.4, 0.8, 1.5):
        assert texture_strength(r) ** 2 == pytest.approx(np.mean((fibre_density(u**2, r) - 1) ** 2), rel=1e-4)
    assert texture_strength(1.0) == 0


def test_scattering_vectors_of_a_ring_go_round_the_beam() -> None:
    """cos psi against the angle between two explicit vectors."""
    azimuth, sine, tilt, turn = np.linspace(0, 6, 7), 0.3, 0.7, 0.4
    cosine = np.sqrt(1 - sine**2)
    q = np.stack([cosine * np.cos(azimuth), cosine * np.sin(azimuth), np.full(7, -sine)])
    axis = np.array([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)])
    np.testing.assert_allclose(ring_cosines(sine, azimuth, tilt, turn), axis @ q, atol=1e-12)


def test_rings_are_the_first_that_stand_alone_with_zones_that_do_not_overlap() -> None:
    assert COPPER.hkl.tolist() == [[1, 1, 1], [2, 0, 0], [2, 2, 0], [3, 1, 1], [2, 2, 2]]
    assert COPPER.multiplicity.tolist() == [8, 6, 12, 24, 8]
    assert COPPER.q_invA[0] == pytest.approx(2 * np.pi * np.sqrt(3) / 3.6149)
    zones = ring_zones(COPPER).reshape(-1, 2)
    ordered = zones[np.argsort(zones[:, 0])]
    assert (ordered[1:, 0] >= ordered[:-1, 1]).all() and (zones[:, 1] > zones[:, 0]).all()
    told = Rings.of_card(COPPER.told())
    np.testing.assert_allclose(ring_zones(told), ring_zones(COPPER), rtol=1e-4)
    for mine, theirs in zip(told.members, COPPER.members, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(mine[: len(mine) // 2], -mine[len(mine) // 2 :])


def test_crystals_without_rings_to_read_are_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match="cakes are read for cubic crystals"):
        rings_of(structure("zincite"), CU_KA1_A)
    low = Structure("pyrite like", "P a -3", (5.4, 5.4, 5.4, 90.0, 90.0, 90.0), (Site("Fe", 0, 0, 0), Site("S", 0.385, 0.385, 0.385)), 0.3, (1, 0, 0), "")  # fmt: skip
    with pytest.raises(ConfigurationError, match="m-3m"):
        rings_of(low, CU_KA1_A)
    with pytest.raises(ConfigurationError, match="does not describe rings"):
        Rings.of_card({"material": "copper"})


def test_spots_follow_the_density_and_many_grains_scatter_as_counted_ones() -> None:
    rng = np.random.default_rng(3)
    density = 1 + 0.8 * np.cos(np.arange(360) * 2 * np.pi / 180)[None]
    few = np.mean([draw_spots(rng, np.array([500.0]), density, 0.5, 0.2) for _ in range(400)], axis=0)
    # 400 x 1.4 spots a bin whose volumes scatter: some 6 %
    assert np.corrcoef(few[0], density[0])[0, 1] > 0.98
    flat = np.ones((1, 360))
    totals = {n: np.array([draw_spots(rng, np.array([n]), flat, 0.5, 0.2).mean() for _ in range(600)])
              for n in (19_000.0, 21_000.0)}  # fmt: skip
    for n, values in totals.items():  # counted one by one below 20000, by moments above
        assert values.mean() == pytest.approx(1, abs=2e-3)
        assert values.std() == pytest.approx(np.sqrt(np.exp(9 * 0.04) / n), rel=0.1)


def test_the_grains_in_the_beam_are_those_that_the_spots_were_drawn_from() -> None:
    from streamproc.models.defects.material import material_of

    statistics = GrainStatistics(grains=12_345, acceptance_deg=0.4)
    spots = expected_spots(material_of(structure("copper"), CU_KA1_A), CU_KA1_A, statistics)[0]
    assert grains_of(spots, COPPER, CU_KA1_A, 0.4) == pytest.approx(12_345, rel=1e-6)


def zones_of(line: np.ndarray, ground: np.ndarray, pixels: float = 40.0) -> tuple[np.ndarray, np.ndarray]:
    """Expected counts and normalisation of rings over a background."""
    norm = np.ones((*line.shape[:-1], ZONES, AZIMUTHS)) * np.array([1.0, 0.6, 0.8])[:, None] * pixels
    mean = np.stack([line + ground, ground, ground], -2) * norm
    return mean, norm


def test_heights_are_over_the_background_with_the_variance_of_counts_whatever_the_gain() -> None:
    rng = np.random.default_rng(4)
    line = np.ones((300, 2, AZIMUTHS)) * 10.0
    ground = 3 * (1 + 0.3 * np.cos(np.arange(AZIMUTHS) * 2 * np.pi / AZIMUTHS))
    mean, norm = zones_of(line, np.broadcast_to(ground, line.shape))
    for gain in (1.0, 7.0):
        signal = gain * rng.poisson(mean)
        found = ring_heights(signal, signal, norm)
        assert found.valid.all()
        assert found.height.mean() == pytest.approx(gain * 10, rel=0.01)
        assert found.height.std(0).mean() ** 2 == pytest.approx(found.variance.mean(), rel=0.05)


def test_cells_without_pixels_are_left_out_and_change_nothing_else() -> None:
    mean, norm = zones_of(np.full((2, AZIMUTHS), 10.0), np.full((2, AZIMUTHS), 3.0))
    whole = ring_heights(mean, mean, norm)
    gap = np.ones(AZIMUTHS)
    gap[20:40] = 0
    part = ring_heights(mean * gap, mean * gap, norm * gap)
    assert not part.valid[:, 20:40].any() and part.valid[:, :20].all() and part.valid[:, 40:].all()
    np.testing.assert_allclose(part.height[part.valid], whole.height[part.valid])
    assert (part.height[~part.valid] == 0).all()


def read(cake: np.ndarray, **changes: float) -> np.ndarray:
    mean, norm = zones_of(cake * 10, np.full(cake.shape, 3.0), **changes)
    sine = np.array(0.1)
    return statistics_of(ring_heights(mean, mean, norm), expected_heights(COPPER, sine), sine)


def test_statistics_do_not_change_when_the_detector_turns_or_the_exposure_is_longer() -> None:
    cake = draw_cake(np.random.default_rng(5), COPPER, replace(SCENE, spots=300))
    found = read(cake)
    assert found.x.shape == (points_of(5),) and found.seen.all()
    np.testing.assert_allclose(read(np.roll(cake, 37, -1)).x, found.x, atol=1e-5)
    np.testing.assert_allclose(read(np.roll(cake, 37, -1)).odd, found.odd, rtol=1e-5)


def test_a_shadow_is_seen_on_one_side_and_a_texture_on_both() -> None:
    turn = (np.arange(AZIMUTHS) + 0.5) * 2 * np.pi / AZIMUTHS
    texture = densities(COPPER, replace(SCENE, march_r=0.5), turn)
    assert np.ptp(texture[0]) > 0.5
    plain = read(texture).odd
    shadow = read(texture * np.where(turn < 2.1, 0.5, 1.0)).odd
    assert shadow > 20 * max(plain, 1.0)


def test_rings_that_are_too_weak_or_hardly_covered_are_not_read() -> None:
    cake = np.ones((5, AZIMUTHS))
    cake[3] = 1e-6
    mean, norm = zones_of(cake * 10, np.full(cake.shape, 3.0))
    share = np.ones((5, 1, AZIMUTHS))
    share[4, :, 30:] = 0
    found = statistics_of(ring_heights(mean * share, mean * share, norm * share), np.ones(5), np.array(0.1))
    assert found.seen.tolist() == [True, True, True, False, False]
    assert np.isfinite(found.x).all()


def test_a_library_is_the_same_for_the_same_seed_and_asks_what_was_drawn() -> None:
    system = CakeSystem(COPPER)
    first, again = build_cakes(system, 40, 7), build_cakes(system, 40, 7)
    np.testing.assert_array_equal(first.x, again.x)
    assert first.sha256() == again.sha256() != build_cakes(system, 40, 8).sha256()
    assert np.isfinite(first.x).all() and 20 < len(first) <= 40
    smooth = CakeSystem(COPPER, CakeRanges(absent_share=1.0))
    assert (build_cakes(smooth, 20, 1).targets[:, 0] == 0).all()
    texture, scatter, spots = targets_of(SCENE)
    assert (texture, spots) == (texture_strength(0.6), np.log(1e5))
    assert np.exp(scatter) == pytest.approx(np.sqrt(np.exp(9 * 0.09) / 1e5))
