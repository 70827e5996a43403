"""From evidence to probability: which lattice, and the highest symmetry that it may have.

Which lattice: the evidence is divided by a temperature, "none" has a handicap, and a share (lapse) goes to
"none" whatever the evidence says. Which system: every cubic lattice is nearly a tetragonal one too, and no
error of line positions tells how rare crystals are that are nearly of a higher symmetry than they have. A
probability of the system would rest on that, and did not come true where such crystals were simulated. So a
lattice is named after the highest system that its lines do not exclude; a lower one, with nearly such a
cell, is always possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from streamproc.models.powder.indexing.evidence import Fitted
from streamproc.models.powder.indexing.lattice import primitive_metric, same_lattice, signature
from streamproc.models.powder.indexing.weighing import Weighed

__all__ = ["CALIBRATION", "Calibration", "Chances", "chances_of"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns log-evidence into probability (fitted by ``benchmarks/science/indexing.py --calibrate``).

    Attributes
    ----------
    temperature : float
        Log-evidence of lattices is divided by it.
    none : float
        Added to the log-weight of "none of the cells".
    lapse : float
        Probability that none is right whatever the evidence says.
    excluded : float
        A system is excluded where its log-evidence is less by more than this than that of a lower one of the
        same lattice: in 97.5 % of the patterns the true one is not.
    misnamed : float
        Probability that the true one is excluded nevertheless: it is spread over the other systems.
    """

    temperature: float
    none: float
    lapse: float = 0.0
    excluded: float = 0.0
    misnamed: float = 0.0


CALIBRATION = Calibration(temperature=1.89, none=4.66, lapse=0.0062, excluded=8.15, misnamed=0.025)
"""Fitted to 191 simulated patterns of eight seeds, one in eight (by weight) nearly of a higher symmetry
(docs/decisions/0010)."""


@dataclass(frozen=True, slots=True, eq=False)
class Chances:
    """Probabilities.

    Attributes
    ----------
    lattices : tuple of tuple of int
        The cells (indices of ``Weighed.fitted``) that describe each lattice; the first names it: the best of
        the highest system that is not excluded.
    lattice : ndarray, shape (lattices,)
        Probability of each lattice.
    none : float
        Probability that no lattice is right.
    """

    lattices: tuple[tuple[int, ...], ...]
    lattice: Array
    none: float


def chances_of(weighed: Weighed, calibration: Calibration) -> Chances:
    """Return the probabilities of lattices, and what they are named after."""
    fitted = weighed.fitted
    lattices = tuple(_named(fitted, members, calibration.excluded) for members in _lattices(fitted))
    evidence = np.array([f.log_evidence for f in fitted])
    logs = [float(logsumexp(evidence[list(members)] / calibration.temperature)) for members in lattices]
    logs.append(weighed.log_none / calibration.temperature + calibration.none)
    share = np.exp(np.array(logs) - logsumexp(logs)) * (1 - calibration.lapse)
    return Chances(lattices, share[:-1], float(share[-1]) + calibration.lapse)


def _lattices(fitted: Sequence[Fitted]) -> tuple[tuple[int, ...], ...]:
    groups: list[tuple[Array, list[int]]] = []
    for i, one in enumerate(fitted):
        own = signature(primitive_metric(one.cell, one.centring))
        for theirs, members in groups:
            if same_lattice(own, theirs):
                members.append(i)
                break
        else:
            groups.append((own, [i]))
    return tuple(tuple(members) for _, members in groups)


def _named(fitted: Sequence[Fitted], members: tuple[int, ...], excluded: float) -> tuple[int, ...]:
    """The members, that of the highest system first that is not excluded."""
    top = max(fitted[i].log_evidence for i in members)
    possible = [i for i in members if fitted[i].log_evidence >= top - excluded]
    first = min(possible, key=lambda i: (fitted[i].system.free, -fitted[i].log_evidence))
    return (first, *(i for i in members if i != first))
