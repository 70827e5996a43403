"""Attempt: the service that one run is replayed with, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from streamproc.analysis import Analysis
from streamproc.errors import ArchiveDamaged, StreamprocError
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.observability.metrics import ServiceMetrics
from streamproc.replay.delivery import Delivery
from streamproc.replay.paced import PacedSource
from streamproc.replay.resume import ResumeFile
from streamproc.replay.source import MAX_SPEED, ArchiveSource
from streamproc.replay.targets import Target
from streamproc.runs import RunTracker
from streamproc.service import Service, ServiceParts
from streamproc.settings import Settings
from streamproc.transports.archive.ports import Archive, RunRef

__all__ = ["Attempt", "make_attempt"]

_COMMIT_INTERVAL_S, _RESUMABLE_INTERVAL_S = 0.2, 1.0
"""Between two deliveries at full speed; making open-run state of a moment takes some milliseconds."""
_FRAME_WAIT_S = 1.0
_BATCHES_AHEAD = 4


@dataclass(slots=True)
class Attempt:
    """One attempt at one run: the service and its parts; when it began, how long it was paused (s)."""

    service: Service
    source: ArchiveSource
    delivery: Delivery
    reader: FrameReader
    clock: Callable[[], float]
    began_s: float
    held_s: float = 0.0


def make_attempt(
    archive: Archive, run_ref: RunRef, analysis: Analysis, sink: Target, settings: Settings, speed: float,
    resume: ResumeFile, tap: Callable[[str, Mapping[str, Any]], None] | None, clock: Callable[[], float],
) -> Attempt:  # fmt: skip
    """Put the parts of a service together for one run; parameters as `replay_run` has them."""
    settings = _adapted(settings, speed, resume.path is not None)
    documents, name = _documents(archive, run_ref), f"replay of {run_ref.uid}"
    paced = speed != MAX_SPEED
    source = PacedSource(documents, name, speed) if paced else ArchiveSource(documents, name)
    frames, places = settings.frames, run_ref.frames
    policy = PathPolicy((*frames.roots, *places.roots), {**places.prefix_map, **frames.prefix_map})
    reader = FrameReader(policy, max_frame_bytes=frames.max_frame_bytes)
    delivery = Delivery(sink, resume, settings.topic("results"), settings.state_topic(analysis.name), tap)
    parts = ServiceParts(
        source=source,
        sink=delivery,
        state=delivery,
        analysis=analysis,
        make_tracker=lambda: RunTracker(settings.runs.max_open, float("inf")),
        reader=reader,
        metrics=ServiceMetrics(analysis.name),
        clock=clock,
        batch_done=source.wake,
        keeps_state=resume.path is not None,
    )
    return Attempt(Service(parts, settings), source, delivery, reader, clock, clock())


def _documents(archive: Archive, run_ref: RunRef) -> Any:
    """Iterate an archive's documents; whatever a store's client raises means that it cannot be read on."""
    try:
        yield from archive.documents(run_ref)
    except StreamprocError as error:
        raise error if isinstance(error, ArchiveDamaged) else ArchiveDamaged(error.message) from error
    except Exception as error:
        raise ArchiveDamaged(f"{run_ref.place}: {type(error).__name__}: {error}") from error


def _adapted(settings: Settings, speed: float, resumable: bool) -> Settings:
    """Return the settings for files that are all there: little is waited for, little is read ahead."""
    ahead = max(2, _BATCHES_AHEAD * settings.inference.max_batch * settings.service.workers)
    frames = settings.frames.model_copy(
        update={
            "wait_s": min(settings.frames.wait_s, _FRAME_WAIT_S),
            "max_waiting_frames": min(settings.frames.max_waiting_frames, ahead),
        }
    )
    update: dict[str, Any] = {"frames": frames}
    if speed == MAX_SPEED:
        interval_s = _RESUMABLE_INTERVAL_S if resumable else _COMMIT_INTERVAL_S
        interval_s = max(settings.delivery.commit_interval_s, interval_s)
        update["delivery"] = settings.delivery.model_copy(update={"commit_interval_s": interval_s})
    service = settings.service.model_copy(update={"policy": "every", "one_pass": True})
    return settings.model_copy(update={**update, "service": service})
