"""The full-profile fit: any phases, any axis, from milliseconds to a publishable refinement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.coarse import blurred_start
from streamproc.models.powder.fit.data import Pattern, smooth3
from streamproc.models.powder.fit.draw import quadrature
from streamproc.models.powder.fit.intensities import updated
from streamproc.models.powder.fit.kinds import SHARED
from streamproc.models.powder.fit.linear import background_rows
from streamproc.models.powder.fit.lines import Beam, Optics
from streamproc.models.powder.fit.problem import Problem, join, parameters_of
from streamproc.models.powder.fit.reference import PhaseLines
from streamproc.models.powder.fit.report import report
from streamproc.models.powder.fit.results import FitState, Refined
from streamproc.models.powder.fit.settings import Settings
from streamproc.models.powder.fit.solve import Solution, minimise

from streamproc.errors import ConfigurationError, FrameFailed

__all__ = ["ProfileFitter"]

Array = npt.NDArray[np.float64]

_WIDTH = SHARED.index("width")
_WIDER = 2.5
_ROUNDS, _STEPS_A_ROUND, _SETTLED = 40, 3, 2e-3
_SHAPES = ("width", "inverse_size")
_SHARPER = 0.5
_OTHER_BLUR = 1.7
_CELL = (*"abc", "alpha", "beta", "gamma")
_FIRST_STAGE = ("zero_deg", "displacement_mm", "width", "ka2_ratio", *_CELL, "inverse_size")
"""What is refined before the rest, so that shapes are not bent to make up for positions."""

_FIRST_STEPS = 15
_FIRST_TOLERANCE = 30.0


class ProfileFitter:
    """Fits patterns of some or all of a list of phases.

    Parameters
    ----------
    phases : sequence of PhaseLines
        All phases there are tables for.
    settings : Settings
        What is refined and how.

    Notes
    -----
    Immutable after construction and free of module state: one fitter may serve several threads (the kernels
    release the interpreter's lock).
    """

    def __init__(self, phases: Sequence[PhaseLines], settings: Settings) -> None:
        names = [p.name for p in phases]
        if not names or len(set(names)) != len(names):
            raise ConfigurationError(f"a fit needs phases with different names, got {names}")
        self.settings = settings
        self.phases = {p.name: p for p in phases}
        self._beam = Beam(*settings.radiation.arrays())
        self._optics = Optics(
            int(settings.geometry == "debye-scherrer"), settings.radius_mm, int(settings.lorentz_factor),
            settings.tail_level, float(np.rad2deg(settings.tube_tails_mm / settings.radius_mm)),
        )  # fmt: skip
        self._nodes = quadrature()

    def fit(
        self, pattern: Pattern, phases: Sequence[str] | None = None, start: FitState | None = None
    ) -> Refined:
        """Fit one pattern.

        Parameters
        ----------
        pattern : Pattern
            From :func:`~.data.pattern_of`.
        phases : sequence of str, optional
            Phases to fit; those of ``start``, or all, by default.
        start : FitState, optional
            Where to start: a neighbour's or an earlier fit's ``state``, or what a network says
            (:meth:`FitState.from_estimate`). Phases that it does not know start from their reference.

        Raises
        ------
        ConfigurationError
            When there is no table for a phase.
        FrameFailed
            When no reflection of the phases lies on the pattern's axis.
        """
        if phases is None:
            phases = start.phases if start is not None and start.phases else tuple(self.phases)
        chosen = self.chosen(phases)
        problem = self.problem(pattern, chosen)
        sigma = np.array([self.settings.intensity_sigma.get(p.name, 0.0) for p in chosen])
        if sigma.any():
            problem = self._free_lines(problem, pattern, start, sigma)
        solution, steps = self._descend(problem, pattern, start)
        message = "converged" if solution.converged else f"not converged after {steps} steps"
        if not np.any(solution.linear.scales > 0):
            message = "none of the phases was found in the pattern"
        return report(problem, solution, chosen, pattern, message, steps)

    def chosen(self, phases: Sequence[str]) -> tuple[PhaseLines, ...]:
        """Return the tables of some phases."""
        unknown = [name for name in phases if name not in self.phases]
        if unknown or not len(phases) or len(set(phases)) != len(phases):
            raise ConfigurationError(
                f"phases {list(phases)}: each must be one of {', '.join(self.phases)}, once"
            )
        return tuple(self.phases[name] for name in phases)

    def problem(
        self, pattern: Pattern, phases: Sequence[PhaseLines], background: Array | None = None
    ) -> Problem:
        """Set up a fit of these phases; ``background`` replaces the components made from the settings."""
        settings = self.settings
        y = pattern.intensity
        error = settings.model_error * np.maximum(smooth3(y), 0.0)
        if background is None:
            background = background_rows(
                pattern.two_theta_deg, settings.background_degree, settings.radiation.wavelength_A[0],
                settings.air, settings.humps,
            )  # fmt: skip
        return Problem(
            parameters=parameters_of(phases, settings, typical_fwhm(pattern)),
            reflections=join(phases, self._beam, self._optics),
            beam=self._beam,
            optics=self._optics,
            nodes=self._nodes,
            low_deg=pattern.low_deg,
            high_deg=pattern.high_deg,
            y=y,
            weight=1 / np.sqrt(pattern.variance + error**2),
            background=background,
            background_free=not settings.background_positive,
        )

    def _descend(self, problem: Problem, pattern: Pattern, start: FitState | None) -> tuple[Solution, int]:
        """Start from the width the pattern shows, cells and shifts from blurred fits unless they are known;
        where that ends badly, from another blur with sharper and wider lines."""
        settings, parameters = self.settings, problem.parameters
        values = dict(start.values) if start is not None else {}
        known = all(n in values for n in np.array(parameters.names)[parameters.refined] if _is_cell(n))
        theta = parameters.started(values) if known else self._blurred(problem, pattern, values)
        best = self._try(problem, theta, settings.staged and "width" not in values)
        steps = best.steps
        factors = (_SHARPER, _WIDER) if settings.blur else (_WIDER, _SHARPER)
        for factor in factors[: settings.more_starts]:
            good = best.linear.cost < settings.good_chi2 * problem.y.size
            if good or parameters.sigma[_WIDTH] == 0:
                break
            other = self._blurred(problem, pattern, {} if settings.blur else values, _OTHER_BLUR)
            other[_WIDTH] = theta[_WIDTH] + np.log(factor)
            found = self._try(problem, np.clip(other, parameters.low, parameters.high), settings.staged)
            steps += found.steps
            best = found if found.linear.cost < best.linear.cost else best
        return best, steps

    def _blurred(
        self, problem: Problem, pattern: Pattern, values: Mapping[str, float], times: float = 1.0
    ) -> Array:
        """Start vector whose cells and shifts come from blurred fits, where the settings ask for them."""
        theta, fwhm = problem.parameters.started(values), typical_fwhm(pattern)
        levels = [times * level for level in self.settings.blur]
        if fwhm is None or not levels or self.settings.intensity_sigma:
            return theta
        return blurred_start(problem, pattern, theta, fwhm, levels)

    def _free_lines(
        self, problem: Problem, pattern: Pattern, start: FitState | None, sigma: Array
    ) -> Problem:
        """Alternate between line intensities and a few steps of all else until the cost stays.

        Positions are let go only when the first intensities are there: lines of the wrong strength pull them.
        """
        original = problem.reflections.strength
        held = replace(problem, parameters=problem.parameters.only(_SHAPES))
        theta = problem.parameters.started(start.values if start is not None else {})
        before = np.inf
        for round_ in range(_ROUNDS):
            now = minimise(held if round_ < 2 else problem, theta, _STEPS_A_ROUND, self.settings.tolerance)
            theta, cost = now.theta, now.linear.cost
            problem = updated(problem, theta, now.linear, original, sigma)
            held = replace(held, reflections=problem.reflections)
            if round_ > 2 and abs(before - cost) < _SETTLED * cost:
                break
            before = cost
        return problem

    def _try(self, problem: Problem, theta: Array, staged: bool) -> Solution:
        settings = self.settings
        if staged:
            first = replace(problem, parameters=problem.parameters.only(_FIRST_STAGE))
            theta = minimise(first, theta, _FIRST_STEPS, _FIRST_TOLERANCE).theta
        solution = minimise(problem, theta, settings.steps, settings.tolerance)
        if not np.isfinite(solution.linear.cost):
            raise FrameFailed("the fit met numbers that are not finite; check intensities and variances")
        if not np.any(solution.linear.design):
            low, high = problem.low_deg[0], problem.high_deg[-1]
            raise FrameFailed(
                f"no reflection of the phases lies between {low:.2f} and {high:.2f} degrees 2theta; "
                "check the wavelength and the axis"
            )
        return solution


def _is_cell(name: str) -> bool:
    return name.rpartition(".")[2] in _CELL


def typical_fwhm(pattern: Pattern) -> float | None:
    """Return the median width at half height of the strongest lines (degrees); None without lines."""
    y, x = smooth3(pattern.intensity), pattern.two_theta_deg
    above = y - float(np.median(y))
    noise = float(np.median(np.sqrt(pattern.variance)))
    inner = (y[1:-1] > y[:-2]) & (y[1:-1] >= y[2:])
    tops = np.flatnonzero(inner & (above[1:-1] > max(8 * noise, 0.05 * float(above.max())))) + 1
    tops = tops[np.argsort(-above[tops], kind="stable")][:8]
    widths = []
    for top in tops:
        below = np.flatnonzero(above < above[top] / 2)
        after = np.searchsorted(below, top)
        if 0 < after < below.size:
            widths.append(x[below[after]] - x[below[after - 1]])
    return float(np.median(widths)) if widths else None
