"""What indexing says of a pattern: probabilities of crystal systems and cells, or that it cannot say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NONE", "CandidateCell", "StructureHint"]

Array = npt.NDArray[np.float64]

NONE = "none"
"""Key of the probability that no cell looked for is right: triclinic, too large, or several phases."""


@dataclass(frozen=True, slots=True)
class CandidateCell:
    """A unit cell that may be the right one.

    Attributes
    ----------
    system : str
        cubic, hexagonal (which includes trigonal), tetragonal, orthorhombic or monoclinic (b unique): the
        highest system of this lattice that the lines do not exclude. The crystal's own may be lower.
    centring : str
        P, A, B, C, I, F, or R on hexagonal axes.
    cell, sigma : tuple of float
        a, b, c (angstrom), alpha, beta, gamma (degrees), and standard uncertainties (0 where fixed).
    volume_A3 : float
        Volume of the conventional cell.
    zero_deg : float
        Shift of the axis at low angles that was fitted (zero shift and displacement; degrees 2theta).
    probability : float
        Probability that this lattice is the right one.
    m, f : float
        Figures of merit M_N and F_N of ``lines`` lines.
    lines : int
        N of the figures of merit.
    indexed, used : int
        Lines it explains, of how many.
    predicted : int
        Distinct lines it predicts in that range.
    related : tuple of str
        Other candidates that are sub- or superlattices of this one, in words.
    """

    system: str
    centring: str
    cell: tuple[float, ...]
    sigma: tuple[float, ...]
    volume_A3: float
    zero_deg: float
    probability: float
    m: float
    f: float
    lines: int
    indexed: int
    used: int
    predicted: int
    related: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StructureHint:
    """What indexing says.

    Attributes
    ----------
    systems : dict of str to float
        Probability that the lattice is, as far as the lines tell, one of this system (the crystal may have
        a lower one and nearly such a cell), and of :data:`NONE`; they sum to one.
    cells : tuple of CandidateCell
        The likeliest first; empty when it abstains.
    abstained : str
        Why nothing is said; empty when something is.
    unfinished : tuple of str
        Systems that were not searched to the end within the time allowed, and how far.
    lines_used, lines_given : int
        How many lines were used, of how many.
    """

    systems: dict[str, float]
    cells: tuple[CandidateCell, ...]
    abstained: str
    unfinished: tuple[str, ...]
    lines_used: int
    lines_given: int

    @property
    def best(self) -> CandidateCell | None:
        """The likeliest cell; None when it abstains."""
        return self.cells[0] if self.cells else None

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data, for JSON and msgpack."""
        return {
            "systems": dict(self.systems),
            "cells": [
                {
                    "system": c.system,
                    "centring": c.centring,
                    "cell": list(c.cell),
                    "sigma": list(c.sigma),
                    "volume_A3": c.volume_A3,
                    "zero_deg": c.zero_deg,
                    "probability": c.probability,
                    "M": c.m,
                    "F": c.f,
                    "lines": c.lines,
                    "indexed": c.indexed,
                    "used": c.used,
                    "predicted": c.predicted,
                    "related": list(c.related),
                }
                for c in self.cells
            ],
            "abstained": self.abstained,
            "unfinished": list(self.unfinished),
            "lines_used": self.lines_used,
            "lines_given": self.lines_given,
        }
