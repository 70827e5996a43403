from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.dashboard.state import Board, Ledger, header_latency_ms

Make = Callable[..., list[tuple[str, dict[str, Any]]]]


def _fold(documents: list[tuple[str, dict[str, Any]]], board: Board | None = None) -> Board:
    board = board or Board()
    for name, doc in documents:
        board.feed(name, doc)
    return board


def test_a_run_is_known_with_its_progress_quantities_and_ledger(documents: Make) -> None:
    run = _fold(documents()).runs["run"]
    assert (run.raw_uid, run.expected, run.count, run.model) == ("raw-run", 6, 6, "m 1 abc")
    assert [q.name for q in run.quantities] == ["corundum", "zincite", "amorphous", "rwp"]
    assert [q.name for q in run.estimates()] == ["corundum", "zincite", "amorphous"]
    assert run.ledger == Ledger(6, 6, 0, 0)
    assert run.ledger.complete
    assert run.points[2].sigmas["corundum"] == 0.01
    assert run.points[2].intervals["corundum"] == pytest.approx((2 / 7 - 0.02, 2 / 7 + 0.02))


def test_two_motors_give_a_grid_with_the_slow_motor_down(documents: Make) -> None:
    grid = _fold(documents()).runs["run"].grid()
    assert grid is not None
    assert [[p.seq_num if p else None for p in row] for row in grid] == [[1, 2, 3], [4, 5, 6]]


def test_the_plans_own_grid_is_used_and_keeps_places_for_what_is_to_come(documents: Make) -> None:
    made = documents()
    made[0][1].update(shape=[2, 3], extents=[[0.0, 1.0], [0.0, 2.0]])
    grid = _fold(made[:4]).runs["run"].grid()
    assert grid is not None
    assert [[p.seq_num if p else None for p in row] for row in grid] == [[1, 2, None], [None, None, None]]


@pytest.mark.parametrize("shape", [[-1, 3], [10**6, 10**6], [0, 0], "ab", [None, 2]])
def test_a_senseless_grid_is_not_drawn(documents: Make, shape: Any) -> None:
    made = documents()
    made[0][1].update(shape=shape, extents=[[0.0, 1.0], [0.0, 2.0]])
    run = _fold(made).runs["run"]
    assert run.grid() is not None
    assert run.count == 6


def test_readback_noise_makes_no_new_rows(documents: Make) -> None:
    made = documents(columns=5, rows=5)
    rng = np.random.default_rng(0)
    for name, doc in made:
        if name == "event":
            doc["data"]["sample_x"] += rng.normal(0, 0.003)
            doc["data"]["sample_y"] += rng.normal(0, 0.003)
    grid = _fold(made).runs["run"].grid()
    assert grid is not None
    assert (len(grid), len(grid[0])) == (5, 5)
    assert all(cell is not None for row in grid for cell in row)


@pytest.mark.parametrize("motors", [0, 1])
def test_without_two_motors_there_is_no_grid(documents: Make, motors: int) -> None:
    run = _fold(documents(motors=motors)).runs["run"]
    assert run.grid() is None
    assert len(run.motors) == motors


def test_interleaved_runs_are_kept_apart(documents: Make) -> None:
    one, other = documents(uid="a"), documents(uid="b", columns=4)
    mixed = [d for d in chain.from_iterable(zip_longest(one, other)) if d is not None]
    board = _fold(mixed)
    assert {u: r.count for u, r in board.runs.items()} == {"a": 6, "b": 8}


def test_a_repeated_answer_counts_once(documents: Make) -> None:
    made = documents()
    assert _fold([*made[:4], *made[2:4], *made[4:]]).runs["run"].count == 6


def test_an_event_page_is_the_same_as_its_events(documents: Make) -> None:
    made = documents()
    events = [doc for name, doc in made if name == "event"]
    page = {
        "descriptor": "run-d", "seq_num": [e["seq_num"] for e in events],
        "data": {k: [e["data"][k] for e in events] for k in events[0]["data"]},
    }  # fmt: skip
    paged = _fold([*made[:2], ("event_page", page), made[-1]]).runs["run"]
    assert paged.points == _fold(made).runs["run"].points


def test_doubtful_answers_are_counted(documents: Make) -> None:
    run = _fold(documents(doubtful=(2, 5))).runs["run"]
    assert run.flagged == 2
    assert run.points[5].reasons == "unknown-material"


def test_failed_and_dropped_readings_are_told_with_reasons(documents: Make) -> None:
    made = documents()
    made[-1][1]["ledger"]["primary"].update(
        done=3, failed=2, dropped=1, failed_reasons=[{"reason": "file missing", "count": 2}],
        dropped_reasons=[{"reason": "newer frames came", "count": 1}],
    )  # fmt: skip
    ledger = _fold(made).runs["run"].ledger
    assert ledger == Ledger(6, 3, 2, 1, (("file missing", 2), ("newer frames came", 1)))
    assert not ledger.complete


def test_a_run_whose_start_was_missed_still_shows_its_answers(documents: Make) -> None:
    run = _fold(documents()[1:]).runs["run"]
    assert (run.count, run.motors, run.expected) == (6, (), None)


def test_runs_and_points_are_bounded(documents: Make) -> None:
    board = Board(max_runs=2, max_points=3)
    for uid in "abc":
        _fold(documents(uid=uid), board)
    assert list(board.runs) == ["b", "c"]
    assert list(board.runs["c"].points) == [4, 5, 6]
    assert board.runs["c"].count == 6


def test_latency_comes_from_the_message_header() -> None:
    assert header_latency_ms([("produced_s", b"1.5"), ("latency_ms", b"12.25")]) == 12.25
    assert header_latency_ms([]) is None
    assert header_latency_ms([("latency_ms", b"soon")]) is None


def test_latency_percentiles_are_of_the_answers(documents: Make) -> None:
    board = Board()
    for i, (name, doc) in enumerate(documents()):
        board.feed(name, doc, 10.0 * i if name == "event" else None)
    assert board.runs["run"].latency_ms(50) == pytest.approx(45.0)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["start", "descriptor", "event", "event_page", "stop", "nonsense"])
KEYS = (
    "uid",
    "run_start",
    "descriptor",
    "data_keys",
    "data",
    "seq_num",
    "hints",
    "shape",
    "extents",
    "ledger",
)


@given(st.lists(st.tuples(NAMES, JUNK | st.dictionaries(st.sampled_from(KEYS), JUNK)), max_size=8))
def test_whatever_comes_never_raises(junk: list[tuple[str, Any]]) -> None:
    board = Board()
    for name, doc in junk:
        board.feed(name, doc)
    for run in board.runs.values():
        run.grid(), run.newest(3), run.estimates()


def test_a_broken_event_is_counted_and_the_next_is_shown(documents: Make) -> None:
    made = documents()
    board = _fold([*made[:2], ("event", {"descriptor": "run-d", "seq_num": "x", "data": 3}), *made[2:]])
    assert (board.refused, board.runs["run"].count) == (1, 6)
    made[3][1]["data"]["corundum"] = "no number"
    assert math.isnan(_fold(made).runs["run"].points[2].values["corundum"])
