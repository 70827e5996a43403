"""Fit a spin model to a whole map by least squares; scales and background are solved at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.mapmodel.errors import NotStable
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.descent import (
    Bounds,
    Found,
    descend,
    inverse,
    jacobian,
)
from streamproc.models.excitations.maps.discretisation import shift_of
from streamproc.models.excitations.maps.fitted import FitSettings, MapFit
from streamproc.models.excitations.maps.kinds import physics_of
from streamproc.models.excitations.maps.linear import Linear, Projection, background_basis
from streamproc.models.excitations.maps.noise import deviance, expected_variance, smoothed
from streamproc.models.excitations.maps.physics import MapRenderer
from streamproc.models.excitations.maps.prior import folded, off_zero, slope_of
from streamproc.models.excitations.maps.problem import MapProblem
from streamproc.models.excitations.maps.widths import Widths

from streamproc.errors import FrameFailed

__all__ = ["BEYOND", "WIDTHS", "MapFitter"]

Array = npt.NDArray[np.float64]

WIDTHS = ("energy_fwhm", "end_fwhm", "damping_fwhm", "q_fwhm")
"""Widths that may be fitted beside the couplings."""


BEYOND = 0.2
"""A prior's range is where training drew, and data may say a little more."""

_WIDER = 2.0
"""Widths may be so much narrower or wider than those trained for."""


class MapFitter:
    """Fits one map.

    Parameters
    ----------
    case : MapCase
        Model; its parameters' ranges are bounds.
    measured : SqeMap
        The map, energies in the case's unit.
    settings : FitSettings
        How.
    points : int
        Points per column for the width in Q.
    per_intensity : ndarray, optional
        Variance over expected intensity where these are counts: weights then come from the model.
    """

    def __init__(
        self,
        case: MapCase,
        measured: SqeMap,
        settings: FitSettings | None = None,
        points: int = 24,
        per_intensity: Array | None = None,
    ) -> None:
        self.case, self.measured = case, measured
        physics = physics_of(case)
        self.settings = settings or FitSettings.of(case)
        self._renderer: MapRenderer = physics.renderer(measured.q_rlu, measured.energy_meV, points)
        self._problem: MapProblem | None = None
        seen = measured.measured
        self._cells = seen
        if int(seen.sum()) < 30:
            raise FrameFailed(
                f"a map with {int(seen.sum())} measured cells; at least 30 are needed for a fit"
            )
        length, s = physics.lengths(measured.q_rlu), self.settings
        basis = background_basis(measured.energy_meV, length, s.background, s.background_q, s.falling)
        tilt = measured.energy_meV / measured.energy_meV[-1] - 0.5
        variance = measured.sigma**2
        self._per_intensity = None if per_intensity is None else per_intensity[seen]
        if per_intensity is not None:
            variance = expected_variance(smoothed(measured), per_intensity)
        self._linear = Linear(
            measured.intensity[seen], 1 / np.sqrt(variance[seen]), basis[:, seen],
            np.broadcast_to(tilt, seen.shape)[seen], self.settings.tilt,
        )  # fmt: skip

    def fit(
        self, starts: Sequence[Sequence[float]] | Array, widths: Widths, free: Sequence[bool] | None = None
    ) -> MapFit:
        """Descend from each start and keep the best.

        Parameters
        ----------
        starts : array, shape (s, couplings)
            Values of the free couplings to begin with.
        widths : Widths
            To begin with, or as they are.
        free : sequence of bool, optional
            Which of couplings and widths may move; default all.

        Raises
        ------
        FrameFailed
            The order is unstable at every start.
        """
        found = self.descents(starts, widths, free)
        if not found:
            raise FrameFailed(f"{self.case.words.unstable} at every start of the fit")
        return self.finished(self.settled(found, widths, free)[0], widths, self.bounds(free))

    def settled(
        self, found: Sequence[Found], widths: Widths, free: Sequence[bool] | None = None
    ) -> list[Found]:
        """Return descents best first, all compared with the best one's weights.

        Outliers of the best one (spurious scattering) count less from then on, and all descend once more.
        """
        best = min(found, key=lambda f: f.chi2)
        clean = self.without_outliers(best, widths)
        linear = best.linear if clean is None else clean
        compared = []
        for f in found:
            if clean is not None:
                f = self._descend(f.x, widths, linear, None, self.bounds(free)) or f
            compared.append(replace(f, linear=linear, chi2=self.chi2_at(f.x, widths, linear)))
        return sorted(compared, key=lambda f: f.chi2)

    def bounds(self, free: Sequence[bool] | None = None) -> Bounds:
        """Return the bounds of couplings and widths, and which of them may move (default all)."""
        low, high = self._ends()
        return Bounds(low, high, np.ones(len(low), bool) if free is None else np.asarray(free, bool))

    def descents(
        self,
        starts: Sequence[Sequence[float]] | Array,
        widths: Widths,
        free: Sequence[bool] | None = None,
    ) -> list[Found]:
        """Descend from each start; those where the order is unstable are left out. See :meth:`fit`."""
        bounds, s = self.bounds(free), self.settings
        own = [max(getattr(widths, w), 1e-3 * self.measured.energy_meV[-1]) for w in s.widths]
        renew = self.counted if self.counts else None
        places = self.case.parameters.places_of(np.atleast_2d(np.asarray(starts, dtype=float)))
        places = off_zero(self.case.parameters, places)
        begun = [np.concatenate([u, own]) for u in places]
        found = [self._descend(x, widths, self._linear, renew, bounds) for x in begun]
        return [replace(f, chi2=self.chi2_at(f.x, widths, f.linear)) for f in found if f is not None]

    def _descend(
        self,
        x: Array,
        widths: Widths,
        linear: Linear,
        renew: Callable[[Projection], Linear] | None,
        bounds: Bounds,
    ) -> Found | None:
        s = self.settings
        return descend(self.problem(widths), renew, x, linear, bounds, s.iterations, s.tolerance)

    def until(self, tolerance: float) -> MapFitter:
        """Return a fitter whose descents end when a step lowers chi-square by less than this share."""
        found = copy(self)
        found.settings = replace(self.settings, tolerance=tolerance)
        return found

    def held(
        self, x: Array, which: npt.NDArray[np.bool_], widths: Widths, linear: Linear, steps: int
    ) -> Found | None:
        """Go down a few steps with these weights while some numbers stay; None where there is no order."""
        bounds = self.bounds()
        free = replace(bounds, moving=bounds.moving & ~which)
        return descend(self.problem(widths), None, x, linear, free, steps, self.settings.tolerance)

    def chi2_at(self, x: Array, widths: Widths, linear: Linear) -> float:
        """Return what a fit makes small at places and widths; infinite where the order is unstable.

        Chi-square with the weights given; for counts the deviance, which does not prefer models that expect
        more only because their noise would be larger.
        """
        solved = self.problem(widths)(x, linear)
        if solved is None:
            return np.inf
        per = self._per_intensity
        return linear.chi2(solved) if per is None else deviance(linear.y, solved.model, per, linear.trust)

    def covariance_at(self, x: Array, widths: Widths, linear: Linear) -> Array:
        """Return (J^T W J)^-1 of places and widths; as wide as the bounds where there is no order."""
        problem, bounds = self.problem(widths), self.bounds()
        solved = problem(x, linear)
        if solved is None:
            return np.diag((bounds.high - bounds.low) ** 2)
        slope = jacobian(problem, x, linear, solved, bounds)
        return inverse(slope @ slope.T, bounds)

    def chi2(self, starts: Array, widths: Widths) -> Array:
        """Return chi-square at some couplings without any descent; infinite where the order is unstable."""
        found, places = np.full(len(starts), np.inf), self.case.parameters.places_of(starts)
        solve, own = self.problem(widths), np.array([getattr(widths, w) for w in self.settings.widths])
        for k, start in enumerate(places):
            solved = solve(np.concatenate([start, own]), self._linear)
            if solved is not None:
                found[k] = self._linear.chi2(solved)
        return found

    # -- inside -------------------------------------------------------------------------------------------

    def _ends(self) -> tuple[Array, Array]:
        """Places of the couplings, then widths; beyond an end at zero places are those of the mirror."""
        n = len(self.case.parameters.free)
        table = self.case.file.measurement
        ends = np.array([table.ends(w.replace("damping_fwhm", "damping")) for w in self.settings.widths])
        ends = ends.reshape(-1, 2)
        low, high = np.full(n, -BEYOND), np.full(n, 1 + BEYOND)
        return np.concatenate([low, ends[:, 0] / _WIDER]), np.concatenate([high, ends[:, 1] * _WIDER])

    @property
    def counts(self) -> bool:
        """Whether intensities are counts, and weights come from the model."""
        return self._per_intensity is not None

    def exact_at(self, x: Array, widths: Widths) -> MapFitter:
        """Return a fitter whose model is exact at places and widths; itself where it is so everywhere."""
        try:
            renderer = self._renderer.exact_at(*self.problem(widths).parts(x))
        except NotStable:
            return self
        return self if renderer is self._renderer else self._with(renderer)

    def shift_at(self, x: Array, widths: Widths, linear: Linear) -> float | None:
        """Return by how many standard deviations a parameter would move at most with :meth:`other`'s model.

        None where that cannot be said.
        """
        other = self.other()
        if other is None:
            return None
        problem, bounds = self.problem(widths), self.bounds()
        solved = problem(x, linear)
        if solved is None:
            return None
        slope = jacobian(problem, x, linear, solved, bounds)
        known = inverse(slope @ slope.T, bounds)
        shift = np.abs(_shift(other, x, widths, linear, solved, slope, known))
        return float((shift / np.sqrt(np.diag(known)))[: len(self.case.parameters.free)].max())

    def other(self) -> MapFitter | None:
        """Return a fitter whose model averages over other wave vectors; None where that would not be seen."""
        renderer = self._renderer.other()
        return None if renderer is None else self._with(renderer)

    def _with(self, renderer: MapRenderer) -> MapFitter:
        found = copy(self)
        found._renderer, found._problem = renderer, None
        return found

    def problem(self, widths: Widths) -> MapProblem:
        """Return what solves scales and background at places and widths; None where there is no order."""
        if self._problem is None or self._problem.widths != widths:
            parts = (self.case.parameters, self.settings.widths, self._renderer, self._cells)
            self._problem = MapProblem(*parts, widths)
        return self._problem

    def counted(self, solved: Projection) -> Linear:
        """Weights of counts from what the model expects."""
        assert self._per_intensity is not None
        return replace(self._linear, root=1 / np.sqrt(expected_variance(solved.model, self._per_intensity)))

    def without_outliers(self, found: Found, widths: Widths) -> Linear | None:
        """Return weights with which cells far off count less, by the noise there is; None without such."""
        solved = self.problem(widths)(found.x, found.linear)
        if solved is None or self.settings.robust <= 0:
            return None
        residual = np.abs(found.linear.residual(solved))
        limit = self.settings.robust * max(1.0, 1.4826 * float(np.median(residual)))
        if not (residual > limit).any():
            return None
        share = np.minimum(1.0, limit / np.maximum(residual, 1e-9))
        return replace(found.linear, root=found.linear.root * share, trust=share**2)

    def finished(self, found: Found, widths: Widths, bounds: Bounds) -> MapFit:
        """Return what is to be said of the place where a descent ended."""
        problem, linear, x = self.problem(widths), found.linear, found.x
        solved = problem(x, linear)
        if solved is None:
            raise FrameFailed(f"{self.case.words.unstable} where the fit ended")
        slope = jacobian(problem, x, linear, solved, bounds)
        freedom = len(linear.y) - len(solved.coefficients) - int(bounds.moving.sum())
        reduced = linear.chi2(solved) / max(1, freedom)
        known = inverse(slope @ slope.T, bounds)
        shift = _shift(self.other(), x, widths, linear, solved, slope, known)
        known = known * max(1.0, reduced) + np.outer(shift, shift)
        values, broad = self.problem(widths).parts(x)
        explained, significance = self._share(solved, linear, reduced)
        model, signal = np.zeros(self._cells.shape), np.zeros(self._cells.shape)
        model[self._cells], signal[self._cells] = solved.model, solved.signal
        n, x = len(self.case.parameters.free), x.copy()
        x[:n] = folded(self.case.parameters, x[None, :n])[0]
        change, best = slope_of(self.case.parameters, x), x.copy()
        best[:n] = self.case.parameters.values_at(x[None, :n])[0]
        return MapFit(
            values, self.case.parameters.free + self.settings.widths, best, change @ known @ change.T, broad,
            reduced, explained, significance, model, signal, found.steps, found.converged, linear, x, known,
            shift,
        )  # fmt: skip

    def _share(self, solved: Projection, linear: Linear, reduced: float) -> tuple[float, float]:
        """How much of what the background cannot say the excitations do: by chi-square without them."""
        without = linear.chi2(replace(linear, tilted=False).solve(np.zeros_like(linear.y)))
        with_signal = linear.chi2(solved)
        usual = self._linear.root**-2
        if self._per_intensity is not None:
            usual = expected_variance(solved.model, self._per_intensity)
        noise = float((linear.root**2 * usual).sum())
        gain = without - with_signal
        structure = max(without - noise, gain, 1e-12)
        return float(np.clip(gain / structure, 0.0, 1.0)), float(np.sqrt(max(gain, 0.0) / max(1.0, reduced)))


def _shift(
    other: MapFitter | None, x: Array, widths: Widths, linear: Linear, solved: Projection, slope: Array,
    known: Array,
) -> Array:  # fmt: skip
    """By how much a fit would move with the model of another fitter; 0 where there is none."""
    again = None if other is None else other.problem(widths)(x, linear)
    if again is None:
        return np.zeros(len(x))
    return shift_of(linear.residual(solved), linear.residual(again), slope, known)
