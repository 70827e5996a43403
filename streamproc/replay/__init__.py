"""Replay: an archived run through the same loop as a live one, to any target, with the same documents."""

from streamproc.replay.clock import RunningClock
from streamproc.replay.engine import replay_run
from streamproc.replay.outcome import Progress, ReplayOutcome
from streamproc.replay.resume import ResumeFile
from streamproc.replay.source import MAX_SPEED, ArchiveSource
from streamproc.replay.targets import ForwardTarget, JsonLinesTarget, NoTarget, Target
from streamproc.transports.archive.opening import open_archive, stored_documents
from streamproc.transports.archive.ports import Archive, FramePlaces, Query, RunRef

__all__ = [
    "MAX_SPEED",
    "Archive",
    "ArchiveSource",
    "ForwardTarget",
    "FramePlaces",
    "JsonLinesTarget",
    "NoTarget",
    "Progress",
    "Query",
    "ReplayOutcome",
    "ResumeFile",
    "RunRef",
    "RunningClock",
    "Target",
    "open_archive",
    "replay_run",
    "stored_documents",
]
