"""PatternWatch: change points of a sequence of patterns, without references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.series.curves import branches, prepare_curves
from streamproc.models.series.scan import find_changes
from streamproc.models.series.watch import ChangePoint, KnownChanges
from streamproc.models.unmixing.kernels import products
from streamproc.models.unmixing.rows import Rows

__all__ = ["PatternWatch", "pattern_curves"]

Array = npt.NDArray[np.float64]

_MOST_CURVES = 5
_LEAST_SIGNAL = 3.0
"""A principal component counts where its variance is this many times that of its own scatter."""

_EVERY_POINT_UP_TO = 64


class PatternWatch:
    """Watches how patterns change over a motor or reading.

    Each pattern is scaled to unit area and its square root taken (equal noise in all channels, as for
    counts); the coordinates of the patterns along their leading principal components are the curves that
    are searched.

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
        self._rows = Rows(channels)
        self._x: list[float] = []
        self._joined: list[float] = []
        self._gram = np.zeros((0, 0))
        self._known = KnownChanges(series_key)
        self._count = 0

    @property
    def change_points(self) -> tuple[ChangePoint, ...]:
        """The change points that stand."""
        return self._known.significant

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
        self._rows.append(y / size)
        self._x.append(float(value_of_motor))
        self._joined.append(1.0)
        self._count += 1
        if len(self._x) >= self._most:
            self._halve()
        self._extend_gram()
        if self._count % max(1, len(self._x) // _EVERY_POINT_UP_TO):
            return []
        return self.search()

    def search(self) -> list[ChangePoint]:
        """Search all patterns so far, whether or not it is time to; returns what is new."""
        found = []
        for branch, rows in enumerate(branches(self._x)):
            curves = pattern_curves(
                np.array(self._x)[rows], self._gram[np.ix_(rows, rows)], np.array(self._joined)[rows]
            )
            if curves is None:
                continue
            prepared = prepare_curves(*curves, trusted=False)
            changes = [] if prepared is None else find_changes(prepared, least_log10=self._least_log10)
            found += [(branch, "pattern", change) for change in changes]
        return self._known.compare("pattern", found, self._count)

    def _extend_gram(self) -> None:
        n, before = len(self._rows), len(self._gram)
        if n == before:
            return
        rows = self._rows.array.astype(float)
        gram = np.zeros((n, n))
        gram[:before, :before] = self._gram
        for i in range(before, n):
            gram[i, : i + 1] = products(rows[i], rows[: i + 1])
            gram[: i + 1, i] = gram[i, : i + 1]
        self._gram = gram

    def _halve(self) -> None:
        """Join neighbours in pairs, in order of arrival."""
        rows = self._rows.array.astype(float)
        kept = Rows(self._channels)
        pairs = range(0, len(rows) - 1, 2)
        for i in pairs:
            kept.append((rows[i] + rows[i + 1]) / 2)
        self._x = [(self._x[i] + self._x[i + 1]) / 2 for i in pairs]
        self._joined = [self._joined[i] + self._joined[i + 1] for i in pairs]
        self._rows, self._gram = kept, np.zeros((0, 0))

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values (msgpack-able)."""
        return {
            "rows": self._rows.snapshot(), "x": list(self._x), "joined": list(self._joined),
            "known": self._known.snapshot(), "count": self._count,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._rows.restore(state["rows"])
        self._x = [float(v) for v in state["x"]]
        self._joined = [float(v) for v in state["joined"]]
        self._gram = np.zeros((0, 0))
        self._extend_gram()
        self._known.restore(state["known"])
        self._count = int(state["count"])


def pattern_curves(x: Array, gram: Array, joined: Array) -> tuple[Array, Array, Array] | None:
    """Return the curves along which patterns move.

    Parameters
    ----------
    x : ndarray, shape (m,)
        Places.
    gram : ndarray, shape (m, m)
        Scalar products of the patterns.
    joined : ndarray, shape (m,)
        How many measurements each pattern is the mean of.

    Returns
    -------
    (x, y, sigma) or None
        y, sigma of shape (m, d): coordinates along the d leading principal components whose course stands out
        of their scatter from point to point, and the ratio of the noise of the points. None with too few
        points.
    """
    m = len(x)
    if m < 6:
        return None
    centred = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    values, vectors = np.linalg.eigh(centred)
    order = np.argsort(values)[::-1][:_MOST_CURVES]
    scores = vectors[:, order] * np.sqrt(np.maximum(values[order], 0.0))
    along = scores[np.argsort(x, kind="stable")]
    scatter = np.var(along[1:-1] - (along[:-2] + along[2:]) / 2, axis=0) / 1.5
    used = np.var(along, axis=0) >= _LEAST_SIGNAL * np.maximum(scatter, 1e-30)
    used[0] = True  # where nothing stands out, the search has to find nothing
    y = scores[:, used]
    return x, y, np.repeat(1 / np.sqrt(joined)[:, None], y.shape[1], axis=1)
