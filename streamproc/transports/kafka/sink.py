"""KafkaSink: publish, wait until the broker has it, then commit; or fail within the deadline."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from streamproc.documents import TopicPartition
from streamproc.errors import DeliveryError
from streamproc.settings import DeliverySettings, KafkaSettings
from streamproc.transports.kafka.connect import connect, denied, milliseconds
from streamproc.transports.kafka.mends import know_partition
from streamproc.transports.ports import Outgoing

__all__ = ["Committer", "KafkaSink", "bounded", "close_quietly", "make_producer", "publish"]

_log = structlog.get_logger()

_HEADROOM_BYTES = 1024 * 1024
"""Room for key, headers and framing beyond the largest value."""


class Committer(Protocol):
    """What a sink needs of the source that was read: a place to store how far it is done."""

    def commit(self, consumed: Mapping[TopicPartition, int], timeout_s: float) -> None:
        """Store the next offset to read per partition within ``timeout_s`` (s), or raise DeliveryError."""


def make_producer(kafka: KafkaSettings, delivery: DeliverySettings, **options: Any) -> KafkaProducer:
    """Make a producer whose every publication ends within ``delivery.flush_timeout_s``, well or badly.

    Idempotence is off unless asked for in ``options``: kafka-python's idempotent producer hangs for good
    after an outage longer than its delivery time-out. Order is kept by one request in flight at a time.

    Raises
    ------
    ConfigurationError
        No broker, or refused log-in.
    """
    defaults: dict[str, Any] = {
        "acks": "all",
        "enable_idempotence": False,
        "max_in_flight_requests_per_connection": 1,
        "allow_auto_create_topics": False,
        "max_request_size": kafka.max_message_bytes + _HEADROOM_BYTES,
        "delivery_timeout_ms": milliseconds(delivery.flush_timeout_s),
        "max_block_ms": milliseconds(delivery.flush_timeout_s),
        "retry_backoff_ms": 5,
    }

    def make(shared: dict[str, Any]) -> KafkaProducer:
        half_s = delivery.flush_timeout_s / 2
        request_timeout_ms = min(shared["request_timeout_ms"], milliseconds(half_s))
        return KafkaProducer(**(shared | defaults | {"request_timeout_ms": request_timeout_ms} | options))

    return connect(kafka, make)


class KafkaSink:
    """At least once: results first, then the state and the input positions they complete.

    A crash in between repeats results with the same uids; nothing is lost.

    Parameters
    ----------
    kafka, delivery
        Broker; deadline and bound of what is handed to the client before it is flushed.
    source : Committer or None
        The source whose offsets are committed; None for a program that only publishes.
    """

    def __init__(
        self, kafka: KafkaSettings, delivery: DeliverySettings, source: Committer | None = None
    ) -> None:
        self._kafka, self._delivery, self._source = kafka, delivery, source
        self._producer = make_producer(kafka, delivery)

    def deliver(self, outgoing: Sequence[Outgoing], consumed: Mapping[TopicPartition, int]) -> None:
        """Publish ``outgoing`` stage by stage, then commit ``consumed`` (next offset to read per partition).

        Raises
        ------
        DeliveryError
            Not done within ``delivery.flush_timeout_s``, or refused by the broker: end the process.
        """
        deadline_s = time.monotonic() + self._delivery.flush_timeout_s
        try:
            for _, stage in groupby(outgoing, key=lambda message: message.stage):
                for batch in bounded(stage, self._delivery.max_in_flight_bytes):
                    publish(self._producer, batch, deadline_s)
        except (KafkaError, DeliveryError, ValueError, TypeError, AssertionError) as error:
            refused = denied(error, self._kafka, "publish results")
            if refused is not None:
                raise refused from error
            if isinstance(error, DeliveryError):
                raise
            raise DeliveryError(
                f"publishing did not finish within {self._delivery.flush_timeout_s:g} s: {error}; "
                "end and restart: what was not committed is done again"
            ) from error
        if consumed and self._source is not None:
            self._source.commit(consumed, max(0.1, deadline_s - time.monotonic()))

    def close(self) -> None:
        """Free everything; what was delivered is already at the broker. Never raises."""
        close_quietly(self._producer)


def publish(producer: KafkaProducer, batch: Sequence[Outgoing], deadline_s: float) -> None:
    """Hand messages to a producer and wait until the broker has them.

    Raises
    ------
    DeliveryError
        Not accepted by ``deadline_s`` (monotonic clock).
    """
    for topic, partition in {(o.topic, o.partition) for o in batch if o.partition is not None}:
        know_partition(producer, topic, partition, deadline_s - time.monotonic())
    sent = [
        producer.send(o.topic, o.value, key=o.key, headers=list(o.headers), partition=o.partition)
        for o in batch
    ]
    # The client's own flush has been seen to wait for ever; its deadline is the last line.
    producer.flush(timeout=max(0.001, deadline_s - time.monotonic()))
    for future, message in zip(sent, batch, strict=True):
        if not future.succeeded():
            raise DeliveryError(
                f"message to topic {message.topic} was not accepted: "
                f"{future.exception or 'no answer of the broker in time'}; end and restart"
            ) from future.exception


def close_quietly(producer: KafkaProducer) -> None:
    """Free a producer; never raises."""
    try:
        producer.close(timeout=1.0)
    except Exception as error:
        _log.info("closing the producer failed", reason=str(error))


def bounded(outgoing: Iterable[Outgoing], max_bytes: int) -> Iterable[list[Outgoing]]:
    """Split into batches of at most ``max_bytes`` (a larger single message is a batch by itself)."""
    batch: list[Outgoing] = []
    size = 0
    for message in outgoing:
        length = len(message.value or b"") + len(message.key) + 100
        if batch and size + length > max_bytes:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += length
    if batch:
        yield batch
