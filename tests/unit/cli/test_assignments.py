"""Settings of an analysis on the command line."""

from __future__ import annotations

import pytest

from streamproc.cli.wiring import analysis_table, settings_of
from streamproc.errors import ConfigurationError


def test_values_are_read_as_toml_or_else_as_text():
    texts = [
        "unsupervised=true",
        "axis_key=two_theta",
        "unmixing.points=500",
        'map_keys=["x", "y"]',
        "model=a=b",
    ]
    assert analysis_table("phase-map", texts) == {
        "phase-map": {
            "unsupervised": True,
            "axis_key": "two_theta",
            "unmixing": {"points": 500},
            "map_keys": ["x", "y"],
            "model": "a=b",
        }
    }


@pytest.mark.parametrize("text", ["unsupervised", "=1", "a..b=1", ""])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(ConfigurationError, match="KEY=VALUE"):
        analysis_table("phase-map", [text])


def test_they_win_over_the_file(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(
        'beamline = "b"\n[analysis.phase-map]\naxis_key = "a"\nunmixing = { points = 100, seed = 3 }\n'
    )
    settings = settings_of(file, analysis=analysis_table("phase-map", ["unmixing.points=500"]))
    table = settings.analysis["phase-map"]
    assert (table["axis_key"], table["unmixing"]) == ("a", {"points": 500, "seed": 3})


def test_no_assignments_leave_the_settings_alone():
    assert analysis_table("phase-map", []) == {}
