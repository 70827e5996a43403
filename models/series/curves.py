"""Curves made ready for the search: branches, repeated values, noise, isolated points out of line."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Curves", "branches", "prepare_curves"]

Array = npt.NDArray[np.float64]

_LEAST_RUN = 6
"""A stretch of at least so many points in one direction is a branch (heating, cooling) of its own."""

_MOST_BRANCHES = 6
_OUT_OF_LINE = 5.0
"""Isolated points further than this many sigma from both neighbours' lines count for little."""

_LITTLE = 100.0
_NEAR = 11
"""Points from which the noise near a place is estimated."""

_NOISIER = 1.6
"""What counts as clearly larger: of eleven points the scatter is known to about a third."""


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Points of one branch, rising in x, one column per quantity.

    Attributes
    ----------
    x : ndarray, shape (n,)
        Strictly rising; repeated values are one point.
    y : ndarray, shape (n, d)
        Values.
    sigma : ndarray, shape (n, d)
        Noise of each, as the scatter of the points says (at least what was given).
    """

    x: Array
    y: Array
    sigma: Array


def branches(x: Sequence[float] | Array) -> list[npt.NDArray[np.int64]]:
    """Split points in order of arrival where the series turns round: heating and cooling are two branches.

    A series that goes to and fro all the time (an adaptive scan) is one branch.

    Parameters
    ----------
    x : array_like, shape (n,)
        Place of each point.

    Returns
    -------
    list of ndarray of int
        Indices of each branch, in order of arrival.
    """
    x = np.asarray(x, float)
    everything = [np.arange(x.size)]
    if x.size < 2 * _LEAST_RUN:
        return everything
    steps = np.sign(np.diff(x))
    moving = np.flatnonzero(steps)
    turns = [int(b) for a, b in itertools.pairwise(moving) if steps[a] != steps[b]]
    cuts = [0, *turns, x.size]
    runs = np.diff(cuts)
    if len(runs) > _MOST_BRANCHES or (runs[:-1] < _LEAST_RUN).any():
        return everything
    if len(runs) > 1 and runs[-1] < _LEAST_RUN:  # has just turned: too few points to be a branch yet
        cuts.pop(-2)
    return [np.arange(a, b) for a, b in itertools.pairwise(cuts)]


def prepare_curves(x: Array, y: Array, sigma: Array | None, *, trusted: bool = True) -> Curves | None:
    """Sort, join repeated values, estimate the noise from the scatter, and give outliers little weight.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Places.
    y : ndarray, shape (n, d)
        Values.
    sigma : ndarray, shape (n, d), or None
        Standard uncertainties, as far as they are known; a scatter beyond them enlarges them.
    trusted : bool
        False: only their ratios are known.

    Returns
    -------
    Curves or None
        None where fewer than six different places are left.
    """
    sound = np.isfinite(x) & np.isfinite(y).all(axis=1)
    if sigma is not None:
        sound &= np.isfinite(sigma).all(axis=1)
    x, y = x[sound], y[sound]
    given = np.ones_like(y) if sigma is None else np.maximum(sigma[sound], 0.0)
    order = np.argsort(x, kind="stable")
    x, y, given = x[order], y[order], given[order]
    if x.size < 6:
        return None
    x, y, given = _joined(x, y, given)
    if x.size < 6:
        return None
    spread = np.maximum(np.ptp(y, axis=0), 1e-300)
    given = np.maximum(given, 1e-9 * spread)
    scale = _scatter(x, y, given)
    scale = np.maximum(scale, 1.0) if sigma is not None and trusted else scale
    noise = np.maximum(given * scale, 1e-9 * spread)
    for d in range(y.shape[1]):
        noise[_out_of_line(x, y[:, d], noise[:, d]), d] *= _LITTLE
    return Curves(x, y, noise)


def _joined(x: Array, y: Array, sigma: Array) -> tuple[Array, Array, Array]:
    """One point per place: the mean of those that lie within a thousandth of the typical step."""
    steps = np.diff(x)
    moving = steps[steps > 0]
    near = 1e-3 * float(np.median(moving)) if moving.size else 0.0
    group = np.concatenate([[0], np.cumsum(steps > near)])
    count = np.bincount(group).astype(float)
    mean_x = np.bincount(group, x) / count
    columns = [np.bincount(group, y[:, d]) / count for d in range(y.shape[1])]
    sigmas = [np.sqrt(np.bincount(group, sigma[:, d] ** 2)) / count for d in range(y.shape[1])]
    return mean_x, np.stack(columns, 1), np.stack(sigmas, 1)


def _scatter(x: Array, y: Array, sigma: Array) -> Array:
    """Noise over ``sigma``, shape of ``y``: each point against the line through its two neighbours, robust.

    That of the whole curve, or that of the nearest points where it is clearly larger.
    """
    left, right = x[1:-1] - x[:-2], x[2:] - x[1:-1]
    a, b = (right / (left + right))[:, None], (left / (left + right))[:, None]
    spread = np.sqrt(sigma[1:-1] ** 2 + a**2 * sigma[:-2] ** 2 + b**2 * sigma[2:] ** 2)
    apart = np.abs(y[1:-1] - a * y[:-2] - b * y[2:]) / spread
    whole = 1.4826 * np.median(apart, axis=0)
    out = np.tile(whole, (x.size, 1))
    for i in range(x.size if len(apart) > 2 * _NEAR else 0):
        first = min(max(i - 1 - _NEAR // 2, 0), len(apart) - _NEAR)
        near = 1.4826 * np.median(apart[first : first + _NEAR], axis=0)
        out[i] = np.where(near > _NOISIER * whole, near, whole)
    return out


def _out_of_line(x: Array, y: Array, noise: Array) -> npt.NDArray[np.int64]:
    """Points far from what both sides foretell, to the same side of it: a bad reading, not a change."""
    found = []
    for i in range(3, x.size - 3):
        ends = []
        for side in (slice(i - 3, i), slice(i + 1, i + 4)):
            u = x[side] - x[i]
            centred = u - u.mean()
            slope = centred @ y[side] / (centred @ centred)
            foretold = y[side].mean() - slope * u.mean()
            error = noise[i] * np.sqrt(1 + 1 / 3 + u.mean() ** 2 / (centred @ centred))
            ends.append((y[i] - foretold) / error)
        if min(abs(e) for e in ends) > _OUT_OF_LINE and ends[0] * ends[1] > 0:
            found.append(i)
    return np.array(found, dtype=np.int64)
