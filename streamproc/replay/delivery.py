"""Delivery: the service's sink and state during a replay; results to the target, state to the resume file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamproc.documents import TopicPartition
from streamproc.replay.resume import ResumeFile
from streamproc.replay.targets import Target
from streamproc.results import INTERRUPTED, document_uid
from streamproc.transports.codec import decode, encode
from streamproc.transports.ports import Outgoing, Stored

__all__ = ["Delivery"]

_SAVE_INTERVAL_S = 1.0


class Delivery:
    """Sink and StateReader of one replayed run.

    Parameters
    ----------
    target : Target
        Where results go.
    resume : ResumeFile
        What is known of an earlier attempt, and where this one's moments are kept.
    results_topic, state_topic : str
        The names the service uses.
    tap : callable or None
        Sees (name, doc) of every result document.

    Attributes
    ----------
    documents, answered : int
        Result documents delivered; events of frames among them.
    stop : Mapping or None
        The result run's stop.
    letters : int
        Messages that would have gone to the dead letters.
    """

    def __init__(
        self,
        target: Target,
        resume: ResumeFile,
        results_topic: str,
        state_topic: str,
        tap: Callable[[str, Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.documents = self.answered = self.letters = 0
        self.result_uid = ""
        self.stop: Mapping[str, Any] | None = None
        self._target, self._resume, self._tap = target, resume, tap
        self._results, self._state = results_topic, state_topic
        self._records = dict(resume.saved.records)
        self._frozen = False
        self._saved_s = time.monotonic()

    def load(self, partition: int) -> Stored:
        """Return what an earlier attempt left."""
        return Stored(dict(self._records), self._resume.saved.offset)

    def deliver(self, outgoing: Sequence[Outgoing], consumed: Mapping[TopicPartition, int]) -> None:
        """Take results, state and position of one delivery."""
        results = [self._result(m) for m in outgoing if m.topic == self._results and m.value is not None]
        self._target.write(results)
        for message in outgoing:
            if message.topic == self._state:
                self._keep(message)
            elif message.topic != self._results and message.value is not None:
                self.letters += 1
        for offset in consumed.values():
            self._note(offset)

    def freeze(self) -> None:
        """Keep this moment as the one to go on from; what is delivered from now on only ends the run."""
        if not self._frozen:
            self._frozen = True
            self._save()

    def close(self) -> None:
        """Nothing of its own is open."""

    def _result(self, message: Outgoing) -> Outgoing:
        name, doc = decode(bytes(message.value or b""))
        self.documents += 1
        if name == "start":
            self.result_uid = str(doc["uid"])
        elif name == "event" and "in_domain" in doc["data"]:
            self.answered += 1
        elif name == "stop":
            self.result_uid = str(doc["run_start"])
            if self._frozen:
                # Another document than the stop that the finished run will have: never under the same uid.
                uid = document_uid(self.result_uid, "stop", "interrupted", str(self.documents))
                doc = {**doc, "uid": uid, INTERRUPTED: True}
                message = Outgoing(message.topic, message.key, encode(name, doc), message.headers)
            self.stop = doc
        if self._tap is not None:
            self._tap(name, doc)
        return message

    def _keep(self, message: Outgoing) -> None:
        key = message.key.decode()
        self._records.pop(key, None)
        if message.value is not None:
            self._records[key] = bytes(message.value)

    def _note(self, offset: int) -> None:
        if self._frozen:
            return
        self._resume.saved.offset = offset
        if self._resume.path is not None and time.monotonic() - self._saved_s >= _SAVE_INTERVAL_S:
            self._save()

    def _save(self) -> None:
        saved = self._resume.saved
        saved.records, saved.mark = self._records, self._target.mark()
        self._resume.save()
        self._saved_s = time.monotonic()
