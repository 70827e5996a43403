"""PatternWatch: change points of a sequence of patterns, without references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.series.align import Alignment
from streamproc.models.series.curves import branches, prepare_curves
from streamproc.models.series.scan import Change, find_changes
from streamproc.models.series.states import find_gradual
from streamproc.models.series.together import put_together, without_jumps
from streamproc.models.series.watch import ChangePoint, KnownChanges
from streamproc.models.unmixing.rows import Rows

__all__ = ["QUANTITIES", "PatternWatch"]

Array = npt.NDArray[np.float64]

QUANTITIES = ("shift", "scale", "pattern", "shift and pattern", "scale and pattern")
"""What can change: position or strength of all lines together, what the pattern looks like, or both."""

_COMMON = ("shift", "shift", "scale")
"""Of shift, stretch and scale."""

_MOST_COMPONENTS = 8
_MOST_SEARCHED = 4
_LEAST_SIGNAL = 3.0
"""A curve counts where its variance is this many times that of its own scatter."""

_FAINT = 0.05
"""Share of the mean intensity below which noise is no longer taken to fall."""

_EVERY_POINT_UP_TO = 64


class PatternWatch:
    """Watches how patterns change over a motor or reading.

    Square roots are taken (equal noise in all channels, as for counts) and scaled to unit length. So each
    pattern is moved and stretched along the axis to lie on the first one as well as it can: shift, stretch
    and strength of the lines are curves of their own (on an axis even in ln q the shift is minus the strain
    of the lattice). They are all that an instrument, a displaced sample or an even expansion can do. What is
    left of the moved patterns is searched by its coordinates along its leading principal components, for
    jumps and kinks, and for gradual transitions.

    Parameters
    ----------
    series_key : str
        The motor or reading that the series runs over.
    channels : int
        Length of a pattern.
    least_log10 : float
        Least log10 of the Bayes factor of a change point.
    most_patterns : int
        Patterns kept; then neighbours are joined in pairs.
    """

    def __init__(
        self, series_key: str, channels: int, *, least_log10: float = 1.5, most_patterns: int = 256
    ) -> None:
        self.series_key = series_key
        self._channels, self._least_log10, self._most = channels, least_log10, most_patterns
        self._alignment = Alignment(channels)
        self._first: Array | None = None
        self._rows = Rows(channels)
        self._points: list[tuple[float, ...]] = []
        """Place, shift, stretch, scale, how many measurements."""
        self._known = KnownChanges(series_key)
        self._count = 0

    @property
    def change_points(self) -> tuple[ChangePoint, ...]:
        """The change points that stand."""
        return self._known.significant

    @property
    def shifts(self) -> list[tuple[float, float]]:
        """Place of each pattern, and the channels by which it lies higher than the first."""
        return [(x, by) for x, by, *_ in self._points]

    def update(self, value_of_motor: float, pattern: npt.ArrayLike) -> list[ChangePoint]:
        """Take up the next pattern; returns new, changed and withdrawn change points.

        Parameters
        ----------
        value_of_motor : float
            Where on the series; a point that is not finite is ignored.
        pattern : array_like, shape (channels,)
            Intensities; an empty one is ignored.
        """
        if not self.add(value_of_motor, pattern):
            return []
        if self._count % max(1, len(self._points) // _EVERY_POINT_UP_TO):
            return []
        return self.search()

    def add(self, value_of_motor: float, pattern: npt.ArrayLike) -> bool:
        """Take up the next pattern without searching (as :meth:`update`); returns whether it counts."""
        y = np.sqrt(np.maximum(np.asarray(pattern, float), 0.0))
        size = float(np.sqrt(y @ y))
        if not (np.isfinite(value_of_motor) and np.isfinite(size) and size > 0):
            return False
        y = (y / size).astype(np.float32).astype(float)  # as a restart will find it
        if self._first is None:
            self._first = y
        aligned = self._alignment.on(self._first, y)
        self._rows.append(aligned.moved)
        self._points.append((float(value_of_motor), aligned.shift, aligned.stretch, aligned.scale, 1.0))
        self._count += 1
        if len(self._points) >= self._most:
            self._halve()
        return True

    def search(self) -> list[ChangePoint]:
        """Search all patterns so far, whether or not it is time to; returns what is new."""
        found = []
        points = np.array(self._points).reshape(-1, 5)
        for branch, rows in enumerate(branches(points[:, 0])):
            if len(rows) >= 6:
                moved = self._alignment.flat(_equal_noise(self._rows.array[rows].astype(float)))
                events = _events(points[rows], _without_common(moved), self._least_log10)
                found += [(branch, name, change) for name, change in events]
        return self._known.compare(QUANTITIES, found, self._count)

    def _halve(self) -> None:
        """Join neighbours in pairs, in order of arrival."""
        rows, points = self._rows.array.astype(float), np.array(self._points)
        kept = Rows(self._channels)
        pairs = range(0, len(rows) - 1, 2)
        for i in pairs:
            kept.append((rows[i] + rows[i + 1]) / 2)
        self._points = [
            (*((points[i, :4] + points[i + 1, :4]) / 2).tolist(), float(points[i, 4] + points[i + 1, 4]))
            for i in pairs
        ]
        self._rows = kept

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values (msgpack-able)."""
        return {
            "first": None if self._first is None else self._first.astype("<f4").tobytes(),
            "rows": self._rows.snapshot(), "points": np.array(self._points, "<f8").tobytes(),
            "known": self._known.snapshot(), "count": self._count,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        if state["first"] is not None:
            self._first = np.frombuffer(state["first"], "<f4").astype(float)
        self._rows.restore(state["rows"])
        points = np.frombuffer(state["points"], "<f8").reshape(-1, 5).tolist()
        self._points = [tuple(point) for point in points]
        self._known.restore(state["known"])
        self._count = int(state["count"])


def _equal_noise(roots: Array) -> Array:
    """Intensities over the root of their mean: noise as even as that of roots, and a mixture stays one."""
    intensity = roots**2
    mean = intensity.mean(axis=0)
    return np.asarray(intensity / np.sqrt(mean + _FAINT * mean.mean()))


def _without_common(moved: Array) -> Array:
    """Take off what position, stretch and strength of the mean pattern still explain, and the mean."""
    mean = moved.mean(axis=0)
    slope = np.gradient(mean)
    modes = np.linalg.qr(np.column_stack([mean, slope, np.linspace(-1.0, 1.0, mean.size) * slope]))[0]
    left = moved - (moved @ modes) @ modes.T
    return np.asarray(left - left.mean(axis=0))


def _events(points: Array, left: Array, least_log10: float) -> list[tuple[str, Change]]:
    """All that happens on one branch: quantity and change, rising."""
    weights = 1 / np.sqrt(points[:, 4:])
    common = prepare_curves(points[:, 0], points[:, 1:4], np.repeat(weights, 3, axis=1), trusted=False)
    coordinates = _coordinates(points[:, 0], left)
    many = np.repeat(weights, coordinates.shape[1], axis=1)
    curves = prepare_curves(points[:, 0], coordinates, many, trusted=False)
    if common is None or curves is None:
        return []
    few = type(curves)(curves.x, curves.y[:, :_MOST_SEARCHED], curves.sigma[:, :_MOST_SEARCHED])
    sharp = find_changes(few, least_log10=least_log10)
    gradual = find_gradual(without_jumps(curves, sharp), least_log10=least_log10)
    moves = [(_COMMON[c.strongest], c) for c in find_changes(common, least_log10=least_log10)]
    return put_together(moves, sharp, gradual, float(np.median(np.diff(curves.x))))


def _coordinates(x: Array, left: Array) -> Array:
    """Coordinates along the leading principal components, as far as their course stands out of its scatter.

    The first where none does: then the search has to find nothing.
    """
    values, vectors = np.linalg.eigh(left @ left.T)
    leading = np.argsort(values)[::-1][:_MOST_COMPONENTS]
    y = vectors[:, leading] * np.sqrt(np.maximum(values[leading], 0.0))
    along = y[np.argsort(x, kind="stable")]
    scatter = np.var(along[1:-1] - (along[:-2] + along[2:]) / 2, axis=0) / 1.5
    used = np.var(along, axis=0) >= _LEAST_SIGNAL * np.maximum(scatter, 1e-30)
    used[0] |= not used.any()
    return np.asarray(y[:, used])
