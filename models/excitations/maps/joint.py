"""One set of couplings for several maps, each with its own scale, background and resolution.

Each map is fitted alone first. Then the couplings are shared: all residuals together are made small, and the
posterior is drawn over couplings and the widths of every map. Told with it: how much of what is known
comes from each map, and whether a map disagrees with the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, ndtri
from streamproc.models.excitations.maps.joint_problem import AllMaps, JointFit, linear_of
from streamproc.models.excitations.maps.posterior_draws import Posterior, posterior_of
from streamproc.models.excitations.maps.prior import folded
from streamproc.models.excitations.maps.refine import Refinement

from streamproc.errors import FrameFailed

__all__ = ["Joint", "Member", "fit_jointly"]

Array = npt.NDArray[np.float64]

_ALIKE = 4.0
"""A minimum whose chi-square is higher by less fits as well as the best."""


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """What one map adds.

    Attributes
    ----------
    share : float
        Of the information about the couplings; the shares of all maps add up to 1.
    shares : ndarray, shape (p,)
        Of what is known of each coupling; they add up to 1 for each.
    apart : ndarray, shape (p,)
        What this map says alone less what the others say together, over the standard deviation of that. Where
        a map alone has several minima, the one nearest to the shared couplings speaks.
    tension : float
        By how much chi-square rises when this map has to share the others' couplings, as standard
        deviations of a normal distribution.
    alone : Posterior
        What this map says alone.
    chi2_reduced : float
        Of this map with the shared couplings.
    """

    share: float
    shares: Array
    apart: Array
    tension: float
    alone: Posterior
    chi2_reduced: float


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """A joint fit.

    Attributes
    ----------
    posterior : Posterior
        Of the shared couplings, in the model's unit of energy.
    members : tuple of Member
        In the order of the maps.
    excess : float
        By how much chi-square rises when couplings are shared.
    tension : float
        The probability of such a rise as standard deviations of a normal distribution; 0 where it is as
        expected or less.
    """

    posterior: Posterior
    members: tuple[Member, ...]
    excess: float
    tension: float


def fit_jointly(members: Sequence[Refinement]) -> Joint:
    """Share the couplings of maps that have been fitted alone, with one model and one unit of energy.

    Parameters
    ----------
    members : sequence of Refinement
        At least two.

    Raises
    ------
    FrameFailed
        No couplings near those of the single maps have a stable order for all of them.
    """
    whole, p = AllMaps(members), len(members[0].fitter.case.parameters.free)
    widths = np.concatenate([m.fit.places[p:] for m in members])
    starts = [m.fit.places[:p] for m in members] + [_middle(members, p)]
    found = [f for s in starts if (f := whole.descend(np.concatenate([s, widths]))) is not None]
    if not found:
        raise FrameFailed(f"{whole.case.words.unstable} at every start of the joint fit")
    fits = sorted((whole.finished(f) for f in found), key=lambda f: f.chi2)
    minima = [fits[0]]
    for f in fits[1:]:
        if f.chi2 < fits[0].chi2 + 25 and np.abs(f.places - minima[-1].places).max() > 0.02:
            minima.append(f)
    posterior = posterior_of(whole, fits[0], minima, None, None)
    information = [_information(whole, fits[0], k) for k in range(len(members))]
    own = [_alone(m, fits[0].places[:p], n) for m, n in zip(members, whole.noise, strict=True)]
    told = tuple(_member(whole, fits[0], members, information, own, k) for k in range(len(members)))
    excess = max(fits[0].chi2 - sum(o.chi2 for o in own), 0.0)
    return Joint(posterior, told, excess, _sigmas(excess, p * (len(members) - 1)))


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One side of a comparison: couplings, their covariance, and the least chi-square of its maps."""

    free: Array
    covariance: Array
    chi2: float


def _alone(member: Refinement, shared: Array, noise: float) -> _Side:
    """A map by itself, at its minimum nearest to the shared couplings if that fits as well as its best."""
    fitter, p, linear = member.fitter, len(shared), linear_of(member)
    start = fitter.case.parameters.values_at(folded(fitter.case.parameters, shared[None]))
    named = dict(zip(fitter.settings.widths, map(float, member.fit.places[p:]), strict=True))
    near = fitter.descents(start, replace(member.widths, **named))
    best = fitter.chi2_at(member.fit.places, member.widths, linear)
    for found in near:
        chi2 = fitter.chi2_at(found.x, member.widths, linear)
        if chi2 < best + noise * _ALIKE:
            fit = fitter.finished(found, member.widths, fitter.bounds())
            return _Side(fit.best[:p], fit.covariance[:p, :p], min(chi2, best) / noise)
    return _Side(member.fit.best[:p], member.fit.covariance[:p, :p], best / noise)


def _others(
    whole: AllMaps, fit: JointFit, members: Sequence[Refinement], own: Sequence[_Side], k: int
) -> _Side:
    """All maps but one, together."""
    rest = [m for n, m in enumerate(members) if n != k]
    if len(rest) == 1:
        return next(o for n, o in enumerate(own) if n != k)
    less = AllMaps(rest)
    widths = [w[whole.couplings :] for n, w in enumerate(whole.split(fit.places)) if n != k]
    found = less.descend(np.concatenate([fit.places[: whole.couplings], *widths]))
    if found is None:
        raise FrameFailed(f"{whole.case.words.unstable} where all maps but one are fitted")
    done, p = less.finished(found), whole.couplings
    return _Side(done.best[:p], done.covariance[:p, :p], done.chi2)


def _middle(members: Sequence[Refinement], p: int) -> Array:
    """The mean of the single answers, each weighed by what it knows."""
    known = [np.linalg.inv(m.fit.place_covariance[:p, :p]) for m in members]
    total = sum(k @ m.fit.places[:p] for k, m in zip(known, members, strict=True))
    return np.asarray(np.linalg.solve(sum(known), total))


def _information(whole: AllMaps, fit: JointFit, k: int) -> Array:
    """What one map says of the couplings at the joint fit, its own widths free; inverse covariance (p, p)."""
    own, p = whole.split(fit.places)[k], whole.couplings
    covariance = whole.fitters[k].covariance_at(own, whole.widths[k], fit.linear.linears[k])
    return np.linalg.inv(covariance[:p, :p]) / whole.noise[k]


def _member(
    whole: AllMaps, fit: JointFit, members: Sequence[Refinement], information: Sequence[Array],
    own: Sequence[_Side], k: int,
) -> Member:  # fmt: skip
    p, others = whole.couplings, _others(whole, fit, members, own, k)
    together = np.linalg.inv(sum(information))
    share = together @ information[k]
    width = np.sqrt(np.diag(own[k].covariance + others.covariance))
    solved = whole.solve(fit.places, fit.linear)
    assert solved is not None
    linear = fit.linear.linears[k]
    freedom = max(1, len(linear.y) - len(solved[k].coefficients) - p)
    return Member(
        float(np.trace(share)) / p, np.diag(share @ together) / np.diag(together),
        (own[k].free - others.free) / width, _sigmas(fit.chi2 - own[k].chi2 - others.chi2, p),
        members[k].posterior, linear.chi2(solved[k]) / freedom,
    )  # fmt: skip


def _sigmas(square: float, freedom: int) -> float:
    """A chi-square's probability as standard deviations (both sides) of a normal distribution."""
    probability = float(chdtrc(freedom, max(square, 0.0)))
    return float(-ndtri(max(probability, 1e-300) / 2)) if probability < 1 else 0.0
