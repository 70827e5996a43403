from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.loading import analysis_names, find_analysis
from streamproc.testing.conformance import check_analysis

FOLDER = Path(__file__).parents[2] / "consumers"


def test_every_file_of_the_folder_is_found():
    files = {p.stem.replace("_", "-") for p in FOLDER.glob("*.py") if not p.stem.startswith("_")}
    assert set(analysis_names()) == files


@pytest.mark.parametrize("name", sorted(analysis_names()))
def test_every_consumer_passes_the_conformance_checks(name):
    faults = {f.claim: f.fault for f in check_analysis(find_analysis(name)) if f.fault}
    assert faults == {}
