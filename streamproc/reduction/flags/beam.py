"""How far the beam has moved on the detector: from the shifts of the quadrants against the run's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.against import AGREES, compare
from streamproc.reduction.flags.fit import inverted, origins
from streamproc.reduction.kernels import compiled, compiled_sums

__all__ = ["beam_of", "far_shifts", "quadrant_shifts"]

Float = npt.NDArray[np.float64]

_TOWARDS = np.sqrt(0.5) * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
"""Where the quadrants lie: centred at azimuths -135, -45, 45 and 135 degrees."""


def _back() -> Float:
    """From the shifts of the quadrants that say one to that of the beam, shape (15, 2, 4): bit ``q`` of the
    place plus one is set for each quadrant ``q`` that does."""
    out = np.zeros((15, 2, 4))
    for n in range(15):
        some = np.array([bool(n + 1 >> q & 1) for q in range(4)])
        out[n][:, some] = np.linalg.pinv(_TOWARDS[some])
    return out


_BACK = _back()


@compiled
def beam_of(found: Any, far: bool) -> Any:
    """Return the shift of the rings towards azimuth 0 and 90 degrees, and its sigma.

    ``found`` has shift and sigma of each quadrant, sigma 0 where it says none. The returned sigma is infinite
    where too few do: all must, but where the beam may have moved far (it smears the rings across its way).
    """
    said, n, right, up, squares = 0, 0, 0.0, 0.0, 0.0
    for q in range(4):
        if found[q, 1] > 0.0:
            said += 1 << q
            n += 1
            squares += found[q, 1] * found[q, 1]
    if n == 0 or not (far or n == 4):
        return 0.0, 0.0, np.inf
    for q in range(4):
        if found[q, 1] > 0.0:
            right += _BACK[said - 1, 0, q] * found[q, 0]
            up += _BACK[said - 1, 1, q] * found[q, 0]
    return right, up, np.sqrt(squares / n / 2.0)


def far_shifts(
    axis: Float,
    slope: Float,
    reference: Float,
    y: Float,
    variance: Float,
    start: tuple[float, float],
    width: float,
) -> Float:
    """Shift and sigma of each quadrant, shape (4, 2), where it may be more than part of a line's width.

    Parameters
    ----------
    axis, slope, variance : ndarray, shape (n,)
        Radial axis, what strain does there, variance of the whole ring.
    reference, y : ndarray, shape (n, 4)
        Patterns of the quadrants; NaN where nothing is.
    start : (float, float)
        Zero shift and strain of all rings.
    width : float
        Width of a line (channels), NaN where none is known.
    """
    found = np.zeros((4, 2))
    for q in range(4):
        found[q] = _far_shift(axis, slope, reference[:, q], y[:, q], 4 * variance, start, width)
    return found


def _far_shift(
    axis: Float,
    slope: Float,
    reference: Float,
    y: Float,
    variance: Float,
    start: tuple[float, float],
    width: float,
) -> tuple[float, float]:
    reference, y = np.ascontiguousarray(reference), np.ascontiguousarray(y)
    both = np.isfinite(reference) & np.isfinite(y)
    if np.count_nonzero(both) < 32:
        return 0.0, 0.0
    found = compare(axis[both], slope[both], reference[both], y[both], variance[both], start, 1.0, width)
    return (found.zero, found.zero_sigma) if found.agreement >= AGREES else (0.0, 0.0)


@compiled
def quadrant_shifts(
    axis: Any, slope: Any, reference: Any, y: Any, weights: Any, gaps: Any, zero: float, strain: float,
    lag: int, found: Any,
) -> None:  # fmt: skip
    """Shift of each quadrant: least squares of y on its moved reference, one, and that reference's slope.

    Weights and gaps are those of the whole rings' fit, and ``found`` is zero to begin with.
    """
    n, used = axis.size, gaps.size
    below, share = origins(axis, slope, zero, strain)  # all quadrants move alike
    moved, there, w = np.empty((4, n)), np.empty(n), np.empty(used)
    for i in range(n):
        k, part = below[i], share[i]
        for q in range(4):
            moved[q, i] = reference[k, q] * (1 - part) + reference[k + 1, q] * part
    for q in range(4):
        for i in range(n):
            there[i] = y[i, q]
        low, r, high = moved[q, :used], moved[q, lag : n - lag], moved[q, n - used :]
        v = there[lag : n - lag]
        count = _weigh_known(low, r, high, v, weights[lag : n - lag], w)
        if count < used:  # what is nothing must not come into sums
            _clear(moved[q], there)
        a00, a10, a11, a20, a21, a22, b0, b1, b2, swyy = _sums(low, r, high, v, w, gaps)
        if count < 16 or a00 <= 0.0 or a22 <= 0.0:
            continue
        a = np.array(((a00, a10, a20), (a10, a11, a21), (a20, a21, a22)))
        for j in range(3):
            a[j, j] *= 1.0 + 1e-9
        inverted(a)
        scale = a[0, 0] * b0 + a[0, 1] * b1 + a[0, 2] * b2
        offset = a[1, 0] * b0 + a[1, 1] * b1 + a[1, 2] * b2
        slid = a[2, 0] * b0 + a[2, 1] * b1 + a[2, 2] * b2
        if scale <= 0.0:
            continue
        misfit = max((swyy - (b0 * scale + b1 * offset + b2 * slid)) / (count - 3), 1.0)
        found[q, 0], found[q, 1] = slid / scale, np.sqrt(misfit * a[2, 2]) / scale


@compiled
def _weigh_known(below: Any, r: Any, above: Any, v: Any, weights: Any, w: Any) -> int:
    """Write the weights of a quadrant's channels, zero where anything is unknown; return of how many all is
    known."""
    n = 0
    for i in range(w.size):
        known = below[i] + r[i] + above[i] + v[i] < np.inf
        w[i] = 0.25 * weights[i] if known else 0.0
        n += known
    return n


@compiled
def _clear(a: Any, b: Any) -> None:
    for i in range(a.size):
        a[i] = a[i] if a[i] < np.inf else 0.0
        b[i] = b[i] if b[i] < np.inf else 0.0


@compiled_sums
def _sums(below: Any, r: Any, above: Any, v: Any, w: Any, gaps: Any) -> Any:
    """Sums of the normal equations: rows of their lower half, right side, w v v; in vector code."""
    a00, a10, a11, a20, a21, a22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    b0, b1, b2, swyy = 0.0, 0.0, 0.0, 0.0
    for i in range(gaps.size):
        d = (below[i] - above[i]) * gaps[i]
        wr, wd, wv = w[i] * r[i], w[i] * d, w[i] * v[i]
        a00 += wr * r[i]
        a10 += wr
        a11 += w[i]
        a20 += wd * r[i]
        a21 += wd
        a22 += wd * d
        b0 += wr * v[i]
        b1 += wv
        b2 += wd * v[i]
        swyy += wv * v[i]
    return a00, a10, a11, a20, a21, a22, b0, b1, b2, swyy
