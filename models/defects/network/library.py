"""Training library: rendered patterns of defective crystals; noise and background are mixed afresh later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.lines import grid_for
from streamproc.models.defects.material import Material
from streamproc.models.defects.network.ranges import (
    DefectRanges,
    draw_optics,
    draw_state,
    stress_offsets,
    targets_of,
)
from streamproc.models.defects.pattern import render_defects
from streamproc.models.powder.optics import Instrument

__all__ = ["DefectLibrary", "DefectSystem", "build_library"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DefectSystem:
    """What a model is for.

    Attributes
    ----------
    material : Material
        The metal.
    instrument : Instrument
        As measured with a standard.
    start_deg, stop_deg : float
        Ends of the axis (degrees 2theta).
    points : int
        Points of the axis, both ends included.
    ranges : DefectRanges
        Training ranges.
    """

    material: Material = field(repr=False)
    instrument: Instrument
    start_deg: float
    stop_deg: float
    points: int = 1400
    ranges: DefectRanges = field(default_factory=DefectRanges)

    def axis(self) -> Array:
        """Return the points (degrees)."""
        return np.linspace(self.start_deg, self.stop_deg, self.points)

    def key(self) -> str:
        """Return a short hash of what determines the library's rows."""
        m = self.material
        what = (
            m.name,
            m.lattice,
            m.a_nm,
            m.edge,
            m.screw,
            m.f2.round(3).tolist(),
            self.instrument,
            self.ranges,
        )
        return hashlib.sha256(repr((what, self.start_deg, self.stop_deg, self.points)).encode()).hexdigest()[
            :12
        ]


@dataclass(frozen=True, slots=True)
class DefectLibrary:
    """Rendered patterns.

    Attributes
    ----------
    patterns : ndarray of float16, shape (n, points)
        Square roots of the patterns over their maximum.
    targets : ndarray of float32, shape (n, k)
        What is asked; the amorphous share (the last) is zero here.
    """

    patterns: npt.NDArray[np.float16] = field(repr=False)
    targets: npt.NDArray[np.float32] = field(repr=False)

    def __len__(self) -> int:
        return len(self.patterns)

    def save(self, file: Path) -> None:
        """Write to a file, whole or not at all."""
        part = file.with_name(file.name + ".part.npz")
        np.savez(part, patterns=self.patterns, targets=self.targets)
        part.replace(file)

    @classmethod
    def load(cls, file: Path) -> DefectLibrary:
        """Read what :meth:`save` wrote."""
        with np.load(file) as stored:
            return cls(stored["patterns"], stored["targets"])

    def sha256(self) -> str:
        """Return a hash of the contents."""
        return hashlib.sha256(self.patterns.tobytes() + self.targets.tobytes()).hexdigest()


def build_library(
    system: DefectSystem, rows: int, seed: int, progress: Callable[[int], None] = lambda done: None
) -> DefectLibrary:
    """Render ``rows`` patterns; the same seed gives the same library, row by row."""
    axis, material = system.axis(), system.material
    grid = grid_for(axis, system.instrument)
    patterns = np.zeros((rows, axis.size), np.float16)
    targets = []
    for row in range(rows):
        rng = np.random.default_rng([seed, row])
        state = draw_state(rng, material, system.ranges)
        optics = draw_optics(rng, system.instrument, system.ranges)
        grains = np.clip(1 + system.ranges.grains * rng.standard_normal(len(material.norm)), 0.5, None)
        offsets = None
        if system.ranges.stress_strain > 0:
            offsets = stress_offsets(material, system.ranges.stress_strain * float(rng.uniform(-1, 1)))
        pattern = np.maximum(render_defects(axis, material, optics, state, grid, grains, offsets), 0.0)
        patterns[row] = np.sqrt(pattern / pattern.max())
        targets.append(targets_of(material, state))
        progress(row + 1)
    return DefectLibrary(patterns, np.array(targets, np.float32))
