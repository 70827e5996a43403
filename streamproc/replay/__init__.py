"""Replay: an archived run through the same loop as a live one, to any target, with the same documents."""

from streamproc.replay.engine import Progress, ReplayOutcome, replay_run
from streamproc.replay.resume import ResumeFile
from streamproc.replay.source import MAX_SPEED, ArchiveSource
from streamproc.replay.targets import ForwardTarget, JsonLinesTarget, NoTarget, Target
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
    "Target",
    "replay_run",
]
