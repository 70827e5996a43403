"""Differences against numbers worked out by hand, and by a loop over points."""

from __future__ import annotations

import json
import math

import pytest

from streamproc.comparison.comparison import Timing
from streamproc.comparison.judge import compare_tables
from streamproc.comparison.page import write_report
from streamproc.errors import ConfigurationError
from streamproc.export import read_table
from tests.unit.export.runs import Hashes, answer, raw_run, result_documents

MODELS = ("qpa:1", "qpa:2")


def pair(offsets, sigmas=0.01, out_first=(), out_second=(), seq_second=None):
    """Return tables of two models; the second's values are off by ``offsets`` (by seq_num)."""
    numbers = sorted(offsets)
    first = {n: answer(n, sigma=0.01, in_domain=n not in out_first) for n in numbers}
    second = {n: answer(n, offset=offsets[n], sigma=sigmas, in_domain=n not in out_second) for n in numbers}
    a = result_documents(seq_nums=numbers, answers=first)
    b = result_documents(seq_nums=seq_second or numbers, answers=second, provenance=Hashes.b)
    return read_table(a), read_table(b)


def test_the_same_answers_agree_to_the_last_bit():
    c = compare_tables(*pair(dict.fromkeys(range(1, 6), 0.0)), models=MODELS)
    (q,) = c.quantities
    assert (q.points, q.beyond, q.largest_z, q.rms_difference) == (5, 0, 0.0, 0.0)
    assert c.differing_points == 0 and c.share == 0.0 and c.in_domain["both"] == 5


def test_differences_are_in_combined_uncertainties():
    offsets = {1: 0.0, 2: 0.02, 3: -0.1, 4: 0.005}
    first, second = pair(offsets, sigmas=0.03)
    c = compare_tables(first, second, models=MODELS, threshold=3.0)
    (q,) = c.quantities
    sigma = math.hypot(0.01, 0.03)
    assert q.median_sigma == pytest.approx(sigma)
    assert q.mean_difference == pytest.approx(sum(offsets.values()) / 4)
    assert q.rms_difference == pytest.approx(math.sqrt(sum(v * v for v in offsets.values()) / 4))
    assert (q.largest_difference, q.at_seq_num) == (pytest.approx(-0.1), 3)
    assert q.largest_z == pytest.approx(-0.1 / sigma)
    (d,) = c.differing
    assert (d.seq_num, d.quantity, d.motors) == (3, "share", {"x": 1.0})
    assert c.share == 0.25


@pytest.mark.parametrize(("threshold", "count"), [(0.5, 3), (1.0, 2), (5.0, 1), (8.0, 0)])
def test_the_threshold_counts_points_as_a_loop_does(threshold, count):
    first, second = pair({1: 0.0, 2: 0.02, 3: -0.1, 4: 0.0099})
    c = compare_tables(first, second, models=MODELS, threshold=threshold)
    sigma = math.hypot(0.01, 0.01)
    by_hand = sum(abs(v) / sigma > threshold for v in (0.0, 0.02, -0.1, 0.0099))
    assert c.differing_points == by_hand == count


def test_points_that_one_model_is_not_to_be_believed_for_do_not_count():
    offsets = dict.fromkeys(range(1, 7), 0.5)
    first, second = pair(offsets, out_first=(1, 2), out_second=(2, 3))
    c = compare_tables(first, second, models=MODELS)
    assert c.in_domain == {"both": 3, "only_first": 1, "only_second": 1, "neither": 1}
    assert (c.quantities[0].points, c.differing_points) == (3, 3)


def test_points_that_only_one_answered_are_counted_and_not_compared():
    first, second = pair(dict.fromkeys(range(1, 6), 0.0), seq_second=(2, 3, 5))
    c = compare_tables(first, second, models=MODELS)
    assert (c.common, c.only_first, c.only_second) == (3, 2, 0)
    assert c.seq_nums.tolist() == [2, 3, 5]


def test_runs_without_a_common_point_or_of_different_runs_are_no_agreement():
    first, second = pair({1: 0.0, 2: 0.0}, out_first=(1,), out_second=(2,))
    c = compare_tables(first, second, models=MODELS)
    assert c.in_domain["both"] == 0 and math.isnan(c.quantities[0].largest_z)
    other = read_table(result_documents(raw_run("raw-run-0009")))
    with pytest.raises(ConfigurationError, match="two runs"):
        compare_tables(first, other, models=MODELS)


def test_the_report_says_in_every_form_what_was_found(tmp_path):
    from PIL import Image

    first, second = pair({1: 0.0, 2: 0.02, 3: -0.1, 4: 0.0}, out_first=(4,))
    timings = (Timing(4, 1.5, 2.5, 300.0), Timing(4, 3.0, 4.0, 150.0))
    c = compare_tables(first, second, models=("a<b>", "qpa:2"), timings=timings)
    written = write_report(c, tmp_path / "report")
    assert {p.name for p in written} == {
        "comparison.html", "comparison.png", "comparison.json", "differing.csv",
    }  # fmt: skip
    page = (tmp_path / "report" / "comparison.html").read_text()
    assert "a&lt;b&gt;" in page and "a<b>" not in page
    assert "1 of 3 points" in page and "data:image/png;base64," in page and "300" in page
    with Image.open(tmp_path / "report" / "comparison.png") as image:
        assert min(image.size) > 300 and len(image.convert("RGB").getcolors(1 << 20)) > 10
    stored = json.loads((tmp_path / "report" / "comparison.json").read_text())
    assert stored["differing"][0]["seq_num"] == 3 and stored["share"] == pytest.approx(1 / 3)
    lines = (tmp_path / "report" / "differing.csv").read_text().splitlines()
    assert lines[0].startswith("seq_num,x,quantity") and len(lines) == 2
