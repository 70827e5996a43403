"""Small runs to try the data and defect flags on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from streamproc.analysis import Frame
from streamproc.documents import Position
from streamproc.runs import Run

__all__ = ["example_run"]

_UID = "f2b7c1d4-7f5f-4c52-9a57-0f2f4f1f6a31"
_SIDE = 192


def example_run(folder: Path, points: int = 6) -> tuple[Run, list[Frame], Mapping[str, Any]]:
    """Return a short simulated run of powder rings, and the table to judge it with."""
    (folder / "example.poni").write_text(
        "poni_version: 2\nDetector: Detector\n"
        f'Detector_config: {{"pixel1": 2e-4, "pixel2": 2e-4, "max_shape": [{_SIDE}, {_SIDE}]}}\n'
        f"Distance: 0.1\nPoni1: {_SIDE * 1e-4}\nPoni2: {_SIDE * 1e-4}\n"
        "Rot1: 0.0\nRot2: 0.0\nRot3: 0.0\nWavelength: 5e-11\n"
    )
    random = np.random.default_rng(11)
    y, x = np.mgrid[:_SIDE, :_SIDE] - (_SIDE - 1) / 2
    radius = np.hypot(x, y)
    clean = 30.0 + 300.0 * sum(np.exp(-0.5 * ((radius - r) / 2.0) ** 2) for r in (30.0, 52.0, 71.0))
    frames = []
    for n in range(points):
        image = random.poisson(clean).astype(np.uint16)
        image.setflags(write=False)
        frames.append(Frame(_UID, "primary", n + 1, "image", image, 1.7e9 + n, {"i0": 1e5}))
    table = {"reduction": {"poni": "example.poni", "bins": 120}, "data_flags": {"monitor_key": "i0"}}
    return _run(), frames, table


def _run() -> Run:
    keys = {
        "image": {"dtype": "array", "dtype_numpy": "<u2", "shape": [_SIDE, _SIDE], "source": "simulation"},
        "i0": {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": "simulation"},
    }
    start = {"uid": _UID, "time": 1.7e9, "scan_id": 3, "plan_name": "count", "plan_type": "generator"}
    descriptor = {
        "uid": f"{_UID}-d", "run_start": _UID, "name": "primary", "time": 1.7e9, "data_keys": keys,
        "configuration": {}, "hints": {}, "object_keys": {k: [k] for k in keys},
    }  # fmt: skip
    return Run(_UID, start, Position("example", 0, 0), descriptors={f"{_UID}-d": descriptor})
