from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scipy.stats import norm
from streamproc.models.report import metrics


@pytest.fixture
def random():
    return np.random.default_rng(5)


def test_auroc_is_the_share_of_pairs_in_the_right_order_with_ties_counted_half(random):
    negative, positive = random.integers(0, 9, 37).astype(float), random.integers(3, 14, 23).astype(float)
    pairs = [(p > n) + 0.5 * (p == n) for n in negative for p in positive]
    assert metrics.auroc(negative, positive) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_auroc_of_two_normal_laws_is_the_known_integral(random):
    found = metrics.auroc(random.normal(size=40000), random.normal(1.2, 1, 40000))
    assert found == pytest.approx(norm.cdf(1.2 / np.sqrt(2)), abs=0.005)


def test_auroc_without_one_kind_is_nan():
    assert np.isnan(metrics.auroc(np.empty(0), np.ones(3)))
    assert np.isnan(metrics.auroc(np.ones(3), np.empty(0)))


def test_the_roc_counts_both_kinds_at_every_threshold_and_encloses_the_auroc(random):
    negative, positive = random.integers(0, 9, 37).astype(float), random.integers(3, 14, 23).astype(float)
    alarms, found = metrics.roc(negative, positive)
    thresholds = sorted(set(negative) | set(positive), reverse=True)
    expected = [(0.0, 0.0)] + [((negative >= t).mean(), (positive >= t).mean()) for t in thresholds]
    np.testing.assert_allclose(np.stack([alarms, found], 1), expected, atol=1e-12)
    assert np.trapezoid(found, alarms) == pytest.approx(metrics.auroc(negative, positive), abs=1e-12)


@pytest.mark.parametrize("false_alarms", [0.0, 0.01, 0.05, 0.2, 1.0])
def test_detection_is_that_of_the_best_threshold_that_keeps_to_the_false_alarms(random, false_alarms):
    negative, positive = random.normal(size=150).round(1), random.normal(1.5, 1, 80).round(1)
    thresholds = [-np.inf, *negative, *positive]
    allowed = [(positive > t).mean() for t in thresholds if (negative > t).mean() <= false_alarms + 1e-12]
    assert metrics.detection_at(negative, positive, false_alarms) == pytest.approx(max(allowed))


def test_normal_coverage_of_normal_errors_is_nominal_and_of_a_too_small_sigma_is_less(random):
    levels = np.array([0.5, 0.68, 0.9, 0.99])
    truth, sigma = random.normal(size=60000), random.uniform(0.5, 2, 60000)
    value = truth + sigma * random.normal(size=60000)
    np.testing.assert_allclose(metrics.normal_coverage(truth, value, sigma, levels), levels, atol=0.006)
    halved = metrics.normal_coverage(truth, value, sigma / 2, levels)
    np.testing.assert_allclose(halved, 2 * norm.cdf(norm.ppf(0.5 + levels / 2) / 2) - 1, atol=0.006)


def test_the_binomial_band_holds_at_least_its_confidence_and_not_when_one_step_narrower():
    n, level = 24, 0.7
    low, high = metrics.binomial_band(np.array([level]), n)
    first, last = round(low[0] * n), round(high[0] * n)
    chance = [comb(n, k) * level**k * (1 - level) ** (n - k) for k in range(n + 1)]
    assert sum(chance[first : last + 1]) >= 0.95
    assert sum(chance[:first]) <= 0.025 < sum(chance[: first + 1])
    assert sum(chance[last + 1 :]) <= 0.025 < sum(chance[last:])


def test_the_wilson_interval_solves_its_quadratic_equation():
    z, hits, n = 1.959964, np.array([3.0, 40, 99]), np.array([10.0, 100, 100])
    for edge in metrics.wilson(hits, n):
        np.testing.assert_allclose((hits / n - edge) ** 2, z**2 * edge * (1 - edge) / n, rtol=1e-9)
    assert [float(v) for v in metrics.wilson(np.array(0), np.array(0))] == [0.0, 1.0]


def test_the_calibration_error_is_the_mean_gap_by_bins(random):
    probability = random.random(500)
    truth = random.random(500) < probability**2
    found = metrics.reliability(probability, truth, 10)
    total = 0.0
    for k in range(10):
        inside = [(p, t) for p, t in zip(probability, truth, strict=True) if int(p * 10) == k]
        assert found.count[k] == len(inside)
        total += abs(sum(p - t for p, t in inside))
    assert metrics.calibration_error(found) == pytest.approx(total / 500, abs=1e-12)


def test_a_probability_of_one_belongs_to_the_last_bin_and_empty_bins_are_nan():
    found = metrics.reliability(np.array([1.0, 1.0, 0.0]), np.array([True, False, False]), 4)
    assert found.count.tolist() == [1, 0, 0, 2]
    assert np.isnan(found.stated[1:3]).all() and found.happened[3] == 0.5


def test_confusion_counts_f1_and_what_is_taken_for_what_agree_with_loops(random):
    truth, claimed = random.random((60, 5)) < 0.3, random.random((60, 5)) < 0.4
    hits, vain, misses, absent = metrics.confusion_counts(truth, claimed)
    matrix = metrics.taken_for(truth, claimed)
    for i in range(5):
        kinds = [(bool(t), bool(c)) for t, c in zip(truth[:, i], claimed[:, i], strict=True)]
        got = (hits[i], vain[i], misses[i], absent[i])
        assert got == tuple(map(kinds.count, [(True, True), (False, True), (True, False), (False, False)]))
        precision, recall = hits[i] / (hits[i] + vain[i]), hits[i] / (hits[i] + misses[i])
        assert metrics.f1(*got[:3]) == pytest.approx(2 * precision * recall / (precision + recall))
        for j in range(5):
            pairs = [
                truth[r, i] and not claimed[r, i] and claimed[r, j] and not truth[r, j] for r in range(60)
            ]
            assert matrix[i, j] == sum(pairs)
    assert np.isnan(metrics.f1(np.array(0), np.array(0), np.array(0)))


def test_errors_are_counted_as_by_hand():
    found = metrics.errors_of(np.array([1.0, 2, 4]), np.array([2.0, 2, 1]))
    assert (found.n, found.mean, found.largest, found.bias) == (3, 4 / 3, 3.0, -2 / 3)
    assert found.rms == pytest.approx(np.sqrt(10 / 3))
    assert np.isnan(metrics.errors_of(np.empty(0), np.empty(0)).mean)


def test_the_bootstrap_spread_of_a_mean_is_that_of_the_standard_error(random):
    values = random.normal(3, 2, 900)
    low, high = metrics.bootstrap_spread(lambda rows: float(values[rows].mean()), 900, draws=3000)
    half = 1.96 * values.std() / 30
    assert low == pytest.approx(values.mean() - half, abs=0.015)
    assert high == pytest.approx(values.mean() + half, abs=0.015)
    assert all(np.isnan(metrics.bootstrap_spread(lambda rows: 1.0, 1)))
