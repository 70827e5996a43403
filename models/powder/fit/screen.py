"""Which few of many phases explain a pattern: a non-negative look at all at once, then fits of the
promising ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from streamproc.models.powder.fit.data import Pattern, thinned
from streamproc.models.powder.fit.engine import ProfileFitter, typical_fwhm
from streamproc.models.powder.fit.kinds import SHARED
from streamproc.models.powder.fit.linear import solve_linear
from streamproc.models.powder.fit.problem import Problem
from streamproc.models.powder.fit.results import Refined

__all__ = ["Candidate", "Selection", "screen", "select"]

Array = npt.NDArray[np.float64]

_BLUR = 2.5
_NOISE = 40.0
"""A phase brings some ten parameters; noise alone lowers chi-squared by as much, with room to be sure."""

_TOLERANCE = 0.004
"""Relative change of a cell that the first look allows for."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A phase the first look found.

    Attributes
    ----------
    name : str
        Phase.
    share : float
        Its share of the intensity above background, of all phases together.
    """

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Selection:
    """What a search ended with.

    Attributes
    ----------
    fit : Refined or None
        Fit of the chosen phases; None where no phase improves on the background.
    gain : dict of str to float
        Per chosen phase the share of the misfit that it removed when it was taken in.
    """

    fit: Refined | None
    gain: dict[str, float]


def screen(fitter: ProfileFitter, pattern: Pattern, phases: Sequence[str] | None = None) -> list[Candidate]:
    """Solve for all phases at once, without refining anything (some 10 ms for 50 phases).

    Lines and data are blurred so that cells which are off by half a per cent still meet their lines.

    Parameters
    ----------
    fitter : ProfileFitter
        Knows the phases.
    pattern : Pattern
        Measured pattern.
    phases : sequence of str, optional
        Phases to look at; all by default.

    Returns
    -------
    list of Candidate
        Phases with a share above zero, the largest first.
    """
    chosen = fitter.chosen(tuple(fitter.phases) if phases is None else phases)
    problem = fitter.problem(pattern, chosen)
    coefficients, rows, _ = _blurred(problem, pattern, problem.y)
    areas = (coefficients[:, None] * rows).sum(1)[: len(chosen)]
    total = max(float(areas.sum()), 1e-300)
    found = [Candidate(p.name, float(a) / total) for p, a in zip(chosen, areas, strict=True) if a > 0]
    return sorted(found, key=lambda c: (-c.share, c.name))


def _blurred(problem: Problem, pattern: Pattern, y: Array) -> tuple[Array, Array, Array]:
    """Non-negative coefficients of blurred phases and background, the rows, and the blurred data."""
    theta = problem.parameters.start.copy()
    fwhm = typical_fwhm(pattern) or 0.15
    middle = float(np.deg2rad(np.median(pattern.two_theta_deg)) / 2)
    shift = float(np.rad2deg(2 * _TOLERANCE * np.tan(middle)))
    wide = float(np.hypot(_BLUR * fwhm, shift))
    theta[SHARED.index("width")] = np.log(wide)
    step = float(np.median(np.diff(pattern.two_theta_deg)))
    smooth = gaussian_filter1d(y, np.sqrt(max(wide**2 - fwhm**2, 0.0)) / 2.355 / step, mode="nearest")
    drawn = problem.linear(theta).design
    rows = np.concatenate([drawn, problem.background])
    weight = 1 / np.sqrt(np.maximum(smooth, 1e-3 * float(smooth.max())))
    return solve_linear(rows, weight, smooth), rows, smooth


def select(
    fitter: ProfileFitter,
    pattern: Pattern,
    phases: Sequence[str] | None = None,
    *,
    most: int = 6,
    tries: int = 4,
    least_gain: float = 0.03,
) -> Selection:
    """Take in phase after phase as long as the fit gets clearly better.

    Parameters
    ----------
    fitter : ProfileFitter
        Knows the phases; with quick settings each try takes some milliseconds.
    pattern : Pattern
        Measured pattern.
    phases : sequence of str, optional
        Phases that may be there; all by default.
    most : int
        Most phases to take in.
    tries : int
        Candidates fitted before one is taken in.
    least_gain : float
        A phase must remove at least this share of the misfit, and more than noise could.

    Returns
    -------
    Selection
        The last accepted fit, of bins put together to a quarter of the lines' width.
    """
    names = tuple(fitter.phases) if phases is None else tuple(phases)
    fwhm = typical_fwhm(pattern)
    pattern = pattern if fwhm is None else thinned(pattern, fwhm / 4)
    chosen: list[str] = []
    gain: dict[str, float] = {}
    best: Refined | None = None
    misfit = _background_misfit(fitter, pattern, names)
    while len(chosen) < min(most, len(names)):
        left = [n for n in names if n not in chosen]
        ranked = _ranked(fitter, pattern, left, best)[:tries]
        fits = [fitter.fit(pattern, (*chosen, name)) for name in ranked]
        if not fits:
            break
        values = [_misfit(fit, pattern, fitter) for fit in fits]
        k = int(np.argmin(values))
        removed = misfit - values[k]
        scale = max(1.0, values[k] / pattern.intensity.size)
        if removed < max(least_gain * misfit, _NOISE * scale) or not fits[k].fractions[ranked[k]] > 0:
            break
        chosen.append(ranked[k])
        gain[ranked[k]], misfit, best = float(removed / misfit), values[k], fits[k]
    if best is not None:
        best = _without_superfluous(fitter, pattern, best, misfit, least_gain)
        gain = {name: g for name, g in gain.items() if name in best.phases}
    return Selection(best, gain)


def _without_superfluous(
    fitter: ProfileFitter, pattern: Pattern, best: Refined, misfit: float, least_gain: float
) -> Refined:
    """Drop phases that later ones made superfluous, the least one first."""
    while len(best.phases) > 1:
        names = sorted(best.phases, key=lambda n: float(best.contribution[n].sum()))
        least = names[0]
        fit = fitter.fit(pattern, tuple(n for n in best.phases if n != least))
        value = _misfit(fit, pattern, fitter)
        scale = max(1.0, value / pattern.intensity.size)
        if value - misfit >= max(least_gain * value, _NOISE * scale):
            break
        best, misfit = fit, value
    return best


def _ranked(fitter: ProfileFitter, pattern: Pattern, names: Sequence[str], best: Refined | None) -> list[str]:
    """Names by how much of what is left over their blurred lines explain."""
    chosen = fitter.chosen(names)
    problem = fitter.problem(pattern, chosen)
    y = problem.y if best is None else np.maximum(problem.y - best.calculated + best.background, 0.0)
    coefficients, rows, smooth = _blurred(problem, pattern, y)
    together = (coefficients[:, None] * rows).sum(1)[: len(names)]
    # beside the joint solution each phase alone against the background, so that near twins both get a try
    background = coefficients[len(names) :] @ rows[len(names) :]
    above = smooth - background
    alone = rows[: len(names)] @ above / np.maximum(np.linalg.norm(rows[: len(names)], axis=1), 1e-300)
    first = [names[k] for k in np.argsort(-together, kind="stable") if together[k] > 0]
    second = [names[k] for k in np.argsort(-alone, kind="stable") if alone[k] > 0]
    mixed = [n for pair in zip(first, second, strict=False) for n in pair] + first + second
    return list(dict.fromkeys(mixed))


def _misfit(fit: Refined, pattern: Pattern, fitter: ProfileFitter) -> float:
    """Weighted sum of squares with the settings' model error."""
    error = fitter.settings.model_error * np.maximum(pattern.intensity, 0.0)
    return float(np.sum((fit.observed - fit.calculated) ** 2 / (pattern.variance + error**2)))


def _background_misfit(fitter: ProfileFitter, pattern: Pattern, names: Sequence[str]) -> float:
    problem = fitter.problem(pattern, fitter.chosen(names[:1]))
    rows = problem.background
    model = solve_linear(rows, problem.weight, problem.y) @ rows
    return float(np.sum(((problem.y - model) * problem.weight) ** 2))
