"""Gathering: documents of the results topic, sorted into runs; large runs lie on the disk meanwhile."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamproc.documents import Document, TopicPartition
from streamproc.transports.kept import KeptRun, MessageView

__all__ = ["GatheredRun", "Gatherer"]

_MOST_FINISHED = 10_000
_NAMES = frozenset({"start", "descriptor", "event", "stop"})


@dataclass(slots=True)
class GatheredRun:
    """A result run as far as its documents have come.

    Attributes
    ----------
    uid : str
        Of its start.
    partition, first_offset
        Where its start is: a restart reads from there until the run is safe.
    touched_s : float
        When the last document came (clock of whoever feeds).
    """

    uid: str
    partition: TopicPartition
    first_offset: int
    touched_s: float
    _kept: KeptRun = field(default_factory=KeptRun, repr=False)

    def add(self, name: str, doc: Mapping[str, Any], raw: bytes = b"") -> bool:
        """Take a document; False when it is a repeat."""
        return self._kept.add(name, doc, raw)

    def documents(self) -> MessageView:
        """Return the documents in the order they came; nothing may be added while they are read."""
        return self._kept.documents()

    def close(self) -> None:
        """Free it."""
        self._kept.close()


class Gatherer:
    """Sorts documents into runs.

    Documents of a run whose start is unknown are given back: somebody has to look back for it.
    """

    def __init__(self) -> None:
        self.open: dict[str, GatheredRun] = {}
        self._owner: dict[str, str] = {}
        self._finished: OrderedDict[str, None] = OrderedDict()

    def feed(self, document: Document, now_s: float) -> GatheredRun | None:
        """Take a document; returns its run when that is whole now (it is open no more then).

        Raises
        ------
        KeyError
            Its run is not known: the argument is the run's uid, or empty where only its descriptor is.
        """
        name, doc = document.name, document.doc
        if name not in _NAMES:
            return None
        run = self._begin(document, now_s) if name == "start" else self._find(document)
        if run is None:
            return None
        run.touched_s = now_s
        run.add(name, doc, document.raw)
        if name == "descriptor":
            self._owner[str(doc["uid"])] = run.uid
        if name == "stop":
            self.forget(run.uid)
            self._remember(run.uid)
            return run
        return None

    def forget(self, uid: str) -> None:
        """Let go of an open run."""
        self.open.pop(uid, None)
        self._owner = {d: owner for d, owner in self._owner.items() if owner != uid}

    def drop(self, partition: TopicPartition) -> None:
        """Let go of everything of a partition that another process has now."""
        for run in [r for r in self.open.values() if r.partition == partition]:
            self.forget(run.uid)
            run.close()

    def _begin(self, document: Document, now_s: float) -> GatheredRun | None:
        doc = document.doc
        if not isinstance(doc.get("streamproc"), Mapping):
            return None
        uid, position = str(doc["uid"]), document.position
        if uid not in self.open:
            # A run that begins again, also a finished one, is gathered again: what is stored is compared.
            self._finished.pop(uid, None)
            self.open[uid] = GatheredRun(uid, position.topic_partition, position.offset, now_s)
        return self.open[uid]

    def _find(self, document: Document) -> GatheredRun | None:
        doc, key = document.doc, (document.key or b"").decode(errors="replace")
        uid = str(doc.get("run_start", "")) or self._owner.get(str(doc.get("descriptor")), "") or key
        if uid in self.open:
            return self.open[uid]
        if uid in self._finished:
            return None
        raise KeyError(uid)

    def _remember(self, uid: str) -> None:
        """Keep the uid of a finished run: at-least-once delivery may repeat its last documents."""
        self._finished[uid] = None
        while len(self._finished) > _MOST_FINISHED:
            self._finished.popitem(last=False)
