"""Run and RunTracker: what the documents of a run say, kept tolerant and bounded."""

from streamproc.runs.model import (
    NeedsRewind,
    Outcome,
    Run,
    RunClosed,
    RunOpened,
    RunUpdated,
    Skipped,
)
from streamproc.runs.select import Reference, reference_of, select_run
from streamproc.runs.tracker import RunTracker, TrackerLimits

__all__ = [
    "NeedsRewind",
    "Outcome",
    "Reference",
    "Run",
    "RunClosed",
    "RunOpened",
    "RunTracker",
    "RunUpdated",
    "Skipped",
    "TrackerLimits",
    "reference_of",
    "select_run",
]
