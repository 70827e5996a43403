from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streamproc.models.report.evidence import Presence, Quantities, Signals
from streamproc.models.report.scores import (
    combined_signal,
    coverage90,
    item_aurocs,
    pooled_f1,
    quantity_scores,
    share_bands,
    unit_groups,
)


def quantities(units, truth, value, half=1.0):
    truth, value = np.array(truth, float), np.array(value, float)
    names = tuple(f"q{k}" for k in range(truth.shape[1]))
    sigma, where = np.full(truth.shape, half / 1.645), np.ones(truth.shape, bool)
    return Quantities(names, units, truth, value, sigma, value - half, value + half, where)


def test_quantities_of_different_units_are_never_pooled():
    found = quantities(("nm", "%", "nm"), [[10, 1, 20]], [[12, 1.5, 21]])
    assert unit_groups(found) == {"nm": [0, 2], "%": [1]}
    means = {s.units: s.value for s in quantity_scores(found, "patterns") if s.name.startswith("mean error")}
    assert means == {"nm": 1.5, "%": 0.5}


def test_the_mean_error_is_given_also_of_what_is_there_alone():
    found = quantities(("wt%", "wt%"), [[10, 0], [0, 20]], [[12, 0], [0, 24]])
    values = {s.name: s.value for s in quantity_scores(found, "patterns")}
    assert values["mean error"] == 1.5 and values["mean error of what is there"] == 3.0
    assert values["largest error"] == 4.0


def test_meaningless_and_nan_answers_are_left_out():
    found = quantities(("wt%",), [[1.0], [2.0], [3.0]], [[1.5], [np.nan], [90.0]])
    found = replace(found, meaningful=np.array([[True], [True], [False]]))
    scores = {s.name: s for s in quantity_scores(found, "patterns")}
    assert scores["mean error"].value == 0.5 and scores["mean error"].counted == "1 values in 1 patterns"
    assert found.asked().sum() == 2


def test_coverage_counts_the_edge_of_an_interval_as_inside_and_an_interval_of_nan_not_at_all():
    found = quantities(("",), [[1.0], [1.0], [1.0]], [[2.0], [2.1], [1.0]])
    low = found.low90.copy()
    low[2] = np.nan
    inside, used = coverage90(replace(found, low90=low))
    assert inside.ravel().tolist() == [True, False, False] and used.ravel().tolist() == [True, True, False]


def test_the_auroc_of_an_item_leaves_traces_out():
    truth = np.array([[True], [True], [False], [False]])
    probability = np.array([[0.9], [0.0], [0.2], [0.4]])
    found = Presence(("a",), truth, probability, np.array([[10.0], [0.5], [0], [0]]))
    assert item_aurocs(found)[0] == 0.5
    assert item_aurocs(replace(found, least_amount=2.0))[0] == 1.0


def test_f1_counts_over_all_items_at_the_threshold():
    truth = np.array([[True, False], [True, True], [False, False]])
    probability = np.array([[0.9, 0.7], [0.2, 0.5], [0.1, np.nan]])
    found = pooled_f1(Presence(("a", "b"), truth, probability, truth * 1.0), "F1")
    assert found.value == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))


def test_the_combined_signal_is_positive_exactly_where_any_limit_is_passed():
    random = np.random.default_rng(3)
    usual, foreign = random.normal(size=(300, 3)), random.normal(0.7, 1, (200, 3))
    foreign[::7, 1] = np.nan
    found = Signals(("a", "b", "c"), usual, foreign, np.ones(200), np.array([1.5, np.nan, -0.2]))
    for values in (usual, foreign):
        over = [any(v > lim for v, lim in zip(row, found.limits, strict=True)) for row in values]
        assert ((combined_signal(found, values) > 0) == over).all()


def test_foreign_shares_fall_into_the_bands_named():
    share = np.array([0.02, 0.05, 0.10, 0.11, 0.3, 1.0])
    found = Signals(("a",), np.zeros((200, 1)), np.ones((6, 1)), share, np.array([0.5]))
    bands = share_bands(found, np.zeros(200), np.array([1.0, 1, 0, 1, 1, 1]))
    assert bands == [("0-2 %", 1, 1.0), ("2-10 %", 2, 0.5), ("10-30 %", 2, 1.0), ("60-100 %", 1, 1.0)]
