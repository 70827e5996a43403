"""Searches every lattice system within a time, and weighs what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.indexing.evidence import Fitted, evaluate, log_evidence_of_none
from streamproc.models.powder.indexing.forms import CENTRINGS, SYSTEMS, System
from streamproc.models.powder.indexing.lattice import primitive_metric, same_lattice, signature
from streamproc.models.powder.indexing.observed import Observed
from streamproc.models.powder.indexing.trials import compile_search, search_system

__all__ = ["Weighed", "weigh"]

Array = npt.NDArray[np.float64]

_EVALUATED = {"cubic": 10, "hexagonal": 12, "tetragonal": 12, "orthorhombic": 30, "monoclinic": 50}
"""Trial cells that are weighed; more where the search, which knows no centring, ranks less well."""

_RECTANGULAR = 4
_RIGHT_ANGLE = 0.004
"""How many monoclinic cells are tried as orthorhombic ones, up to which cosine an angle is a right one."""

_STRONG = 0.05
"""Share of the strongest line's area from which cells are searched with the strong lines alone as well."""

_LOG_HOPELESS = np.log(1e-4)
_NATS_PER_PARAMETER = 4.0
"""What a further free parameter costs at the very least (ratio of its prior to its posterior width)."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the search found, before calibration.

    Attributes
    ----------
    lines : Observed
        Lines used.
    given : int
        Lines given.
    fitted : tuple of Fitted
        One per system and lattice, by falling evidence.
    log_none : float
        Log-evidence of no cell.
    unfinished : tuple of str
        What was not searched to the end.
    """

    lines: Observed
    given: int
    fitted: tuple[Fitted, ...]
    log_none: float
    unfinished: tuple[str, ...]


def weigh(lines: Observed, given: int, max_s: float, clock: Callable[[], float] = time.monotonic) -> Weighed:
    """Search all systems within the time, and weigh what was found.

    A system is passed over when not even cells that explained every line perfectly could reach one in ten
    thousand of the probability of what was found already. ``clock`` is what the time is taken from (s).
    """
    compile_search()  # once per machine, some ten seconds that are no search
    deadline = clock() + max_s
    found: list[Fitted] = []
    unfinished: list[str] = []
    searched_for = [lines] if (strong := _strong(lines)) is None else [lines, strong]
    for system in SYSTEMS:
        if _hopeless(system, found, lines):
            continue
        if clock() > deadline:
            unfinished.append(f"{system.name}: not searched")
            continue
        results = [search_system(system, some, deadline, clock) for some in searched_for]
        if cut := [r.said for r in results if not r.finished]:
            unfinished.append(f"{system.name}: {cut[0]}")
        for result in results:
            found = _merged([*found, *_evaluated(system, result.parameters, lines)])
    found = _merged([*found, *_evaluated(SYSTEMS[3], _rectangular(found), lines)])
    return Weighed(lines, given, tuple(found), log_evidence_of_none(lines), tuple(unfinished))


def _rectangular(found: Sequence[Fitted]) -> Array:
    """Parameters of the orthorhombic cells that the likeliest monoclinic ones are, within their precision.

    A centred orthorhombic cell may be found first by a monoclinic one of half its size.
    """
    cells: list[list[float]] = []
    for fitted in [f for f in found if f.system.name == "monoclinic"][:_RECTANGULAR]:
        a, b, c, _, beta, _ = fitted.cell
        skew = a * c * np.cos(np.deg2rad(beta))
        net = np.array([[a * a, skew], [skew, c * c]])
        steps = [np.array(s) for s in ((1, 0), (0, 1), (1, 1), (1, -1), (1, 2), (1, -2), (2, 1), (2, -1))]
        for i, u in enumerate(steps):
            for v in steps[i + 1 :]:
                lengths = np.sqrt([u @ net @ u, v @ net @ v])
                if abs(u @ net @ v) < _RIGHT_ANGLE * lengths[0] * lengths[1]:
                    cells.append(sorted([lengths[0] ** -2, b**-2, lengths[1] ** -2], reverse=True))
    return np.array(cells).reshape(-1, 3)


def _strong(lines: Observed) -> Observed | None:
    """Return the lines without the weak ones, which may be another phase's; None where it is not worth it."""
    keep = lines.strength >= _STRONG
    if not 6 <= keep.sum() <= 0.85 * keep.size:
        return None
    return replace(
        lines, x_deg=lines.x_deg[keep], sigma_deg=lines.sigma_deg[keep], strength=lines.strength[keep]
    )


def _hopeless(system: System, found: Sequence[Fitted], lines: Observed) -> bool:
    if not found:
        return False
    best = found[0]
    perfect = _bound(lines)
    cost = _NATS_PER_PARAMETER * (system.free - best.system.free)
    return system.free > best.system.free and perfect - best.log_fit - cost < _LOG_HOPELESS


def _bound(lines: Observed) -> float:
    """Return the log-fit no cell can exceed: every line met exactly, no line predicted in vain."""
    sigma = np.hypot(lines.sigma_deg, 0.03 * lines.width_deg)
    return float(-np.log(sigma * np.sqrt(2 * np.pi)).sum() - np.log(lines.x_deg.size + 1))


def _evaluated(system: System, parameters: Array, lines: Observed) -> list[Fitted]:
    found = []
    for row in parameters[: _EVALUATED[system.name]]:
        for centring in CENTRINGS[system.name]:
            fitted = evaluate(system, row, centring, lines)
            if fitted is not None:
                found.append(fitted)
    return found


def _merged(found: list[Fitted]) -> list[Fitted]:
    """The best description of each lattice in each system, by falling evidence; the first hundred."""
    kept: list[tuple[Fitted, Array]] = []
    for fitted in sorted(found, key=lambda f: -f.log_evidence):
        own = signature(primitive_metric(fitted.cell, fitted.centring))
        if not any(o.system == fitted.system and same_lattice(own, s) for o, s in kept):
            kept.append((fitted, own))
        if len(kept) == 100:
            break
    return [f for f, _ in kept]
