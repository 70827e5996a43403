"""Kernels are compiled while an analysis is loaded, which has its deadline, and not when a frame waits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LATE = Path(__file__).with_name("late_compiles.py")


FROM_RUN = {"reduction": {"bins": 120, "shape": [192, 192], "from_run": {"calibration_md": True}}}
GEOMETRY = {
    "dist": 0.1, "poni1": 0.0192, "poni2": 0.0192, "rot1": 0.0, "rot2": 0.0, "rot3": 0.0,
    "pixel1": 2e-4, "pixel2": 2e-4, "wavelength": 5e-11, "detector": "detector",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings", "start"),
    [
        ("phase-map", {"refine_every": 2}, {}),
        ("phase-map", {"unsupervised": True}, {}),
        ("defect-flags", {}, {}),
        ("defect-flags", FROM_RUN, {"calibration_md": GEOMETRY}),
        ("excitation-fit", {}, {}),
        ("excitation-fit", {"model": "phonon-fcc"}, {}),
    ],
    ids=["patterns", "without references", "images", "images, geometry of the run", "spectra", "powders"],
)
def test_nothing_is_compiled_once_an_analysis_is_loaded(name, settings, start):
    # a process of its own: what another test has compiled already would not show
    command = [sys.executable, str(LATE), name, json.dumps(settings), json.dumps(start)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == ""
