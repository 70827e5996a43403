"""The blurred first fits: lines that are off by several of their widths are found; the blur against formulas."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gemmi", reason="reflection tables need gemmi (extra demo or train)")

from streamproc.models.powder.fit import (
    ProfileFitter,
    QuickFitter,
    Refined,
    doublet,
    pattern_of,
    phases_of,
    quick_settings,
    reference_of,
    refine_settings,
)
from streamproc.models.powder.fit.coarse import blurred_pattern
from streamproc.models.powder.fit.data import Pattern
from streamproc.models.powder.simulate import (
    CU_KA1_A,
    CU_KA2_A,
    Grain,
    Instrument,
    phase_table,
    render_pattern,
)
from streamproc.models.powder.structures import KNOWN

from streamproc.errors import ConfigurationError

AXIS = np.linspace(20, 100, 2000)
SHARES = {"corundum": 0.35, "zincite": 0.25, "fluorite": 0.2, "brucite": 0.2}
SHARP = {"u_deg2": 0.002, "v_deg2": -0.002, "w_deg2": 0.07**2, "lorentz_x_deg": 0.0, "asymmetry_deg": 0.0}


@pytest.fixture(scope="module")
def tables() -> dict:
    return {name: phase_table(name, CU_KA1_A) for name in KNOWN}


@pytest.fixture(scope="module")
def reference(tables: dict) -> dict:
    return reference_of(tables, CU_KA1_A, CU_KA2_A, 102.0)


@pytest.fixture(scope="module")
def fitters(reference: dict) -> dict[str, QuickFitter]:
    now = quick_settings(doublet(CU_KA1_A, CU_KA2_A))
    made = {"blurred": now, "reference": now.changed(blur=())}
    return {name: QuickFitter(reference, KNOWN, 20.0, 100.0, 2000, s) for name, s in made.items()}


def sharp(tables: dict, seed: int, off: float) -> tuple[np.ndarray, dict[str, float]]:
    """Counts of sharp lines, and the strain of each phase: ``off`` to either side."""
    rng = np.random.default_rng(seed)
    strain = {name: float(off * rng.choice([-1, 1])) for name in SHARES}
    grains = {n: Grain(size_nm=400, cell_scale=(1 + s,) * 3) for n, s in strain.items()}
    shifted = Instrument(zero_deg=rng.uniform(-0.04, 0.04), displacement_mm=rng.uniform(-0.12, 0.12), **SHARP)
    counts = render_pattern(
        AXIS, SHARES, shifted, rng, grains=grains, background=0.03, peak_counts=8000, tables=tables
    )
    return counts, strain


def furthest(fit: Refined, strain: dict[str, float]) -> float:
    off = [abs(fit.phases[n].strain.value - s) for n, s in strain.items()]
    return float(np.max(np.nan_to_num(off, nan=1.0)))


@pytest.mark.parametrize(("off", "missed"), [(0.004, 0), (0.006, 1)])
def test_sharp_lines_whose_cells_are_off_are_found_where_the_reference_cells_miss_them(
    fitters, tables, off, missed
) -> None:
    wrong = dict.fromkeys(fitters, 0)
    for seed in range(5):
        counts, strain = sharp(tables, seed, off)
        x = np.sqrt(counts / counts.max()).astype(np.float32)
        for name, fitter in fitters.items():
            fit = fitter.fit(x)
            wrong[name] += furthest(fit, strain) > 3e-4 or fit.unexplained > 0.1
    assert wrong["blurred"] <= missed < wrong["reference"]


def test_a_refinement_from_nothing_finds_sharp_lines_too(reference, tables) -> None:
    fitter = ProfileFitter(phases_of(reference), refine_settings(doublet(CU_KA1_A, CU_KA2_A)))
    for seed in range(2):
        counts, strain = sharp(tables, seed, 0.006)
        assert furthest(fitter.fit(pattern_of(AXIS, counts)), strain) < 2e-4


def line_at(centre: float, fwhm: float, axis: np.ndarray) -> Pattern:
    half = (axis[1] - axis[0]) / 2
    y = np.exp(-4 * np.log(2) * ((axis - centre) / fwhm) ** 2)
    return Pattern(axis, axis - half, axis + half, y, np.ones(axis.size))


def test_a_blurred_gaussian_is_the_gaussian_of_the_joint_width() -> None:
    axis = np.arange(30.0, 50.0, 0.01)
    at = np.linspace(38.5, 41.5, 61)
    y, _, covered = blurred_pattern(line_at(40.0, 0.3, axis), np.full(axis.size, 0.4), at)
    expected = 0.3 / 0.5 * np.exp(-4 * np.log(2) * ((at - 40) / 0.5) ** 2)
    assert np.abs(y - expected).max() < 0.01
    assert np.allclose(covered, 1.0, atol=0.01)


def test_a_blur_that_grows_along_the_axis_moves_no_line() -> None:
    axis = np.arange(60.0, 100.0, 0.01)
    at = np.arange(75.0, 85.0, 0.02)
    growing = 1.5 * np.tan(np.deg2rad(axis) / 2)
    y, _, _ = blurred_pattern(line_at(80.0, 0.08, axis), growing, at)
    assert (y * at).sum() / y.sum() == pytest.approx(80.0, abs=3e-3)


def test_holes_and_ends_keep_the_level_and_are_said_to_be_covered_in_part() -> None:
    axis = np.arange(20.0, 40.0, 0.02)
    there = (axis < 28) | (axis > 29)
    axis = axis[there]
    flat = Pattern(axis, axis - 0.01, axis + 0.01, np.full(axis.size, 7.0), np.full(axis.size, 7.0))
    y, variance, covered = blurred_pattern(flat, np.full(axis.size, 0.5), np.array([20.0, 24.0, 28.0, 28.5]))
    assert np.allclose(y, 7.0)
    assert covered[:3] == pytest.approx([0.5, 1.0, 0.5], abs=0.03)
    assert covered[3] < 0.1
    # the mean of independent points: sum of squared weights, 1 / (sqrt(pi) 2 sigma) per degree
    sigma = 0.5 / np.sqrt(8 * np.log(2))
    assert variance[1] == pytest.approx(7 * 0.02 / (2 * np.sqrt(np.pi) * sigma), rel=0.03)


def test_a_card_without_the_fit_it_was_calibrated_with_means_the_first_one(reference, tables) -> None:
    old = {k: v for k, v in reference.items() if k != "quick_fit"}
    x = np.sqrt(sharp(tables, 1, 0.004)[0]).astype(np.float32)
    x /= x.max()
    now = quick_settings(doublet(CU_KA1_A, CU_KA2_A))
    first = QuickFitter(reference, KNOWN, 20.0, 100.0, 2000, now.changed(blur=())).fit(x)
    assert QuickFitter(old, KNOWN, 20.0, 100.0, 2000).fit(x).state == first.state
    assert QuickFitter(reference, KNOWN, 20.0, 100.0, 2000).fit(x).state != first.state


def test_a_model_calibrated_with_a_later_fit_is_refused(reference) -> None:
    with pytest.raises(ConfigurationError, match="version 99, this release knows 1, 2"):
        QuickFitter(reference | {"quick_fit": 99}, KNOWN, 20.0, 100.0, 2000)
