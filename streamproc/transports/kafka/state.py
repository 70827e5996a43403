"""KafkaState: the stored open-run state of a partition, read back when the partition is taken over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from streamproc.errors import FatalError
from streamproc.settings import DeliverySettings, KafkaSettings
from streamproc.transports.kafka.connect import connect, milliseconds, patiently
from streamproc.transports.kafka.mends import topic_id
from streamproc.transports.ports import Held, Stored

__all__ = ["KafkaState"]

_log = structlog.get_logger()

_FETCH_BYTES = 1024 * 1024
"""Small: what is read here is held once more by the client, and a restart should not cost memory for good."""
_SAID_AFTER_S = 5.0


class KafkaState:
    """Reads one partition of the compacted state topic to its end, then the group's position.

    Parameters
    ----------
    kafka, delivery
        Broker; ``delivery.restore_timeout_s`` is the deadline of :meth:`load`.
    topic : str
        The state topic.
    raw_topic, group : str
        Whose committed positions belong to it.
    grow : callable, optional
        Gives the state topic the partitions that the raw topic was given while the service ran.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        delivery: DeliverySettings,
        topic: str,
        raw_topic: str,
        group: str,
        grow: Callable[[], object] | None = None,
    ) -> None:
        self._kafka, self._topic, self._grow = kafka, topic, grow
        self._raw_topic, self._group = raw_topic, group
        self._timeout_s = delivery.restore_timeout_s

    def load(self, partition: int) -> Stored:
        """Return what is stored, and after it what is committed.

        The end is the one that uncommitted readers see. A former owner's last transaction may still be
        undecided; it is waited for, because its positions and its state count or do not count together. The
        position is asked for last and by a client of its own: read before, or taken from a consumer that was
        frozen with an answer in its socket, it would be older than the state.

        Raises
        ------
        FatalError
            Not read within ``delivery.restore_timeout_s``, or there is no such partition.
        ConfigurationError
            No right to read the topic, or to add a partition to it.
        """
        deadline_s = time.monotonic() + self._timeout_s
        where = KafkaPartition(self._topic, partition)
        try:
            return patiently(lambda: self._read(where, self._end(where), deadline_s), self._timeout_s)
        except KafkaError as error:
            raise FatalError(f"reading state topic {self._topic}/{partition}: {error}") from error

    def _end(self, where: KafkaPartition) -> int:
        if (end := self._end_if_there(where)) is None and self._grow is not None:
            self._grow()
            end = self._end_if_there(where)
        if end is None:
            raise FatalError(
                f"topic {self._raw_topic} has a partition {where.partition}, state topic {self._topic} has "
                "not: `streamproc topics create` adds it"
            )
        return end

    def _end_if_there(self, where: KafkaPartition) -> int | None:
        consumer = connect(self._kafka, lambda options: self._consumer(options, "read_uncommitted"))
        try:
            if where.partition not in (consumer.partitions_for_topic(self._topic) or ()):
                return None
            return int(consumer.end_offsets([where], milliseconds(self._timeout_s))[where])
        finally:
            consumer.close(autocommit=False, timeout_ms=1000)

    def _read(self, where: KafkaPartition, end: int, deadline_s: float) -> Stored:
        timeout_ms = milliseconds(self._timeout_s)
        consumer = connect(self._kafka, lambda options: self._consumer(options, "read_committed"))
        newest: dict[str, bytes] = {}
        said_s = time.monotonic() + _SAID_AFTER_S
        try:
            consumer.assign([where])
            consumer.seek_to_beginning(where)
            while consumer.position(where, timeout_ms=timeout_ms) < end:
                if time.monotonic() > deadline_s:
                    raise FatalError(
                        f"state topic {where.topic}/{where.partition} not read to {end} within "
                        f"{self._timeout_s:g} s (delivery.restore_timeout_s): a transaction is undecided, or "
                        "the broker is slow"
                    )
                if time.monotonic() > said_s:
                    said_s = deadline_s
                    _log.warning(
                        "state is still being read: a transaction is undecided, or the broker is slow",
                        topic=where.topic, partition=where.partition, end=end,
                        position=consumer.position(where, timeout_ms=timeout_ms),
                    )  # fmt: skip
                for batch in consumer.poll(timeout_ms=200).values():
                    for record in batch:
                        _take(newest, record)
            raw = KafkaPartition(self._raw_topic, where.partition)
            committed = consumer.committed(raw, timeout_ms=timeout_ms)
            first, last = (
                consumer.beginning_offsets([raw], timeout_ms),
                consumer.end_offsets([raw], timeout_ms),
            )
            held = Held(int(first[raw]), int(last[raw]), topic_id(consumer, self._raw_topic))
            return Stored(newest, committed, held)
        finally:
            consumer.close(autocommit=False, timeout_ms=1000)

    def _consumer(self, options: dict[str, Any], isolation: str) -> KafkaConsumer:
        return KafkaConsumer(
            **options,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=isolation,
            allow_auto_create_topics=False,
            max_poll_records=5000,
            fetch_max_wait_ms=20,
            max_partition_fetch_bytes=_FETCH_BYTES,
            receive_message_max_bytes=2 * self._kafka.max_message_bytes + 2 * _FETCH_BYTES,
            retry_backoff_ms=20,
        )


def _take(newest: dict[str, bytes], record: Any) -> None:
    """Keep a record; the order of keys is that of their newest records."""
    key = record.key.decode() if record.key else ""
    newest.pop(key, None)
    if record.value is not None:
        newest[key] = record.value
