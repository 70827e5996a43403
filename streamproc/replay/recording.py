"""Recorder: a live topic as files, one per run, with checksums; it goes on where it was killed."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamproc.errors import ConfigurationError, DocumentRefused
from streamproc.replay.framecopy import FrameCopier
from streamproc.replay.runfiles import Manifest, RunFile
from streamproc.runs.select import reference_of
from streamproc.settings import Settings
from streamproc.transports.codec import DecodeLimits, decode
from streamproc.transports.kafka.reading import Message, TopicReader

__all__ = ["RecordReport", "Recorder"]

_LOOK_S = 0.5
_COMMIT_BYTES = 64 * 2**20
_COMMIT_S = 2.0


@dataclass(slots=True)
class RecordReport:
    """What was recorded since the program began.

    Attributes
    ----------
    messages : int
        Read from the topic.
    runs, open_runs : int
        Complete now; begun and not ended.
    strays : int
        Documents of runs whose start was not seen, or that had ended.
    undecodable : int
        Messages that are no documents.
    frame_files, frame_bytes : int
        Copied.
    missing : list of str
        Frames that could not be copied, and why.
    """

    messages: int = 0
    runs: int = 0
    open_runs: int = 0
    strays: int = 0
    undecodable: int = 0
    frame_files: int = 0
    frame_bytes: int = 0
    missing: list[str] = field(default_factory=list)


class Recorder:
    """Archives a topic in a folder.

    ``manifest.json`` (replaced whole) says up to which offset the topic is safe, how long each run's file
    was then, and the SHA-256 of every complete file; what is behind that is cut off and read again after a
    crash. Nothing is committed to the broker, nobody is disturbed.

    Parameters
    ----------
    settings : Settings
        Broker; ``frames.roots`` and ``prefix_map`` for the frames.
    topic : str
        What to record.
    out : Path
        The folder; one that has a recording of the same topic is gone on with.
    frames : bool
        Whether the files that documents point to are copied when a run ends.
    since_s : float or None
        A new recording begins with what was published since (Unix s); None: with the topic's beginning.

    Raises
    ------
    ConfigurationError
        The folder has a recording of another topic, or another program is recording into it.
    """

    def __init__(
        self, settings: Settings, topic: str, out: Path, *, frames: bool = False, since_s: float | None = None
    ) -> None:
        self.report = RecordReport()
        self._settings, self._topic, self._since_s = settings, topic, since_s
        self._lock = _locked(out)
        self._manifest = Manifest.load(out, topic)
        self._copier = FrameCopier(settings.frames, self._manifest.folder) if frames else None
        self._files = self._manifest.reopened()
        self._owner: dict[str, str] = {}
        for run in self._files.values():
            for name, doc in run.reread():
                self._learn(name, doc, run.uid)
        self._limits = DecodeLimits(message_bytes=settings.kafka.max_message_bytes)
        self._fresh_bytes, self._committed_s = 0, time.monotonic()

    def run(
        self,
        *,
        until_idle_s: float | None = None,
        stop: threading.Event | None = None,
        tell: Callable[[RecordReport], None] | None = None,
    ) -> RecordReport:
        """Record until ``stop``, or until nothing has come for ``until_idle_s`` (s)."""
        stop, last_s = stop or threading.Event(), time.monotonic()
        try:
            while not stop.is_set():
                if self._read(stop, tell):
                    last_s = time.monotonic()
                elif until_idle_s is not None and time.monotonic() - last_s >= until_idle_s:
                    break
                else:
                    stop.wait(_LOOK_S)
            self._commit(final=True)
        finally:
            self.close()
        self.report.open_runs = len(self._files)
        return self.report

    def close(self) -> None:
        """Close all files and let others record here."""
        for run in self._files.values():
            run.close()
        self._lock.close()

    # -- reading ------------------------------------------------------------------------------------------

    def _read(self, stop: threading.Event, tell: Callable[[RecordReport], None] | None) -> bool:
        """Read to the present end of the topic; tells whether anything came."""
        positions, before = self._manifest.positions, self.report.messages
        since_s = None if positions else self._since_s
        with TopicReader(
            self._settings.kafka, self._topic, since_s=since_s, begin=positions, timeout_s=float("inf")
        ) as reader:
            for message in reader.messages():
                self._take(message)
                positions[message.position.partition] = message.position.offset + 1
                if tell is not None:
                    tell(self.report)
                due = time.monotonic() - self._committed_s > _COMMIT_S
                if self._fresh_bytes > _COMMIT_BYTES or due:
                    self._commit()
                if stop.is_set():
                    break
            else:
                positions.update({p: max(o, positions.get(p, 0)) for p, o in reader.ends.items()})
        came = self.report.messages > before
        if came:
            self._commit()
        return came

    def _take(self, message: Message) -> None:
        self.report.messages += 1
        value = message.value or b""
        try:
            name, doc = decode(value, self._limits)
        except DocumentRefused:
            self.report.undecodable += 1
            return
        uid = self._run_of(name, doc)
        if name == "start" and uid and uid not in self._files and uid not in self._manifest.entries:
            self._files[uid] = RunFile(self._manifest.folder, uid, doc)
        run = self._files.get(uid or "")
        if run is None:
            self.report.strays += 1
            return
        run.append(value, name, doc)
        self._learn(name, doc, run.uid)
        self._fresh_bytes += len(value)
        if name == "stop":
            self._end(run)

    def _run_of(self, name: str, doc: Mapping[str, Any]) -> str | None:
        reference = reference_of(name, doc)
        if reference.run_uid is not None:
            return reference.run_uid
        found = next((self._owner[n] for n in reference.needs if n in self._owner), None)
        if found is None and reference.owns is not None and len(self._files) == 1:
            return next(iter(self._files))  # a resource that names no run, and only one is open
        return found

    def _learn(self, name: str, doc: Mapping[str, Any], uid: str) -> None:
        owns = reference_of(name, doc).owns
        if owns is not None:
            self._owner[owns] = uid

    # -- safe ---------------------------------------------------------------------------------------------

    def _end(self, run: RunFile) -> None:
        """A run is over: its frames, its checksums, its final name."""
        frames: list[dict[str, Any]] = []
        places: dict[str, str] = {}
        missing: list[str] = []
        if self._copier is not None:
            frames, places, missing = self._copier.copy(run)
            self.report.frame_files += len(frames)
            self.report.frame_bytes += sum(f["bytes"] for f in frames)
            self.report.missing += [f"run {run.uid}: {text}" for text in missing]
        entry = run.finish(frames, places, missing)
        del self._files[run.uid]
        self._owner = {owned: uid for owned, uid in self._owner.items() if uid != run.uid}
        self._manifest.entries[run.uid] = entry
        self.report.runs += 1
        self._commit()

    def _commit(self, *, final: bool = False) -> None:
        """Make all that was read safe, then say so in the manifest."""
        open_runs = {uid: run.entry(checked=final) for uid, run in self._files.items()}
        self._manifest.save(open_runs)
        self._fresh_bytes, self._committed_s = 0, time.monotonic()


def _locked(out: Path) -> Any:
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("w")
    except OSError as error:
        raise ConfigurationError(f"{out}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ConfigurationError(f"{out}: another program records into it") from error
    return lock
