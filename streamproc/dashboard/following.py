"""Following a results topic: a reader of its own group that commits nothing."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from streamproc.documents import BadMessage, Document
from streamproc.settings import Settings
from streamproc.transports.kafka import KafkaSource

__all__ = ["OwnRun", "Recorder", "results_source"]

_MOST_HELD = 10_000


def results_source(settings: Settings, *, from_beginning: bool) -> KafkaSource:
    """Open a reader of the results topic that leaves no trace: its group is new and never commits."""
    kafka = settings.kafka.model_copy(update={"from_beginning": from_beginning, "group_instance_id": None})
    group = f"streamproc-watch-{uuid.uuid4().hex[:12]}"
    return KafkaSource(kafka, settings.topic("results"), group, runs=settings.runs)


class OwnRun:
    """Lets pass the result documents of one run only; others may use the same topic.

    Parameters
    ----------
    uid : str, optional
        Uid of the raw run or of a result run. It may be set later, after the first documents: they are
        held until then.
    """

    def __init__(self, uid: str | None = None) -> None:
        self.uid = uid
        self._uids: set[str] = set()
        self._held: deque[Document] = deque(maxlen=_MOST_HELD)

    def feed(self, documents: Sequence[Document | BadMessage]) -> Iterator[Document]:
        """Yield those documents, of these and of the held ones, that belong to the run."""
        self._held.extend(d for d in documents if isinstance(d, Document))
        while self.uid is not None and self._held:
            document = self._held.popleft()
            if self._belongs(document):
                yield document

    def _belongs(self, document: Document) -> bool:
        """Follow the references: descriptor and stop to start, events to descriptor."""
        doc = document.doc
        uid = str(doc.get("uid", ""))
        if document.name == "start":
            mine = self.uid in (doc.get("original_run_uid"), uid)
        else:
            mine = str(doc.get("run_start", doc.get("descriptor", ""))) in self._uids
        if mine and document.name in ("start", "descriptor"):
            self._uids.add(uid)
        return mine


class Recorder:
    """Keeps messages as they came, one after the other, in a msgpack file; does nothing without a path."""

    def __init__(self, path: Path | None) -> None:
        self._out = path.open("wb") if path is not None else None
        self.close: Callable[[], None] = self._out.close if self._out is not None else lambda: None

    def add(self, document: Document) -> None:
        """Append one message."""
        if self._out is not None:
            self._out.write(document.raw)
