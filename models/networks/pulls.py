"""Intervals and ranks from the quantiles of pulls that a model card holds, and how these are measured.

A pull is (truth - answer) / scale. Where an answer is told badly its pulls are not symmetric (a width that
is fitted too small says too small an error of itself), and at the end of a range they cannot be. So their
quantiles on held-out simulations are kept as they depend on two features of an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from streamproc.compiling import machine_code
from streamproc.errors import ConfigurationError
from streamproc.inference.card import Calibration, Pulls

__all__ = ["PullTables", "measured_pulls", "uniformity"]

Array = npt.NDArray[np.float64]

_LEVELS = np.arange(1, 20) / 20
_ENDS = (0.05, 0.95)
_PLACES = 8
_NEAR, _SHARE = 200, 50
"""At least so many held-out answers give the quantiles at one place (the 5 % ones are then good to 1.5 %),
and one of so many where that is more."""

_OUTERMOST = 0.01
"""Share of answers beyond the first and the last place of the grid."""

_MOST = 50.0
"""Pulls are not taken for larger: a few answers that are far off have no say in how intervals grow."""


class PullTables:
    """What a card knows of the pulls of its quantities, ready to be looked up; q quantities.

    Parameters
    ----------
    calibration : Calibration
        Of the card. A quantity without measured pulls has symmetric ones: its ``q90`` is the end of its
        interval, and ranks are those of a normal distribution with standard deviation ``q68``.
    names : sequence of str
        The quantities, in order.
    """

    def __init__(self, calibration: Calibration, names: Sequence[str]) -> None:
        grids = [calibration.pulls.get(n) for n in names]
        shapes = {np.shape(g.quantiles) for g in grids if g is not None}
        levels = {g.levels for g in grids if g is not None}
        if len(shapes) > 1 or len(levels) > 1:
            raise ConfigurationError(
                f"pulls of {', '.join(names)}: their grids differ in shape or levels ({shapes}, {levels}); "
                "expected one kind for all quantities of a card: calibrate the model again"
            )
        self._score = ndtri(np.array(levels.pop()) if levels else _LEVELS)
        shape = shapes.pop() if shapes else (2, 2, len(self._score))
        count = len(names)
        self._low, self._high = np.zeros((count, 2)), np.ones((count, 2))
        self._quantiles, self._ends = np.empty((count, *shape)), np.empty((count, *shape[:2], len(_ENDS)))
        for k, (name, grid) in enumerate(zip(names, grids, strict=True)):
            if grid is None:
                self._quantiles[k] = calibration.q68[name] * self._score
                self._ends[k] = calibration.q90[name] * np.array([-1.0, 1.0])
            else:
                self._low[k], self._high[k], self._quantiles[k] = grid.low, grid.high, grid.quantiles
                flat = self._quantiles[k].reshape(-1, shape[2])
                ends = [np.interp(ndtri(_ENDS), self._score, row) for row in flat]
                self._ends[k] = np.reshape(ends, self._ends[k].shape)

    def ends(self, features: Array) -> tuple[Array, Array]:
        """Return the ends of the 90 % interval in scales from the answer: low <= 0 <= high.

        An answer always lies in its interval, also where hardly a truth is on one side of it.

        Parameters
        ----------
        features : ndarray, shape (n, q, 2)
            Of n answers.

        Returns
        -------
        ndarray, ndarray, shape (n, q)
            Low and high ends.
        """
        found = self._at(features, self._ends)
        return np.minimum(found[..., 0], 0.0), np.maximum(found[..., 1], 0.0)

    def ranks(self, features: Array, pulls: Array) -> Array:
        """Return the calibrated distribution function at given pulls, shape (n, q).

        Between the levels, and beyond the outermost ones, the normal score is linear in the pull.

        Parameters
        ----------
        features : ndarray, shape (n, q, 2)
            Of n answers.
        pulls : ndarray, shape (n, q)
            (Truth - answer) / scale.
        """
        rows = self._at(features, self._quantiles)
        last = rows.shape[2] - 2
        i = np.clip((rows < pulls[..., None]).sum(2) - 1, 0, last)
        near, next_ = (np.take_along_axis(rows, (i + k)[..., None], 2)[..., 0] for k in (0, 1))
        part = (pulls - near) / np.maximum(next_ - near, 1e-9)
        return np.asarray(ndtr(self._score[i] + part * (self._score[i + 1] - self._score[i])))

    def _at(self, features: Array, table: Array) -> Array:
        """Interpolate a table (q, a, b, l) at features (n, q, 2), shape (n, q, l)."""
        found = np.empty((*features.shape[:2], table.shape[3]))
        _interpolate(np.ascontiguousarray(features), self._low, self._high, table, found)
        return found


@machine_code(error_model="numpy")
def _interpolate(features: Array, low: Array, high: Array, table: Array, found: Array) -> None:
    place, part = np.empty(2, np.int64), np.empty(2)
    for n in range(features.shape[0]):
        for q in range(features.shape[1]):
            for j in range(2):
                last = table.shape[1 + j] - 1
                x = (features[n, q, j] - low[q, j]) / (high[q, j] - low[q, j]) * last
                x = min(max(x, 0.0), float(last))
                place[j] = min(int(x), last - 1)
                part[j] = x - place[j]
            i, k, f, g = place[0], place[1], part[0], part[1]
            for m in range(table.shape[3]):
                left = table[q, i, k, m] * (1 - g) + table[q, i, k + 1, m] * g
                right = table[q, i + 1, k, m] * (1 - g) + table[q, i + 1, k + 1, m] * g
                found[n, q, m] = left * (1 - f) + right * f


def measured_pulls(
    features: Array, pulls: Array, names: Sequence[str], feature_names: tuple[str, str]
) -> dict[str, Pulls]:
    """Measure the quantiles of pulls at each place of a grid, from the answers nearest to it.

    Parameters
    ----------
    features : ndarray, shape (n, q, 2)
        Of n held-out answers with q quantities.
    pulls : ndarray, shape (n, q)
        (Truth - answer) / scale.
    names : sequence of str
        The quantities.
    feature_names : tuple of str
        The features.

    Returns
    -------
    dict of str to Pulls
        For the card; empty where there are fewer answers than one place needs.
    """
    if len(pulls) < _NEAR:
        return {}
    return {n: _grid(features[:, k], pulls[:, k], feature_names) for k, n in enumerate(names)}


def _grid(features: Array, pulls: Array, names: tuple[str, str]) -> Pulls:
    low, high = np.quantile(features, [_OUTERMOST, 1 - _OUTERMOST], axis=0)
    high = np.maximum(high, low + 1e-6 * np.maximum(1.0, np.abs(low)))
    unit = np.maximum(features.std(0), 1e-12)
    bounded = np.clip(pulls, -_MOST, _MOST)
    places = [np.linspace(a, b, _PLACES) for a, b in zip(low, high, strict=True)]
    cells, count = [], max(_NEAR, len(pulls) // _SHARE)
    for x in places[0]:
        away = [(((features - (x, y)) / unit) ** 2).sum(1) for y in places[1]]
        near = [np.argpartition(d, count - 1)[:count] for d in away]
        cells.append(tuple(tuple(np.quantile(bounded[n], _LEVELS).round(4).tolist()) for n in near))
    return Pulls(
        features=names, low=tuple(low.tolist()), high=tuple(high.tolist()),
        levels=tuple(_LEVELS.round(4).tolist()), quantiles=tuple(cells),
    )  # fmt: skip


def uniformity(ranks: Array, names: Sequence[str]) -> dict[str, Mapping[str, float]]:
    """Simulation-based calibration: are the truth's ranks in the posterior uniform (Talts 2018)?

    Parameters
    ----------
    ranks : ndarray, shape (n, q)
        The posterior's distribution function at the truth, of n answers that do not depend on each other.
    names : sequence of str
        The quantities.

    Returns
    -------
    dict of str to mapping
        Largest distance from uniform (Kolmogorov and Smirnov), how often uniform ranks are as far
        (``p_value``), and the fullest and the emptiest tenth over its share.
    """
    from scipy.stats import kstest  # takes half a second to import; no service asks for it

    found = {}
    for k, name in enumerate(names):
        test, count = kstest(ranks[:, k], "uniform"), np.histogram(ranks[:, k], 10, (0.0, 1.0))[0]
        found[name] = {
            "largest_distance": round(float(test.statistic), 4),
            "p_value": round(float(test.pvalue), 4),
            "largest_bin_over_share": round(float(count.max() / count.mean()), 3),
            "smallest_bin_over_share": round(float(count.min() / count.mean()), 3),
        }
    return found
