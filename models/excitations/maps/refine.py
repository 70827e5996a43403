"""Least squares over a whole map, and the posterior of the couplings around every minimum that counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.container import SqeMap, averaged
from streamproc.models.excitations.maps.descent import Found
from streamproc.models.excitations.maps.fit import WIDTHS, MapFitter
from streamproc.models.excitations.maps.fitted import FitSettings, MapFit
from streamproc.models.excitations.maps.noise import variance_per_intensity
from streamproc.models.excitations.maps.posterior_draws import LARGE, TOLD, Posterior, posterior_of
from streamproc.models.excitations.maps.prior import folded, off_zero
from streamproc.models.excitations.maps.sampling import Guess, Sampled
from streamproc.models.excitations.maps.widths import Widths

from streamproc.errors import FrameFailed

__all__ = ["Refinement", "refine_map"]

Array = npt.NDArray[np.float64]

_COLUMNS, _POINTS, _FEW_POINTS = 220, 16, 10
"""Columns that are left of a map; points of each for its width in Q, and with many columns, which complete
each other."""

_TOLERANCE, _CLOSER, _AT_REST = 1e-4, 1e-5, 1e-6
"""A descent ends when a step lowers chi-square by less than this share: the second where its end is what is
published, the first where the best one goes on from there, to the third."""

_BETTER = 2.0
"""A draw whose log likelihood is so much higher than the fit's begins another descent."""

_SAME = 0.04
"""Places nearer than this are one."""

_ALIKE = 1.0
"""Ends of descents nearer than so many standard deviations are one where valleys are straight."""

_RIVAL = 25.0
"""A minimum whose chi-square is higher by more than this says nothing."""

_EXACT_ROUNDS = 2
"""So often the model is made exact where the fit is, and the fit goes on."""

_NOTICED = 0.2
"""A model whose average is so little off, in standard deviations of a parameter, is exact enough."""

_MET = 1.2
"""Chi-square for each cell of a map that is met."""


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """A fit of a map, its posterior, what fitted it, the widths it began with, the unit of energy (meV)."""

    fit: MapFit = field(repr=False)
    posterior: Posterior
    fitter: MapFitter = field(repr=False)
    widths: Widths
    unit_meV: float = 1.0


def refine_map(
    case: MapCase,
    measured: SqeMap,
    widths: Widths,
    start: Array,
    others: Callable[[], Sequence[Array]] = list,
    network: Guess | None = None,
) -> Refinement:
    """Fit a map at its own resolution, and draw around every minimum that counts.

    Parameters
    ----------
    case : MapCase
        Model.
    measured : SqeMap
        Energies in the model's unit.
    widths : Widths
        To begin with.
    start : ndarray, shape (p,)
        Free couplings.
    others : callable
        Gives further starts; a large map that is met from the first needs none.
    network : Guess, optional
        What the network says, as places in the prior.

    Raises
    ------
    FrameFailed
        Too little is measured, or the order is unstable at every start.
    """
    fine, per = averaged(measured, _COLUMNS), variance_per_intensity(measured, _COLUMNS)
    points = _POINTS if len(fine.q_rlu) <= _COLUMNS // 3 else _FEW_POINTS
    tolerance = _TOLERANCE if case.normal_where_told else _CLOSER
    fitter = MapFitter(case, fine, FitSettings.of(case, tolerance=tolerance), points, per)
    found = fitter.descents(start[None], widths)
    cells = int(fine.measured.sum())
    if not found or not _enough(fitter, found[0], cells, widths):
        for other in others():
            if not found or not _near(case, other, found):
                found += fitter.descents(other[None], widths)
    if not found:
        raise FrameFailed(f"{case.words.unstable} at every start of the fit")
    draft = fitter
    fitter, found = _exact(fitter, found, widths)
    if case.normal_where_told:
        best = min(found, key=lambda f: f.chi2)
        found += fitter.until(_AT_REST).descents(*_begun(fitter, best, widths))
        found = _distinct(fitter, found, widths)
    found += _off_zero(fitter, min(found, key=lambda f: f.chi2), widths)
    fit, minima = _minima(fitter, found, widths)
    posterior = posterior_of(fitter, fit, minima, widths, network, draft)
    if _better(posterior.sampled, fitter, fit, widths):
        best = case.parameters.values_at(_top(posterior.sampled)[None, : len(start)])
        found += fitter.descents(best, replace(widths, **_named(fit, _top(posterior.sampled))))
        fit, minima = _minima(fitter, found, widths)
        posterior = posterior_of(fitter, fit, minima, widths, network, draft)
    return Refinement(fit, posterior, fitter, widths)


def _enough(fitter: MapFitter, found: Found, cells: int, widths: Widths) -> bool:
    """Whether a descent from the network's answer needs no rivals: a map that tells much, and is met."""
    if found.chi2 > _MET * cells:
        return False
    if cells >= LARGE or not fitter.case.normal_where_told:
        return cells >= LARGE
    p = len(fitter.case.parameters.free)
    variance = np.diag(fitter.covariance_at(found.x, widths, found.linear))[:p]
    return bool(np.sqrt(variance.max()) < TOLD)


def _exact(fitter: MapFitter, found: list[Found], widths: Widths) -> tuple[MapFitter, list[Found]]:
    """Go on with a model that is exact where the best descent ended, twice, as that moves it a little."""
    for _ in range(_EXACT_ROUNDS):
        best = min(found, key=lambda f: f.chi2)
        exact = fitter.exact_at(best.x, widths)
        if exact is fitter:
            break
        shift = fitter.shift_at(best.x, widths, best.linear)
        if shift is not None and shift < _NOTICED:
            break
        again = []
        for f in _distinct(fitter, found, widths):
            if f.chi2 < best.chi2 + _RIVAL * max(1.0, best.chi2 / len(best.linear.y)):
                again += exact.descents(*_begun(fitter, f, widths))
        if not again:  # what had a model nearly has none any more: stay with what could be fitted
            break
        fitter, found = exact, again
    return fitter, found


def _distinct(fitter: MapFitter, found: Sequence[Found], widths: Widths) -> list[Found]:
    """Return descents best first, of those that ended alike where valleys are straight the best only."""
    best, *others = sorted(found, key=lambda f: f.chi2)
    if not others or not fitter.case.normal_where_told:
        return [best, *others]
    precision, kept = np.linalg.inv(fitter.covariance_at(best.x, widths, best.linear)), [best]
    for f in others:
        apart = np.stack([f.x - k.x for k in kept])
        if (np.einsum("ki,ij,kj->k", apart, precision, apart) > _ALIKE**2).all():
            kept.append(f)
    return kept


def _begun(fitter: MapFitter, found: Found, widths: Widths) -> tuple[Array, Widths]:
    """Return the end of a descent as the start of another: parameters, and widths."""
    parameters, p = fitter.case.parameters, len(fitter.case.parameters.free)
    own = dict(zip(fitter.settings.widths, map(float, found.x[p:]), strict=True))
    return parameters.values_at(folded(parameters, found.x[None, :p])), replace(widths, **own)


def _top(sampled: Sampled) -> Array:
    return np.asarray(sampled.places[int(np.argmax(sampled.likelihood))])


def _better(sampled: Sampled, fitter: MapFitter, fit: MapFit, widths: Widths) -> bool:
    """Whether a draw fits better than the fit: it stopped too early, and its curvature misleads."""
    assert fit.linear is not None
    own = -0.5 * fitter.chi2_at(fit.places, widths, fit.linear) / max(1.0, fit.chi2_reduced)
    return bool(sampled.likelihood.max() > own + _BETTER)


def _named(fit: MapFit, place: Array) -> dict[str, float]:
    """Return the widths of a draw by name."""
    p = len(fit.free) - sum(n in WIDTHS for n in fit.free)
    return dict(zip(fit.free[p:], map(float, place[p:]), strict=True))


def _off_zero(fitter: MapFitter, best: Found, widths: Widths) -> list[Found]:
    """Descend once more where the best descent ended at a zero: a saddle looks like a minimum from there."""
    parameters = fitter.case.parameters
    place = folded(parameters, best.x[None, : len(parameters.free)])
    if np.allclose(off_zero(parameters, place), place):
        return []
    again = fitter.descents(parameters.values_at(2 * off_zero(parameters, place) - place), widths)
    return [f for f in again if f.chi2 < best.chi2 + _RIVAL]


def _near(case: MapCase, start: Array, found: Sequence[Found]) -> bool:
    """Whether a start lies where a descent has ended already."""
    ends = np.stack([f.x[: len(start)] for f in found])
    return bool((np.abs(ends - case.parameters.places_of(start[None])).max(1) < _SAME).any())


def _minima(fitter: MapFitter, found: Sequence[Found], widths: Widths) -> tuple[MapFit, list[MapFit]]:
    """Return the best fit, and all that come near it with the best one's weights."""
    best, *others = fitter.settled(found, widths)
    bounds = fitter.bounds()
    fit = fitter.finished(best, widths, bounds)
    limit = best.chi2 + _RIVAL * max(1.0, fit.chi2_reduced)
    kept = [fit]
    for f in others:
        if f.chi2 < limit and not any(_again(fitter, f, k) for k in kept):
            kept.append(fitter.finished(f, widths, bounds))
    return fit, kept


def _again(fitter: MapFitter, found: Found, known: MapFit) -> bool:
    """Whether a descent ended in a minimum that is known."""
    apart = found.x - known.places
    if np.abs(apart).max() < 0.5 * _SAME:
        return True
    away = float(apart @ np.linalg.solve(known.place_covariance, apart))
    return fitter.case.normal_where_told and away < _ALIKE**2
