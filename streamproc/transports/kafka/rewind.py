"""Rewinder: the documents of a run that lie before a given one, found by reading the partition backwards."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import structlog
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from streamproc.documents import Document, Position
from streamproc.errors import ConfigurationError, DocumentRefused
from streamproc.settings import KafkaSettings, RunsSettings
from streamproc.transports.codec import DecodeLimits, decode
from streamproc.transports.kafka.connect import connect, milliseconds

__all__ = ["Rewinder"]

_log = structlog.get_logger()

_FIRST_CHUNK = 64
_LARGEST_CHUNK = 2048
_PARENTS = ("run_start", "descriptor", "resource", "stream_resource")


class Rewinder:
    """A consumer outside the group, for one search; use it as a context manager.

    Parameters
    ----------
    kafka, runs, limits
        Connection, bounds of the search, bounds of a message.
    """

    def __init__(self, kafka: KafkaSettings, runs: RunsSettings, limits: DecodeLimits) -> None:
        self._kafka, self._runs, self._limits = kafka, runs, limits
        self._consumer: KafkaConsumer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=1000)

    def documents(self, run_uid: str | None, before: Document) -> list[Document]:
        """Return the run's documents before ``before``, oldest first; none when its start is out of reach."""
        try:
            return self._search(run_uid or None, before)
        except (KafkaError, ConfigurationError) as error:
            _log.warning("looking for a run's start failed", position=str(before.position), reason=str(error))
            return []

    def _search(self, run_uid: str | None, before: Document) -> list[Document]:
        partition = KafkaPartition(*before.position.topic_partition)
        consumer = self._consumer = connect(self._kafka, self._make_consumer)
        consumer.assign([partition])
        deadline_s = time.monotonic() + self._kafka.request_timeout_s
        timeout_ms = milliseconds(self._kafka.request_timeout_s)
        begin = consumer.beginning_offsets([partition], timeout_ms)[partition]
        lowest = max(begin, before.position.offset - self._runs.rewind_max_messages)
        search = _Search(run_uid, before)
        high, chunk, room = before.position.offset, _FIRST_CHUNK, self._runs.rewind_max_bytes
        while high > lowest and not search.found:
            low = max(lowest, high - chunk)
            documents, size = self._read(consumer, partition, low, high, room, deadline_s)
            room -= size
            if room < 0 or time.monotonic() > deadline_s:
                return []
            search.prepend(documents)
            high, chunk = low, min(2 * chunk, _LARGEST_CHUNK)
        return search.result()

    def _make_consumer(self, options: dict[str, Any]) -> KafkaConsumer:
        return KafkaConsumer(
            **options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            fetch_max_wait_ms=50,
            receive_message_max_bytes=2 * self._kafka.max_message_bytes + 32 * 1024 * 1024,
            retry_backoff_ms=20,
        )

    def _read(
        self,
        consumer: KafkaConsumer,
        partition: KafkaPartition,
        low: int,
        high: int,
        room: int,
        deadline_s: float,
    ) -> tuple[list[Document], int]:
        """Read offsets ``low`` to ``high - 1``; stops early when more than ``room`` bytes came."""
        documents, size = [], 0
        consumer.seek(partition, low)
        position: int | None = low
        while position is not None and position < high and size <= room and time.monotonic() < deadline_s:
            for record in consumer.poll(timeout_ms=200).get(partition, []):
                size += len(record.value or b"")
                if record.offset < high and record.value and (d := self._decoded(record)) is not None:
                    documents.append(d)
            position = consumer.position(partition, timeout_ms=1000)
        return documents, size

    def _decoded(self, record: Any) -> Document | None:
        """Return the document; None for what does not decode: it has gone to the dead letters before."""
        try:
            name, doc = decode(record.value, self._limits)
        except DocumentRefused:
            return None
        position = Position(record.topic, record.partition, record.offset)
        return Document(name, doc, position, record.key, record.value, record.timestamp / 1000)


class _Search:
    """Collects what was read, newest chunk first, until the start of the run is among it."""

    def __init__(self, run_uid: str | None, before: Document) -> None:
        self._chunks: list[list[Document]] = []
        self._run_uid = run_uid
        self._wanted = set() if run_uid else _parents(before.doc)
        if run_uid is None and isinstance(uid := before.doc.get("run_start"), str):
            self._run_uid = uid
        self._start: Document | None = None

    @property
    def found(self) -> bool:
        """Whether the run's start was read."""
        return self._start is not None

    def prepend(self, documents: list[Document]) -> None:
        """Take a chunk that lies right before those taken so far."""
        # A message that carries the run's uid as its key belongs to that run; others need not be kept.
        self._chunks.append(documents)
        for document in reversed(documents):
            self._look(document)

    def _look(self, document: Document) -> None:
        doc, uid = document.doc, _uid(document)
        if self._run_uid is None and uid in self._wanted:
            run_uid = doc.get("run_start")
            if isinstance(run_uid, str):
                self._run_uid = run_uid
            else:
                self._wanted |= _parents(doc)
        if document.name == "start" and self._run_uid is not None and uid == self._run_uid:
            self._start = document

    def result(self) -> list[Document]:
        """Return the run's documents from its start on, oldest first."""
        if self._start is None or self._run_uid is None:
            return []
        start = self._start.position
        ordered = [d for chunk in reversed(self._chunks) for d in chunk if d.position >= start]
        return _of_run(self._run_uid, ordered)


def _uid(document: Document) -> str | None:
    """Return the document's uid; anything may stand in its place in a document that nobody has checked."""
    uid = document.doc.get("uid")
    return uid if isinstance(uid, str) else None


def _parents(doc: Mapping[str, Any]) -> set[str]:
    return {uid for name in _PARENTS if isinstance(uid := doc.get(name), str)}


def _of_run(run_uid: str, documents: Iterable[Document]) -> list[Document]:
    """Keep the documents of one run among interleaved ones.

    Resources may come without ``run_start`` (the schema allows it); they are known to belong only by the
    documents that use them, which come later. So belonging is settled first, and then the documents are kept.
    """
    documents = list(documents)
    known = {run_uid}
    for document in documents:
        parents = _parents(document.doc)
        if parents & known:
            known |= parents
            if (uid := _uid(document)) is not None:
                known.add(uid)
    return [d for d in documents if _uid(d) in known or _parents(d.doc) & known or _orphan(d)]


def _orphan(document: Document) -> bool:
    """Whether this is a resource (or a datum of one) that does not say which run it belongs to."""
    return document.name in ("resource", "datum", "datum_page") and "run_start" not in document.doc
