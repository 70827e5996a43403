"""The demo's magnet and its scan: the truth every answer is compared with, and the counts at every point.

The magnet is a square-lattice antiferromagnet of the shipped model ``magnon-square``; a seed chooses its
couplings. Counts are those of linear spin waves with damping, through a resolution in energy and Q, on a
background with an elastic tail, and Poisson.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = [
    "ENERGIES_MEV",
    "MODEL",
    "POINTS_PER_COLUMN",
    "STRONG_COUNTS",
    "ScanPoint",
    "Truth",
    "couplings",
    "expected_counts",
    "read_truth",
    "scan_points",
    "window_end_meV",
    "write_truth",
]

Array = npt.NDArray[np.float64]

MODEL = "magnon-square"
"""Model of the magnet, which the service fits too."""

POINTS_PER_COLUMN = 30
"""Energies of a scan at constant Q."""

ENERGIES_MEV = tuple(round(0.5 + 0.35 * n, 3) for n in range(POINTS_PER_COLUMN))
"""Energy transfers of such a scan."""

_CORNERS = ((0.5, 0.5), (0.75, 0.25), (0.5, 0.0), (0.5, 0.5))
"""Path in (h, k): magnetic wave vector, along the zone boundary, and back."""

STRONG_COUNTS = 60.0
"""Counts where the magnons are strong."""

_J_SHARE, _J2_SHARE, _D_SHARE = (0.13, 0.22), (-0.12, 0.2), (-0.06, -0.004)
"""Ranges of J over the window's end, J2 / J and D / J: well within those that the model was trained on."""


@dataclass(frozen=True, slots=True)
class ScanPoint:
    """One point of the scan: its number (from 0), h, k, l (r.l.u.) and energy transfer (meV)."""

    index: int
    hkl: tuple[float, float, float]
    energy_meV: float


@dataclass(frozen=True, slots=True)
class Truth:
    """What the magnet is: couplings (meV) by name."""

    seed: int
    couplings: dict[str, float]


def window_end_meV() -> float:
    """Return the end of the last channel."""
    return ENERGIES_MEV[-1] + (ENERGIES_MEV[1] - ENERGIES_MEV[0]) / 2


def couplings(seed: int) -> dict[str, float]:
    """Return J, J2 and D (meV; every bond once, S = 1) of the magnet that a seed chooses."""
    rng = np.random.default_rng([seed, 0x4D])
    j = float(rng.uniform(*_J_SHARE)) * window_end_meV()
    return {"J": j, "J2": j * float(rng.uniform(*_J2_SHARE)), "D": j * float(rng.uniform(*_D_SHARE))}


def scan_points(points: int) -> list[ScanPoint]:
    """Return exactly ``points`` points of scans at constant Q along the path; the last may stay incomplete.

    Raises
    ------
    ValueError
        For fewer than one point.
    """
    if points < 1:
        raise ValueError(f"a scan needs at least 1 point, got {points}")
    columns = _columns(math.ceil(points / POINTS_PER_COLUMN))
    found = [(place, energy) for place in columns for energy in ENERGIES_MEV][:points]
    return [ScanPoint(n, place, energy) for n, (place, energy) in enumerate(found)]


def _columns(count: int) -> list[tuple[float, float, float]]:
    """Return places at equal steps along the path, half a step from its ends; a motor's resolution."""
    corners = np.asarray(_CORNERS)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    s = (np.arange(count) + 0.5) / count * length[-1]
    h, k = (np.interp(s, length, corners[:, axis]) for axis in (0, 1))
    return [(round(float(a), 4), round(float(b), 4), 0.0) for a, b in zip(h, k, strict=True)]


def expected_counts(points: Sequence[ScanPoint], seed: int) -> npt.NDArray[np.int64]:
    """Return the counts that the detector will have at every point: simulated once, with the seed's noise."""
    from streamproc.models.excitations.maps.example import example_case, simulated_counts

    places = list(dict.fromkeys(p.hkl for p in points))
    counts = simulated_counts(
        example_case(MODEL), np.asarray(places), np.asarray(ENERGIES_MEV), couplings(seed), STRONG_COUNTS,
        seed, window_end_meV(),
    )  # fmt: skip
    column = {place: n for n, place in enumerate(places)}
    channel = {energy: n for n, energy in enumerate(ENERGIES_MEV)}
    return np.array([counts[column[p.hkl], channel[p.energy_meV]] for p in points], dtype=np.int64)


def write_truth(path: Path, seed: int) -> None:
    """Write the couplings of the magnet."""
    text = json.dumps({"seed": seed, "model": MODEL, "couplings_meV": couplings(seed)}, indent=1)
    path.write_text(text, encoding="utf-8")


def read_truth(path: Path) -> Truth:
    """Read what :func:`write_truth` wrote."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    return Truth(int(stored["seed"]), {str(k): float(v) for k, v in stored["couplings_meV"].items()})
