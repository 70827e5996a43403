"""The analyst's notebook runs from top to bottom, and what it says is true."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial" / "analyst.ipynb"


@pytest.fixture(scope="module")
def names():
    """Execute the cells one after the other, as a kernel does."""
    import matplotlib

    matplotlib.use("Agg")
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    space: dict = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}:{cell['id']}", "exec"), space)
    return space


def test_the_run_is_found_by_its_sample_and_answered_completely(names):
    assert len(names["catalog"]) == 2 and names["run"].start["sample"] == "ore 2"
    assert names["outcome"].good and names["outcome"].ledger["done"] == 9
    assert names["results"].sizes["seq_num"] == 9
    assert names["results"].attrs["raw_uid"] == names["run"].uid


def test_the_numbers_are_those_of_the_simulated_sample(names):
    results, points = names["results"], names["points"]
    np.testing.assert_allclose(results.sample_x, [p.x_mm for p in points], atol=0.1)
    believed = results.in_domain.values
    assert believed.sum() >= 7
    for k, phase in enumerate(("corundum", "zincite", "fluorite", "brucite")):
        truth = np.array([p.fractions[k] for p in points])
        assert np.abs(results[phase].values - truth)[believed].max() < 0.08


def test_the_comparison_and_the_plots_are_there(names):
    comparison, folder = names["comparison"], names["folder"]
    assert comparison.common == 9 and comparison.models == ("at work", "candidate")
    assert any(q.rms_difference > 1e-4 for q in comparison.quantities)
    assert (folder / "map.png").stat().st_size > 5000
    assert (folder / "report" / "comparison.html").stat().st_size > 20_000


def test_the_notebook_is_stored_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(c.get("outputs") or c.get("execution_count") for c in cells)
