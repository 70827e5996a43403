"""KafkaSource: documents from one topic, offsets committed by hand, membership that survives a pause."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    AuthorizationError,
    CommitFailedError,
    FencedInstanceIdError,
    GroupAuthorizationFailedError,
    IllegalGenerationError,
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from kafka.structs import OffsetAndMetadata

from streamproc.documents import BadMessage, Document, Position, TopicPartition
from streamproc.errors import (
    ConfigurationError,
    DeliveryAborted,
    DeliveryError,
    DocumentRefused,
    FatalError,
    StreamprocError,
)
from streamproc.settings import KafkaSettings, RunsSettings
from streamproc.transports.codec import DecodeLimits, decode
from streamproc.transports.kafka.connect import connect, denied, milliseconds, patiently
from streamproc.transports.kafka.groups import assigned_partitions
from streamproc.transports.kafka.mends import join, joining, rejoin, tell_of_losses
from streamproc.transports.kafka.rebalance import Rebalance
from streamproc.transports.kafka.rewind import Rewinder
from streamproc.watchdog import Watchdog

__all__ = ["KafkaSource"]

_log = structlog.get_logger()

_PARTITION_FETCH_BYTES = 8 * 1024 * 1024
_FETCH_BYTES = 32 * 1024 * 1024
_KEPT_OVERSIZED_BYTES = 1024 * 1024
_LOOK_INTERVAL_S = 1.0
_LOOK_AT_GROUP_INTERVAL_S, _LOOK_AT_GROUP_TIMEOUT_S = 5.0, 1.0
_JOIN_POLL_S = 0.5
"""Least wait of a poll while the group is joined. kafka-python forgets a join that completes between two
polls and begins another, which makes all others join again; with short polls that need not end."""
_HEARTBEAT_S = 0.5
"""A heartbeat's answer tells of a rebalance, which takes two of them; and a member that dies right after one
keeps its place for the whole session time-out, in which its restart comes back to it without a rebalance."""
_JOINING_SAID_AFTER_S = 5.0
_METADATA_AGE_MS = 30_000
"""So long a partition that was added to the topic may go unseen."""
_MOVED = (CommitFailedError, RebalanceInProgressError, IllegalGenerationError, UnknownMemberIdError)


class KafkaSource:
    """Documents of one topic, as a member of a consumer group.

    Nothing is committed on its own: :meth:`commit` is called by the sink once the results are published.
    Not thread safe; one thread polls, commits and closes.

    Parameters
    ----------
    kafka : KafkaSettings
        Broker, log-in and fetch settings.
    topic : str
        The raw topic.
    group : str
        Consumer group.
    runs : RunsSettings
        Bounds of :meth:`rewind_to_start`.
    limits : DecodeLimits or None
        Bounds of a message; by default those of :class:`DecodeLimits` with ``kafka.max_message_bytes``.
    watchdog : Watchdog or None
        Ends the process when a look for messages hangs; by default one of its own.
    restores : bool
        Each gained partition is begun by :meth:`begin`; and a position that the topic does not hold any more
        ends the process, instead of being passed over: the restart says what is gone.

    Raises
    ------
    ConfigurationError
        No broker, refused log-in or unknown topic, within ``kafka.connect_timeout_s``.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        group: str,
        runs: RunsSettings | None = None,
        limits: DecodeLimits | None = None,
        watchdog: Watchdog | None = None,
        restores: bool = False,
    ) -> None:
        self._restores, self._where_to_begin = restores, "earliest" if kafka.from_beginning else "latest"
        self._kafka, self._topic, self._group = kafka, topic, group
        self._watchdog = watchdog or Watchdog()
        self._limits = limits or DecodeLimits(message_bytes=kafka.max_message_bytes)
        self._runs = runs or RunsSettings()
        self._consumer = connect(kafka, self._make_consumer)
        tell_of_losses(self._consumer)
        self._rebalance = Rebalance(self._consumer)
        self._pending: dict[TopicPartition, int] = {}
        self._ends: dict[KafkaPartition, int] = {}
        self._pending_since_s: float | None = None
        self._joining_since_s: float | None = None
        self._reached = True
        self._next_look_s = 0.0
        self._shared_out, self._next_look_at_group_s = 0, 0.0
        try:
            self._known = self._require_topic()
        except BaseException:
            self.close()
            raise
        self._consumer.subscribe([topic], listener=self._rebalance)

    def _make_consumer(self, options: dict[str, Any]) -> KafkaConsumer:
        kafka = self._kafka
        return KafkaConsumer(
            **options,
            group_id=self._group,
            group_instance_id=kafka.group_instance_id,
            enable_auto_commit=False,
            auto_offset_reset="none" if self._restores else self._where_to_begin,
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            partition_assignment_strategy=[CooperativeStickyAssignor],
            session_timeout_ms=milliseconds(kafka.session_timeout_s),
            heartbeat_interval_ms=milliseconds(min(_HEARTBEAT_S, kafka.session_timeout_s / 3)),
            max_poll_records=kafka.max_poll_messages,
            fetch_max_wait_ms=milliseconds(kafka.fetch_max_wait_s),
            max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
            fetch_max_bytes=_FETCH_BYTES,
            # One message larger than a fetch still comes whole, so the frame limit follows the message limit.
            receive_message_max_bytes=2 * kafka.max_message_bytes + _FETCH_BYTES,
            retry_backoff_ms=20,
            metadata_max_age_ms=_METADATA_AGE_MS,
        )

    def _require_topic(self) -> frozenset[int]:
        """Return the partitions of the topic."""
        try:
            known = patiently(
                lambda: self._consumer.partitions_for_topic(self._topic), self._kafka.connect_timeout_s
            )
        except AuthorizationError as error:
            raise self._denied(error) from error
        except KafkaError as error:
            raise DeliveryError(f"topic {self._topic} at {self._kafka.bootstrap}: {error}") from error
        if not known:
            raise ConfigurationError(
                f"topic {self._topic} does not exist at {self._kafka.bootstrap} (or may not be read); "
                "`streamproc topics create` makes it, kafka.raw_topic names another"
            )
        return frozenset(known)

    def poll(self, timeout_s: float) -> Sequence[Document | BadMessage]:
        """Return what has arrived, waiting at most ``timeout_s`` (s); empty while the broker is away.

        Raises
        ------
        ConfigurationError
            The group or topic may not be used.
        DeliveryError
            Another instance with the same ``group_instance_id`` took over.
        FatalError
            The topic cannot be read any further.
        """
        try:
            with self._watchdog.limit("looking for messages", self._kafka.poll_timeout_s):
                records = self._rebalance.polling(lambda: self._look(timeout_s))
        except NoOffsetForPartitionError:
            return ()  # a partition that begin() has not been called for yet
        except KafkaError as error:
            self._judge(error)
            return ()
        self._look_at_connection(bool(records))
        if self._pending and not joining(self._consumer):
            self.commit({}, self._kafka.request_timeout_s)
        return [self._message(record) for batch in records.values() for record in batch]

    def _look(self, timeout_s: float) -> Mapping[Any, Sequence[Any]]:
        """Return what has arrived, by partition; without waiting any longer once a group is joined."""
        if joining(self._consumer):
            if not join(self._consumer, milliseconds(max(timeout_s, _JOIN_POLL_S))):
                self._say_that_joining_lasts()
                return {}
            timeout_s, self._joining_since_s, self._shared_out = 0.0, None, 0
        records: Mapping[Any, Sequence[Any]] = self._consumer.poll(round(timeout_s * 1000))
        return records

    def _say_that_joining_lasts(self) -> None:
        """Say once what is waited for: that all members come, or that the silent ones are given up."""
        now_s = time.monotonic()
        self._joining_since_s = self._joining_since_s or now_s
        if now_s - self._joining_since_s > _JOINING_SAID_AFTER_S:
            self._joining_since_s = math.inf
            _log.warning(
                "still joining the group: another member has not answered, or the broker is away; silent "
                "members are given up after kafka.session_timeout_s",
                group=self._group, session_timeout_s=self._kafka.session_timeout_s,
            )  # fmt: skip

    def _denied(self, error: KafkaError) -> ConfigurationError:
        group = isinstance(error, GroupAuthorizationFailedError)
        doing = f"use consumer group {self._group}" if group else f"read topic {self._topic}"
        return denied(error, self._kafka, doing) or ConfigurationError(f"may not {doing}: {error}")

    def _judge(self, error: KafkaError) -> None:
        if isinstance(error, AuthorizationError):
            raise self._denied(error) from error
        if isinstance(error, FencedInstanceIdError):
            raise DeliveryError(
                f"the group gave the place of kafka.group_instance_id {self._kafka.group_instance_id!r} "
                "away: another process has the same id (each needs its own), or, after an outage, it went "
                "to a second join of our own; a restart goes on at the committed position"
            ) from error
        if isinstance(error, (OffsetOutOfRangeError, LogTruncationError)):
            raise FatalError(
                f"topic {self._topic} does not hold the position any more that is to be read next ({error}): "
                "it was made anew, cut short, or its oldest messages were deleted; a restart goes on with "
                "what there is and says what is gone"
            ) from error
        if not (error.retriable or isinstance(error, _MOVED)):
            raise FatalError(f"reading topic {self._topic} failed: {error}") from error
        _log.info("reading failed, trying again", topic=self._topic, reason=str(error))

    def _look_at_connection(self, arrived: bool) -> None:
        """Say once that the broker is away, and once that it is back."""
        now_s = time.monotonic()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + _LOOK_INTERVAL_S
        reached = arrived or self._connections() > 0
        if reached != self._reached:
            self._reached = reached
            state = "answers again" if reached else "does not answer; trying again until it does"
            _log.warning(f"Kafka broker {state}", bootstrap=self._kafka.bootstrap)
        if reached and not joining(self._consumer) and now_s >= self._next_look_at_group_s:
            self._look_at_group(now_s)

    def _look_at_group(self, now_s: float) -> None:
        """See that each partition of the topic has a member, also those that were added later."""
        there = len(self._consumer.partitions_for_topic(self._topic) or ())
        if there == self._shared_out:
            return
        self._next_look_at_group_s = now_s + _LOOK_AT_GROUP_INTERVAL_S
        quick = self._kafka.model_copy(
            update=dict.fromkeys(("connect_timeout_s", "request_timeout_s"), _LOOK_AT_GROUP_TIMEOUT_S)
        )
        try:
            given = assigned_partitions(quick, self._group, self._topic)
        except StreamprocError as error:
            _log.info("the group cannot be looked at, trying again", reason=error.message)
            return
        if given is None:  # whoever asks for a rebalance now would only prolong this one
            return
        if len(given) >= there:
            self._shared_out = there
        else:
            rejoin(self._consumer)

    def _connections(self) -> float:
        metrics = self._consumer.metrics(raw=True) or {}
        return next((float(m.value()) for n, m in metrics.items() if n.name == "connection-count"), 1.0)

    def _message(self, record: Any) -> Document | BadMessage:
        position = Position(record.topic, record.partition, record.offset)
        raw: bytes = record.value if record.value is not None else b""
        published_s = record.timestamp / 1000 if record.timestamp and record.timestamp > 0 else None
        headers = tuple(record.headers or ())
        try:
            name, doc = decode(raw, self._limits)
        except DocumentRefused as error:
            reason = error.message if raw else "message without a value"
            if len(raw) > self._kafka.max_message_bytes:
                raw = raw[:_KEPT_OVERSIZED_BYTES]
                reason += f"; only its first {_KEPT_OVERSIZED_BYTES} bytes are kept"
            return BadMessage(position, reason, record.key, raw, published_s, headers)
        return Document(name, doc, position, record.key, raw, published_s, headers)

    def rewind_to_start(self, run_uid: str | None, before: Document) -> Sequence[Document]:
        """Return the documents of a run that precede ``before`` in its partition, oldest first.

        A second consumer, outside the group, reads backwards in chunks, so the read position stays.

        Parameters
        ----------
        run_uid : str or None
            The run, or None (or empty) when only ``before`` is known: its descriptor or resource is looked
            for first, and says which run it is.
        before : Document
            The document that showed that the run's start was missed.

        Returns
        -------
        sequence of Document
            Empty when the start does not lie within ``runs.rewind_max_messages`` and
            ``runs.rewind_max_bytes`` before it.
        """
        with Rewinder(self._kafka, self._runs, self._limits) as rewinder:
            return rewinder.documents(run_uid, before)

    def commit(self, consumed: Mapping[TopicPartition, int], timeout_s: float) -> None:
        """Store the next offset to read per partition.

        While the group is being rearranged the broker takes no commits; they are then kept and tried again at
        the next call or poll (a partition that went to another member is dropped: its new owner reads on from
        the last commit).

        Raises
        ------
        DeliveryError
            Not stored within ``timeout_s`` (s), or another instance took over.
        """
        if self._rebalance.leaving_now:
            _log.info("positions not committed while partitions leave; the new owner begins at the last ones")
            return
        self._pending.update(consumed)
        mine = {(p.topic, p.partition) for p in self._consumer.assignment()}
        self._pending = {p: offset for p, offset in self._pending.items() if p in mine}
        if not self._pending:
            self._pending_since_s = None
            return
        if joining(self._consumer):
            # The broker would refuse, and a join that completes while we ask is forgotten by the client.
            self._keep_pending(RebalanceInProgressError("the group is being joined"), timeout_s)
            return
        offsets = {KafkaPartition(*p): OffsetAndMetadata(o, "", -1) for p, o in self._pending.items()}
        try:
            self._consumer.commit(offsets, timeout_ms=milliseconds(timeout_s))
        except _MOVED as error:
            self._keep_pending(error, timeout_s)
        except KafkaError as error:
            self._pending, self._pending_since_s = {}, None
            if isinstance(error, AuthorizationError):
                raise self._denied(error) from error
            raise DeliveryError(
                f"offsets of group {self._group} not committed within {timeout_s:g} s: {error}; "
                "end and restart: what was not committed is read again"
            ) from error
        else:
            self._pending, self._pending_since_s = {}, None

    def _keep_pending(self, error: KafkaError, timeout_s: float) -> None:
        now_s = time.monotonic()
        self._pending_since_s = self._pending_since_s or now_s
        if now_s - self._pending_since_s > max(timeout_s, 2 * self._kafka.session_timeout_s):
            raise DeliveryError(f"group {self._group} accepts no commits: {error}") from error

    def pause(self) -> None:
        """Stop fetching (membership and heartbeats go on); polled sequences are empty until ``resume``."""
        self._rebalance.paused = True
        self._consumer.pause(*self._consumer.assignment())

    def resume(self) -> None:
        """Fetch again."""
        self._rebalance.paused = False
        self._consumer.resume(*(self._consumer.paused() - self._rebalance.waiting))

    def assigned(self) -> Sequence[TopicPartition]:
        """Return the partitions that are read now."""
        return sorted((p.topic, p.partition) for p in self._consumer.assignment())

    def gained(self) -> Sequence[TopicPartition]:
        """Return the partitions assigned since the last call."""
        return [(p.topic, p.partition) for p in self._rebalance.take_gained()]

    def begin(self, partition: TopicPartition, offset: int | None) -> int | None:
        """Read a gained partition from ``offset`` on; None: where ``kafka.from_beginning`` says.

        Returns where that is, if it says so: a restart must begin there too. What was added to the topic
        while this process ran is read from its beginning in any case.

        Raises
        ------
        FatalError
            The broker does not say where the partition begins or ends.
        """
        where = KafkaPartition(*partition)
        if where not in self._consumer.assignment():
            return None
        self._ends[where] = end = self._told(self._consumer.end_offsets, where)
        began = None
        if offset is None and self._restores:
            first = self._where_to_begin == "earliest" or where.partition not in self._known
            began = offset = self._told(self._consumer.beginning_offsets, where) if first else end
        if offset is not None:
            self._consumer.seek(where, offset)
        self._rebalance.begun(where)
        return began

    def _told(self, ask: Callable[[list[KafkaPartition], int], Mapping[Any, Any]], where: Any) -> int:
        timeout_s = self._kafka.request_timeout_s
        try:
            return int(patiently(lambda: ask([where], milliseconds(timeout_s)), timeout_s)[where])
        except KafkaError as error:
            raise FatalError(
                f"{self._topic}/{where.partition}: it is not told where it begins or ends: {error}"
            ) from error

    def on_leaving(self, callback: Callable[[Sequence[TopicPartition]], None]) -> None:
        """Have ``callback`` called, during a poll, while partitions may still be committed before they go.

        From then on a gained partition is not read before :meth:`begin`.
        """
        self._rebalance.leaving = callback

    def group_metadata(self) -> Any:
        """Return who we were in the group when :meth:`revoked` last told what is ours.

        Not who we are now: the client goes on by itself, and a partition that was lost meanwhile must not be
        committed in the name of a newer membership.

        Raises
        ------
        DeliveryAborted
            We are no member at present; a broker would not fence that.
        """
        metadata = self._rebalance.metadata
        if metadata is None or metadata.generation_id < 0 or not metadata.member_id:
            raise DeliveryAborted(f"not a member of group {self._group} at present")
        return metadata

    def revoked(self) -> Sequence[TopicPartition]:
        """Return the partitions taken away since the last call; their unfinished work is dropped."""
        return self._rebalance.take_revoked()

    def lag(self) -> int:
        """Return how many messages wait behind the read position.

        As the broker last said; while no partition was ever assigned it is unknown and given as 1, so that
        nobody takes "not started" for "all read".
        """
        partitions = self._consumer.assignment()
        if not partitions:
            return 0 if self._rebalance.ever_assigned else 1
        return sum(self._partition_lag(p) for p in partitions)

    def _partition_lag(self, partition: KafkaPartition) -> int:
        try:
            position = self._consumer.position(partition, timeout_ms=50)
            # A broker leaves a partition out of its answers while nothing is new since it was last asked,
            # also when the partition went away and came back meanwhile: its end is the one it began with.
            end = self._consumer.highwater(partition)
            end = self._ends.get(partition) if end is None else end
        except KafkaError:
            return 1
        return 1 if position is None or end is None else max(0, end - position)

    def close(self) -> None:
        """Leave the group and free everything; never raises."""
        self._rebalance.leaving = None  # whoever closes has delivered; the client would wait for its lock
        try:
            self._consumer.close(autocommit=False, timeout_ms=2000)
        except Exception as error:
            _log.info("closing the consumer failed", reason=str(error))
