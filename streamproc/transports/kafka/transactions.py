"""TransactionalSink: results, state and input positions in one Kafka transaction, or nothing of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import structlog
from kafka import TopicPartition as KafkaPartition
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from kafka.structs import OffsetAndMetadata

from streamproc.documents import TopicPartition
from streamproc.errors import DeliveryAborted, DeliveryError
from streamproc.settings import DeliverySettings, KafkaSettings
from streamproc.transports.kafka.connect import denied, milliseconds
from streamproc.transports.kafka.mends import forget_positions, keep_requests
from streamproc.transports.kafka.sink import bounded, close_quietly, make_producer, publish
from streamproc.transports.ports import Outgoing
from streamproc.watchdog import Watchdog

__all__ = ["Member", "TransactionalSink"]

_log = structlog.get_logger()

_REARRANGED = (CommitFailedError, RebalanceInProgressError, IllegalGenerationError, UnknownMemberIdError)
"""The group took our partitions, or is about to: nothing is wrong with the producer."""

_MISUSE = (ValueError, TypeError, AssertionError)


class Member(Protocol):
    """What a sink needs of the source that was read: who we are in the group, to be fenced by."""

    def group_metadata(self) -> Any:
        """Return kafka-python's group metadata (group, member, generation)."""


class TransactionalSink:
    """Exactly once: a crash or a lost partition at any instant leaves all of a delivery or nothing.

    Every transactional call of the client may wait without limit when a broker node dies, so each is
    watched; past its deadline the process ends.

    Parameters
    ----------
    kafka, delivery
        Broker; deadlines and bound of what is handed to the client before it is flushed.
    transactional_id : str
        Own to this instance. A second process with the same one fences this one.
    source : Member
        The source whose positions are committed.
    watchdog : Watchdog
        Ends the process when a call does not come back.

    Raises
    ------
    ConfigurationError
        The broker forbids transactions to this user: the message names the setting to change.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        delivery: DeliverySettings,
        transactional_id: str,
        source: Member,
        watchdog: Watchdog,
    ) -> None:
        self._kafka, self._delivery = kafka, delivery
        self._source, self._watchdog = source, watchdog
        self._id = transactional_id
        self._producer = make_producer(
            kafka,
            delivery,
            enable_idempotence=True,
            transactional_id=transactional_id,
            transaction_timeout_ms=milliseconds(delivery.transaction_timeout_s),
        )
        keep_requests(self._producer)
        try:
            with watchdog.limit("beginning with transactions", 2 * delivery.transaction_timeout_s):
                self._producer.init_transactions()
        except KafkaError as error:
            close_quietly(self._producer)
            refused = denied(error, kafka, f"use transactional id {transactional_id}")
            if refused is not None:
                raise refused from error
            raise DeliveryError(f"transactions of {transactional_id!r} could not begin: {error}") from error

    def deliver(self, outgoing: Sequence[Outgoing], consumed: Mapping[TopicPartition, int]) -> None:
        """Publish ``outgoing`` and commit ``consumed`` (next offset per partition) in one transaction.

        Raises
        ------
        DeliveryAborted
            The group is being rearranged; nothing of it counts.
        DeliveryError
            Another process has our transactional id, or the transaction did not end in its deadline.
        """
        try:
            self._transact(outgoing, consumed)
        except DeliveryAborted as error:
            self._abort(error)
            raise
        except _REARRANGED as error:
            self._abort(error)
            raise DeliveryAborted(f"{type(error).__name__}: {error}") from error
        except (KafkaError, DeliveryError, *_MISUSE) as error:
            refused = denied(error, self._kafka, "publish results and commit positions in a transaction")
            if refused is not None:
                raise refused from error
            if isinstance(error, DeliveryError):
                raise
            raise DeliveryError(
                f"transaction of {self._id!r} failed: {type(error).__name__}: {error}; end and restart: "
                "nothing of it counts, and what was not committed is done again"
            ) from error

    def _transact(self, outgoing: Sequence[Outgoing], consumed: Mapping[TopicPartition, int]) -> None:
        producer, timeout_s = self._producer, self._delivery.transaction_timeout_s
        offsets = {KafkaPartition(*p): OffsetAndMetadata(o, "", -1) for p, o in consumed.items()}
        deadline_s = time.monotonic() + self._delivery.flush_timeout_s
        producer.begin_transaction()
        forget_positions(producer)
        with self._watchdog.limit("publishing in a transaction", self._delivery.flush_timeout_s + 1.0):
            for batch in bounded(outgoing, self._delivery.max_in_flight_bytes):
                publish(producer, batch, deadline_s)
        with self._watchdog.limit("adding positions to a transaction", timeout_s):
            producer.send_offsets_to_transaction(offsets, self._source.group_metadata())
        with self._watchdog.limit("committing a transaction", timeout_s):
            producer.commit_transaction()

    def _abort(self, error: Exception) -> None:
        try:
            with self._watchdog.limit("aborting a transaction", self._delivery.transaction_timeout_s):
                self._producer.abort_transaction()
        except KafkaError as second:
            raise DeliveryError(
                f"transaction of {self._id!r} failed ({error}), and so did its end: {second}"
            ) from second

    def close(self) -> None:
        """Free everything. Never raises."""
        close_quietly(self._producer)
