"""Least-squares fit of a whole pattern with the physics of defects: the classical number.

As in CMWP (Ribarik et al. 2004, Mater. Sci. Eng. A 387, 343) heights of the lines and the background are
free, so
that texture does not matter; what is common to all lines are the defects. Heights and background are solved
for
at each step (variable projection), not below zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from streamproc.models.defects.fit_parameters import (
    applied,
    checked_names,
    default_free,
    start_values,
)
from streamproc.models.defects.fit_task import Task, bernstein, families_inside
from streamproc.models.defects.lines import grid_for
from streamproc.models.defects.material import Material
from streamproc.models.defects.state import DefectState
from streamproc.models.powder.optics import Instrument

from streamproc.errors import ConfigurationError

__all__ = ["DefectFit", "fit_defects"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DefectFit:
    """What a whole-pattern fit found.

    Attributes
    ----------
    state : DefectState
        Best values.
    instrument : Instrument
        With zero and displacement, where they were free.
    sigma : mapping of str to float
        Standard deviation of each free parameter, times sqrt(max(1, chi2)); of the logarithm for density,
        arrangement and size. NaN where the pattern does not determine it.
    at_limit : tuple of str
        Free parameters that ended at a limit of their range.
    chi2 : float
        Reduced chi^2.
    rwp : float
        Weighted profile residual, background included.
    families : ndarray of int, shape (m,)
        Rows of the material's ``hkl``.
    heights : ndarray, shape (m,)
        Their refined strengths.
    model, background : ndarray, shape (n,)
        On the whole axis.
    chi2_of_starts : tuple of float
        Where each start ended: alike when the minimum is the only one.
    shifts : mapping of int to float
        Where lines were moved: relative shift in s by row of ``hkl``.
    """

    state: DefectState
    instrument: Instrument
    sigma: Mapping[str, float]
    at_limit: tuple[str, ...]
    chi2: float
    rwp: float
    families: npt.NDArray[np.int64] = field(repr=False)
    heights: Array = field(repr=False)
    model: Array = field(repr=False)
    background: Array = field(repr=False)
    chi2_of_starts: tuple[float, ...] = ()
    shifts: Mapping[int, float] = field(default_factory=dict)


def fit_defects(
    two_theta_deg: npt.ArrayLike,
    intensity: npt.ArrayLike,
    variance: npt.ArrayLike,
    material: Material,
    instrument: Instrument,
    *,
    free: Sequence[str] | None = None,
    starts: Sequence[DefectState] | None = None,
    background: int = 5,
    used: npt.ArrayLike | None = None,
    move_lines: bool = False,
) -> DefectFit:
    """Fit a pattern.

    Parameters
    ----------
    two_theta_deg, intensity, variance : array_like, shape (n,)
        Rising axis (degrees), intensities and their variances.
    material : Material
        Of the lines.
    instrument : Instrument
        As measured with a standard.
    free : sequence of str, optional
        Names of :data:`~streamproc.models.defects.fit_parameters.PARAMETERS`; by default density,
        arrangement, q, size,
        cell, and for fcc deformation and growth faults.
    starts : sequence of DefectState, optional
        Several; the best end is the answer.
    background : int
        Degree of the (Bernstein) polynomial.
    used : array_like of bool, shape (n,), optional
        Points that count.
    move_lines : bool
        Whether each line has a place of its own (residual stress in a film). The cell is not refined then;
        only the shapes tell of faults.

    Returns
    -------
    DefectFit
        The answer.

    Raises
    ------
    ConfigurationError
        When the arrays do not fit together, a parameter is not known, or fewer points count than are refined.
    """
    axis, y, v = (np.asarray(values, float) for values in (two_theta_deg, intensity, variance))
    if not axis.shape == y.shape == v.shape or axis.ndim != 1:
        raise ConfigurationError(
            "a pattern needs axis, intensity and variance of one length, got "
            f"{axis.shape}, {y.shape}, {v.shape}"
        )
    names = checked_names(free if free is not None else default_free(material))
    good = np.isfinite(y) & (v > 0) & (np.ones(y.size, bool) if used is None else np.asarray(used, bool))
    if good.sum() < 10 * (len(names) + background + 1):
        raise ConfigurationError(f"{int(good.sum())} points are too few for a fit of {len(names)} parameters")
    weight = np.where(good, 1 / np.sqrt(np.maximum(v, 1e-300)), 0.0)
    moved = families_inside(axis, material, instrument) if move_lines else np.zeros(0, int)
    if move_lines:
        names = tuple(name for name in names if name not in ("cell_scale", "zero_deg", "displacement_mm"))
    task = Task(
        axis, np.where(good, y, 0.0), weight, good, material, grid_for(axis, instrument),
        bernstein(axis, background), names, moved,
    )  # fmt: skip
    ends = [_descend(task, start, instrument) for start in starts or _default_starts(material)]
    costs = tuple(float(2 * end.cost / max(good.sum() - len(names), 1)) for end, _ in ends)
    best, state = ends[int(np.argmin(costs))]
    return _answer(task, best, state, instrument, costs)


def _default_starts(material: Material) -> list[DefectState]:
    """Small domains, many dislocations, and something between."""
    q = (material.edge.q + material.screw.q) / 2
    rows = ((1e14, 20.0), (3e15, 100.0), (1e15, 40.0))
    return [DefectState(density_per_m2=rho, size_nm=size, q=q, size_sigma=0.35) for rho, size in rows]


def _descend(task: Task, start: DefectState, instrument: Instrument):
    """One descent; its result, and the state it began at (for what is not free)."""
    low, high, steps = task.limits

    def left(values: Array) -> Array:
        _, basis = task.basis(values, start, instrument)
        return ((task.solved(basis) @ basis - task.y) * task.weight)[task.used]

    def slopes(values: Array) -> Array:
        here = left(values)
        signs = np.where(values + steps > high, -1.0, 1.0)
        columns = [
            (left(values + sign * step * unit) - here) / (sign * step)
            for sign, step, unit in zip(signs, steps, np.eye(len(values)), strict=True)
        ]
        return np.stack(columns, 1)

    first = np.r_[start_values(task.free, start, instrument), np.zeros(len(task.moved))]
    first = np.clip(first, low + 1e-9, high - 1e-9)
    found = least_squares(
        left, first, slopes, bounds=(low, high), x_scale="jac", max_nfev=60, xtol=1e-7, ftol=1e-7
    )
    return found, start


def _answer(task: Task, found, start: DefectState, instrument: Instrument, costs) -> DefectFit:
    """Put a descent's end into words."""
    named, shifts = np.split(found.x, [len(task.free)])
    state, optics = applied(task.free, named, start, instrument)
    families, basis = task.basis(found.x, start, instrument)
    solved = task.solved(basis)
    chi2 = min(costs)
    information = found.jac.T @ found.jac
    variances = np.diag(np.linalg.pinv(information, rcond=1e-14)) * max(1.0, chi2)
    sigma = np.where(np.diag(information) > 0, np.sqrt(np.maximum(variances, 0)), np.nan)
    rwp = np.sqrt(2 * found.cost / np.sum((task.y * task.weight) ** 2))
    floor = solved[len(families) :] @ task.floor
    limits = tuple(name for name, end in zip(task.free, found.active_mask, strict=False) if end)
    spread = dict(zip(task.free, map(float, sigma), strict=False))
    heights, model = solved[: len(families)], solved @ basis
    moved = dict(zip(task.moved.tolist(), map(float, shifts), strict=True))
    return DefectFit(
        state, optics, spread, limits, chi2, float(rwp), families, heights, model, floor, costs, moved
    )
