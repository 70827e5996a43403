"""Cakes of chosen rings: zones of q over azimuth, without the cells in between that nobody reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError
from streamproc.reduction.azimuthal import AzimuthalPlan
from streamproc.reduction.passes import Constants, Sums
from streamproc.reduction.rundark import CellConstants
from streamproc.reduction.tables import BboxTable, UnsplitTable, flipped

__all__ = ["RingCakePlan"]

Float = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RingCakePlan:
    """Sums a frame over zones of q and azimuth, corrected as an azimuthal plan does; safe among threads.

    Attributes
    ----------
    plan : AzimuthalPlan
        Geometry, mask and corrections.
    shape : (int, int, int)
        Rings, zones of a ring, cells of the circle.
    cells : CellConstants
        The table: cell of each pixel by its centre, in that order.
    """

    plan: AzimuthalPlan
    shape: tuple[int, int, int]
    cells: CellConstants

    @classmethod
    def of(cls, plan: AzimuthalPlan, zones: Float, azimuths: int) -> RingCakePlan:
        """Make the table.

        Parameters
        ----------
        plan : AzimuthalPlan
            As the analysis uses it; pixels that it does not use are not used here.
        zones : ndarray, shape (rings, n, 2)
            From where to where each zone of a ring reaches in q (1/angstrom); no two may overlap.
        azimuths : int
            Cells of the circle, from -180 degrees on.

        Raises
        ------
        ConfigurationError
            When the geometry has no wavelength, so that q is not known.
        """
        geometry = plan.geometry
        if geometry.wavelength_A is None:
            raise ConfigurationError(
                f"geometry {geometry.source} has no wavelength, which rings at their q need: set Wavelength "
                "in the .poni file"
            )
        integrator = geometry.integrator(plan.shape)
        q, chi = (
            flipped(integrator.center_array(plan.shape, unit=unit), plan.options.flip).ravel()
            for unit in ("q_A^-1", "chi_deg")
        )
        rings, n = zones.shape[:2]
        ends = zones.reshape(-1, 2)
        order = np.argsort(ends[:, 0])
        if (ends[order][1:, 0] < ends[order][:-1, 1]).any():
            raise ConfigurationError("zones of rings overlap")
        place = np.searchsorted(ends[order, 0], q, side="right") - 1
        zone = order[np.maximum(place, 0)]
        inside = (place >= 0) & (q < ends[zone, 1]) & _used(plan)
        cell = np.clip(np.floor((chi + 180.0) * azimuths / 360.0), 0, azimuths - 1).astype(np.int64)
        total = rings * n * azimuths
        index = np.where(inside, zone * azimuths + cell, total)
        table = UnsplitTable(index.astype(np.uint16 if total < np.iinfo(np.uint16).max else np.int32), total)
        table.bins.flags.writeable = False
        constants = plan.constants
        return cls(
            plan,
            (rings, n, azimuths),
            CellConstants(plan, Constants.of(table, constants.norm, constants.dark)),
        )

    def sums(self, frame: npt.NDArray[Any], dark: npt.NDArray[Any] | None = None) -> Sums:
        """Sum an image or stack; parameters and errors as :meth:`AzimuthalPlan.integrate`.

        Returns
        -------
        Sums
            Arrays of ``shape``.
        """
        sums = self.plan.sums(frame, self.cells.with_dark(dark))
        return Sums(
            sums.signal.reshape(self.shape), sums.variance.reshape(self.shape), sums.norm.reshape(self.shape),
            sums.counts.reshape(self.shape), sums.n_masked, sums.n_frames,
        )  # fmt: skip


def _used(plan: AzimuthalPlan) -> npt.NDArray[np.bool_]:
    """Which pixels the plan's own profile has, shape (n_pixels,)."""
    table = plan.constants.table
    if isinstance(table, BboxTable):
        return np.diff(table.first) > 0
    return np.asarray(table.bins < table.n)
