"""SeriesWatch: scalar curves, point by point; says when a change is significant, and when it has moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.series.curves import Curves, branches, prepare_curves
from streamproc.models.series.known import ChangePoint, KnownChanges
from streamproc.models.series.scan import find_changes

__all__ = ["ChangePoint", "KnownChanges", "SeriesWatch"]

Array = npt.NDArray[np.float64]

_LEAST_LOG10 = 1.5
_EVERY_POINT_UP_TO = 64


class SeriesWatch:
    """Watches scalar curves over a motor or reading for change points.

    Memory is bounded: when there are ``most_points``, neighbours are joined in pairs. The same points in
    the same order give the same change points, interrupted or not.

    Parameters
    ----------
    series_key : str
        The motor or reading that the series runs over.
    quantities : sequence of str
        The curves; others are ignored.
    least_log10 : float
        Least log10 of the Bayes factor of a change point.
    most_points : int
        Points kept.
    """

    def __init__(
        self,
        series_key: str,
        quantities: Sequence[str],
        *,
        least_log10: float = _LEAST_LOG10,
        most_points: int = 512,
    ) -> None:
        self.series_key, self.quantities = series_key, tuple(quantities)
        self._least_log10, self._most_points = least_log10, most_points
        self._x: list[float] = []
        self._values: list[list[tuple[float, float]]] = []
        self._known = KnownChanges(series_key)
        self._count = 0

    @property
    def change_points(self) -> tuple[ChangePoint, ...]:
        """The change points that stand."""
        return self._known.significant

    def update(
        self, value_of_motor: float, quantities: Mapping[str, tuple[float, float]]
    ) -> list[ChangePoint]:
        """Take up the next point.

        Parameters
        ----------
        value_of_motor : float
            Where on the series; a point that is not finite is ignored.
        quantities : Mapping
            Name to (value, standard uncertainty); one that is missing or not finite is left out.

        Returns
        -------
        list of ChangePoint
            New ones, changed ones, withdrawn ones; mostly none.
        """
        if not np.isfinite(value_of_motor):
            return []
        nothing = (float("nan"), float("nan"))
        self._x.append(float(value_of_motor))
        self._values.append(
            [(float(v), float(s)) for v, s in (quantities.get(q, nothing) for q in self.quantities)]
        )
        self._count += 1
        if len(self._x) >= self._most_points:
            self._halve()
        if self._count % max(1, len(self._x) // _EVERY_POINT_UP_TO):
            return []
        return self.search()

    def search(self) -> list[ChangePoint]:
        """Search all points so far, whether or not it is time to; returns what is new."""
        said = []
        parts = branches(self._x)
        for place, quantity in enumerate(self.quantities):
            found = []
            for branch, rows in enumerate(parts):
                curves = self._curves(rows, place)
                changes = [] if curves is None else find_changes(curves, least_log10=self._least_log10)
                found += [(branch, quantity, change) for change in changes]
            said += self._known.compare((quantity,), found, self._count)
        return said

    def _curves(self, rows: npt.NDArray[np.int64], place: int) -> Curves | None:
        table = np.array([self._values[i][place] for i in rows], float).reshape(-1, 2)
        x = np.array([self._x[i] for i in rows])
        measured = np.isfinite(table[:, 0])
        x, table = x[measured], table[measured]
        known = bool(np.isfinite(table[:, 1]).all())
        return prepare_curves(x, table[:, :1], table[:, 1:] if known else None)

    def _halve(self) -> None:
        """Join neighbours in pairs, in order of arrival: the mean, by their weights."""
        pairs = range(0, len(self._x) - 1, 2)
        self._x = [(self._x[i] + self._x[i + 1]) / 2 for i in pairs]
        self._values = [
            [_mean_of(a, b) for a, b in zip(self._values[i], self._values[i + 1], strict=True)] for i in pairs
        ]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values (msgpack-able)."""
        flat = np.array(self._values, "<f8").tobytes()
        x = np.array(self._x, "<f8").tobytes()
        return {"x": x, "values": flat, "known": self._known.snapshot(), "count": self._count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._x = np.frombuffer(state["x"], "<f8").tolist()
        flat = np.frombuffer(state["values"], "<f8").reshape(len(self._x), len(self.quantities), 2)
        self._values = [[(float(v), float(s)) for v, s in row] for row in flat]
        self._known.restore(state["known"])
        self._count = int(state["count"])


def _mean_of(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    if not (np.isfinite(a[0]) and np.isfinite(b[0])):
        return a if np.isfinite(a[0]) else b
    return (a[0] + b[0]) / 2, float(np.hypot(a[1], b[1])) / 2
