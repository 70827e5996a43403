"""A short simulated run of two phases whose shares and lattices change, for checks and how-tos."""

from __future__ import annotations

import numpy as np

from streamproc.analysis import Frame
from streamproc.documents import Position
from streamproc.runs import Run

__all__ = ["example_run"]

_UID = "b86f4f0e-3b0a-4b0e-8a5d-6d3f5a1c7e42"
_PEAKS = ((22.0, 31.0, 38.5, 47.0, 55.0), (25.5, 28.0, 42.0, 51.0, 58.5))
"""2theta (degrees) of the peaks of the two phases; they mean no material."""

_CHANNELS = 640


def example_run(points: int = 14) -> tuple[Run, list[Frame]]:
    """Return a raw run over temperature in which one phase gives way to another between two readings.

    Parameters
    ----------
    points : int
        Frames; the change lies between the middle two.

    Returns
    -------
    run : Run
        With start and one descriptor; motor ``temperature`` (K).
    frames : list of Frame
        1-D patterns (counts) with their axis in the reading ``two_theta``.
    """
    random = np.random.default_rng(5)
    axis = np.linspace(20.0, 60.0, _CHANNELS)
    frames = []
    for n in range(points):
        temperature = 300.0 + 10.0 * n
        second = 0.1 if n < points // 2 else 0.8
        clean = 40.0 + 60.0 * np.exp(-(axis - 20) / 15)
        for share, peaks in zip((1 - second, second), _PEAKS, strict=True):
            clean = clean + share * _pattern(axis, peaks, 1 + 1.5e-5 * (temperature - 300))
        counts = random.poisson(clean).astype(float)
        counts.setflags(write=False)
        readings = {"two_theta": axis, "temperature": temperature}
        frames.append(Frame(_UID, "primary", n + 1, "pattern", counts, 1.7e9 + n, readings))
    return _run(), frames


def _pattern(axis: np.ndarray, peaks: tuple[float, ...], stretch: float) -> np.ndarray:
    """Gaussian peaks of a lattice that is ``stretch`` times its size."""
    total = np.zeros_like(axis)
    for place, two_theta in enumerate(peaks):
        at = 2 * np.rad2deg(np.arcsin(np.sin(np.deg2rad(two_theta) / 2) / stretch))
        total += 2000.0 / (1 + place) * np.exp(-0.5 * ((axis - at) / 0.15) ** 2)
    return total


def _run() -> Run:
    array = {"dtype": "array", "dtype_numpy": "<f8", "shape": [_CHANNELS], "source": "simulation"}
    motor = {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": "simulation", "units": "K"}
    keys = {"pattern": array, "two_theta": array | {"units": "deg"}, "temperature": motor}
    start = {
        "uid": _UID, "time": 1.7e9, "scan_id": 2, "plan_name": "scan", "plan_type": "generator",
        "motors": ["temperature"], "hints": {"dimensions": [[["temperature"], "primary"]]},
    }  # fmt: skip
    descriptor = {
        "uid": f"{_UID}-d", "run_start": _UID, "name": "primary", "time": 1.7e9, "data_keys": keys,
        "configuration": {}, "hints": {"temperature": {"fields": ["temperature"]}},
        "object_keys": {k: [k] for k in keys},
    }  # fmt: skip
    return Run(_UID, start, Position("example", 0, 0), descriptors={f"{_UID}-d": descriptor})
