"""PhaseMapSoFar: shares of components or phases at places of a map, and the regions that they form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from streamproc.models.unmixing.rows import Rows

__all__ = ["PhaseMapSoFar", "Regions"]

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NEIGHBOURS = 6
_ROUNDS = 20
_LEAST_SIGMA = 0.05
"""Shares are not believed to be known better than this when they are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Segmentation of the points of a map.

    Attributes
    ----------
    label : ndarray of int, shape (m,)
        Component (column) that each point's region is named after; -1 where nothing is known.
    confidence : ndarray, shape (m,)
        Probability of the label, given the point's own shares and those of its neighbours (0 to 1).
    present : ndarray of bool, shape (m, k)
        Components present at each point: a share above ``least_share`` by more than its sigma.
    """

    label: Ints
    confidence: Array
    present: npt.NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Number of regions: labels that occur."""
        return int(np.unique(self.label[self.label >= 0]).size)


class PhaseMapSoFar:
    """The map while it is measured, keyed by motors.

    Parameters
    ----------
    axes : sequence of str
        Names of the motors or composition columns; 1 to 3. Three that add up to one constant are a ternary
        system.
    components : int
        Most shares of a point.
    coupling : float
        How strongly neighbours agree: log odds that a neighbour in a region adds for the same region.
    most_points : int
        Points kept; later ones are not taken up.
    """

    def __init__(
        self, axes: Sequence[str], components: int, *, coupling: float = 0.5, most_points: int = 20_000
    ) -> None:
        if not 1 <= len(axes) <= 3:
            raise ValueError(f"a map has 1 to 3 axes, got {len(axes)}: {', '.join(axes)}")
        self.axes = tuple(axes)
        self._k, self._coupling, self._most = components, coupling, most_points
        self._rows = Rows(len(self.axes) + 2 * components, "<f8")

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def places(self) -> Array:
        """Shape (m, axes)."""
        return np.asarray(self._rows.array[:, : len(self.axes)])

    @property
    def shares(self) -> Array:
        """Shape (m, components)."""
        return np.asarray(self._rows.array[:, len(self.axes) : len(self.axes) + self._k])

    @property
    def sigma(self) -> Array:
        """Shape (m, components)."""
        return np.asarray(self._rows.array[:, len(self.axes) + self._k :])

    @property
    def ternary(self) -> bool:
        """Three axes, not negative, whose sum is the same everywhere: a composition."""
        if len(self.axes) != 3 or not len(self):
            return False
        total = self.places.sum(axis=1)
        return bool((self.places >= -1e-6).all() and np.ptp(total) < 0.02 * abs(float(total.mean())))

    def add(self, place: Mapping[str, float], shares: npt.ArrayLike, sigma: npt.ArrayLike) -> bool:
        """Take up a point.

        Parameters
        ----------
        place : Mapping
            Value of each axis; a point where one is missing or not finite is left out.
        shares, sigma : array_like, shape (up to components,)
            Shares and their standard uncertainties.

        Returns
        -------
        bool
            Whether it was taken up.
        """
        where = [float(place.get(axis, float("nan"))) for axis in self.axes]
        if not np.isfinite(where).all() or len(self) >= self._most:
            return False
        self._rows.append(np.concatenate([where, self._padded(shares), self._padded(sigma)]))
        return True

    def set_shares(self, shares: npt.ArrayLike, sigma: npt.ArrayLike) -> None:
        """Put new shares in the place of all (after components were estimated anew), shape (m, k)."""
        rows = self._rows.array.copy()
        first = len(self.axes)
        for start, values in ((first, np.asarray(shares)), (first + self._k, np.asarray(sigma))):
            rows[:, start : start + self._k] = 0.0
            rows[:, start : start + values.shape[1]] = values
        self._rows.replace_all(rows)

    def _padded(self, values: npt.ArrayLike) -> Array:
        out = np.zeros(self._k)
        given = np.asarray(values, float)
        out[: given.size] = given
        return out

    def regions(self, least_share: float = 0.1) -> Regions:
        """Segment the map: the dominant component of each point, in agreement with its neighbours.

        Mean-field solution of a Potts model (e.g. Koller & Friedman 2009, section 11.5): a point's own
        evidence is the probability that a component's share is the greatest, by its sigma; each of its
        nearest neighbours adds ``coupling`` for its own label.

        Parameters
        ----------
        least_share : float
            Share above which a component counts as present.

        Returns
        -------
        Regions
            One label per point.
        """
        shares, sigma = self.shares, np.hypot(self.sigma, _LEAST_SIGMA)
        known = shares.sum(axis=1) > 0
        present = known[:, None] & (shares - self.sigma > least_share)
        own = _log_odds_greatest(shares, sigma)
        odds = _softmax(own)
        near, weight = self._near()
        for _ in range(_ROUNDS if near.size else 0):
            pull = self._coupling * np.einsum("ml,mlk->mk", weight * known[near], odds[near])
            fresh = _softmax(own + pull)
            settled = np.abs(fresh - odds).max() < 1e-4
            odds = 0.5 * (odds + fresh)
            if settled:
                break
        label = np.where(known, odds.argmax(axis=1), -1)
        return Regions(label, np.where(known, odds.max(axis=1), 0.0), present)

    def _near(self) -> tuple[Ints, Array]:
        """Nearest neighbours of each point; those much farther than is usual do not count."""
        m = len(self)
        count = min(_NEIGHBOURS, 2) if len(self.axes) == 1 else _NEIGHBOURS
        count = min(count, m - 1)
        if count < 1:
            return np.zeros((m, 0), np.int64), np.zeros((m, 0))
        span = np.ptp(self.places, axis=0)
        if self.ternary:
            span = np.full(3, span.max())  # one unit for the three shares of a composition
        scaled = self.places / np.where(span > 0, span, 1.0)
        distance, near = cKDTree(scaled).query(scaled, k=count + 1)
        distance, near = distance[:, 1:], near[:, 1:]
        usual = float(np.median(distance))
        return near.astype(np.int64), (distance <= 3 * max(usual, 1e-12)).astype(float)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values (msgpack-able)."""
        return {"rows": self._rows.snapshot()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._rows.restore(state["rows"])


def _log_odds_greatest(shares: Array, sigma: Array) -> Array:
    """Log likelihood of each component being the greatest: by its distance from the rest."""
    k = shares.shape[1]
    out = np.zeros_like(shares)
    for j in range(k):
        others = np.delete(shares, j, axis=1)
        if not others.size:
            continue
        rival = others.argmax(axis=1)
        width = np.hypot(sigma[:, j], np.delete(sigma, j, axis=1)[np.arange(len(shares)), rival])
        out[:, j] = _log_normal_cdf((shares[:, j] - others.max(axis=1)) / width)
    return out


def _log_normal_cdf(z: Array) -> Array:
    from scipy.special import log_ndtr

    return np.maximum(np.asarray(log_ndtr(z)), -50.0)


def _softmax(values: Array) -> Array:
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
