"""A path in many dimensions as straight pieces: exact samples of where the pieces meet.

Within a piece the path runs straight and evenly; pieces need not join. The evidence of every piece is known
in closed form (normal prior, known noise), so the posterior of all divisions is summed exactly by a forward
recursion, and divisions are drawn from it backwards (Fearnhead 2006, Stat. Comput. 16, 203).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["LEAST_PIECE", "draw_divisions"]

Array = npt.NDArray[np.float64]

LEAST_PIECE = 3
"""Points of the shortest piece: two would always lie on a line."""

_NEW_PIECE = 1.0 / 16.0
"""Prior probability that a new piece begins after a point."""


def draw_divisions(
    x: Array, y: Array, sigma: Array, random: np.random.Generator, draws: int
) -> list[tuple[int, ...]]:
    """Draw divisions of a path into straight pieces from their posterior.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Rising.
    y : ndarray, shape (n, d)
        Coordinates of the path.
    sigma : ndarray, shape (n, d)
        Noise of each.
    random : numpy.random.Generator
        Of the draws.
    draws : int
        How many.

    Returns
    -------
    list of tuple of int
        Where pieces begin, and n: ``(0, 8, 20, n)`` is three pieces.
    """
    n = x.size
    if n < LEAST_PIECE:
        return [(0, n)] * draws
    wide = np.maximum(np.var(y, axis=0), np.mean(sigma**2, axis=0))
    pieces = _evidences(x, y, sigma, wide)
    summed = _forward(pieces, np.log(_NEW_PIECE), np.log1p(-_NEW_PIECE))
    logs = summed[:n, None] + pieces
    with np.errstate(invalid="ignore"):
        shares = np.exp(logs - logs.max(axis=0))
    below = np.cumsum(np.nan_to_num(shares), axis=0)
    out = []
    for _ in range(draws):
        cuts = [n]
        while cuts[-1] > 0:
            column = below[:, cuts[-1]]
            cuts.append(int(np.searchsorted(column, random.random() * column[-1], side="right")))
        out.append(tuple(reversed(cuts)))
    return out


@machine_code()
def _evidences(x: Array, y: Array, sigma: Array, wide: Array) -> Array:
    """Log evidence of each piece [first, end), shape (n, n + 1), with its share of the prior of its length.

    The line's values at the piece's centre and at its end have the variance of the whole path.
    """
    n, dims = y.shape
    out = np.full((n, n + 1), -np.inf)
    for first in range(n):
        out[first, first + LEAST_PIECE :] = 0.0
    for d in range(dims):
        for first in range(n):
            s0, s1, s2, p0, p1, square, logs = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for i in range(first, n):
                u, w = x[i] - x[first], 1.0 / sigma[i, d] ** 2
                s0, s1, s2 = s0 + w, s1 + w * u, s2 + w * u * u
                p0, p1 = p0 + w * y[i, d], p1 + w * u * y[i, d]
                square, logs = square + w * y[i, d] ** 2, logs + np.log(w)
                if i - first + 1 < LEAST_PIECE:
                    continue
                half = 0.5 * u  # sums over t = u / half - 1, which runs from -1 to 1
                b, c = s1 / half - s0, s2 / half**2 - 2.0 * s1 / half + s0 + 1.0 / wide[d]
                p, q, a = p0, p1 / half - p0, s0 + 1.0 / wide[d]
                det = a * c - b * b
                fit = (c * p * p - 2.0 * b * p * q + a * q * q) / det
                out[first, i + 1] += 0.5 * (logs - np.log(det) - 2.0 * np.log(wide[d]) - square + fit)
    return out


@machine_code()
def _forward(pieces: Array, new: float, same: float) -> Array:
    """Log of the summed evidence of all divisions of the points before each; adds the prior to ``pieces``."""
    n = pieces.shape[0]
    summed = np.full(n + 1, -np.inf)
    summed[0] = 0.0
    for end in range(1, n + 1):
        top = -np.inf
        for first in range(end):
            if pieces[first, end] > -np.inf:
                pieces[first, end] += (end - first - 1) * same + (new if first > 0 else 0.0)
                top = max(top, summed[first] + pieces[first, end])
        if top > -np.inf:
            total = 0.0
            for first in range(end):
                if pieces[first, end] > -np.inf:
                    total += np.exp(summed[first] + pieces[first, end] - top)
            summed[end] = top + np.log(total)
    return summed
