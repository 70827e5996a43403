"""Runs the compiled search over the lattice systems under a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.indexing.forms import SYSTEMS, System, base_indices, coefficients
from streamproc.models.powder.indexing.observed import Observed
from streamproc.models.powder.indexing.search import KEPT, line_tables, search_rank

__all__ = ["Searched", "compile_search", "search_system", "tolerance_deg"]

Array = npt.NDArray[np.float64]

_MULTIPLICITY = {"cubic": 48, "hexagonal": 24, "tetragonal": 16, "orthorhombic": 8, "monoclinic": 4}
_LINES_PER_LINE = {"cubic": 14, "hexagonal": 8, "tetragonal": 8, "orthorhombic": 7, "monoclinic": 5}
"""Predicted lines (no centring) per observed line up to which a cell is of interest."""

_AXIS_MAX_A = 40.0
_VOLUME_MIN_A3 = 8.0


@dataclass(frozen=True, slots=True)
class Searched:
    """Trial cells of one system.

    Attributes
    ----------
    parameters : ndarray, shape (m, p)
        The best, falling by their score.
    finished : bool
        Whether all assignments were tried.
    said : str
        How far the search went.
    volume_max_A3 : float
        Largest conventional cell that was looked for.
    """

    parameters: Array
    finished: bool
    said: str
    volume_max_A3: float


def tolerance_deg(lines: Observed) -> Array:
    """Return how far off a predicted line may lie in the search (degrees)."""
    return np.asarray(0.3 * lines.width_deg + 2.5 * lines.sigma_deg)


def compile_search() -> None:
    """Have the search compiled, or its machine code loaded; quick when that was done before."""
    lines = Observed(np.array([20.0, 30.0]), np.full(2, 0.01), np.ones(2), 1.5, 10.0, 0.1, 0.07)
    cubic = SYSTEMS[0]
    base = coefficients(cubic, base_indices(cubic))[:1]
    _search_one(cubic, lines, base, 1.0, 1.0, lambda: 0.0, np.full(KEPT, -1e9), np.zeros((KEPT, 1)))


def search_system(
    system: System, lines: Observed, deadline: float, clock: Callable[[], float] = time.monotonic
) -> Searched:
    """Search one system; cubic to tetragonal also for a zero shift to either side.

    The tolerance covers half a width; the cells of lower symmetry take up what is beyond.

    Parameters
    ----------
    system : System
        What to look for.
    lines : Observed
        Lines to explain.
    deadline : float
        Time on ``clock`` at which to stop.
    """
    n = lines.x_deg.size
    q_top = float(lines.q[-1])
    volume_max = _LINES_PER_LINE[system.name] * n * _MULTIPLICITY[system.name] * 3 / (4 * np.pi * q_top**1.5)
    base = coefficients(system, base_indices(system))
    zeros = (0.0, 0.45, -0.45) if system.free < 3 else (0.0,)
    found: list[tuple[float, Array]] = []
    finished, said = True, "all"
    for zero in zeros:
        shifted = lines.shifted(zero * lines.width_deg)
        scores, cells = np.full(KEPT, -1e9), np.zeros((KEPT, system.free))
        done = _search_one(system, shifted, base, volume_max, deadline, clock, scores, cells)
        found += [(s, c) for s, c in zip(scores, cells, strict=True) if s > -1e8]
        if done < len(base):
            finished = False
            said = f"{done} of {len(base)} index sets" + ("" if zero == 0 else f", zero shift {zero:+g} FWHM")
            break
    found.sort(key=lambda pair: -pair[0])
    distinct: list[Array] = []
    for _, cell in found:
        if not any(np.all(np.abs(cell - other) <= 1e-3 * np.abs(other)) for other in distinct):
            distinct.append(cell)
    parameters = np.array(distinct).reshape(-1, system.free)
    return Searched(parameters, finished, said, float(volume_max))


def _search_one(
    system: System, lines: Observed, base: Array, volume_max: float, deadline: float,
    clock: Callable[[], float], scores: Array, cells: Array,
) -> int:  # fmt: skip
    """Try rank after rank of the base indices until the deadline; returns how many were done."""
    n = lines.x_deg.size
    q, slope = lines.q, lines.slope
    tolerance = tolerance_deg(lines) * slope
    q_first = (2 * np.sin(np.deg2rad(max(lines.first_deg, 0.0)) / 2) / lines.wavelength_A) ** 2
    q_first = min(float(q_first), float(q[0]) - 2 * float(tolerance[0]))
    tables = line_tables(q, tolerance, max(q_first, 0.0), lines.resolution_deg * slope)
    first = min(n, 8 if system.free < 3 else 11)
    spare = _spare(n)
    sets = _sets(system, q, tolerance)
    if not len(sets):
        return len(base)
    for rank in range(len(base)):
        if clock() > deadline:
            return rank
        search_rank(
            system.code, rank, base, sets, q, tolerance, first, min(spare, max(0, first - system.free - 2)),
            spare, tables.line_at, tables.near_at, tables.bin_at, tables.bins, tables.step, tables.gain,
            _VOLUME_MIN_A3, volume_max, _AXIS_MAX_A, scores, cells,
        )  # fmt: skip
    return len(base)


def _spare(n: int) -> int:
    """Return how many lines may stay unexplained."""
    return min(4, n // 5)


def _sets(system: System, q: Array, tolerance: Array) -> npt.NDArray[np.int64]:
    """Lines that found trial cells: all p-subsets of the first ones that are no harmonics of earlier ones."""
    pool: list[int] = []
    for i in range(q.size):
        ratio = [q[i] / q[j] for j in pool]
        harmonic = any(
            abs(r - m * m) * q[j] < tolerance[i] + m * m * tolerance[j]
            for r, j in zip(ratio, pool, strict=True)
            for m in (2, 3, 4)
        )
        if system.free == 1 or not harmonic:
            pool.append(i)
    few = pool[: system.bases]
    sets = list(combinations(few, system.free))
    if system.free >= 3:
        # where the first lines lie in one zone, another line must give the third direction
        later = pool[system.bases : system.bases + 2]
        sets += [(*some, last) for some in combinations(few[:4], system.free - 1) for last in later]
    return np.array(sets, np.int64).reshape(-1, system.free)
