"""One pattern to be fitted: the basis of lines and background, and what is solved for at each step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.special import comb
from streamproc.models.defects.fit_parameters import PARAMETERS, applied
from streamproc.models.defects.lines import Grid
from streamproc.models.defects.material import Material
from streamproc.models.defects.pattern import family_patterns
from streamproc.models.defects.state import DefectState
from streamproc.models.powder.optics import Instrument

__all__ = ["Task", "bernstein", "families_inside"]

Array = npt.NDArray[np.float64]

_MOST_SHIFT = 0.02
"""Lines are moved by no more than 2 % in s."""


@dataclass(frozen=True, slots=True)
class Task:
    """A pattern and what is common to all steps of its fit."""

    axis: Array
    y: Array
    weight: Array
    used: npt.NDArray[np.bool_]
    material: Material
    grid: Grid
    floor: Array
    free: tuple[str, ...]
    moved: npt.NDArray[np.int64]

    def basis(self, values: Array, state: DefectState, instrument: Instrument) -> tuple[Array, Array]:
        """Patterns of the families, then those of the background; the last values move single lines."""
        named, shifts = np.split(values, [len(self.free)])
        state, instrument = applied(self.free, named, state, instrument)
        offsets = np.zeros(len(self.material.norm))
        offsets[self.moved] = shifts
        families, lines = family_patterns(self.axis, self.material, instrument, state, self.grid, offsets)
        return families, np.concatenate([lines, self.floor])

    @property
    def limits(self) -> tuple[Array, Array, Array]:
        """Lower and upper limits of all values, and steps for numeric slopes."""
        named = [PARAMETERS[name] for name in self.free]
        rows = [(*p.limits, p.step) for p in named] + [(-_MOST_SHIFT, _MOST_SHIFT, 1e-6)] * len(self.moved)
        low, high, steps = np.array(rows).T
        return low, high, steps

    def solved(self, basis: Array) -> Array:
        """Heights and background coefficients >= 0."""
        rows = (basis * self.weight)[:, self.used]
        scale = np.maximum(np.linalg.norm(rows, axis=1), 1e-300)
        rows = rows / scale[:, None]
        gram = rows @ rows.T + 1e-12 * np.eye(len(rows))
        root = np.linalg.cholesky(gram)
        aim = np.linalg.solve(root, rows @ (self.y * self.weight)[self.used])
        return np.asarray(nnls(root.T, aim)[0] / scale)


def families_inside(axis: Array, material: Material, instrument: Instrument) -> npt.NDArray[np.int64]:
    """Return the families whose lines lie on the axis."""
    sine = np.minimum(material.norm / material.a_nm * instrument.wavelength_A / 20, 1.0)
    place = np.rad2deg(2 * np.arcsin(sine))
    return np.flatnonzero((place > axis[0]) & (place < axis[-1]))


def bernstein(axis: Array, degree: int) -> Array:
    """Return polynomials that are nowhere negative, shape (degree + 1, n)."""
    x = (axis - axis[0]) / (axis[-1] - axis[0])
    k = np.arange(degree + 1)[:, None]
    return np.asarray(comb(degree, k) * x**k * (1 - x) ** (degree - k))
