"""What the known phases do not explain: the left-over patterns of a run, sorted into clusters as they come.

Two left-over patterns are of one cluster when they agree but for their scale and a common stretch of the
cell: they are compared on an axis of ln(q), where a stretch is a shift, by their cosine with the part that
noise has in their lengths taken off. Each cluster keeps the mean of its patterns, whose statistics get better
with each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.clusters import Cluster, ClusterAxis, likeness
from streamproc.models.powder.indexing import StructureHint, index_peaks
from streamproc.models.powder.peaks import Doublet, PeakList, detect_peaks, find_peaks

from streamproc.errors import FrameFailed

__all__ = ["ClusterReport", "Line", "Unexplained", "UnexplainedClusters", "hint_for", "unexplained"]

Array = npt.NDArray[np.float64]

_FEWEST_PEAKS = 2
"""A left-over pattern with fewer significant lines is a spot or a spike, and founds no cluster."""

_STRONGEST = 10


@dataclass(frozen=True, slots=True)
class Unexplained:
    """The unexplained pattern of one point: ``residual`` and its ``variance``, both shape (n,)."""

    residual: Array
    variance: Array


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an unexplained pattern: spacing and its uncertainty (angstrom), area over the strongest's."""

    d_A: float
    sigma_A: float
    relative_area: float


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """What is known of one cluster.

    Attributes
    ----------
    number : int
        Its number in the run, from 1, in the order of first appearance.
    points : int
        How many points belong to it.
    first_seq_num, last_seq_num : int
        First and last of them.
    where : dict
        Per motor: "min", "max" and "centroid" (weighted by the unexplained intensity) of its readings.
    lines : tuple of Line
        Its strongest lines, by falling area; at most ten.
    axis, residual, variance : ndarray, shape (n,)
        Its mean pattern: 2theta (degrees), intensity, variance.
    """

    number: int
    points: int
    first_seq_num: int
    last_seq_num: int
    where: dict[str, dict[str, float]]
    lines: tuple[Line, ...]
    axis: Array
    residual: Array
    variance: Array


def unexplained(
    two_theta_deg: npt.ArrayLike,
    measured: npt.ArrayLike,
    calculated: npt.ArrayLike,
    variance: npt.ArrayLike | None = None,
    *,
    model_error: float = 0.05,
    position_error_deg: float = 0.01,
) -> Unexplained:
    """Take the known phases off a pattern, and say how well the rest is known.

    Parameters
    ----------
    two_theta_deg, measured, calculated : array_like, shape (n,)
        Axis (degrees), measured pattern, and the pattern of the known phases with its background.
    variance : array_like, shape (n,), optional
        Of the measured pattern; that of counts by default.
    model_error : float
        Relative error of the calculated intensities above their floor.
    position_error_deg : float
        Error of the calculated positions: where the calculated pattern is steep, little is known of the rest.

    Raises
    ------
    FrameFailed
        When the arrays are no pattern.
    """
    x, y, model = (np.asarray(v, float) for v in (two_theta_deg, measured, calculated))
    if x.ndim != 1 or x.size < 30 or y.shape != x.shape or model.shape != x.shape:
        raise FrameFailed(
            f"axis {x.shape}, measured {y.shape} and calculated {model.shape} are no pattern of one length"
        )
    counting = np.maximum(y, 1.0) if variance is None else np.asarray(variance, float)
    if counting.shape != x.shape:
        raise FrameFailed(f"variance of shape {counting.shape} for a pattern of shape {x.shape}")
    if not (np.isfinite(x).all() and (np.diff(x) > 0).all()):
        raise FrameFailed("the axis of the pattern is not finite and strictly rising")
    lines = np.maximum(
        model - np.percentile(model[np.isfinite(model)] if np.isfinite(model).any() else [0.0], 5), 0
    )
    steep = np.gradient(model, x) * position_error_deg
    return Unexplained(y - model, counting + (model_error * lines) ** 2 + steep**2)


class UnexplainedClusters:
    """Sorts the unexplained patterns of one run, as they come, into at most ``most`` clusters.

    Deterministic: the same patterns in the same order give the same clusters, also across a snapshot. Points
    that fit nowhere when all clusters are taken are counted in :attr:`unassigned`.

    Parameters
    ----------
    wavelength_A : float
        Wavelength of the axis (angstrom).
    wavelength2_A : float, optional
        K-alpha2, where the beam holds it.
    most : int
        Largest number of clusters.
    alike : float
        Cosine from which two patterns are of one cluster.
    """

    def __init__(
        self, wavelength_A: float, wavelength2_A: float | None = None, *, most: int = 12, alike: float = 0.7
    ) -> None:
        self.beam = Doublet(wavelength_A, wavelength2_A)
        self.unassigned = 0
        self._most, self._alike = most, alike
        self._axis: ClusterAxis | None = None
        self._clusters: list[Cluster] = []

    def update(
        self, seq_num: int, axis: npt.ArrayLike, residual: npt.ArrayLike, variance: npt.ArrayLike,
        readings: Mapping[str, Any],
    ) -> bool:  # fmt: skip
        """Take in the unexplained pattern of one point.

        Parameters
        ----------
        seq_num : int
            Of the reading; points come in this order.
        axis, residual, variance : array_like, shape (n,)
            2theta (degrees), intensity and variance; see :func:`unexplained`.
        readings : mapping
            Motor readings; those that are no finite numbers are passed over.

        Returns
        -------
        bool
            Whether a cluster was added or grew.

        Raises
        ------
        FrameFailed
            When the arrays are no pattern.
        """
        if len(detect_peaks(axis, residual, self.beam, variance)) < _FEWEST_PEAKS:
            return False
        own = self._axis
        if own is None:
            own = self._axis = ClusterAxis(np.asarray(axis, float))
        y, v = own.bring(np.asarray(axis, float), np.asarray(residual, float), np.asarray(variance, float))
        drawn = own.picture(y, v)
        place, score, shift = self._nearest(own, drawn)
        weight = max(float(np.sum(own.lines(y, v))), 1e-300)
        if place is not None and score >= self._alike:
            self._clusters[place].add(own, seq_num, y, v, shift, weight, readings)
            return True
        if len(self._clusters) >= self._most:
            self.unassigned += 1
            return False
        self._clusters.append(Cluster.of(seq_num, y, v, weight, readings))
        return True

    def _nearest(self, axis: ClusterAxis, drawn: tuple[Array, float]) -> tuple[int | None, float, int]:
        best: tuple[int | None, float, int] = (None, -1.0, 0)
        for place, cluster in enumerate(self._clusters):
            score, shift = likeness(cluster.picture(axis), drawn)
            if score > best[1]:
                best = (place, score, shift)
        return best

    def clusters(self) -> Sequence[ClusterReport]:
        """Return the clusters in the order of their first appearance."""
        if self._axis is None:
            return []
        return [self._report(i + 1, c, self._axis) for i, c in enumerate(self._clusters)]

    def _report(self, number: int, cluster: Cluster, axis: ClusterAxis) -> ClusterReport:
        y, v = cluster.mean.astype(float), cluster.variance.astype(float)
        found = find_peaks(axis.x, y, self.beam, v)
        return ClusterReport(
            number, cluster.points, cluster.first, cluster.last, cluster.where(), _lines(found), axis.x, y, v
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data (msgpack): numbers, text, lists and bytes."""
        return {
            "unassigned": self.unassigned,
            "axis": None if self._axis is None else self._axis.x.astype("<f8").tobytes(),
            "clusters": [c.snapshot() for c in self._clusters],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that :meth:`snapshot` gave."""
        self.unassigned = int(state["unassigned"])
        raw = state["axis"]
        self._axis = None if raw is None else ClusterAxis(np.frombuffer(raw, "<f8").astype(float))
        self._clusters = [Cluster.restored(c) for c in state["clusters"]]


def _lines(found: PeakList) -> tuple[Line, ...]:
    strongest = sorted(found.peaks, key=lambda p: -p.area)[:_STRONGEST]
    return tuple(
        Line(
            p.d_A,
            float(p.d_A * np.deg2rad(p.sigma_deg) / 2 / np.tan(np.deg2rad(p.position_deg) / 2)),
            p.area / strongest[0].area,
        )
        for p in strongest
    )


def hint_for(
    cluster: ClusterReport, wavelength_A: float, max_s: float, wavelength2_A: float | None = None
) -> StructureHint | None:
    """Index a cluster's mean pattern; off the hot path, since it takes seconds.

    Parameters
    ----------
    cluster : ClusterReport
        The cluster.
    wavelength_A, wavelength2_A : float
        Wavelength of the axis, and K-alpha2 where the beam holds it (angstrom).
    max_s : float
        Time allowed (s).

    Returns
    -------
    StructureHint or None
        None where nothing can be said.
    """
    found = find_peaks(cluster.axis, cluster.residual, Doublet(wavelength_A, wavelength2_A), cluster.variance)
    hint = index_peaks(found, wavelength_A, max_s)
    return hint if hint.cells else None
