"""Change points as they are published, and what of a new search is worth saying."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from streamproc.models.series.scan import Change, Kind

__all__ = ["ChangePoint", "KnownChanges"]


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A change point as it is published; a later one of the same ``number`` takes its place.

    Attributes
    ----------
    number : int
        Counts the change points of a series from 1.
    series_key : str
        The motor or reading that the series runs over; ``value`` has its unit.
    quantity : str
        The curve that changes.
    value, sigma : float
        Place and its standard uncertainty.
    interval90 : (float, float)
        Central 90 % of the posterior.
    log10_bayes_factor : float
        For this change against none.
    kind : {'jump', 'kink', 'gradual'}
        Of the curve, of its slope, or spread over ``span``.
    branch : int
        0 until the series turns round, then 1, ...
    significant : bool
        False withdraws it: with the points that came since, it is not significant any more.
    points : int
        Points of the series when this was said.
    span : (float, float) or None
        Where a gradual change begins and ends; ``value`` is half-way between what was before and after.
    """

    number: int
    series_key: str
    quantity: str
    value: float
    sigma: float
    interval90: tuple[float, float]
    log10_bayes_factor: float
    kind: Kind
    branch: int
    significant: bool
    points: int
    span: tuple[float, float] | None = None


class KnownChanges:
    """Change points that have been said; finds out what of a new search is worth saying.

    Parameters
    ----------
    series_key : str
        For the change points that are returned.
    """

    def __init__(self, series_key: str) -> None:
        self._series_key = series_key
        self._known: list[ChangePoint] = []

    @property
    def significant(self) -> tuple[ChangePoint, ...]:
        """Those that stand, in order of their value."""
        return tuple(sorted((c for c in self._known if c.significant), key=lambda c: (c.branch, c.value)))

    def compare(
        self, quantities: Collection[str], found: Sequence[tuple[int, str, Change]], points: int
    ) -> list[ChangePoint]:
        """Take up the outcome of a search over all branches of quantities that were searched together.

        Parameters
        ----------
        quantities : collection of str
            The curves; changes of others are left alone.
        found : sequence of (int, str, Change)
            Branch, the quantity that shows it most, change.
        points : int
            Points of the series.

        Returns
        -------
        list of ChangePoint
            New ones, ones that have moved or become sharper, and withdrawn ones.
        """
        said = []
        open_ = {c.number: c for c in self._known if c.quantity in quantities}
        for branch, name, change in found:
            fresh = ChangePoint(
                0, self._series_key, name, change.value, change.sigma, change.interval90,
                change.log10_bayes_factor, change.kind, branch, True, points, change.span,
            )  # fmt: skip
            before = self._nearest(open_, fresh)
            if before is None:
                said.append(self._keep(replace(fresh, number=len(self._known) + 1)))
                continue
            del open_[before.number]
            fresh = replace(fresh, number=before.number)
            if _differs(before, fresh):
                said.append(self._keep(fresh))
        said += [
            self._keep(replace(c, significant=False, points=points))
            for c in open_.values()
            if c.significant
        ]  # fmt: skip
        return said

    def _nearest(self, open_: Mapping[int, ChangePoint], fresh: ChangePoint) -> ChangePoint | None:
        near = [
            c
            for c in open_.values()
            if c.branch == fresh.branch and abs(c.value - fresh.value) <= 3 * np.hypot(c.sigma, fresh.sigma)
        ]  # fmt: skip
        return min(near, key=lambda c: abs(c.value - fresh.value), default=None)

    def _keep(self, change: ChangePoint) -> ChangePoint:
        self._known = [c for c in self._known if c.number != change.number] + [change]
        return change

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the state as plain values."""
        return [asdict(c) for c in self._known]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._known = [
            ChangePoint(**{**c, **{k: tuple(c[k]) for k in ("interval90", "span") if c[k] is not None}})
            for c in state
        ]


def _differs(before: ChangePoint, fresh: ChangePoint) -> bool:
    moved = abs(fresh.value - before.value) > 0.5 * fresh.sigma
    sharper = not 0.8 <= fresh.sigma / max(before.sigma, 1e-300) <= 1.25
    other = (before.kind, before.quantity) != (fresh.kind, fresh.quantity)
    return moved or sharper or other or not before.significant
