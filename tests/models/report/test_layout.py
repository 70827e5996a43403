from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure
from streamproc.models.report.evidence import Quantities
from streamproc.models.report.figures import coverage
from streamproc.models.report.parity import parity
from streamproc.models.report.style import WIDTH_IN, short
from streamproc.models.report.wrapping import column_widths, text_width, wrap

_TEXT = "corundum and a-word-that-is-far-too-long-for-any-line-of-this-width then zincite " * 3


def drawn(drawing):
    figure = Figure((WIDTH_IN, drawing.height_in))
    drawing.draw(figure)
    return figure


def test_wrapped_lines_fit_and_lose_no_letter():
    lines = wrap(_TEXT, 9, 1.5)
    assert all(text_width(line, 9) <= 1.5 for line in lines)
    assert "".join(lines).replace(" ", "") == _TEXT.replace(" ", "")
    assert wrap("", 9, 1.5) == [""]


def test_columns_fill_no_more_than_the_page_and_narrow_ones_get_what_they_need():
    rows = [("n", _TEXT, _TEXT), ("12345", "x", "y")]
    widths = column_widths(rows, 8, 6.8, 0.16)
    assert sum(widths) + 2 * 0.16 == pytest.approx(6.8)
    assert widths[0] == pytest.approx(text_width("12345", 8, bold=True)) and widths[1] == widths[2]


def test_a_cut_name_keeps_both_ends():
    assert short("rock salt LiMnO2 (Fm-3m, 4046)", 12) == "rock … 4046)"
    assert len(short("x" * 50, 12)) == 12 and short("abc", 12) == "abc"


def test_a_quantity_over_decades_is_drawn_logarithmically_with_relative_errors():
    random = np.random.default_rng(1)
    truth = 10 ** random.uniform(12, 16, (500, 1))
    value = truth * 1.1
    where = np.ones((500, 1), bool)
    found = Quantities(
        ("density",), ("m^-2",), truth, value, 0.1 * truth, 0.8 * truth, 1.2 * truth, where
    )  # fmt: skip
    panel, strip = drawn(parity(found, None, "held-out ones")[0]).axes
    assert panel.get_xscale() == panel.get_yscale() == "log"
    assert panel.get_title() == "density\n10 % of the truth"
    assert strip.get_ylim()[0] < 0.1 < strip.get_ylim()[1] < 1


def test_few_answers_carry_their_sigma_and_many_are_a_density(make_evidence):
    for n, bars, meshes in ((20, True, 0), (3000, False, 1)):
        panel = drawn(parity(make_evidence(2, n).simulated, None, "ones")[0]).axes[0]
        assert bool(panel.containers) is bars
        assert sum(type(c).__name__ == "QuadMesh" for c in panel.collections) == meshes


@pytest.mark.parametrize(("p", "count"), [(1, 1), (4, 1), (20, 1), (21, 2), (56, 3)])
def test_every_quantity_has_its_panel(make_evidence, p, count):
    found = make_evidence(p, 30).simulated
    drawings = parity(found, None, "ones")
    assert len(drawings) == count
    titles = [a.get_title() for d in drawings for a in drawn(d).axes if a.get_title()]
    assert len(titles) == p


def test_answers_without_any_uncertainty_have_no_coverage_figure(make_evidence):
    found = make_evidence(2, 30).simulated
    gone = np.full_like(found.sigma, np.nan)
    assert coverage(replace(found, sigma=gone, low90=gone, high90=gone), None, "ones") == []
    assert len(coverage(found, None, "ones")) == 2
