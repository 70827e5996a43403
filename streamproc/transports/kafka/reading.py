"""TopicReader: a whole topic, or what came after a time, read to its present end and no further."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import AuthorizationError, KafkaError

from streamproc.documents import BadMessage, Document, Position
from streamproc.errors import ConfigurationError, DocumentRefused
from streamproc.settings import KafkaSettings
from streamproc.transports.codec import DecodeLimits, decode
from streamproc.transports.kafka.connect import connect, milliseconds

__all__ = ["Message", "Progress", "TopicReader"]

Progress = Callable[[int, int], None]

_FETCH_BYTES = 32 * 1024 * 1024
_PARTITION_FETCH_BYTES = 8 * 1024 * 1024
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it lies in the topic; ``value`` is None for a tombstone, ``timestamp_s`` Unix time."""

    position: Position
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_s: float | None = None


class TopicReader:
    """Reads every partition of a topic under ``read_committed`` up to the end it had when this was made.

    Outside any group: nothing is committed, nobody is disturbed. Use it as a context manager. Iterating
    may be given up at any message.

    Parameters
    ----------
    kafka : KafkaSettings
        Broker and log-in.
    topic : str
        What to read.
    since_s : float or None
        Unix time (s): begin at the first message that the broker has as not older; None for the beginning.
    timeout_s : float
        Deadline of the whole reading (s).
    progress : callable, optional
        Called with (offsets passed, offsets to pass) after each poll.
    missing_ok : bool
        Whether a topic that does not exist counts as empty.
    ranges : Mapping of int to (int, int or None), optional
        Only these partitions, from an offset to another (half-open; None: to the present end).
    begin : Mapping of int to int, optional
        Offsets to begin at; partitions that are not named are read as they would be without it.

    Attributes
    ----------
    total : int
        Offsets between begin and end, all partitions together (transaction markers count too).
    whole : bool
        Whether the reading begins at offset 0 everywhere: nothing was deleted, nothing is left out.

    Raises
    ------
    ConfigurationError
        No broker, no such topic or no right to read it.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        *,
        since_s: float | None = None,
        timeout_s: float = 600.0,
        progress: Progress | None = None,
        missing_ok: bool = False,
        ranges: Mapping[int, tuple[int, int | None]] | None = None,
        begin: Mapping[int, int] | None = None,
    ) -> None:
        self._ranges, self._first = ranges, dict(begin or {})
        self._kafka, self._topic, self._timeout_s, self._progress = kafka, topic, timeout_s, progress
        self._consumer = connect(kafka, self._make_consumer)
        try:
            self._begin, self._end = self._span(since_s, missing_ok)
        except KafkaError as error:
            self.close()
            raise _unreadable(topic, kafka, error) from error
        except BaseException:
            self.close()
            raise
        self.total = sum(self._end[p] - self._begin[p] for p in self._end)
        self.whole = all(offset == 0 for offset in self._begin.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def ends(self) -> dict[int, int]:
        """The offset that the reading ends before, by partition."""
        return {p.partition: offset for p, offset in self._end.items()}

    def messages(self) -> Iterator[Message]:
        """Yield the messages, in order within each partition.

        Raises
        ------
        ConfigurationError
            The end was not reached within the deadline; says how far it came.
        """
        consumer = self._consumer
        deadline_s = time.monotonic() + self._timeout_s
        left = {p for p, end in self._end.items() if self._begin[p] < end}
        consumer.assign(sorted(left))
        for partition in left:
            consumer.seek(partition, self._begin[partition])
        while left:
            for partition, records in self._poll(deadline_s).items():
                yield from (_message(r) for r in records if r.offset < self._end[partition])
            done = {p for p in left if self._position(p) >= self._end[p]}
            consumer.pause(*done)
            left -= done
            self._tell(left)

    def documents(self, limits: DecodeLimits | None = None) -> Iterator[Document | BadMessage]:
        """Yield the messages decoded; arrays in a document are views on its message.

        Raises
        ------
        ConfigurationError
            As :meth:`messages`.
        """
        limits = limits or DecodeLimits(message_bytes=self._kafka.max_message_bytes)
        return (_decoded(message, limits) for message in self.messages())

    def close(self) -> None:
        """Free everything; never raises."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=1000)
        except Exception:  # the reading is over; nothing depends on a clean good-bye
            return

    def _make_consumer(self, options: dict[str, Any]) -> KafkaConsumer:
        return KafkaConsumer(
            **options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            fetch_max_wait_ms=50,
            fetch_max_bytes=_FETCH_BYTES,
            max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
            receive_message_max_bytes=2 * self._kafka.max_message_bytes + _FETCH_BYTES,
            retry_backoff_ms=20,
        )

    def _span(
        self, since_s: float | None, missing_ok: bool
    ) -> tuple[dict[KafkaPartition, int], dict[KafkaPartition, int]]:
        """Return where to begin and where the end is now, by partition."""
        numbers = self._consumer.partitions_for_topic(self._topic)
        if not numbers and not missing_ok:
            raise ConfigurationError(
                f"topic {self._topic} does not exist at {self._kafka.bootstrap} (or may not be read); "
                "check --beamline and the topic names in the settings"
            )
        partitions = [KafkaPartition(self._topic, n) for n in sorted(numbers)]
        if not partitions:
            return {}, {}
        timeout_ms = milliseconds(self._kafka.request_timeout_s)
        begin = self._consumer.beginning_offsets(partitions, timeout_ms)
        end = self._consumer.end_offsets(partitions, timeout_ms)
        if since_s is not None:
            wanted = dict.fromkeys(partitions, max(0, int(since_s * 1000)))
            found = self._consumer.offsets_for_times(wanted, timeout_ms)
            begin = {p: min(found[p].offset, end[p]) if found.get(p) else end[p] for p in partitions}
        return self._cut(dict(begin), dict(end))

    def _cut(
        self, begin: dict[KafkaPartition, int], end: dict[KafkaPartition, int]
    ) -> tuple[dict[KafkaPartition, int], dict[KafkaPartition, int]]:
        """Keep what was asked for."""
        begin = {p: min(max(b, self._first.get(p.partition, b)), end[p]) for p, b in begin.items()}
        if self._ranges is None:
            return begin, end
        asked = {p: self._ranges[p.partition] for p in end if p.partition in self._ranges}
        ends = {p: end[p] if stop is None else min(end[p], stop) for p, (_, stop) in asked.items()}
        return {p: min(max(begin[p], first), ends[p]) for p, (first, _) in asked.items()}, ends

    def _poll(self, deadline_s: float) -> Mapping[KafkaPartition, list[Any]]:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            passed = sum(self._position(p) - self._begin[p] for p in self._consumer.assignment())
            raise ConfigurationError(
                f"topic {self._topic} was not read to its end within {self._timeout_s:g} s "
                f"({passed} of {self.total} offsets); allow more with --timeout or read less with --since"
            )
        try:
            records: Mapping[KafkaPartition, list[Any]] = self._consumer.poll(
                timeout_ms=milliseconds(min(_POLL_S, left_s))
            )
        except KafkaError as error:
            if not error.retriable:
                raise _unreadable(self._topic, self._kafka, error) from error
            return {}
        return records

    def _position(self, partition: KafkaPartition) -> int:
        # A transaction's marker is passed without a record: only the position says that the end is reached.
        position = self._consumer.position(partition, timeout_ms=1000)
        return self._begin[partition] if position is None else int(position)

    def _tell(self, left: set[KafkaPartition]) -> None:
        if self._progress is not None:
            missing = sum(max(0, self._end[p] - self._position(p)) for p in left)
            self._progress(self.total - missing, self.total)


def _unreadable(topic: str, kafka: KafkaSettings, error: KafkaError) -> ConfigurationError:
    no_right = isinstance(error, AuthorizationError)
    hint = f"; user {kafka.username!r} needs the right to read it" if no_right else ""
    return ConfigurationError(f"topic {topic} at {kafka.bootstrap} cannot be read: {error}{hint}")


def _message(record: Any) -> Message:
    position = Position(record.topic, record.partition, record.offset)
    timestamp_s = record.timestamp / 1000 if record.timestamp and record.timestamp > 0 else None
    return Message(position, record.key, record.value, tuple(record.headers or ()), timestamp_s)


def _decoded(message: Message, limits: DecodeLimits) -> Document | BadMessage:
    raw, position = message.value or b"", message.position
    try:
        name, doc = decode(raw, limits)
    except DocumentRefused as error:
        reason = error.message if raw else "message without a value"
        return BadMessage(position, reason, message.key, raw, message.timestamp_s, message.headers)
    return Document(name, doc, position, message.key, raw, message.timestamp_s, message.headers)
