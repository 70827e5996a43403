"""Integration in parts: the profile, and each of its rings in four quadrants of two combs, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamproc.reduction.azimuthal import AzimuthalPlan
from streamproc.reduction.kernels import compiled_sums
from streamproc.reduction.passes import Constants, Counted, Sums
from streamproc.reduction.profile import Profile
from streamproc.reduction.rundark import CellConstants
from streamproc.reduction.tables import UnsplitTable, flipped

__all__ = ["COMBS", "PARTS", "QUADRANTS", "TOOTH_DEG", "PartedPlan", "Parts", "read_only"]

QUADRANTS, COMBS = 4, 2
PARTS = QUADRANTS * COMBS
TOOTH_DEG = 2.5
"""Width of a comb's tooth (degrees of azimuth): finer than texture, coarser than the spot of a grain."""

Float = npt.NDArray[np.float64]


def read_only(array: Float) -> Float:
    """Return a view that cannot be written to: another type to the compiler, so it must always be one."""
    view = array.view()
    view.flags.writeable = False
    return view


class Parts(NamedTuple):
    """One frame in parts; arrays of float64, shape (bins, PARTS), part = quadrant * COMBS + comb.

    ``signal`` is counts minus dark; ``variance`` its counting variance; ``norm`` the normalisation and
    ``counts`` the pixels, both read-only. ``lost`` is the number of used pixels that this frame's values
    excluded.
    """

    signal: Float
    variance: Float
    norm: Float
    counts: Float
    lost: int


class _Still(NamedTuple):
    """What no frame changes of which every pixel counts, by part and by ring."""

    cells: Constants
    norm: Float
    counts: Float
    ring_norm: Float
    ring_counts: Float


@dataclass(slots=True)
class _Newest:
    """The newest of these: they follow the dark."""

    still: _Still | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PartedPlan:
    """An azimuthal plan whose pass also tells the parts of each ring.

    Attributes
    ----------
    plan : AzimuthalPlan
        As the analysis uses it; the profile is the plan's.
    bins : ndarray of int64, shape (n_pixels,)
        Ring of each pixel by its centre; ``plan.axis.size`` where it is not used.
    cells : CellConstants
        The table by ring and part.
    """

    plan: AzimuthalPlan
    bins: npt.NDArray[np.int64]
    cells: CellConstants
    _newest: _Newest = field(default_factory=_Newest)

    @classmethod
    def of(cls, plan: AzimuthalPlan) -> PartedPlan:
        """Divide the rings of a plan."""
        n, constants = plan.axis.size, plan.constants
        bins = _rings(plan)
        part = _part_of_pixels(plan)
        index = np.where(bins < n, bins * PARTS + part, n * PARTS)
        kind = np.uint16 if n * PARTS < np.iinfo(np.uint16).max else np.int32
        table = UnsplitTable(index.astype(kind), n * PARTS)
        table.bins.flags.writeable = False
        return cls(plan, bins, CellConstants(plan, Constants.of(table, constants.norm, constants.dark)))

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Pixels that count, shape (rows, columns)."""
        return (self.bins < self.plan.axis.size).reshape(self.plan.shape)

    def cell_of(self, pixels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the place of pixels in the parts, ring * PARTS + part; all of them must be used."""
        table = self.cells.plain.table
        if not isinstance(table, UnsplitTable):
            raise TypeError("parts are never split")
        return table.bins[pixels].astype(np.int64)

    def integrate(
        self,
        frame: npt.NDArray[Any],
        dark: npt.NDArray[Any] | None = None,
        count: Callable[..., Counted] | None = None,
    ) -> tuple[Profile, Parts, Constants]:
        """Integrate an image or stack; parameters and errors as :meth:`AzimuthalPlan.integrate`.

        ``count`` may look at the pixels on the way, as :func:`~streamproc.reduction.passes.run_passes` says.

        Returns
        -------
        profile : Profile
            Without pixel splitting the sum of the parts: no pass of its own.
        parts : Parts
        constants : Constants
            Table by ring and part, with the dark that was subtracted.
        """
        cells = self.cells.with_dark(dark)
        sums = self.plan.sums(frame, cells, count)
        signal, still = _by_part(sums.signal), self._still(sums, cells)
        alike = sums.variance is sums.signal
        variance = signal if alike else _by_part(sums.variance)
        parts = Parts(signal, variance, still.norm, still.counts, sums.n_masked)
        if self.plan.options.splitting != "no":
            return self.plan.integrate(frame, dark), parts, cells
        ring_signal = _by_ring(signal)
        ring_variance = ring_signal.copy() if alike else _by_ring(variance)
        rings = Sums(
            ring_signal, ring_variance, still.ring_norm, still.ring_counts, sums.n_masked, sums.n_frames
        )
        return self.plan.profile(rings), parts, cells

    def _still(self, sums: Sums, cells: Constants) -> _Still:
        """Normalisation and pixels; added up anew only where pixels were lost, or of a stack."""
        known = self._newest.still
        same = sums.norm is cells.norm_sum and sums.counts is cells.counts
        if known is not None and same and known.cells is cells:
            return known
        norm, counts = _by_part(sums.norm), _by_part(sums.counts)
        # copies: what is read-only, as a table's own sums are, is another type to the compiler
        by_ring = _by_ring(norm.copy()), _by_ring(counts.copy())
        still = _Still(cells, read_only(norm), read_only(counts), *by_ring)
        if same:
            self._newest.still = still
        return still


def _by_part(sums: Float) -> Float:
    return sums.reshape(-1, PARTS)


def _by_ring(parts: Float) -> Float:
    rings = np.empty(len(parts))
    _over_parts(parts, rings)
    return rings


@compiled_sums
def _over_parts(y: Any, out: Any) -> None:
    """Write the sums over the parts of each ring; written out, it is vector code."""
    for b in range(out.size):
        low = (y[b, 0] + y[b, 1]) + (y[b, 2] + y[b, 3])
        out[b] = low + ((y[b, 4] + y[b, 5]) + (y[b, 6] + y[b, 7]))


def _rings(plan: AzimuthalPlan) -> npt.NDArray[np.int64]:
    """Return the ring of each pixel: the plan's own, or with splitting the one its centre lies in."""
    table = plan.constants.table
    if isinstance(table, UnsplitTable):
        return table.bins.astype(np.int64)
    step = plan.axis[1] - plan.axis[0]
    integrator = plan.geometry.integrator(plan.shape)
    centre = integrator.center_array(plan.shape, unit=plan.options.unit)
    at = np.floor((flipped(centre, plan.options.flip).ravel() - plan.axis[0]) / step + 0.5).astype(np.int64)
    used = np.diff(table.first) > 0
    return np.where(used & (at >= 0) & (at < plan.axis.size), at, plan.axis.size)


def _part_of_pixels(plan: AzimuthalPlan) -> npt.NDArray[np.int64]:
    integrator = plan.geometry.integrator(plan.shape)
    chi = flipped(integrator.center_array(plan.shape, unit="chi_deg"), plan.options.flip).ravel()
    quadrant = np.clip(np.floor((chi + 180.0) / 90.0), 0, QUADRANTS - 1)
    comb = np.floor((chi + 180.0) / TOOTH_DEG) % COMBS
    return np.asarray(quadrant * COMBS + comb, np.int64)
