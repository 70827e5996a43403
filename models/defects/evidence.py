"""Which reflections speak for a defect: how much worse each line is described without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from streamproc.models.defects.faults import Faults
from streamproc.models.defects.lines import Grid, grid_for
from streamproc.models.defects.pattern import family_patterns
from streamproc.models.defects.reference import Reference, state_of
from streamproc.models.defects.state import DefectState

__all__ = ["WITHOUT", "ReflectionEvidence", "count_scale", "reflections_of"]

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_REACH_DEG = 3.0
_MOST_STEPS = 12
_LEAST_POINTS = 12
_NO_DISLOCATIONS_PER_M2 = 1e12
_LARGE_NM = 1000.0


@dataclass(frozen=True, slots=True)
class ReflectionEvidence:
    """One reflection.

    Attributes
    ----------
    hkl : str
        Indices, as ``"111"``.
    support : float
        Twice the logarithm of the likelihood ratio, with the defect against without it: 9 is three sigma.
        Noise is
        scaled so that the description with the defect has a chi^2 of one. Negative: the line speaks against
        it.
    """

    hkl: str
    support: float


class Fits(NamedTuple):
    """Misfit of each line (NaN where it cannot be told), and where it was found."""

    chi2: Array
    steps: Ints


def _without_dislocations(state: DefectState) -> DefectState:
    return replace(state, density_per_m2=_NO_DISLOCATIONS_PER_M2)


WITHOUT: Mapping[str, Callable[[DefectState], DefectState]] = {
    "density_per_m2": _without_dislocations,
    "microstrain": _without_dislocations,
    "size_nm": lambda state: replace(state, size_nm=_LARGE_NM),
    "deformation": lambda state: replace(state, faults=Faults(growth=state.faults.growth)),
    "growth": lambda state: replace(state, faults=Faults(deformation=state.faults.deformation)),
}
"""Quantities that single lines speak of, and the crystal without the defect. Texture, static displacements,
the
amorphous share and q show in the intensities of all lines together: they have no reflections of their own."""


def count_scale(y: Array) -> float:
    """Return the variance over the value of a pattern that is no longer in counts, from its second
    differences."""
    second = np.diff(y, 2)
    middle = np.maximum(y[1:-1], 1e-12 * max(float(y.max()), 1e-300))
    return float(max(np.median(second**2 / (6 * middle)) / 0.4549, 1e-12))


def reflections_of(
    two_theta_deg: Array,
    intensity: Array,
    reference: Reference,
    values: Mapping[str, float],
    names: Sequence[str],
) -> dict[str, tuple[ReflectionEvidence, ...]]:
    """Compare each line with the crystal of the estimates, with and without each defect.

    Parameters
    ----------
    two_theta_deg, intensity : ndarray, shape (n,)
        The pattern as the model read it (evenly spaced; any scale).
    reference : Reference
        Of the model's card.
    values : mapping of str to float
        The model's estimates by name.
    names : sequence of str
        Defects; those without reflections of their own give ().

    Returns
    -------
    dict of str to tuple of ReflectionEvidence
        By name, the strongest first.

    Notes
    -----
    Height, straight background and place of each line are free in both descriptions, so texture, cell and
    zero
    carry no evidence.
    """
    known = [name for name in names if name in WITHOUT]
    out: dict[str, tuple[ReflectionEvidence, ...]] = dict.fromkeys(names, ())
    if not known:
        return out
    grid = grid_for(two_theta_deg, reference.instrument)
    state = state_of(values, reference.material)
    families, shapes = _shapes(two_theta_deg, reference, state, grid)
    parts = _parts(two_theta_deg, reference, families)
    variance = np.maximum(intensity, 1e-3 * float(intensity.max()))
    with_it, places = _misfits(intensity, variance, shapes, parts)
    seen = np.isfinite(with_it)
    if not seen.any():
        return out
    points = np.array([part.stop - part.start for part in parts]) - 4
    scale = float(with_it[seen].sum() / points[seen].sum())
    supports: dict[Callable[[DefectState], DefectState], Array] = {}
    for name in known:
        change = WITHOUT[name]
        if change not in supports:
            sharper = _shapes(two_theta_deg, reference, change(state), grid)[1]
            supports[change] = (_misfits(intensity, variance, sharper, parts, places).chi2 - with_it) / scale
        out[name] = _sorted(reference, families, supports[change])
    return out


def _sorted(
    reference: Reference, families: npt.NDArray[np.int64], support: Array
) -> tuple[ReflectionEvidence, ...]:
    rows = [
        ReflectionEvidence(_label(reference.material.hkl[row]), round(float(s), 2))
        for row, s in zip(families, support, strict=True)
        if np.isfinite(s)
    ]
    return tuple(sorted(rows, key=lambda r: -r.support))


def _label(hkl: npt.NDArray[np.int64]) -> str:
    joint = "" if int(hkl.max()) < 10 else " "
    return joint.join(str(int(i)) for i in hkl)


def _shapes(
    axis: Array, reference: Reference, state: DefectState, grid: Grid
) -> tuple[npt.NDArray[np.int64], Array]:
    return family_patterns(axis, reference.material, reference.instrument, state, grid)


def _parts(axis: Array, reference: Reference, families: npt.NDArray[np.int64]) -> list[slice]:
    """The stretch of each line, half way to its neighbours at most; empty where it has none of its own."""
    sine = reference.material.norm / reference.material.a_nm * reference.instrument.wavelength_A / 20
    places = np.rad2deg(2 * np.arcsin(np.minimum(sine, 1.0)))
    parts = []
    for row in families:
        others = np.abs(np.delete(places, row) - places[row])
        reach = min(_REACH_DEG, 0.5 * float(others.min(initial=2 * _REACH_DEG)))
        first, last = np.searchsorted(axis, [places[row] - reach, places[row] + reach])
        inside = axis[0] + 0.5 < places[row] < axis[-1] - 0.5
        parts.append(slice(int(first), int(last)) if inside else slice(0, 0))
    return parts


def _misfits(
    y: Array, variance: Array, shapes: Array, parts: Sequence[slice], near: Ints | None = None
) -> Fits:
    """Chi^2 of each line with free height, place and straight background, and the place in steps of the
    axis."""
    chi2, steps = np.full(len(parts), np.nan), np.zeros(len(parts), int)
    for k, part in enumerate(parts):
        width = part.stop - part.start
        if width < _LEAST_POINTS or not shapes[k, part].max() > 0:
            continue
        most = min(_MOST_STEPS, width // 3)
        tried = range(-most, most + 1) if near is None else range(near[k] - 2, near[k] + 3)
        chi2[k], steps[k] = _misfit(y[part], variance[part], shapes[k], part, tried)
    return Fits(chi2, steps)


def _misfit(y: Array, variance: Array, shape: Array, part: slice, tried: range) -> tuple[float, int]:
    """Whole steps of the axis, and a fraction of one by the slope of the shape."""
    width = part.stop - part.start
    shifts = [k for k in tried if part.start - k >= 1 and part.stop - k + 1 <= shape.size]
    if not shifts:
        return float("nan"), 0
    at = part.start - np.array(shifts)[:, None] + np.arange(width)
    own, slope = shape[at], 0.5 * (shape[at + 1] - shape[at - 1])
    top = np.maximum(own.max(1), 1e-300)[:, None]
    straight = np.broadcast_to(np.stack([np.ones(width), np.linspace(-1, 1, width)]), (len(shifts), 2, width))
    weight = 1 / np.sqrt(variance)
    rows = np.concatenate([(own / top)[:, None], (slope / top)[:, None], straight], 1) * weight
    aim = y * weight
    gram = rows @ rows.transpose(0, 2, 1)
    right = rows @ aim
    gram = gram + 1e-12 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(4)
    solved = np.linalg.solve(gram, right[..., None])[..., 0]
    chi2 = ((np.einsum("sk,skn->sn", solved, rows) - aim) ** 2).sum(1)
    chi2[(solved[:, 0] <= 0) | (np.abs(solved[:, 1]) > 1.01 * solved[:, 0])] = np.inf
    best = int(np.argmin(chi2))
    return (float(chi2[best]), shifts[best]) if np.isfinite(chi2[best]) else (float("nan"), shifts[best])
