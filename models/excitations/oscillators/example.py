"""A short simulated scan of a phonon, for the conformance checks and the how-to."""

from __future__ import annotations

import numpy as np
from streamproc.models.excitations.oscillators.dho import thermal_energy
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import Composition, Mode
from streamproc.models.excitations.oscillators.resolution import Gaussian

from streamproc.analysis import Frame
from streamproc.documents import Position
from streamproc.runs import Run

__all__ = ["EXAMPLE_SETTINGS", "example_run"]

_UID = "2b7c9d34-61e0-4a59-8f3e-7d1c5a90e4b2"
_POINTS, _FRAMES = 161, 6
_FWHM, _TEMPERATURE_K, _TOP = 1.5, 300.0, 24.0

EXAMPLE_SETTINGS = {
    "axis_key": "energy",
    "resolution": {"fwhm": _FWHM},
    "temperature_K": _TEMPERATURE_K,
    "dispersion": "sine",
    "zone_boundary": 1.0,
    "target_energy_sigma": 0.05,
}


def example_run() -> tuple[Run, list[Frame]]:
    """Return a raw run: an acoustic phonon at six momenta, 24 meV at the zone boundary, 300 K."""
    energy = np.linspace(-30.0, 40.0, _POINTS)
    forward = Forward(energy, Gaussian(_FWHM), thermal_energy(_TEMPERATURE_K))
    c, rng, frames = Composition(1), np.random.default_rng(20), []
    for n in range(1, _FRAMES + 1):
        q = 0.2 + 0.12 * n
        mode = Mode(_TOP * np.sin(np.pi * q / 2), 1.0, 260.0)
        counts = rng.poisson(forward(c, c.vector([mode], 900.0, 0.05, 2.0))[0])
        counts = counts.astype(np.float64)
        counts.setflags(write=False)
        frames.append(
            Frame(_UID, "primary", n, "spectrum", counts, 1.7e9 + n, {"energy": energy, "q": round(q, 3)})
        )
    return _run(), frames


def _run() -> Run:
    array = {"dtype": "array", "dtype_numpy": "<f8", "shape": [_POINTS], "source": "simulation"}
    motor = {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": "simulation", "units": "rlu"}
    keys = {"spectrum": array, "energy": array | {"units": "meV"}, "q": motor}
    start = {
        "uid": _UID, "time": 1.7e9, "scan_id": 1, "plan_name": "scan", "plan_type": "generator",
        "motors": ["q"], "hints": {"dimensions": [[["q"], "primary"]]},
    }  # fmt: skip
    descriptor = {
        "uid": f"{_UID}-d", "run_start": _UID, "name": "primary", "time": 1.7e9, "data_keys": keys,
        "configuration": {}, "hints": {"q": {"fields": ["q"]}}, "object_keys": {k: [k] for k in keys},
    }  # fmt: skip
    return Run(_UID, start, Position("example", 0, 0), descriptors={f"{_UID}-d": descriptor})
