"""How alike two powder patterns can be when the cells may vary."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.optics import Grain, Instrument
from streamproc.models.powder.simulate import bin_edges, render_phase
from streamproc.models.powder.tables import PhaseTable

__all__ = ["SEEN", "LikenessView", "line_power"]

Array = npt.NDArray[np.float64]

SEEN = 0.02
"""Lines weaker than this share of the strongest do not count as seen."""


class LikenessView:
    """Compares patterns on one axis at one resolution.

    Parameters
    ----------
    axis : ndarray
        Rising 2theta (degrees).
    width : float
        FWHM (degrees).
    wavelength_A : float
        Wavelength (angstrom).
    """

    def __init__(self, axis: Array, width: float, wavelength_A: float) -> None:
        self._edges = bin_edges(axis)
        self._instrument = Instrument(
            wavelength_A=wavelength_A, wavelength2_A=wavelength_A, ka2_ratio=0.0, u_deg2=0.0, v_deg2=0.0,
            w_deg2=width**2, lorentz_x_deg=0.3 * width, asymmetry_deg=0.0,
        )  # fmt: skip

    def difference(self, a: PhaseTable, b: PhaseTable, span: float) -> float:
        """Return the share of the intensity by which two patterns differ at best.

        Parameters
        ----------
        a, b : PhaseTable
            The phases.
        span : float
            How far the axes of one may vary against those of the other (relative).

        Returns
        -------
        float
            Half the sum of absolute differences over the sum, both scaled alike; 1 where strong lines have no
            counterpart.
        """
        if not _may_match(a, b, span):
            return 1.0
        return self._search(self._pattern(a, (1.0, 1.0, 1.0)), b, span)

    def _search(self, target: Array, b: PhaseTable, span: float) -> float:
        """Coordinate search over the axes that may vary, coarse to fine."""
        groups = _axes(b)
        place = np.zeros(len(groups))
        best = self._residual(target, b, place, groups)
        step = span / 2
        while step > span / 20 and span > 0:
            moved = False
            for g in range(len(groups)):
                for sign in (-1, 1):
                    trial = place.copy()
                    trial[g] = np.clip(trial[g] + sign * step, -span, span)
                    value = self._residual(target, b, trial, groups)
                    if value < best - 1e-6:
                        best, place, moved = value, trial, True
            if not moved:
                step /= 2
        return best

    def _residual(self, target: Array, b: PhaseTable, place: Array, groups: list[list[int]]) -> float:
        scale = [1.0, 1.0, 1.0]
        for value, axes in zip(place, groups, strict=True):
            for axis in axes:
                scale[axis] = 1 + float(value)
        other = self._pattern(b, (scale[0], scale[1], scale[2]))
        factor = float(target @ other / max(float(other @ other), 1e-300))
        return float(np.abs(target - factor * other).sum() / (2 * target.sum()))

    def _pattern(self, table: PhaseTable, scale: tuple[float, float, float]) -> Array:
        pattern = render_phase(self._edges, table, self._instrument, Grain(cell_scale=scale))
        return pattern / max(pattern.max(), 1e-300)


def _axes(table: PhaseTable) -> list[list[int]]:
    if table.system == "cubic":
        return [[0, 1, 2]]
    if table.system in ("hexagonal", "trigonal", "tetragonal"):
        return [[0, 1], [2]]
    return [[0], [1], [2]]


def _may_match(a: PhaseTable, b: PhaseTable, span: float) -> bool:
    """Whether every one of the strongest lines of each has a line of the other within the spans."""
    for one, two in ((a, b), (b, a)):
        strong = one.d_A[np.argsort(line_power(one))[-5:]]
        seen = two.d_A[line_power(two) > SEEN / 4 * line_power(two).max()]
        if any(np.abs(seen / d - 1).min() > span + 2e-3 for d in strong):
            return False
    return True


def line_power(table: PhaseTable) -> Array:
    """Return the intensity of the lines with the Lorentz factor of small angles."""
    return np.asarray(table.multiplicity * table.f2 * table.d_A**2)
