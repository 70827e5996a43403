"""PatternStore: the patterns that are kept, all of them at first, later those that differ most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.unmixing.kernels import products
from streamproc.models.unmixing.rows import Rows

__all__ = ["PatternStore"]

Array = npt.NDArray[np.float64]


class PatternStore:
    """At most ``most`` patterns; when it is full, the two most alike become one of their joint weight.

    Parameters
    ----------
    channels : int
        Length of a pattern.
    most : int
        Patterns kept.
    """

    def __init__(self, channels: int, most: int) -> None:
        self._rows = Rows(channels)
        self._most = most
        self._points: list[int] = []
        self._weight: list[float] = []
        self._distance: Array | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def patterns(self) -> Array:
        """Shape (m, n)."""
        return self._rows.array.astype(np.float64)

    @property
    def points(self) -> list[int]:
        """Number of the point that each pattern was measured at."""
        return self._points

    @property
    def weight(self) -> Array:
        """How many patterns each stands for, shape (m,)."""
        return np.array(self._weight)

    def add(self, pattern: Array, point: int) -> None:
        """Take up a pattern."""
        if len(self._rows) < self._most:
            self._rows.append(pattern)
            self._points.append(point)
            self._weight.append(1.0)
            self._distance = None
            return
        self._exchange(np.asarray(pattern, np.float32).astype(np.float64), point)

    def _exchange(self, pattern: Array, point: int) -> None:
        distance = self._distances()
        new = 1.0 - products(_unit(pattern[None])[0], _unit(self.patterns))
        nearest = int(new.argmin())
        first, second = np.unravel_index(int(distance.argmin()), distance.shape)
        if new[nearest] <= distance[first, second]:
            self._weight[nearest] += 1.0
            return
        keep, drop = (first, second) if self._weight[first] >= self._weight[second] else (second, first)
        self._weight[keep] += self._weight[drop]
        self._rows.replace(int(drop), pattern)
        self._points[drop], self._weight[drop] = point, 1.0
        new[drop] = np.inf
        distance[drop], distance[:, drop] = new, new

    def _distances(self) -> Array:
        """1 - cosine of each pair; the diagonal is infinite. The same bits after a restart as before."""
        if self._distance is None:
            unit = _unit(self.patterns)
            self._distance = np.stack([1.0 - products(row, unit) for row in unit])
            np.fill_diagonal(self._distance, np.inf)
        return self._distance

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"rows": self._rows.snapshot(), "points": list(self._points), "weight": list(self._weight)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._rows.restore(state["rows"])
        self._points = [int(p) for p in state["points"]]
        self._weight = [float(w) for w in state["weight"]]
        self._distance = None


def _unit(patterns: Array) -> Array:
    size = np.sqrt([products(row, row[None])[0] for row in patterns])
    return np.asarray(patterns / np.maximum(size, 1e-300)[:, None])
