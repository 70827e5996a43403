"""The run, and a reading in it, as rows of numbers that Python and compiled code share.

A row is one thing to hand over, whatever it holds: to hand over thirty numbers one by one, and take as many
back, takes as long as to work them out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "AGREEMENT", "BASE_SCALE", "BASE_ZERO", "BEAM_KNOWN", "FIRST_LEVEL", "FITTED", "GONE",
    "I0_DRIFT", "ICED", "ICE_RINGS", "ICE_TOPS", "LEVEL", "LINE_AT", "LINE_FIRST", "LINE_LAST", "LOST_FLOOR",
    "MONITOR", "MONITOR_NOW", "MONITOR_START", "OF_READING", "OF_RUN", "PARASITIC_RINGS", "READINGS", "RIGHT",
    "SCALE", "SEEN_SCALE", "SEEN_STRAIN", "SEEN_ZERO", "SHADOW", "SPOTTY", "STORED_COUNTS", "STORED_NUMBERS",
    "STRAIN", "STRANGE", "TOTAL_SCALE", "UP", "UP_SIGMA", "WIDTH", "ZERO", "ZERO_DRIFT", "ZERO_SIGMA",
    "no_readings",
]  # fmt: skip

# -- the run -------------------------------------------------------------------------------------------------
(
    LEVEL,  # mean intensity of the newest readings
    MONITOR, MONITOR_START, MONITOR_NOW,  # of the newest readings, of the first ones, of the very newest
    SCALE, ZERO, STRAIN,  # of the newest readings against the reference
    FIRST_LEVEL,  # mean intensity of the reading that is the reference
    BASE_SCALE, BASE_ZERO,  # of the reference against the first one of the run
    WIDTH,  # of a line over the run (channels): one weak reading alone may say three times as much
    LINE_AT,  # where the reading before had a new line; NaN: nowhere
    READINGS, STRANGE,  # how many there were, and how many in a row were not like the reference
    ICED,  # whether ice was in the reading before
    OF_RUN,
) = range(16)  # fmt: skip

STORED_NUMBERS, STORED_COUNTS = slice(LEVEL, READINGS), slice(READINGS, OF_RUN)
"""How the row is stored."""

# -- a reading in its run ------------------------------------------------------------------------------------
(
    # numbers of the kinds that the run tells, in the order of COMPARED
    I0_DRIFT, ZERO_DRIFT, PARASITIC_RINGS, SHADOW, ICE_RINGS, SPOTTY,
    # the reference fitted to the reading, as fit.fitted writes it
    SEEN_SCALE, SEEN_OFFSET, SEEN_ZERO, ZERO_SIGMA, SEEN_STRAIN, AGREEMENT,
    TOTAL_SCALE,  # intensity over that of the run's start
    RIGHT, UP, UP_SIGMA,  # shift of the rings, and its sigma, as beam.beam_of says it
    BEAM_KNOWN,  # whether the quadrants say where the beam is
    ICE_TOPS,  # how many channels of ice were written
    LINE_FIRST, LINE_LAST,  # channels of the new line
    GONE,  # intensity of the run's lines where most of it has gone; NaN: it has not
    LOST_FLOOR,  # whether some tiles have become darker, or blocks of a pattern that has no tiles
    OF_READING,
) = range(23)  # fmt: skip

FITTED = slice(SEEN_SCALE, TOTAL_SCALE)
"""What :func:`~streamproc.reduction.flags.fit.fitted` writes."""


def no_readings() -> npt.NDArray[np.float64]:
    """Return the row of a run before its first reading, shape (OF_RUN,)."""
    run = np.zeros(OF_RUN)
    run[[LEVEL, MONITOR, MONITOR_START, MONITOR_NOW, FIRST_LEVEL, WIDTH, LINE_AT]] = np.nan
    run[[SCALE, BASE_SCALE]] = 1.0
    return run
