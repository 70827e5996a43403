"""From a solution to numbers with standard deviations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.cells import volume_of
from streamproc.models.powder.fit.data import Pattern
from streamproc.models.powder.fit.kinds import SHARED, own_index
from streamproc.models.powder.fit.linear import covariance_of
from streamproc.models.powder.fit.problem import Problem
from streamproc.models.powder.fit.reference import PhaseLines
from streamproc.models.powder.fit.results import FitState, PhaseResult, Refined, Value
from streamproc.models.powder.fit.solve import Solution

__all__ = ["report"]

Array = npt.NDArray[np.float64]

_NAN = Value(float("nan"), float("nan"))
_IDENTIFIED = 0.9
"""A parameter whose standard deviation is above this share of its prior's is not determined by the
pattern."""


@dataclass(frozen=True, slots=True)
class _Spread:
    """Joint covariance: refined parameters first, then all scales, then the background in use.

    ``column`` gives each parameter's row; ``determined`` whether data (not the prior alone) fix it.
    """

    covariance: Array
    column: npt.NDArray[np.int64]
    determined: npt.NDArray[np.bool_]
    refined: int

    def variance(self, row: Array) -> float:
        """Propagate: row C row."""
        return float(max(row @ self.covariance @ row, 0.0))


def report(
    problem: Problem,
    solution: Solution,
    phases: Sequence[PhaseLines],
    pattern: Pattern,
    message: str,
    steps: int,
) -> Refined:
    """Work out what a solution says.

    Parameters
    ----------
    problem, solution
        The fit.
    phases : sequence of PhaseLines
        Its phases in order.
    pattern : Pattern
        The data, with counting variances.
    message : str
        How it ended.
    steps : int
        Steps taken.
    """
    linear, y = solution.linear, problem.y
    difference = y - linear.model
    count = problem.parameters.refined.size + int((linear.scales > 0).sum() + (linear.background > 0).sum())
    freedom = max(1, y.size - count)
    chi2 = float(np.sum((difference * problem.weight) ** 2)) / freedom
    spread = _spread(problem, solution, max(1.0, chi2))
    counting = 1 / pattern.variance
    total = float(np.sum(counting * y**2))
    background = linear.background @ problem.background
    contribution = linear.scales[:, None] * linear.design
    return Refined(
        phases={p.name: _phase(k, p, problem, solution, spread) for k, p in enumerate(phases)},
        instrument=_instrument(problem, solution, spread),
        r_wp=float(np.sqrt(np.sum(counting * difference**2) / total)) if total > 0 else 1.0,
        r_exp=float(np.sqrt(freedom / total)) if total > 0 else 1.0,
        chi2_reduced=chi2,
        unexplained=_unexplained(y, background, difference, pattern.variance),
        crystalline=float(contribution.sum() / max(float(y.sum()), 1e-300)),
        converged=solution.converged,
        message=message,
        steps=steps,
        two_theta_deg=pattern.two_theta_deg,
        observed=y,
        calculated=linear.model,
        background=background,
        contribution={p.name: row for p, row in zip(phases, contribution, strict=True)},
        state=_state(problem, solution, phases),
    )


def _state(problem: Problem, solution: Solution, phases: Sequence[PhaseLines]) -> FitState:
    there = [bool(s > 0) for s in solution.linear.scales]
    values = {}
    for place, name in enumerate(problem.parameters.names):
        owner = problem.owner(place)
        if name and (owner < 0 or there[owner]):
            values[name] = float(solution.theta[place])
    return FitState(tuple(p.name for p, here in zip(phases, there, strict=True) if here), values)


def _unexplained(y: Array, background: Array, difference: Array, variance: Array) -> float:
    """Share of the intensity above background (and of its noise) that is left over, noise taken off."""
    above = float(np.maximum(y - background, 0).sum())
    expected = float(np.sqrt(variance).sum() * np.sqrt(2 / np.pi))
    left_over = max(0.0, float(np.abs(difference).sum() - expected))
    return min(1.0, left_over / (above + expected)) if above > 0 else 1.0


def _spread(problem: Problem, solution: Solution, factor: float) -> _Spread:
    parameters, linear = problem.parameters, solution.linear
    at = parameters.refined
    jacobian = problem.jacobian(solution.theta, linear.scales)
    used = np.ones(len(linear.background), bool) if problem.background_free else linear.background > 0
    rows = np.concatenate(
        [jacobian, np.concatenate([linear.design, problem.background[used]]) * problem.weight]
    )
    prior = np.zeros(len(rows))
    prior[: at.size] = 1 / parameters.sigma[at] ** 2
    # what rests on its bound is taken as fixed: its neighbours' deviations are those of the bounded fit
    resting = (solution.theta[at] <= parameters.low[at]) | (solution.theta[at] >= parameters.high[at])
    rows[: at.size][resting] = 0.0
    covariance, known = covariance_of(rows, prior)
    esd = np.sqrt(np.diag(covariance)[: at.size])
    moved = np.abs(rows[: at.size]).max(1, initial=0.0) > 0
    determined = known[: at.size] & moved & (esd < _IDENTIFIED * parameters.sigma[at])
    return _Spread(covariance * factor, parameters.columns, determined, at.size)


def _value(place: int, solution: Solution, spread: _Spread) -> Value:
    """A parameter with its standard deviation; esd 0 where it was fixed."""
    column = spread.column[place]
    value = float(solution.theta[place])
    if column < 0:
        return Value(value, 0.0)
    if not spread.determined[column]:
        return _NAN
    return Value(value, float(np.sqrt(spread.covariance[column, column])))


def _instrument(problem: Problem, solution: Solution, spread: _Spread) -> dict[str, Value]:
    values = {name: _value(place, solution, spread) for place, name in enumerate(SHARED)}
    width = values.pop("width")
    fwhm = float(np.exp(width.value))
    return values | {"fwhm_deg": Value(fwhm, fwhm * width.esd)}


def _phase(k: int, phase: PhaseLines, problem: Problem, solution: Solution, spread: _Spread) -> PhaseResult:
    fraction = _fraction(k, solution.linear.scales, spread)
    if not solution.linear.scales[k] > 0:
        nothing = np.full(6, np.nan)
        return PhaseResult(
            fraction, nothing, nothing, _NAN, _NAN, dict.fromkeys(phase.free, _NAN), _NAN, _NAN, _NAN, _NAN
        )
    start = own_index(k, "cell0")
    moved = solution.theta[start : start + 6]
    cell = phase.cell + phase.moves @ moved
    columns = spread.column[start : start + 6]
    refined = np.flatnonzero(columns >= 0)
    block = spread.covariance[np.ix_(columns[refined], columns[refined])]
    moves = phase.moves[:, refined]
    cell_covariance = moves @ block @ moves.T
    volume, by_cell = _volume(cell)
    volume_esd = float(np.sqrt(max(by_cell @ cell_covariance @ by_cell, 0.0)))
    stretch = (volume / volume_of(phase.cell)) ** (1 / 3)
    size = _value(own_index(k, "inverse_size"), solution, spread)
    march = _value(own_index(k, "log_march"), solution, spread)
    r = float(np.exp(march.value))
    return PhaseResult(
        fraction=fraction,
        cell=cell,
        cell_esd=np.sqrt(np.maximum(np.diag(cell_covariance), 0.0)),
        volume_A3=Value(volume, volume_esd),
        strain=Value(stretch - 1, stretch * volume_esd / (3 * volume)),
        axis_strain={name: _value(start + j, solution, spread) for j, name in enumerate(phase.free)},
        # lines as narrow as the instrument's say only that crystallites are large
        size_nm=Value(1 / size.value, size.esd / size.value**2) if size.value > 2 * size.esd else _NAN,
        microstrain=_value(own_index(k, "microstrain"), solution, spread),
        march_r=Value(r, r * march.esd),
        delta_b_A2=_value(own_index(k, "delta_b"), solution, spread),
    )


def _fraction(k: int, scales: Array, spread: _Spread) -> Value:
    """Share s_k / sum(s) with the scales' joint covariance propagated."""
    total = float(scales.sum())
    if total <= 0:
        return _NAN
    fraction = float(scales[k]) / total
    row = np.zeros(len(spread.covariance))
    row[spread.refined : spread.refined + scales.size] = -fraction / total
    row[spread.refined + k] += 1 / total
    return Value(fraction, float(np.sqrt(spread.variance(row))))


def _volume(cell: Array) -> tuple[float, Array]:
    """Volume of a cell and its derivatives by the six values (per angstrom, per degree)."""
    ca, cb, cg = np.cos(np.deg2rad(cell[3:]))
    sines = np.sin(np.deg2rad(cell[3:]))
    volume = volume_of(cell)
    by_cosine = np.array([cb * cg - ca, ca * cg - cb, ca * cb - cg])
    product = float(np.prod(cell[:3]))
    by_angle = product**2 / volume * by_cosine * -sines * np.pi / 180
    return volume, np.concatenate([volume / cell[:3], by_angle])
