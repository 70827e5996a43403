"""Maps of a powder on a chopper spectrometer, simulated, for checks of analyses that read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import streamproc.models as package
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.kinds import physics_of, read_case
from streamproc.models.excitations.maps.widths import Widths

from streamproc.analysis import Frame
from streamproc.documents import Position
from streamproc.runs import Run

__all__ = ["ALUMINIUM", "powder_case", "powder_counts", "powder_run"]

Array = npt.NDArray[np.float64]

ALUMINIUM = {"L1": 21.0, "T1": -1.1, "L2": 1.8, "T2": 0.15, "L3": -1.3, "T3": 0.35}
"""Force constants (N/m) of about aluminium."""

_UID = "5d0a3f1e-6a51-4c2b-9f2f-8f1f0b7c2d44"
_POINTS = 60


def powder_case(name: str = "phonon-fcc") -> MapCase:
    """Return a shipped model of a powder."""
    return read_case(Path(next(iter(package.__path__))) / name / "model.toml")


def powder_counts(
    case: MapCase, q_invA: Array, energy_meV: Array, values: Mapping[str, float], counts: float, seed: int,
    kT_meV: float = 0.4,
) -> Array:  # fmt: skip
    """Return Poisson counts of a map, shape (n, m): phonons of so many counts where strong, and background.

    Parameters
    ----------
    case : MapCase
        Model of a powder, in meV.
    q_invA, energy_meV : ndarray, shapes (n,) and (m,)
        Middles of the bins.
    values : mapping
        Its parameters.
    counts : float
        Counts where the excitations are strong.
    seed : int
        Of the noise.
    kT_meV : float
        Temperature.
    """
    q = np.stack([q_invA, 0 * q_invA, 0 * q_invA], 1)
    widths = Widths(3.2, 1.6, case.file.energy.stop, 0.0, 0.0, kT_meV)
    drawn = physics_of(case).renderer(q, energy_meV, _POINTS).map(values, widths)
    drawn = drawn / np.quantile(drawn, 0.98)
    rng = np.random.default_rng(seed)
    return rng.poisson(counts * (drawn + 0.1 + 0.2 * np.exp(-energy_meV / 12.0))).astype(float)


def powder_run() -> tuple[Run, list[Frame]]:
    """Return a raw run whose events hold the whole map so far, as a histogramming spectrometer gives it."""
    case, energy, q = powder_case(), np.arange(8.5, 48.0, 1.0), np.arange(2.0, 8.1, 0.4)
    total, frames = np.zeros((len(q), len(energy))), []
    for n in range(1, 4):
        total = total + powder_counts(case, q, energy, ALUMINIUM, 60.0, n)
        total.setflags(write=False)
        frames.append(Frame(_UID, "primary", n, "counts", total, 1.7e9 + 60 * n, {"q": q, "energy": energy}))
    return _run(total.shape), frames


def _run(shape: tuple[int, ...]) -> Run:
    def array(points: tuple[int, ...], units: str) -> dict[str, object]:
        entry = {"dtype": "array", "dtype_numpy": "<f8", "shape": list(points), "source": "simulation"}
        return entry | {"units": units}

    keys = {"counts": array(shape, "")}
    keys |= {"q": array(shape[:1], "1/angstrom"), "energy": array(shape[1:], "meV")}
    start = {"uid": _UID, "time": 1.7e9, "scan_id": 1, "plan_name": "count", "plan_type": "generator"}
    descriptor = {
        "uid": f"{_UID}-d",
        "run_start": _UID,
        "name": "primary",
        "time": 1.7e9,
        "data_keys": keys,
        "configuration": {},
        "hints": {},
        "object_keys": {k: [k] for k in keys},
    }
    return Run(_UID, start, Position("example", 0, 0), descriptors={f"{_UID}-d": descriptor})
