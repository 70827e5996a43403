"""A short constant-Q scan of simulated counts, for the conformance checks of analyses that read maps."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.maps.render import Renderer
from streamproc.models.excitations.maps.widths import Widths
from streamproc.models.excitations.spinmodel.case import SpinCase, read_case

from streamproc.analysis import Frame
from streamproc.documents import Position
from streamproc.runs import Run

__all__ = ["example_case", "example_run", "simulated_counts", "simulated_expectation"]

_UID = "0b6f8f0e-3f0c-4a36-8a27-6a3c2f9d7e15"
_WINDOW_MEV = 140.0
_TRUTH = {"J": 32.0, "J2": 1.8, "D": -0.2}


def example_case(name: str = "magnon-square") -> SpinCase:
    """Return a shipped spin model."""
    file = resources.files("streamproc.models").joinpath(name, "model.toml")
    with resources.as_file(file) as path:
        return read_case(Path(path))


def simulated_counts(
    case: SpinCase, q_rlu: npt.NDArray[np.float64], energy_meV: npt.NDArray[np.float64],
    values: dict[str, float], counts: float, seed: int, window_meV: float,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Return Poisson counts of a map: magnons of so many counts where strong, background and an elastic tail.

    Parameters
    ----------
    case : SpinCase
        Scale-free model: energies over ``window_meV``.
    q_rlu, energy_meV : ndarray, shapes (n, 3) and (m,)
        Where.
    values : dict
        Couplings (meV).
    counts : float
        Counts where the magnons are strong.
    seed : int
        Of the noise.
    window_meV : float
        End of the window.
    """
    magnons, background = simulated_expectation(case, q_rlu, energy_meV, values, window_meV)
    return np.random.default_rng(seed).poisson(counts * (magnons + background)).astype(float)


def simulated_expectation(
    case: SpinCase, q_rlu: npt.NDArray[np.float64], energy_meV: npt.NDArray[np.float64],
    values: dict[str, float], window_meV: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:  # fmt: skip
    """Return what :func:`simulated_counts` draws from: magnons, shape (n, m), and background, shape (m,).

    Both over the intensity of strong magnons; parameters as there.
    """
    renderer = Renderer(case, q_rlu, energy_meV / window_meV)
    drawn = renderer.map({n: v / window_meV for n, v in values.items()}, Widths(0.06, 0.03, 1.0, 0.01, 0.03))
    background = 0.15 + 0.6 * np.exp(-energy_meV / (0.15 * window_meV))
    return np.minimum(drawn / np.quantile(drawn, 0.98), 20.0), background


def example_run() -> tuple[Run, list[Frame]]:
    """Return a raw run of spectra along (1/2 + h, 1/2, 0), and its frames."""
    case = example_case()
    energy = np.arange(20.0, 140.5, 2.0)
    h = np.linspace(0.55, 1.0, 8)
    q = np.stack([h, np.full(8, 0.5), np.zeros(8)], 1)
    spectra = simulated_counts(case, q, energy, _TRUTH, 60.0, 5, _WINDOW_MEV)
    frames = []
    for n, (place, y) in enumerate(zip(q, spectra, strict=True), start=1):
        y.setflags(write=False)
        readings = dict(zip("hkl", map(float, place), strict=True)) | {"energy": energy}
        frames.append(Frame(_UID, "primary", n, "counts", y, 1.7e9 + 60 * n, readings))
    return _run(len(energy)), frames


def _run(points: int) -> Run:
    array = {"dtype": "array", "dtype_numpy": "<f8", "shape": [points], "source": "simulation"}
    number = {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": "simulation", "units": "r.l.u."}
    keys = {"counts": array, "energy": array | {"units": "meV"}, "h": number, "k": number, "l": number}
    start = {"uid": _UID, "time": 1.7e9, "scan_id": 1, "plan_name": "scan", "plan_type": "generator"}
    descriptor = {
        "uid": f"{_UID}-d",
        "run_start": _UID,
        "name": "primary",
        "time": 1.7e9,
        "data_keys": keys,
        "configuration": {},
        "hints": {"h": {"fields": ["h"]}},
        "object_keys": {k: [k] for k in keys},
    }
    return Run(_UID, start, Position("example", 0, 0), descriptors={f"{_UID}-d": descriptor})
