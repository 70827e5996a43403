"""Fit a spin model to a whole map by least squares; scales and background are solved at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.descent import (
    Bounds,
    Found,
    Problem,
    descend,
    inverse,
    jacobian,
)
from streamproc.models.excitations.maps.linear import Linear, Projection, background_basis
from streamproc.models.excitations.maps.render import Renderer
from streamproc.models.excitations.maps.widths import Widths
from streamproc.models.excitations.spinmodel.case import SpinCase

from streamproc.errors import FrameFailed

__all__ = ["FitSettings", "MapFit", "MapFitter"]

Array = npt.NDArray[np.float64]

WIDTHS = ("energy_fwhm", "end_fwhm", "damping_fwhm", "q_fwhm")
"""Widths that may be fitted beside the couplings."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to fit.

    Attributes
    ----------
    background : int
        Smooth functions of energy in the background.
    background_q : bool
        Part of the background may grow with Q^2, as phonons do.
    tilt : bool
        The intensity scale may change linearly with energy (form factor, absorption, detector efficiency).
    widths : tuple of str
        Widths that are fitted; the others stay.
    iterations : int
        Most steps of a descent.
    robust : float
        Residuals beyond so many sigma count less (spurious scattering); 0: all count alike.
    tolerance : float
        A descent ends when a step lowers chi-square by less than this share.
    """

    background: int = 7
    background_q: bool = False
    tilt: bool = True
    widths: tuple[str, ...] = ("energy_fwhm", "end_fwhm", "q_fwhm")
    iterations: int = 12
    robust: float = 4.0
    tolerance: float = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class MapFit:
    """A fit.

    Attributes
    ----------
    values : dict of str to float
        Every coupling (meV).
    free : tuple of str
        Names of the free couplings, then the fitted widths.
    best : ndarray, shape (f,)
        Their values.
    covariance : ndarray, shape (f, f)
        (J^T W J)^-1 times max(1, reduced chi-square).
    widths : Widths
        With the fitted ones.
    chi2_reduced : float
        Over the cells fitted.
    explained : float
        Share of the structure (what a smooth background leaves beyond noise) that the magnons explain, 0 to
        1.
    significance : float
        Magnon intensity over its standard deviation.
    model : ndarray, shape (n, m)
        The fitted map.
    signal : ndarray, shape (n, m)
        The magnons in it.
    iterations : int
        Steps taken.
    converged : bool
        Ended by itself.
    """

    values: dict[str, float]
    free: tuple[str, ...]
    best: Array
    covariance: Array = field(repr=False)
    widths: Widths
    chi2_reduced: float
    explained: float
    significance: float
    model: Array = field(repr=False)
    signal: Array = field(repr=False)
    iterations: int
    converged: bool

    @property
    def sigma(self) -> dict[str, float]:
        """Standard uncertainty of every free number."""
        return dict(zip(self.free, map(float, np.sqrt(np.diag(self.covariance))), strict=True))


class MapFitter:
    """Fits one map.

    Parameters
    ----------
    case : SpinCase
        Model; its parameters' ranges are bounds.
    measured : SqeMap
        The map, energies in the case's unit.
    settings : FitSettings
        How.
    points : int
        Points per column for the width in Q.
    """

    def __init__(
        self, case: SpinCase, measured: SqeMap, settings: FitSettings | None = None, points: int = 24
    ) -> None:
        self.case, self.measured = case, measured
        self.settings = settings or FitSettings()
        self._renderer = Renderer(case, measured.q_rlu, measured.energy_meV, points)
        seen = measured.measured
        self._cells = seen
        if int(seen.sum()) < 30:
            raise FrameFailed(
                f"a map with {int(seen.sum())} measured cells; at least 30 are needed for a fit"
            )
        length = np.linalg.norm(measured.q_rlu @ case.model.lattice.reciprocal(), axis=1)
        basis = background_basis(
            measured.energy_meV, length, self.settings.background, self.settings.background_q
        )
        tilt = measured.energy_meV / measured.energy_meV[-1] - 0.5
        self._linear = Linear(
            measured.intensity[seen], 1 / measured.sigma[seen], basis[:, seen],
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
        low, high = self._ends()
        bounds = Bounds(low, high, np.ones(len(low), bool) if free is None else np.asarray(free, bool))
        own = [max(getattr(widths, w), 1e-3 * self.measured.energy_meV[-1]) for w in self.settings.widths]
        best: Found | None = None
        for start in np.atleast_2d(np.asarray(starts, dtype=float)):
            found = descend(
                self._problem(widths), self._robust if self.settings.robust > 0 else None,
                np.concatenate([start, own]), self._linear, bounds, self.settings.iterations,
                self.settings.tolerance,
            )  # fmt: skip
            if found is not None and (best is None or found.chi2 < best.chi2):
                best = found
        if best is None:
            raise FrameFailed("the assumed magnetic order is unstable at every start of the fit")
        return self._finished(best, widths, bounds)

    def chi2(self, starts: Array, widths: Widths) -> Array:
        """Return chi-square at some couplings without any descent; infinite where the order is unstable."""
        found = np.full(len(starts), np.inf)
        problem, own = self._problem(widths), np.array([getattr(widths, w) for w in self.settings.widths])
        for k, start in enumerate(starts):
            solved = problem(np.concatenate([start, own]), self._linear)
            if solved is not None:
                found[k] = self._linear.chi2(solved)
        return found

    # -- inside -------------------------------------------------------------------------------------------

    def _ends(self) -> tuple[Array, Array]:
        low, high = self.case.parameters.bounds()
        # A prior's range is where training drew, and data may say a little more; but an end at zero is a
        # sign that the order needs.
        margin = 0.25 * (high - low)
        low, high = np.where(low == 0, low, low - margin), np.where(high == 0, high, high + margin)
        stop = self.measured.energy_meV[-1]
        ends = {"energy_fwhm": (0.004 * stop, 0.3 * stop), "end_fwhm": (0.004 * stop, 0.3 * stop)}
        ends |= {"damping_fwhm": (0.0, 0.4 * stop), "q_fwhm": (0.0, 0.2)}
        extra = np.array([ends[w] for w in self.settings.widths]).reshape(-1, 2)
        return np.concatenate([low, extra[:, 0]]), np.concatenate([high, extra[:, 1]])

    def _parts(self, x: Array, widths: Widths) -> tuple[dict[str, float], Widths]:
        n = len(self.case.parameters.free)
        given = dict(zip(self.settings.widths, map(float, x[n:]), strict=True))
        return self.case.parameters.values(x[:n]), replace(widths, **given)

    def _problem(self, widths: Widths) -> Problem:
        def solve(x: Array, linear: Linear) -> Projection | None:
            values, broad = self._parts(x, widths)
            try:
                signal = self._renderer.map(values, broad)[self._cells]
            except NotAMinimum:
                return None
            return linear.solve(signal)

        return solve

    def _robust(self, solved: Projection) -> Linear:
        """Down-weight outliers (Cauchy's weights) against the noise that the residuals show."""
        residual = np.abs(self._linear.residual(solved))
        unit = max(1.0, 1.4826 * float(np.median(residual)))
        weight = 1 / (1 + (residual / (self.settings.robust * unit)) ** 2)
        return replace(self._linear, root=self._linear.root * np.sqrt(weight))

    def _finished(self, found: Found, widths: Widths, bounds: Bounds) -> MapFit:
        problem, linear, x = self._problem(widths), found.linear, found.x
        solved = problem(x, linear)
        if solved is None:
            raise FrameFailed("the assumed magnetic order is unstable where the fit ended")
        slope = jacobian(problem, x, linear, solved, bounds)
        freedom = len(linear.y) - len(solved.coefficients) - int(bounds.moving.sum())
        reduced = found.chi2 / max(1, freedom)
        covariance = inverse(slope @ slope.T, bounds) * max(1.0, reduced)
        values, broad = self._parts(x, widths)
        explained, significance = self._share(solved, linear, reduced)
        model, signal = np.zeros(self._cells.shape), np.zeros(self._cells.shape)
        model[self._cells], signal[self._cells] = solved.model, solved.signal
        return MapFit(
            values, self.case.parameters.free + self.settings.widths, x, covariance, broad, reduced,
            explained, significance, model, signal, found.steps, found.converged,
        )  # fmt: skip

    def _share(self, solved: Projection, linear: Linear, reduced: float) -> tuple[float, float]:
        """How much of what the background cannot say the magnons do: by chi-square without them."""
        without = linear.chi2(replace(linear, tilted=False).solve(np.zeros_like(linear.y)))
        with_magnons = linear.chi2(solved)
        noise = float(len(linear.y)) * float(np.mean((linear.root / self._linear.root) ** 2))
        gain = without - with_magnons
        structure = max(without - noise, gain, 1e-12)
        return float(np.clip(gain / structure, 0.0, 1.0)), float(np.sqrt(max(gain, 0.0) / max(1.0, reduced)))
