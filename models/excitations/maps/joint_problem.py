"""Several maps as one problem of a descent: shared couplings, and the widths of each map."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.maps.descent import Bounds, Found, descend, inverse, jacobian
from streamproc.models.excitations.maps.discretisation import shift_of
from streamproc.models.excitations.maps.fit import MapFitter
from streamproc.models.excitations.maps.linear import Linear, Projection
from streamproc.models.excitations.maps.prior import folded, slope_of
from streamproc.models.excitations.maps.refine import Refinement
from streamproc.models.excitations.maps.widths import Widths

__all__ = ["AllMaps", "JointFit", "Parts", "linear_of"]

Array = npt.NDArray[np.float64]

_ITERATIONS, _TOLERANCE = 15, 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Weights of all maps as one problem of :func:`~...descent.descend`."""

    linears: tuple[Linear, ...]
    noise: tuple[float, ...]

    def residual(self, solved: tuple[Projection, ...]) -> Array:
        """Return weighted differences of all maps, each in units of its noise."""
        parts = zip(self.linears, solved, self.noise, strict=True)
        return np.concatenate([linear.residual(s) / np.sqrt(n) for linear, s, n in parts])

    def chi2(self, solved: tuple[Projection, ...]) -> float:
        """Return the sum of their squares."""
        found = self.residual(solved)
        return float(found @ found)


@dataclass(frozen=True, slots=True, eq=False)
class JointFit:
    """What :func:`posterior_of` reads of a fit."""

    free: tuple[str, ...]
    best: Array
    covariance: Array
    places: Array
    place_covariance: Array
    chi2_reduced: float
    linear: Parts
    model: Array
    chi2: float
    shift: Array


class AllMaps:
    """All maps as one fitter: numbers are the couplings' places, then the widths of each map."""

    def __init__(self, members: Sequence[Refinement]) -> None:
        self.fitters: list[MapFitter] = [m.fitter for m in members]
        self.case = self.fitters[0].case
        self.widths: list[Widths] = [m.widths for m in members]
        self.couplings = len(self.case.parameters.free)
        self.noise = tuple(max(1.0, m.fit.chi2_reduced) for m in members)
        self._linears = tuple(linear_of(m) for m in members)
        self._known: list[tuple[bytes, Linear, Projection | None] | None] = [None] * len(members)

    def bounds(self) -> Bounds:
        """Return the bounds of the couplings and of every width."""
        all_bounds, p = [f.bounds() for f in self.fitters], self.couplings
        low = np.concatenate([all_bounds[0].low[:p], *(b.low[p:] for b in all_bounds)])
        high = np.concatenate([all_bounds[0].high[:p], *(b.high[p:] for b in all_bounds)])
        return Bounds(low, high, np.ones(len(low), dtype=bool))

    def split(self, x: Array) -> list[Array]:
        """Return couplings and own widths for each map."""
        found, at = [], self.couplings
        for fitter in self.fitters:
            own = len(fitter.settings.widths)
            found.append(np.concatenate([x[: self.couplings], x[at : at + own]]))
            at += own
        return found

    def solve(self, x: Array, linear: Parts) -> tuple[Projection, ...] | None:
        """Solve each map; one whose numbers stay the same is not drawn again."""
        found = []
        for k, (fitter, own) in enumerate(zip(self.fitters, self.split(x), strict=True)):
            key, known, weights = own.tobytes(), self._known[k], linear.linears[k]
            if known is None or known[0] != key or known[1] is not weights:
                known = (key, weights, fitter.problem(self.widths[k])(own, weights))
                self._known[k] = known
            if known[2] is None:
                return None
            found.append(known[2])
        return tuple(found)

    __call__ = solve

    def slopes(self, x: Array, linear: Parts, solved: tuple[Projection, ...]) -> Array | None:
        """Return how the residuals of all maps change; None where one of them knows differences only."""
        columns, at, p = [], self.couplings, self.couplings
        parts = zip(self.fitters, self.split(x), self.widths, linear.linears, solved, self.noise, strict=True)
        for fitter, own, widths, weights, s, noise in parts:
            known = fitter.problem(widths).slopes(own, weights, s)
            if known is None:
                return None
            rows = np.zeros((len(x), known.shape[1]))
            rows[:p], rows[at : at + len(own) - p] = known[:p], known[p:]
            at += len(own) - p
            columns.append(rows / np.sqrt(noise))
        return np.concatenate(columns, 1)

    def renew(self, solved: tuple[Projection, ...]) -> Parts:
        """Weights of counts from the model; what a map alone had found to be an outlier stays one."""
        linears = []
        for fitter, first, s in zip(self.fitters, self._linears, solved, strict=True):
            if not fitter.counts:
                linears.append(first)
                continue
            counted = fitter.counted(s)
            linears.append(replace(counted, root=counted.root * np.sqrt(first.trust), trust=first.trust))
        return Parts(tuple(linears), self.noise)

    def chi2_at(self, x: Array, widths: Widths | None, linear: Parts) -> float:
        """Return the sum over maps of what each fit makes small, in units of each map's noise."""
        parts = zip(self.fitters, self.split(x), self.widths, linear.linears, self.noise, strict=True)
        return float(sum(f.chi2_at(own, w, li) / n for f, own, w, li, n in parts))

    def covariance_at(self, x: Array, widths: Widths | None, linear: Parts) -> Array:
        """Return (J^T W J)^-1; as wide as the bounds where there is no order. ``widths`` are its own."""
        solved, bounds = self.solve(x, linear), self.bounds()
        if solved is None:
            return np.diag((bounds.high - bounds.low) ** 2)
        slope = jacobian(self, x, linear, solved, bounds)
        return inverse(slope @ slope.T, bounds)

    def _known_at(self, x: Array, linear: Parts) -> tuple[Array, Array]:
        """Covariance and shift (:class:`~...fitted.MapFit`)."""
        known, solved, others = self.covariance_at(x, None, linear), self.solve(x, linear), self._others()
        again = None if others is None else others.solve(x, linear)
        if solved is None or again is None:
            return known, np.zeros(len(x))
        slope = jacobian(self, x, linear, solved, self.bounds())
        shift = shift_of(linear.residual(solved), linear.residual(again), slope, known)
        return known + np.outer(shift, shift), shift

    def _others(self) -> AllMaps | None:
        """The same with models that average over other wave vectors."""
        others = [f.other() for f in self.fitters]
        if all(o is None for o in others):
            return None
        found = copy(self)
        found.fitters = [f if o is None else o for f, o in zip(self.fitters, others, strict=True)]
        found._known = [None] * len(others)
        return found

    def descend(self, x: Array) -> Found | None:
        """Go down from a place; None where the order is unstable."""
        linear = Parts(self._linears, self.noise)
        renew = self.renew if any(f.counts for f in self.fitters) else None
        return descend(self, renew, x, linear, self.bounds(), _ITERATIONS, _TOLERANCE)

    def finished(self, found: Found) -> JointFit:
        """Return what is to be said of the place where a descent ended."""
        p, x = self.couplings, found.x.copy()
        x[:p] = folded(self.case.parameters, x[None, :p])[0]
        known, shift = self._known_at(x, found.linear)
        change, best = slope_of(self.case.parameters, x), x.copy()
        best[:p] = self.case.parameters.values_at(x[None, :p])[0]
        widths = tuple(w for f in self.fitters for w in f.settings.widths)
        cells = sum(int(f.measured.measured.sum()) for f in self.fitters)
        return JointFit(
            self.case.parameters.free + widths, best, change @ known @ change.T, x, known, 1.0,
            found.linear, np.zeros(cells), self.chi2_at(x, None, found.linear), shift,
        )  # fmt: skip


def linear_of(member: Refinement) -> Linear:
    """Return data and weights of a map fitted alone."""
    assert member.fit.linear is not None
    return member.fit.linear
