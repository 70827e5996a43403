"""Measured series without references: the map of a composition spread, transitions of a ferroelectric."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.consumers._patterns import log_q
from streamproc.models.mapping.scores import adjusted_rand_index
from streamproc.models.mapping.so_far import PhaseMapSoFar
from streamproc.models.series.patterns import PatternWatch
from streamproc.models.unmixing.grid import Grid
from streamproc.models.unmixing.settings import UnmixingSettings
from streamproc.models.unmixing.unmixer import Unmixer, settings_on

pytestmark = pytest.mark.real


def test_the_map_of_fe_ga_pd_agrees_with_the_published_regions_far_beyond_chance(shared_data):
    folder = shared_data / "comb_FeGaPd"
    table = np.loadtxt(folder / "FeGaPd_XRD.txt", delimiter=",")
    composition = np.loadtxt(folder / "FeGaPd_CMP.txt", skiprows=1)
    published = np.loadtxt(folder / "FeGaPd_DFT_regions.txt").astype(int)
    settings = UnmixingSettings(points=500)
    axis = log_q(table[0], "two_theta_deg")
    grid = Grid.of(axis, settings.points)
    unmixer = Unmixer(settings.points, settings_on(grid, settings))
    for pattern, place in zip(table[1:], composition, strict=True):
        unmixer.add(grid.rebin(axis, pattern)[0], place)
    unmixer.estimate()
    so_far = PhaseMapSoFar(("Fe", "Ga", "Pd"), settings.most_components)
    total = unmixer.activations.sum(axis=1, keepdims=True)
    for place, shares, sigma in zip(
        composition, unmixer.activations / total, unmixer.sigma / total, strict=True
    ):
        so_far.add(dict(zip(so_far.axes, place, strict=True)), shares, sigma)
    assert so_far.ternary
    assert 3 <= unmixer.number.number <= 6
    assert np.median(unmixer.residuals) < 0.1
    assert adjusted_rand_index(so_far.regions().label, published) > 0.35


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)], ids=["heating", "cooling"])
def test_transitions_of_barium_titanate_are_told_apart_from_a_jolt_in_either_direction(shared_data, order):
    files = sorted((shared_data / "insitu_BaTiO3").glob("BTO_*K_tth.npy"))[order]
    first = 100
    axis = np.log(np.arange(first, 3488.0))
    grid = Grid.of(axis, 2000)
    watch = PatternWatch("temperature", grid.points)
    for file in files:
        watch.add(float(file.name.split("_")[1][:-1]), grid.rebin(axis, np.load(file).ravel()[first:])[0])
    watch.search()
    gradual = [c.value for c in watch.change_points if c.kind == "gradual"]
    # published: 185, 280, 400 K; in these files the doublets that the last one ends are split up to 425 K
    assert min(abs(t - 185) for t in gradual) <= 10
    assert min(abs(t - 280) for t in gradual) <= 10
    assert min(abs(c.value - 400) for c in watch.change_points) <= 25
    # between 210 and 215 K all lines move alike, and those of ice vanish
    (jolt,) = [c for c in watch.change_points if abs(c.value - 212.5) <= 2.5]
    assert (jolt.kind, "shift" in jolt.quantity) == ("jump", True)
