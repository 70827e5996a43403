"""The kinds of data flags: one table that settings, data keys, documentation and messages are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["ALONE", "KINDS", "Kind"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of data flag.

    Attributes
    ----------
    name : str
        As in data keys and settings.
    units : str
        Unit of the number.
    threshold, release : float
        The flag rises when the number is at or above ``threshold`` and falls when it is below ``release``.
    bad : bool
        True: nothing may be concluded from the reading. False: a doubt, to be looked at.
    alone : bool
        A single reading can show it; otherwise it takes the readings before it.
    description : str
        What the number is.
    """

    name: str
    units: str
    threshold: float
    release: float
    bad: bool
    alone: bool
    description: str


_TABLE = (
    Kind("saturated", "1", 1e-5, 5e-6, True, True,
         "share of the used pixels (channels) at or above the detector's limit"),
    Kind("dead", "1", 1e-3, 5e-4, True, True,
         "share of the used pixels (channels) without counts where the pattern promises 20 or more"),
    Kind("hot", "1", 3e-6, 1e-6, True, True,
         "share of the used pixels far above their ring, in whole modules or three times running"),
    Kind("beam_loss", "1", 0.8, 0.5, True, False,
         "share of the run's own level that is missing (of its monitor's, where there is one)"),
    Kind("i0_drift", "1", 0.1, 0.05, False, False,
         "relative change of the monitor since the start of the run (of the pattern's scale without one)"),
    Kind("zero_drift", "1", 0.2, 0.1, False, False,
         "shift of all lines alike, or of the beam on the detector, over the width of a line; strain apart"),
    Kind("ice_rings", "1", 0.75, 0.5, False, True,
         "share of the hexagonal ice lines in range that are there, each counted with its strength"),
    Kind("parasitic_rings", "1", 0.005, 0.0025, False, False,
         "strongest narrow line that was not there before, as a share of the pattern's peak area"),
    Kind("spikes", "", 3.0, 1.0, False, True,
         "isolated pixels (channels) between the lines, far above what is around them"),
    Kind("spotty", "1", 0.15, 0.1, False, True,
         "uncertainty of a ring's intensity that the small number of grains causes"),
    Kind("shadow", "1", 0.02, 0.01, True, True,
         "share of the detector (axis) where the smooth part falls far below that at the same angle"),
    Kind("over_exposed_dark", "1", 0.05, 0.025, True, True,
         "share of the rings that the dark image holds, or of the bins that it makes negative"),
    Kind("stale", "", 1.0, 1.0, True, False,
         "readings since the data last changed: 1 and more are copies"),
    Kind("missing_rows", "", 1.0, 1.0, True, True,
         "rows of the detector without any variation where counts are promised, or without a usable value "
         "(all at the limit) where another reading of the run has some"),
)  # fmt: skip

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _TABLE})
"""Every kind by name, in the order in which they are said."""

ALONE = tuple(kind.name for kind in _TABLE if kind.alone)
"""Kinds that one reading can show."""
