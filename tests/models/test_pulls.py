"""Quantiles of pulls: what is skewed, or bent by the end of a range, gets intervals and ranks that hold."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import ndtr
from streamproc.models.networks.pulls import PullTables, measured_pulls, uniformity

from streamproc.errors import ConfigurationError
from streamproc.inference.card import Calibration, Pulls

NAMES, FEATURES = ("level", "place"), ("log10_level", "place")


def answers(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and pulls: levels whose error grows with what is found, so too low ones say too small a one;
    places that lie in 0 to 1 and so on one side of those found at an end."""
    rng = np.random.default_rng(seed)
    level = 10 ** rng.uniform(0, 3, n)
    seen = level * rng.gamma(4.0, 1 / 4.0, n)
    truth = rng.random(n)
    found = np.clip(truth + 0.3 * rng.normal(size=n), 0, 1)
    pulls = np.stack([(level - seen) / (seen / 2), (truth - found) / 0.3], 1)
    place = np.stack([np.log10(seen), found], 1)
    return np.stack([place, place], 1), pulls


def calibration(n: int) -> Calibration:
    features, pulls = answers(n, 1)
    found = measured_pulls(features, pulls, NAMES, FEATURES)
    half = [np.quantile(np.abs(pulls), q, axis=0) for q in (0.68, 0.9)]
    q68, q90 = (dict(zip(NAMES, map(float, h), strict=True)) for h in half)
    return Calibration(floor=0.0, q68=q68, q90=q90, limits={}, pulls=found)


@pytest.fixture(scope="module")
def card() -> Calibration:
    return Calibration.model_validate_json(calibration(6000).model_dump_json())


def test_ranks_of_other_answers_are_uniform_where_normal_ones_are_not(card):
    features, pulls = answers(6000, 2)
    low = features[:, 0, 1] < 0.3
    features, pulls = features[low], pulls[low]
    plain = card.model_copy(update={"pulls": {}})
    normal = uniformity(PullTables(plain, NAMES).ranks(features, pulls), NAMES)
    found = uniformity(PullTables(card, NAMES).ranks(features, pulls), NAMES)
    assert all(normal[n]["largest_distance"] > 0.12 for n in NAMES)
    assert all(found[n]["largest_distance"] < 0.05 for n in NAMES)  # both samples have a say: 0.03 by chance


@pytest.mark.parametrize("part", [0, 1, 2])
def test_intervals_hold_nine_of_ten_wherever_an_answer_lies(card, part):
    features, pulls = answers(9000, 3)
    low, high = PullTables(card, NAMES).ends(features)
    for k, feature in enumerate((0, 1)):
        rows = np.array_split(np.argsort(features[:, k, feature]), 3)[part]
        inside = (pulls[rows, k] >= low[rows, k]) & (pulls[rows, k] <= high[rows, k])
        assert 0.87 <= inside.mean() <= 0.94


def test_an_answer_lies_in_its_interval_also_at_the_end_of_a_range(card):
    features = np.array([[[2.0, 0.5], [2.0, 0.0]], [[2.0, 0.5], [2.0, 1.0]], [[9.0, 9.0], [-9.0, -9.0]]])
    low, high = PullTables(card, NAMES).ends(features)
    assert (low <= 0).all() and (high >= 0).all() and np.isfinite(high - low).all()
    assert low[0, 1] == pytest.approx(0.0, abs=0.05) and high[0, 1] > 1.0
    assert high[1, 1] == pytest.approx(0.0, abs=0.05) and low[1, 1] < -1.0


def test_a_card_without_measured_pulls_means_what_it_always_meant():
    plain = Calibration(floor=0.0, q68={"x": 1.1}, q90={"x": 1.9}, limits={})
    tables = PullTables(plain, ["x"])
    low, high = tables.ends(np.zeros((4, 1, 2)))
    assert (low == -1.9).all() and (high == 1.9).all()
    assert tables.ranks(np.zeros((1, 1, 2)), np.array([[1.1]])) == pytest.approx(0.8413, abs=1e-4)


def test_fewer_answers_than_one_place_needs_give_no_quantiles():
    assert calibration(150).pulls == {}
    assert set(calibration(200).pulls) == set(NAMES)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"quantiles": (((0.0, 1.0), (0.0, 1.0)),)}, "two by two"),
        ({"quantiles": (((0.0,), (0.0, 1.0)), ((0.0, 1.0), (0.0, 1.0)))}, "expected 2 of them"),
        ({"levels": (0.95, 0.05)}, "rising"),
        ({"low": (1.0, 0.0)}, "low < high"),
    ],
)
def test_a_grid_that_is_none_is_refused(wrong, said):
    right = {
        "features": FEATURES, "low": (0.0, 0.0), "high": (1.0, 1.0), "levels": (0.05, 0.95),
        "quantiles": (((-1.0, 1.0), (-1.0, 1.0)), ((-1.0, 1.0), (-1.0, 1.0))),
    }  # fmt: skip
    assert Pulls(**right).levels == (0.05, 0.95)
    with pytest.raises(ValidationError, match=said):
        Pulls(**right | wrong)


def test_a_card_whose_grids_do_not_fit_each_other_is_refused(card):
    one = card.pulls["level"]
    short = one.model_copy(update={"quantiles": one.quantiles[:-1]})
    with pytest.raises(ConfigurationError, match="grids differ"):
        PullTables(card.model_copy(update={"pulls": {"level": one, "place": short}}), NAMES)


def test_quantities_with_and_without_measured_pulls_may_stand_in_one_card(card):
    features, pulls = answers(50, 4)
    half = PullTables(card.model_copy(update={"pulls": {"level": card.pulls["level"]}}), NAMES)
    low, high = half.ends(features)
    assert (low[:, 0] == PullTables(card, NAMES).ends(features)[0][:, 0]).all()
    assert high[:, 1] == pytest.approx(np.full(50, card.q90["place"]))
    assert half.ranks(features, pulls)[:, 1] == pytest.approx(ndtr(pulls[:, 1] / card.q68["place"]))
