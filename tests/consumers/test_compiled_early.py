"""Kernels are compiled while an analysis is loaded, which has its deadline, and not when a frame waits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LATE = Path(__file__).with_name("late_compiles.py")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("phase-map", {"refine_every": 2}),
        ("phase-map", {"unsupervised": True}),
        ("defect-flags", {}),
        ("excitation-fit", {}),
        ("excitation-fit", {"model": "phonon-fcc"}),
    ],
    ids=["patterns", "without references", "images", "spectra", "powders"],
)
def test_nothing_is_compiled_once_an_analysis_is_loaded(name, settings):
    # a process of its own: what another test has compiled already would not show
    command = [sys.executable, str(LATE), name, json.dumps(settings)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == ""
