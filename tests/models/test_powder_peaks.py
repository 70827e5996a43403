"""The peak search: positions of drawn peaks come back, and noise has no peaks."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.powder.peaks import Doublet, detect_peaks, find_peaks

from streamproc.errors import FrameFailed

X = np.arange(15, 85, 0.02)
SINGLE = Doublet(1.5405929)
PAIR = Doublet(1.5405929, 1.5444274, 0.5)


def gauss(centre: float, fwhm: float, area: float, x: np.ndarray = X) -> np.ndarray:
    return (
        area * np.exp(-4 * np.log(2) * ((x - centre) / fwhm) ** 2) / (fwhm * np.sqrt(np.pi / np.log(2)) / 2)
    )


def second(centre: float) -> float:
    return float(np.rad2deg(2 * np.arcsin(1.5444274 / 1.5405929 * np.sin(np.deg2rad(centre) / 2))))


def noise(kind: str, rng: np.random.Generator) -> np.ndarray:
    n = X.size
    return {
        "many counts": lambda: rng.poisson(1000, n),
        "few counts": lambda: rng.poisson(3, n),
        "hardly any counts": lambda: rng.poisson(0.2, n),
        "falling": lambda: rng.poisson(100 + 3000 * np.exp(-(X - 15) / 8)),
        "hump of glass": lambda: rng.poisson(200 + 300 * np.exp(-(((X - 25) / 5) ** 2))),
        "background taken off": lambda: rng.standard_normal(n),
        "in steps of 25": lambda: np.round(rng.poisson(400, n) / 25) * 25,
        "smoothed by its maker": lambda: np.convolve(rng.poisson(400, n + 4), np.ones(5) / 5, "valid"),
    }[kind]().astype(float)


@pytest.mark.parametrize(
    "kind",
    [
        "many counts", "few counts", "hardly any counts", "falling", "hump of glass", "background taken off",
        "in steps of 25", "smoothed by its maker",
    ],
)  # fmt: skip
def test_noise_has_no_peaks_at_the_chosen_rate(kind: str) -> None:
    rng = np.random.default_rng(1)
    found = sum(len(find_peaks(X, noise(kind, rng), SINGLE, false_alarms=0.05).peaks) for _ in range(40))
    # 2 expected of 40 patterns; 8 or more would have a probability of 0.1 %
    assert found < 8


def test_single_points_that_stand_out_are_no_peaks() -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(10):
        y = rng.poisson(300, X.size).astype(float)
        y[rng.integers(0, X.size, 8)] += 2000
        found += len(find_peaks(X, y, SINGLE).peaks)
    assert found <= 2


def test_positions_and_areas_come_back_within_their_uncertainty() -> None:
    truth = [(22.3, 0.12, 900.0), (31.07, 0.15, 300.0), (44.512, 0.1, 2000.0), (71.9, 0.2, 150.0)]
    pulls = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        y = rng.poisson(200 + sum(gauss(*t) for t in truth)).astype(float)
        found = find_peaks(X, y, SINGLE).peaks
        assert len(found) == 4
        for (centre, fwhm, area), peak in zip(truth, found, strict=True):
            pulls.append((peak.position_deg - centre) / peak.sigma_deg)
            assert peak.fwhm_deg == pytest.approx(fwhm, rel=0.3)
            assert abs(peak.area - area) < 5 * peak.area_sigma + 0.03 * area
    assert 0.6 < np.std(pulls) < 1.4
    assert abs(np.mean(pulls)) < 0.5


def test_spacings_are_braggs() -> None:
    y = 100 + gauss(30.0, 0.1, 500)
    (peak,) = find_peaks(X, y, SINGLE, np.maximum(y, 1)).peaks
    assert peak.d_A == pytest.approx(1.5405929 / (2 * np.sin(np.deg2rad(15.0))), rel=1e-5)


def test_ka2_is_no_peak_of_its_own() -> None:
    truth = (33.0, 57.5, 76.8)
    clean = 80 + sum(gauss(c, 0.1, 600 * 2 / 3) + gauss(second(c), 0.1, 600 / 3) for c in truth)
    y = np.random.default_rng(3).poisson(clean).astype(float)
    found = find_peaks(X, y, PAIR).peaks
    assert [p.position_deg for p in found] == pytest.approx(truth, abs=0.01)
    assert len(find_peaks(X, y, SINGLE).peaks) > 3, (
        "the same pattern shows K-alpha2 where nobody says it is there"
    )


def test_overlapping_peaks_are_told_apart() -> None:
    clean = 50 + gauss(40.0, 0.12, 400) + gauss(40.17, 0.12, 300)
    found = find_peaks(X, np.random.default_rng(4).poisson(clean), SINGLE).peaks
    assert [p.position_deg for p in found] == pytest.approx([40.0, 40.17], abs=0.01)


def test_uneven_axes_and_points_that_are_not_finite_are_understood() -> None:
    rng = np.random.default_rng(5)
    x = np.sort(rng.uniform(15, 85, 3500))
    x = x[np.concatenate([[True], np.diff(x) > 1e-4])]
    y = rng.poisson(100 + gauss(40.0, 0.3, 900, x) + gauss(60.0, 0.3, 900, x)).astype(float)
    y[::97] = np.nan
    assert [p.position_deg for p in find_peaks(x, y, SINGLE).peaks] == pytest.approx([40, 60], abs=0.03)


def test_scaled_counts_have_the_peaks_of_the_counts() -> None:
    y = np.random.default_rng(6).poisson(100 + gauss(40.0, 0.2, 500)).astype(float)
    one, other = find_peaks(X, y, SINGLE).peaks, find_peaks(X, y * 1e-7, SINGLE).peaks
    assert [p.position_deg for p in one] == pytest.approx([p.position_deg for p in other], abs=1e-4)


def test_the_quick_half_finds_what_the_whole_finds() -> None:
    y = np.random.default_rng(7).poisson(100 + gauss(40.0, 0.2, 500) + gauss(50, 0.2, 300)).astype(float)
    assert sorted(c.position_deg for c in detect_peaks(X, y, SINGLE)) == pytest.approx([40, 50], abs=0.05)


@pytest.mark.parametrize("kind", ["zeros", "constant", "one spike", "saturated"])
def test_patterns_without_information_have_no_peaks(kind: str) -> None:
    y = {
        "zeros": np.zeros(X.size), "constant": np.full(X.size, 7.0), "saturated": np.full(X.size, 65535.0),
        "one spike": np.where(np.arange(X.size) == 900, 1e6, 10.0),
    }[kind]  # fmt: skip
    assert find_peaks(X, y, SINGLE).peaks == ()


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (X, X[:-1], "one length"),
        (X[:20], X[:20], "at least 30"),
        (X[::-1], X, "strictly rising"),
        (X + 120, X, "0 to 180"),
        (X, np.full(X.size, np.nan), "0 usable"),
    ],
)
def test_what_is_no_pattern_is_refused_in_a_sentence(x: np.ndarray, y: np.ndarray, says: str) -> None:
    with pytest.raises(FrameFailed, match=says):
        find_peaks(x, y, SINGLE)


def test_the_search_is_deterministic() -> None:
    y = np.random.default_rng(8).poisson(100 + gauss(40.0, 0.2, 500)).astype(float)
    assert find_peaks(X, y, PAIR) == find_peaks(X.copy(), y.copy(), PAIR)
