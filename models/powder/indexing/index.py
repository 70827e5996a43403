"""Indexing: search every lattice system, weigh what was found, and say it with probability."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.indexing.calibration import CALIBRATION, Calibration, Chances, chances_of
from streamproc.models.powder.indexing.evidence import Fitted
from streamproc.models.powder.indexing.forms import SYSTEMS
from streamproc.models.powder.indexing.hint import NONE, CandidateCell, StructureHint
from streamproc.models.powder.indexing.lattice import (
    metric_of,
    primitive_metric,
    superlattice_index,
)
from streamproc.models.powder.indexing.merit import merit
from streamproc.models.powder.indexing.observed import Observed
from streamproc.models.powder.indexing.weighing import Weighed, weigh
from streamproc.models.powder.peaks import PeakList

from streamproc.errors import FrameFailed

__all__ = [
    "CALIBRATION",
    "Calibration",
    "Weighed",
    "hint_from",
    "index_lines",
    "index_peaks",
    "weigh",
    "weigh_peaks",
]

MOST_LINES = 28
LEAST_LINES = 5
_SAID = 5
_LEAST_PROBABILITY = 0.5


def index_peaks(found: PeakList, wavelength_A: float, max_s: float = 20.0) -> StructureHint:
    """Index the peaks of a pattern; see :func:`index_lines`.

    Parameters
    ----------
    found : PeakList
        What :func:`~streamproc.models.powder.peaks.find_peaks` found.
    wavelength_A : float
        Wavelength of the positions (angstrom).
    max_s : float
        Time allowed (s).
    """
    lines, given = _lines_of(found, wavelength_A)
    return _say(lines, given, max_s, CALIBRATION)


def weigh_peaks(
    found: PeakList, wavelength_A: float, max_s: float, clock: Callable[[], float] = time.monotonic
) -> Weighed | None:
    """Return the evidence behind :func:`index_peaks`; None where there are too few peaks."""
    lines, given = _lines_of(found, wavelength_A)
    return None if lines is None else weigh(lines, given, max_s, clock)


def _lines_of(found: PeakList, wavelength_A: float) -> tuple[Observed | None, int]:
    peaks = found.peaks
    return _observed(
        [p.position_deg for p in peaks], wavelength_A, [p.sigma_deg for p in peaks], [p.area for p in peaks],
        _typical_width(found), found.first_deg,
    )  # fmt: skip


def _typical_width(found: PeakList) -> float:
    return float(np.median([p.fwhm_deg for p in found.peaks])) if found.peaks else 0.1


def index_lines(
    two_theta_deg: npt.ArrayLike,
    wavelength_A: float,
    *,
    sigma_deg: npt.ArrayLike | None = None,
    strength: npt.ArrayLike | None = None,
    fwhm_deg: float = 0.1,
    first_deg: float | None = None,
    max_s: float = 20.0,
    calibration: Calibration = CALIBRATION,
) -> StructureHint:
    """Find candidate unit cells, cubic to monoclinic, with probabilities.

    The first 28 lines are used. A few of them may be impurities, and all may be shifted. Triclinic cells are
    not searched; they are part of :data:`NONE`.

    Parameters
    ----------
    two_theta_deg : array_like, shape (n,)
        Positions of the lines (degrees).
    wavelength_A : float
        Wavelength (angstrom).
    sigma_deg : array_like, shape (n,), optional
        Statistical uncertainties of the positions (degrees).
    strength : array_like, shape (n,), optional
        Areas; weak lines are likelier to be impurities.
    fwhm_deg : float
        Width of the lines: the scale of systematic errors and of what is resolved.
    first_deg : float, optional
        Where the measured range begins; by default a third of the first position.
    max_s : float
        Time allowed for the search (s); what was not finished is said. The first search on a
        machine is compiled before its time begins.
    calibration : Calibration
        From evidence to probability.

    Returns
    -------
    StructureHint
        With cells only where their probability reaches one half in sum.

    Raises
    ------
    FrameFailed
        When the lines are no lines (shapes, values that are not finite, angles outside 0 to 180 degrees).
    """
    lines, given = _observed(two_theta_deg, wavelength_A, sigma_deg, strength, fwhm_deg, first_deg)
    return _say(lines, given, max_s, calibration)


def _say(lines: Observed | None, given: int, max_s: float, calibration: Calibration) -> StructureHint:
    if lines is None:
        why = f"{given} lines, expected at least {LEAST_LINES}"
        return StructureHint({**{s.name: 0.0 for s in SYSTEMS}, NONE: 1.0}, (), why, (), 0, given)
    return hint_from(weigh(lines, given, max_s), calibration)


def _observed(
    two_theta: npt.ArrayLike, wavelength_A: float, sigma: npt.ArrayLike | None,
    strength: npt.ArrayLike | None, fwhm_deg: float, first_deg: float | None,
) -> tuple[Observed | None, int]:  # fmt: skip
    x = np.atleast_1d(np.asarray(two_theta, float))
    s = np.full(x.shape, 0.05 * fwhm_deg) if sigma is None else np.atleast_1d(np.asarray(sigma, float))
    area = np.ones(x.shape) if strength is None else np.atleast_1d(np.asarray(strength, float))
    if x.ndim != 1 or s.shape != x.shape or area.shape != x.shape:
        raise FrameFailed(f"positions {x.shape}, sigma {s.shape} and strength {area.shape} differ in shape")
    if not (np.isfinite(x).all() and np.isfinite(s).all() and np.isfinite(area).all()):
        raise FrameFailed("positions, sigma and strength of lines must be finite")
    if x.size and (x.min() <= 0 or x.max() >= 180 or s.min() < 0):
        raise FrameFailed("positions must lie between 0 and 180 degrees, sigma must not be negative")
    if not (0.01 < wavelength_A < 100 and 0 < fwhm_deg < 20):
        raise FrameFailed(f"wavelength {wavelength_A} A or width {fwhm_deg} degrees out of range")
    order = np.argsort(x, kind="stable")
    x, s, area = x[order], s[order], area[order]
    if x.size:
        apart = np.concatenate([[True], np.diff(x) > 1e-6])
        x, s, area = x[apart], s[apart], area[apart]
    if x.size < LEAST_LINES:
        return None, int(x.size)
    use = slice(0, MOST_LINES)
    width = float(np.clip(fwhm_deg, 0.01, 0.3))
    first = x[0] / 3 if first_deg is None else min(first_deg, x[0] - 0.5 * width)
    strongest = max(float(area.max()), 1e-300)
    lines = Observed(
        x[use], s[use], np.maximum(area[use], 0) / strongest, wavelength_A, float(max(first, 0.0)), width,
        0.7 * max(fwhm_deg, width),
    )  # fmt: skip
    return lines, int(x.size)


def hint_from(weighed: Weighed, calibration: Calibration = CALIBRATION) -> StructureHint:
    """Turn evidence into probabilities, and abstain where no cell is likely."""
    chances = chances_of(weighed, calibration)
    spread = calibration.misnamed / (len(SYSTEMS) - 1)
    systems = {s.name: spread * float(chances.lattice.sum()) for s in SYSTEMS}
    for members, share in zip(chances.lattices, chances.lattice, strict=True):
        name = weighed.fitted[members[0]].system.name
        systems[name] += (1 - calibration.misnamed - spread) * float(share)
    systems[NONE] = chances.none
    told = len(weighed.fitted) > 0 and chances.none < _LEAST_PROBABILITY
    cells = _cells(weighed, chances) if told else ()
    why = "" if told else "no cell explains the lines better than chance"
    return StructureHint(systems, cells, why, weighed.unfinished, weighed.lines.x_deg.size, weighed.given)


def _cells(weighed: Weighed, chances: Chances) -> tuple[CandidateCell, ...]:
    """The likeliest lattices."""
    order = np.argsort(-chances.lattice, kind="stable")
    said = [int(i) for i in order if chances.lattice[i] > 0.01][:_SAID] or [int(order[0])]
    cells = [
        _candidate(weighed.fitted[chances.lattices[i][0]], float(chances.lattice[i]), weighed.lines)
        for i in said
    ]
    return tuple(replace(c, related=_related(i, cells)) for i, c in enumerate(cells))


def _candidate(fitted: Fitted, share: float, lines: Observed) -> CandidateCell:
    m, f, n = merit(fitted, lines)
    return CandidateCell(
        system=fitted.system.name,
        centring=fitted.centring,
        cell=tuple(map(float, fitted.cell)),
        sigma=tuple(map(float, fitted.cell_sigma)),
        volume_A3=float(np.sqrt(np.linalg.det(metric_of(fitted.cell)))),
        zero_deg=float(fitted.shift_deg.sum()),
        probability=share,
        m=m,
        f=f,
        lines=n,
        indexed=fitted.indexed,
        used=lines.x_deg.size,
        predicted=int(fitted.predicted_deg.size),
    )


def _related(i: int, cells: Sequence[CandidateCell]) -> tuple[str, ...]:
    """Sub- and superlattices among the candidates: positions alone can hardly tell them apart."""
    own = primitive_metric(np.array(cells[i].cell), cells[i].centring)
    said = []
    for j, other in enumerate(cells):
        if j == i:
            continue
        theirs = primitive_metric(np.array(other.cell), other.centring)
        if index := superlattice_index(own, theirs):
            said.append(f"candidate {j + 1} is a superlattice of this one (index {index})")
        elif index := superlattice_index(theirs, own):
            said.append(f"candidate {j + 1} is a sublattice of this one (index {index})")
    return tuple(said)
