"""A short run of simulated patterns, for the conformance checks of analyses that use this model."""

from __future__ import annotations

from importlib import resources

import numpy as np

from streamproc.analysis import Frame
from streamproc.documents import Position
from streamproc.runs import Run

__all__ = ["example_run"]

_UID = "5f0c1a52-8d0f-4d5e-9a53-0f5b1a7f2c11"
_PATTERNS = 6


def example_run(version: str | None = None) -> tuple[Run, list[Frame]]:
    """Return a raw run of 1-D patterns with their axis in the reading ``two_theta``.

    Parameters
    ----------
    version : str, optional
        Version folder whose golden patterns are shown; the newest.

    Returns
    -------
    run : Run
        With start and one descriptor.
    frames : list of Frame
        Patterns of known phases (counts, float64) on the model's axis.
    """
    folder = resources.files("streamproc.models.phase_qpa")
    newest = max((f.name for f in folder.iterdir() if f.name.isdecimal()), key=int)
    file = folder.joinpath(version or newest, "golden.npz")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as golden:
        patterns = np.round(golden["x"][:_PATTERNS].astype(np.float64) ** 2 * 10000)
    axis = np.linspace(20.0, 100.0, patterns.shape[1])
    frames = []
    for n, pattern in enumerate(patterns, start=1):
        pattern.setflags(write=False)
        readings = {"two_theta": axis, "sample_x": 0.5 * n}
        frames.append(Frame(_UID, "primary", n, "pattern", pattern, 1.7e9 + n, readings))
    return _run(patterns.shape[1]), frames


def _run(points: int) -> Run:
    array = {"dtype": "array", "dtype_numpy": "<f8", "shape": [points], "source": "simulation"}
    motor = {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": "simulation", "units": "mm"}
    keys = {"pattern": array, "two_theta": array | {"units": "deg"}, "sample_x": motor}
    start = {"uid": _UID, "time": 1.7e9, "scan_id": 1, "plan_name": "scan", "plan_type": "generator"}
    descriptor = {
        "uid": f"{_UID}-d",
        "run_start": _UID,
        "name": "primary",
        "time": 1.7e9,
        "data_keys": keys,
        "configuration": {},
        "hints": {"sample_x": {"fields": ["sample_x"]}},
        "object_keys": {k: [k] for k in keys},
    }
    return Run(_UID, start, Position("example", 0, 0), descriptors={f"{_UID}-d": descriptor})
