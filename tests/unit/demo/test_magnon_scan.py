"""The demo's magnet: the truth within the model's ranges, exactly the points asked for, counts where they belong."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from streamproc.demo.magnon.experiment import Magnon
from streamproc.demo.magnon.scan import (
    ENERGIES_MEV,
    POINTS_PER_COLUMN,
    couplings,
    expected_counts,
    read_truth,
    scan_points,
    write_truth,
)
from streamproc.demo.options import DemoOptions
from streamproc.errors import ConfigurationError


def band(h: float, k: float, j: float, j2: float, d: float) -> float:
    """Closed form of the square lattice, S = 1: two-sublattice antiferromagnet with J2 and D S_z^2."""
    c = [math.cos(2 * math.pi * v) for v in (h, k)]
    a = 4 * j - 4 * j2 * (1 - c[0] * c[1]) - 2 * d
    b = 2 * j * (c[0] + c[1])
    return math.sqrt(a * a - b * b)


@pytest.mark.parametrize("points", [1, 29, 30, 31, 480])
def test_a_scan_has_exactly_the_points_asked_for_and_scans_energy_at_constant_q(points: int) -> None:
    found = scan_points(points)
    assert [p.index for p in found] == list(range(points))
    assert len({(p.hkl, p.energy_meV) for p in found}) == points
    for before, after in pairwise(found):
        assert after.energy_meV > before.energy_meV or after.hkl != before.hkl
    with pytest.raises(ValueError, match="at least 1"):
        scan_points(0)


def test_seeds_choose_different_magnets_that_the_model_was_trained_for(tmp_path: Path) -> None:
    from streamproc.models.excitations.maps.example import example_case

    parameters = example_case("magnon-square").parameters
    low, high = parameters.bounds()
    end = ENERGIES_MEV[-1] + 0.5 * (ENERGIES_MEV[1] - ENERGIES_MEV[0])
    made = [couplings(seed) for seed in range(40)]
    for values in made:
        free = np.array([values[n] for n in parameters.free]) / end
        assert (free > low).all() and (free < high).all()
    assert len({round(v["J"], 6) for v in made}) == 40
    write_truth(tmp_path / "truth.json", 7)
    assert read_truth(tmp_path / "truth.json").couplings == couplings(7)


def test_the_counts_peak_where_the_closed_form_has_its_band() -> None:
    points = scan_points(16 * POINTS_PER_COLUMN)
    total, energies = np.zeros(POINTS_PER_COLUMN), np.array(ENERGIES_MEV)
    off = []
    for seed in range(4):
        counts = expected_counts(points, seed).reshape(16, POINTS_PER_COLUMN)
        total += counts.sum(0)
        for column in range(4, 12):
            h, k, _ = points[column * POINTS_PER_COLUMN].hkl
            there = band(h, k, *couplings(seed).values())
            near = np.abs(energies - there) < 1.0
            if near.sum() > 3:
                weight = np.clip(counts[column, near] - np.median(counts[column]), 0, None)
                off.append(float(weight @ energies[near] / weight.sum() - there))
    assert len(off) > 20 and abs(np.mean(off)) < 0.12 and np.std(off) < 0.35
    assert expected_counts(points, 1).tolist() == expected_counts(points, 1).tolist()


def test_storage_of_frames_is_refused_for_counts() -> None:
    with pytest.raises(ConfigurationError, match="--storage tiff"):
        Magnon(DemoOptions("magnon", storage="tiff"))
