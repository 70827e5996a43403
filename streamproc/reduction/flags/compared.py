"""Compared: what the comparison of a reading with its run says of each kind, and where it shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streamproc.reduction.flags.reading import Evidence, Reading
from streamproc.reduction.flags.said import axis_said, boxes_said
from streamproc.reduction.flags.tiles import TILE_ROWS
from streamproc.reduction.flags.within import Within

__all__ = ["COMPARED", "Compared"]

COMPARED = ("i0_drift", "zero_drift", "parasitic_rings", "shadow", "ice_rings", "spotty")
"""Kinds that the comparison with the run tells, or tells as well."""


class Compared(NamedTuple):
    """What is found. Evidence is made only when it is asked for: mostly no flag is up.

    Attributes
    ----------
    numbers : dict
        Number of each kind of ``COMPARED``; NaN where it cannot be judged.
    reading : Reading
        What was compared.
    seen : Within or None
        What its arrays show; None for the first reading of a run.
    scale, zero : float
        Intensity over that of the run's start, and the shift of all lines since (unit of the axis).
    beam : tuple of float
        Shift of the rings towards azimuth 0 and 90 degrees; empty where it is not known.
    dark : list of int
        Channels of a pattern that have lost their floor.
    """

    numbers: dict[str, float]
    reading: Reading
    seen: Within | None = None
    scale: float = 1.0
    zero: float = 0.0
    beam: tuple[float, ...] = ()
    dark: tuple[int, ...] = ()

    def evidence(self, name: str) -> Evidence:
        """Return the evidence of a kind whose number is known."""
        seen, axis = self.seen, self.reading.curve.axis
        if seen is None:
            return {}
        match name:
            case "i0_drift":
                return {"by": "pattern", "scale": self.scale}
            case "spotty":
                return {"axis": [[float(axis[i]) for i in seen.grains]], "by": "run"}
            case "zero_drift":
                told = {"shift": self.zero, "sigma": seen.found.zero_sigma, "strain": seen.found.strain}
                return told | ({"beam": list(self.beam)} if self.beam else {})
            case "ice_rings":
                return axis_said(axis, seen.tops)
            case "parasitic_rings":
                _, first, last = seen.line
                return axis_said(axis, list(range(first, last + 1)))
            case _:
                return self._shadow(seen)

    def _shadow(self, seen: Within) -> Evidence:
        if self.reading.tiles is None:
            return axis_said(self.reading.curve.axis, list(self.dark))
        if seen.darker is None:
            return {}
        return boxes_said(np.repeat(seen.darker, TILE_ROWS, axis=0), self.reading.columns)
