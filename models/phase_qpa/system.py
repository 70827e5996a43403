"""The system of the shipped model: corundum, zincite, fluorite and brucite with Cu K-alpha."""

from __future__ import annotations

from streamproc.models.phase_map.system import Grid, System
from streamproc.models.powder.ranges import PriorRanges
from streamproc.models.powder.structures import HELD_OUT, KNOWN, UNKNOWN, structures

__all__ = ["four_phases"]


def four_phases() -> System:
    """Return the system of the IUCr round robin on quantitative phase analysis."""
    known = structures()
    return System(
        name="phase_qpa",
        phases=tuple(known[n] for n in KNOWN),
        foreign=tuple(known[n] for n in UNKNOWN),
        held_out=tuple(known[n] for n in HELD_OUT),
        grid=Grid(20.0, 100.0, 2000),
        ranges=PriorRanges(),
    )
