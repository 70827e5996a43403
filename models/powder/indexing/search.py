"""The exhaustive search for cells: every assignment of small indices to the first lines (numba).

A lattice system with p free numbers needs p lines with indices to give a trial cell (Werner, Eriksson &
Westdahl 1985, J. Appl. Cryst. 18, 367). All p-tuples of a list of indices are tried for many p-subsets of the
first lines; a trial that explains the first lines is improved by least squares, must then explain nearly all
lines, and is kept with the log-odds that so many lines fall on its lines by chance.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streamproc.compiling import machine_code

__all__ = ["CELLS", "KEPT", "LineTables", "line_tables", "search_rank"]

Array = npt.NDArray[np.float64]

CELLS = 6000
"""Steps of the look-up tables over 1/d^2."""

KEPT = 80
"""Trial cells kept per lattice system."""


class LineTables:
    """Observed lines as the compiled search reads them (plain arrays, so that numba need not know classes).

    Attributes
    ----------
    q, tolerance : ndarray, shape (n,)
        1/d^2 and its tolerance (1/square angstrom), rising.
    line_at : ndarray of int16, shape (CELLS,)
        Observed line within its tolerance at each step of 1/d^2, -1 where there is none.
    near_at : ndarray of int16, shape (CELLS,)
        The same with twice the tolerance, for trial cells not improved yet.
    bin_at : ndarray of int16, shape (CELLS,)
        Resolution element; predicted lines in one are one line. -1 below the measured range.
    step : float
        Step of the tables.
    gain : float
        Log-odds of a line that is met.
    """

    __slots__ = ("bin_at", "bins", "gain", "line_at", "near_at", "q", "step", "tolerance")

    def __init__(self, q: Array, tolerance: Array, q_first: float, resolution: Array) -> None:
        self.q, self.tolerance = q, tolerance
        self.step = float((q[-1] + 2 * tolerance[-1]) / (CELLS - 1))
        grid = np.arange(CELLS) * self.step
        self.line_at = _nearest(grid, q, tolerance)
        self.near_at = _nearest(grid, q, 2 * tolerance)
        # resolution elements: integral of dq / resolution(q)
        density = np.interp(grid, q, 1 / resolution)
        elements = np.cumsum(density) * self.step
        elements = np.floor(elements - np.interp(q_first, grid, elements))
        self.bin_at = np.where(grid < q_first, -1, elements).astype(np.int16)
        self.bins = int(self.bin_at.max()) + 1
        span = float(q[-1] - q_first)
        self.gain = math.log(max(span / (2 * float(np.median(tolerance)) * q.size), 2.0))


def line_tables(q: Array, tolerance: Array, q_first: float, resolution: Array) -> LineTables:
    """Return the tables of observed lines; ``resolution`` is the width of a line in 1/d^2, shape (n,)."""
    return LineTables(q, tolerance, q_first, resolution)


def _nearest(grid: Array, q: Array, tolerance: Array) -> npt.NDArray[np.int16]:
    after = np.clip(np.searchsorted(q, grid), 1, q.size - 1) if q.size > 1 else np.zeros(grid.size, int)
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(grid - q[before]) <= np.abs(grid - q[after]), before, after)
    hit = np.abs(grid - q[nearest]) <= tolerance[nearest]
    return np.where(hit, nearest, -1).astype(np.int16)


@machine_code()
def _form(code: int, h: int, k: int, ell: int, f: Array) -> None:  # pragma: no cover - compiled
    if code == 0:
        f[0] = h * h + k * k + ell * ell
    elif code == 1:
        f[0], f[1] = h * h + h * k + k * k, ell * ell
    elif code == 2:
        f[0], f[1] = h * h + k * k, ell * ell
    else:
        f[0], f[1], f[2] = h * h, k * k, ell * ell
        if code == 4:
            f[3] = h * ell


@machine_code()
def _invert(n: int, a: Array, out: Array) -> bool:  # pragma: no cover - compiled
    """Gauss-Jordan with pivoting; ``a`` is destroyed."""
    for i in range(n):
        for j in range(n):
            out[i, j] = 1.0 if i == j else 0.0
    for i in range(n):
        pivot = i
        for r in range(i + 1, n):
            if abs(a[r, i]) > abs(a[pivot, i]):
                pivot = r
        if abs(a[pivot, i]) < 1e-9:
            return False
        if pivot != i:
            for j in range(n):
                a[i, j], a[pivot, j] = a[pivot, j], a[i, j]
                out[i, j], out[pivot, j] = out[pivot, j], out[i, j]
        inverse = 1.0 / a[i, i]
        for j in range(n):
            a[i, j] *= inverse
            out[i, j] *= inverse
        for r in range(n):
            if r != i and a[r, i] != 0.0:
                factor = a[r, i]
                for j in range(n):
                    a[r, j] -= factor * a[i, j]
                    out[r, j] -= factor * out[i, j]
    return True


@machine_code()
def _volume(code: int, p: Array) -> float:  # pragma: no cover - compiled
    """Cell volume; 0 where the parameters are no cell in its standard orientation."""
    if p[0] <= 0.0:
        return 0.0
    if code == 0:
        return p[0] ** -1.5
    if p[1] <= 0.0:
        return 0.0
    if code == 1:
        return 1.0 / (p[0] * 0.8660254037844386 * math.sqrt(p[1]))
    if code == 2:
        return 1.0 / (p[0] * math.sqrt(p[1]))
    if p[2] <= 0.0:
        return 0.0
    if code == 3:
        if p[0] < p[1] or p[1] < p[2]:
            return 0.0
        return 1.0 / math.sqrt(p[0] * p[1] * p[2])
    # reduced net of a* and c*, a* the longer; d = 0 is orthorhombic
    if p[2] > p[0] or p[3] < 0.0 or p[3] > 1.02 * p[2]:
        return 0.0
    return 1.0 / math.sqrt(p[1] * (p[0] * p[2] - 0.25 * p[3] * p[3]))


@machine_code()
def _match(
    code: int, p: Array, q_top: float, step: float, table: Array, bin_at: Array, q: Array,
    best: Array, forms: Array, seen: Array, f: Array,
) -> int:  # pragma: no cover - compiled  # fmt: skip
    """Enumerate the lines of a cell up to ``q_top``: count distinct ones, give observed ones their form."""
    best[:] = 1e9
    seen[:] = 0
    count = 0
    a, b, c, d = p[0], p[0], p[0], 0.0
    if code == 1 or code == 2:
        c = p[1]
    elif code >= 3:
        b, c = p[1], p[2]
        if code == 4:
            d = p[3]
    top = min(q_top, step * (len(table) - 1))
    slope = c - (0.25 * d * d / a if code == 4 else 0.0)
    for ell in range(0, int(math.sqrt(top / slope)) + 1):
        # h runs where a h^2 + d h l + c l^2 <= top
        root = (0.5 * d * ell / a) ** 2 - (c * ell * ell - top) / a
        if root < 0.0:
            continue
        middle, half = -0.5 * d * ell / a, math.sqrt(root)
        h_low = math.ceil(middle - half) if code == 4 and ell > 0 else 0
        for h in range(h_low, math.floor(middle + half) + 1):
            base = a * h * h + d * h * ell + c * ell * ell
            k = 0
            while True:
                if code == 0 and (k > h or h > ell):
                    break
                if (code == 1 or code == 2) and k > h:
                    break
                value = base + (a * h * k if code == 1 else 0.0) + b * k * k
                if value > top:
                    break
                if h != 0 or k != 0 or ell != 0:
                    at = int(value / step + 0.5)
                    where = bin_at[at]
                    if where >= 0 and seen[where] == 0:
                        seen[where] = 1
                        count += 1
                    line = table[at]
                    if line >= 0:
                        off = abs(value - q[line])
                        if off < best[line]:
                            best[line] = off
                            _form(code, h, k, ell, f)
                            for i in range(len(p)):
                                forms[line, i] = f[i]
                k += 1
    return count


@machine_code()
def _improve(
    n: int, p: Array, q: Array, tolerance: Array, best: Array, forms: Array, a: Array, inverse: Array
) -> bool:  # pragma: no cover - compiled
    """Least squares over the first ``n`` lines that are met; false where they do not fix the cell."""
    free = len(p)
    for i in range(free):
        for j in range(free):
            a[i, j] = 0.0
    right = np.zeros(free)
    for line in range(n):
        if best[line] < 1e8:
            w = 1.0 / (tolerance[line] * tolerance[line])
            for i in range(free):
                right[i] += w * forms[line, i] * q[line]
                for j in range(free):
                    a[i, j] += w * forms[line, i] * forms[line, j]
    scale = 0.0
    for i in range(free):
        scale = max(scale, a[i, i])
    for i in range(free):
        for j in range(free):
            a[i, j] /= scale
    if not _invert(free, a, inverse):
        return False
    for i in range(free):
        p[i] = 0.0
        for j in range(free):
            p[i] += inverse[i, j] * right[j] / scale
    return True


@machine_code()
def _count(best: Array, n: int) -> int:  # pragma: no cover - compiled
    met = 0
    for line in range(n):
        if best[line] < 1e8:
            met += 1
    return met


@machine_code()
def _keep(score: float, p: Array, scores: Array, cells: Array) -> None:  # pragma: no cover - compiled
    """Put a cell among the best, unless it is there already; ``scores`` falls."""
    last = len(scores) - 1
    if score <= scores[last]:
        return
    for i in range(len(scores)):
        if scores[i] <= -1e8:
            break
        same = True
        for j in range(len(p)):
            if abs(cells[i, j] - p[j]) > 2e-4 * p[0]:
                same = False
        if same:
            if score <= scores[i]:
                return
            last = i
            break
    at = last
    while at > 0 and scores[at - 1] < score:
        scores[at] = scores[at - 1]
        cells[at] = cells[at - 1]
        at -= 1
    scores[at] = score
    cells[at] = p


@machine_code()
def search_rank(
    code: int, rank: int, base: Array, sets: Array, q: Array, tolerance: Array,
    first: int, early: int, spare: int,
    line_at: Array, near_at: Array, bin_at: Array, bins: int, step: float, gain: float,
    volume_min: float, volume_max: float, axis_max: float, scores: Array, cells: Array,
) -> int:  # pragma: no cover - compiled  # fmt: skip
    """Try all tuples of base indices whose highest place is ``rank``; returns the number of trial cells.

    ``base`` (m, p) holds the coefficient rows, ``sets`` (s, p) the lines that found a cell; ``first`` lines
    are tried before all, ``early`` of which may stay unexplained, and ``spare`` of all; ``scores`` and
    ``cells`` keep the best.
    """
    free = base.shape[1]
    n = len(q)
    place = np.zeros(free, np.int64)
    a, inverse = np.empty((free, free)), np.empty((free, free))
    again, scratch = np.empty((free, free)), np.empty((free, free))
    p, f = np.empty(free), np.empty(4)
    best, forms = np.empty(n), np.zeros((n, free))
    seen = np.zeros(bins + 1, np.int8)
    total = (rank + 1) ** free
    tried = 0
    low = 1.0 / (axis_max * axis_max)
    for flat in range(total):
        rest, highest = flat, 0
        for i in range(free):
            place[i] = rest % (rank + 1)
            rest //= rank + 1
            highest = max(highest, place[i])
        if highest != rank:
            continue
        for i in range(free):
            for j in range(free):
                a[i, j] = base[place[i], j]
        if not _invert(free, a, inverse):
            continue
        for s in range(len(sets)):
            for i in range(free):
                value = 0.0
                for j in range(free):
                    value += inverse[i, j] * q[sets[s, j]]
                p[i] = value
            volume = _volume(code, p)
            if volume < volume_min or volume > volume_max:
                continue
            outside = False
            for i in range(min(free, 3)):
                if p[i] < low:
                    outside = True
            if outside:
                continue
            tried += 1
            _match(
                code, p, q[first - 1] + tolerance[first - 1], step, near_at, bin_at, q, best, forms, seen, f
            )
            if _count(best, first) < first - early:
                continue
            if not _improve(first, p, q, tolerance, best, forms, again, scratch):
                continue
            if _volume(code, p) <= 0.0:
                continue
            _match(code, p, q[n - 1] + tolerance[n - 1], step, near_at, bin_at, q, best, forms, seen, f)
            if _count(best, n) < n - spare - 1:
                continue
            if not _improve(n, p, q, tolerance, best, forms, again, scratch):
                continue
            if _volume(code, p) <= 0.0:
                continue
            lines = _match(
                code, p, q[n - 1] + tolerance[n - 1], step, line_at, bin_at, q, best, forms, seen, f
            )
            met = _count(best, n)
            if met < n - spare:
                continue
            lines = max(lines, met)
            score = met * gain - (
                math.lgamma(lines + 2.0) - math.lgamma(met + 1.0) - math.lgamma(lines - met + 1.0)
            )
            _keep(score, p, scores, cells)
    return tried
