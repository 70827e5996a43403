"""The demo's tensile test: the truth every answer is compared with, and the pattern at every step.

Copper is pulled step by step. Below its yield point the lattice only stretches; beyond it dislocations
multiply
and stacking faults appear with every step, and grains turn. At random steps the beam is lost, and a module of
the strip detector jams at its counter's limit. A seed chooses all of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "BEAM_COUNTS",
    "CHANNELS_PER_MODULE",
    "MODEL",
    "SATURATION",
    "Camera",
    "LoadStep",
    "Truth",
    "axis_deg",
    "read_truth",
    "tensile_test",
    "write_truth",
]

Array = npt.NDArray[np.float64]

MODEL = "defects_copper"
"""Model that reads the patterns."""

SATURATION = 65535
"""Counter limit of the strip detector."""

BEAM_COUNTS = 1_000_000
"""Counts of the monitor before the sample, with beam."""

CHANNELS_PER_MODULE = 128
_FIRST_DEG, _STEP_DEG, _MODULES = 37.0, 0.05, 17

_PEAK_COUNTS = 30_000.0
_LOST_SHARE = 0.01
_LOST_READINGS = 2
_QUIET = 6
"""Readings at the start in which nothing happens."""


@dataclass(frozen=True, slots=True)
class LoadStep:
    """One step of the test.

    Attributes
    ----------
    seq_num : int
        Number of the reading, from 1.
    strain_percent : float
        Engineering strain of the specimen.
    density_per_m2, deformation : float
        Dislocation density and stacking-fault probability: the truth.
    size_nm, march_r, cell_scale : float
        Size of coherent domains, texture, lattice parameter over that without load.
    fault : {'', 'beam lost', 'module saturated'}
        What is wrong with the data.
    """

    seq_num: int
    strain_percent: float
    density_per_m2: float
    deformation: float
    size_nm: float
    march_r: float
    cell_scale: float
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """The whole test; ``onset_seq_num`` is the first reading beyond the yield point (0: there is none)."""

    seed: int
    onset_seq_num: int
    steps: tuple[LoadStep, ...]


def axis_deg() -> Array:
    """Return the detector's channels (degrees 2theta)."""
    return np.round(_FIRST_DEG + _STEP_DEG * np.arange(_MODULES * CHANNELS_PER_MODULE), 6)


def tensile_test(points: int, seed: int) -> Truth:
    """Return what happens in a test of so many readings.

    Raises
    ------
    ValueError
        For fewer than one.
    """
    if points < 1:
        raise ValueError(f"a test needs at least 1 reading, got {points}")
    rng = np.random.default_rng([seed, 0xDE])
    onset = int(rng.integers(int(0.4 * points), max(int(0.6 * points), int(0.4 * points) + 1)))
    density, size = float(np.exp(rng.uniform(*np.log((1e14, 4e14))))), float(rng.uniform(120, 200))
    multiply, faults = float(rng.uniform(0.6, 1.2)), float(rng.uniform(0.0012, 0.002))
    elastic = float(rng.uniform(0.0008, 0.0015))
    fault = _faults(points, rng)
    steps = []
    for k in range(points):
        plastic = max(k - onset + 1, 0)
        steps.append(LoadStep(
            seq_num=k + 1, strain_percent=round(0.02 * min(k, onset) + 0.5 * plastic, 4),
            density_per_m2=density * (1 + multiply * plastic), deformation=min(faults * plastic, 0.05),
            size_nm=size * 0.98**plastic, march_r=max(0.99**plastic, 0.6),
            cell_scale=1 + elastic * min(k / max(onset, 1), 1.0), fault=fault.get(k, ""),
        ))  # fmt: skip
    return Truth(seed, onset + 1 if onset < points else 0, tuple(steps))


def _faults(points: int, rng: np.random.Generator) -> dict[int, str]:
    """Choose when the beam is lost and when a module jams: never at once, not in the first readings."""
    if points < _QUIET + 2 * _LOST_READINGS + 2:
        return {}
    lost = int(rng.integers(_QUIET, points - _LOST_READINGS))
    beamless = set(range(lost, lost + _LOST_READINGS))
    jammed = int(rng.choice([k for k in range(_QUIET, points) if k not in beamless]))
    return dict.fromkeys(beamless, "beam lost") | {jammed: "module saturated"}


class Camera:
    """Takes the pattern of every step. A pattern depends on the test's seed and the step alone.

    Parameters
    ----------
    truth : Truth
        The test.
    """

    def __init__(self, truth: Truth) -> None:
        from streamproc.models.defects.lines import grid_for
        from streamproc.models.defects.material import material_of
        from streamproc.models.defects.network.ranges import DefectRanges, draw_optics
        from streamproc.models.powder.optics import CU_KA1_A, Instrument
        from streamproc.models.powder.structures import structure

        self._truth, self._axis = truth, axis_deg()
        self._copper = material_of(structure("copper"), CU_KA1_A)
        rng = np.random.default_rng([truth.seed, 0xCA])
        # not quite the diffractometer that the model was trained for, as no real one is
        self._optics = draw_optics(rng, Instrument(asymmetry_deg=0.0), DefectRanges())
        self._grid = grid_for(self._axis, self._optics)
        self._grains = 1 + 0.02 * rng.standard_normal(len(self._copper.norm))
        self._scale = _PEAK_COUNTS / float(self._lines(truth.steps[0]).max())

    def _lines(self, step: LoadStep) -> Array:
        from streamproc.models.defects.faults import Faults
        from streamproc.models.defects.pattern import render_defects
        from streamproc.models.defects.state import DefectState

        state = DefectState(
            density_per_m2=step.density_per_m2, arrangement=1.5, q=2.0, size_nm=step.size_nm,
            faults=Faults(deformation=step.deformation), march_r=step.march_r, cell_scale=step.cell_scale,
        )  # fmt: skip
        lines = render_defects(self._axis, self._copper, self._optics, state, self._grid, self._grains)
        return np.asarray(lines)

    def take(self, index: int) -> tuple[npt.NDArray[np.int32], int]:
        """Return the counts of the strips and of the monitor at a step (from 0)."""
        step = self._truth.steps[index]
        rng = np.random.default_rng([self._truth.seed, index, 0xF1])
        air = 0.02 * _PEAK_COUNTS * (0.4 + np.exp(-(self._axis - self._axis[0]) / 25))
        expected = self._lines(step) * self._scale + air
        beam = float(BEAM_COUNTS)
        if step.fault == "beam lost":
            expected, beam = expected * _LOST_SHARE, beam * _LOST_SHARE
        counts = np.minimum(rng.poisson(np.maximum(expected, 0.0)), SATURATION).astype(np.int32)
        if step.fault == "module saturated":
            first = int(rng.integers(_MODULES)) * CHANNELS_PER_MODULE
            counts[first : first + CHANNELS_PER_MODULE] = SATURATION
        return counts, int(rng.poisson(beam))


def write_truth(path: Path, truth: Truth) -> None:
    """Write the test."""
    path.write_text(json.dumps(asdict(truth), indent=1), encoding="utf-8")


def read_truth(path: Path) -> Truth:
    """Read what :func:`write_truth` wrote."""
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows: Sequence[dict[str, Any]] = stored["steps"]
    return Truth(int(stored["seed"]), int(stored["onset_seq_num"]), tuple(LoadStep(**row) for row in rows))
