"""PatternWatch: change points of a sequence of patterns, without references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import shift as moved_by
from streamproc.models.series.curves import branches, prepare_curves
from streamproc.models.series.scan import find_changes
from streamproc.models.series.watch import ChangePoint, KnownChanges
from streamproc.models.unmixing.kernels import products
from streamproc.models.unmixing.rows import Rows

__all__ = ["QUANTITIES", "PatternWatch"]

Array = npt.NDArray[np.float64]

QUANTITIES = ("shift", "pattern")
"""What can change: where the pattern as a whole lies, and what it looks like."""

_MOST_COMPONENTS = 4
_LEAST_SIGNAL = 3.0
"""A curve counts where its variance is this many times that of its own scatter."""

_REACH = 16
"""Patterns are moved by at most one part in so many of their length."""

_EVERY_POINT_UP_TO = 64


class PatternWatch:
    """Watches how patterns change over a motor or reading.

    Square roots are taken (equal noise in all channels, as for counts) and scaled to unit length. Each
    pattern is moved along the axis to lie on the first one as well as it can: the shift is one curve (on
    an axis even in ln q it is minus the strain of the lattice). The coordinates of the moved patterns
    along their leading principal components are the others. All are searched together.

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
        self._reach = max(3, channels // _REACH)
        self._first: Array | None = None
        self._rows = Rows(channels)
        self._points: list[tuple[float, float, float]] = []  # place, shift, how many measurements
        self._gram = np.zeros((0, 0))
        self._known = KnownChanges(series_key)
        self._count = 0

    @property
    def change_points(self) -> tuple[ChangePoint, ...]:
        """The change points that stand."""
        return self._known.significant

    @property
    def shifts(self) -> list[tuple[float, float]]:
        """Place of each pattern, and the channels by which it lies higher than the first."""
        return [(x, by) for x, by, _ in self._points]

    def update(self, value_of_motor: float, pattern: npt.ArrayLike) -> list[ChangePoint]:
        """Take up the next pattern; returns new, changed and withdrawn change points.

        Parameters
        ----------
        value_of_motor : float
            Where on the series; a point that is not finite is ignored.
        pattern : array_like, shape (channels,)
            Intensities; an empty one is ignored.
        """
        y = np.sqrt(np.maximum(np.asarray(pattern, float), 0.0))
        size = float(np.sqrt(y @ y))
        if not (np.isfinite(value_of_motor) and np.isfinite(size) and size > 0):
            return []
        y = (y / size).astype(np.float32).astype(float)  # as a restart will find it
        if self._first is None:
            self._first = y
        by = _shift(y, self._first, self._reach)
        self._rows.append(moved_by(y, -by, order=3, mode="nearest"))
        self._points.append((float(value_of_motor), by, 1.0))
        self._count += 1
        if len(self._points) >= self._most:
            self._halve()
        self._extend_gram()
        if self._count % max(1, len(self._points) // _EVERY_POINT_UP_TO):
            return []
        return self.search()

    def search(self) -> list[ChangePoint]:
        """Search all patterns so far, whether or not it is time to; returns what is new."""
        found = []
        points = np.array(self._points).reshape(-1, 3)
        for branch, rows in enumerate(branches(points[:, 0])):
            curves = _curves(points[rows], self._gram[np.ix_(rows, rows)])
            if curves is None:
                continue
            names, y, sigma = curves
            prepared = prepare_curves(points[rows, 0], y, sigma, trusted=False)
            changes = [] if prepared is None else find_changes(prepared, least_log10=self._least_log10)
            found += [(branch, names[change.strongest], change) for change in changes]
        return self._known.compare(QUANTITIES, found, self._count)

    def _extend_gram(self) -> None:
        n, before = len(self._rows), len(self._gram)
        rows = self._rows.array.astype(float)
        gram = np.zeros((n, n))
        gram[:before, :before] = self._gram
        for i in range(before, n):
            gram[i, : i + 1] = products(rows[i], rows[: i + 1])
            gram[: i + 1, i] = gram[i, : i + 1]
        self._gram = gram

    def _halve(self) -> None:
        """Join neighbours in pairs, in order of arrival."""
        rows, points = self._rows.array.astype(float), np.array(self._points)
        kept = Rows(self._channels)
        pairs = range(0, len(rows) - 1, 2)
        for i in pairs:
            kept.append((rows[i] + rows[i + 1]) / 2)
        self._points = [
            (*((points[i, :2] + points[i + 1, :2]) / 2).tolist(), float(points[i, 2] + points[i + 1, 2]))
            for i in pairs
        ]
        self._rows, self._gram = kept, np.zeros((0, 0))

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
        points = np.frombuffer(state["points"], "<f8").reshape(-1, 3).tolist()
        self._points = [(x, by, joined) for x, by, joined in points]
        self._gram = np.zeros((0, 0))
        self._extend_gram()
        self._known.restore(state["known"])
        self._count = int(state["count"])


def _shift(y: Array, first: Array, reach: int) -> float:
    """Channels by which ``y`` lies higher than ``first``: greatest overlap, by a parabola through three."""
    inner = first[reach:-reach]
    overlap = np.array(
        [float(y[reach + lag : y.size - reach + lag] @ inner) for lag in range(-reach, reach + 1)]
    )
    best = min(max(int(overlap.argmax()), 1), 2 * reach - 1)
    below, here, above = overlap[best - 1 : best + 2]
    bend = below - 2 * here + above
    part = float(np.clip(0.5 * (below - above) / bend, -0.5, 0.5)) if bend < 0 else 0.0
    return best - reach + part


def _curves(points: Array, gram: Array) -> tuple[list[str], Array, Array] | None:
    """Curves along which patterns move: names, values (m, d), and the ratio of the noise of the points.

    The shift, and the coordinates along the leading principal components, as far as their course stands
    out of their scatter from point to point. None with too few points.
    """
    if len(points) < 6:
        return None
    centred = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    values, vectors = np.linalg.eigh(centred)
    leading = np.argsort(values)[::-1][:_MOST_COMPONENTS]
    scores = vectors[:, leading] * np.sqrt(np.maximum(values[leading], 0.0))
    y = np.column_stack([points[:, 1], scores])
    along = y[np.argsort(points[:, 0], kind="stable")]
    scatter = np.var(along[1:-1] - (along[:-2] + along[2:]) / 2, axis=0) / 1.5
    used = np.var(along, axis=0) >= _LEAST_SIGNAL * np.maximum(scatter, 1e-30)
    used[1] |= not used.any()  # where nothing stands out, the search has to find nothing
    names = [QUANTITIES[min(j, 1)] for j in np.flatnonzero(used)]
    return names, y[:, used], np.repeat(1 / np.sqrt(points[:, 2:]), len(names), axis=1)
