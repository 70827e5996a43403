"""The dead-letter topic on a broker: read whole, answered with reinjections and settled marks, freed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from kafka import KafkaAdminClient
from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from streamproc.documents import Position
from streamproc.errors import DeliveryError
from streamproc.settings import Settings
from streamproc.transports.kafka.connect import connect, denied, milliseconds
from streamproc.transports.kafka.reading import Message, Progress, TopicReader
from streamproc.transports.kafka.sink import make_producer
from streamproc.transports.letters import Letter, LetterBook
from streamproc.transports.ports import Outgoing
from streamproc.transports.reinjection import Reinjection

__all__ = ["Posted", "Poster", "free_partitions", "letter_messages", "read_letters"]

Item = TypeVar("Item")


def read_letters(settings: Settings, timeout_s: float, progress: Progress | None = None) -> LetterBook:
    """Read the whole dead-letter topic; the bytes of the letters are not kept.

    Parameters
    ----------
    settings : Settings
        Broker and topic.
    timeout_s : float
        Deadline (s).
    progress : callable, optional
        Called with (offsets passed, offsets to pass).

    Raises
    ------
    ConfigurationError
        No broker, no topic, no right to read it, or the deadline passed.
    """
    book = LetterBook()
    topic = settings.topic("deadletters")
    with TopicReader(settings.kafka, topic, timeout_s=timeout_s, progress=progress) as reader:
        for message in reader.messages():
            book.add(message)
    return book


def letter_messages(
    settings: Settings, letters: Iterable[Letter], timeout_s: float
) -> Iterator[tuple[Letter, Message | None]]:
    """Yield letters, in the order given, with their bytes and headers.

    At most ``delivery.max_in_flight_bytes`` are held (or one message, when it is larger). None stands for a
    letter that has gone meanwhile, by age or because a newer one took its place.

    Raises
    ------
    ConfigurationError
        As :func:`read_letters`.
    """
    for batch in _batches(((x, x.size) for x in letters), settings.delivery.max_in_flight_bytes):
        found = _fetch(settings, {letter.place for letter in batch}, _earliest_s(batch), timeout_s)
        for letter in batch:
            yield letter, found.pop(letter.place, None)


def _earliest_s(letters: Iterable[Letter]) -> float | None:
    """Return when the first of them was written (Unix time, s); None when the broker did not note it."""
    times_s = [letter.written_s for letter in letters]
    return None if None in times_s else min(s for s in times_s if s is not None)


def _fetch(
    settings: Settings, places: set[Position], since_s: float | None, timeout_s: float
) -> dict[Position, Message]:
    found: dict[Position, Message] = {}
    topic = settings.topic("deadletters")
    with TopicReader(settings.kafka, topic, since_s=since_s, timeout_s=timeout_s) as reader:
        for message in reader.messages():
            if message.position in places:
                found[message.position] = message
            if len(found) == len(places):
                break
    return found


def _batches(items: Iterable[tuple[Item, int]], max_bytes: int) -> Iterator[list[Item]]:
    """Split items, each with its size, into lists of at most ``max_bytes`` (or one larger item)."""
    batch: list[Item] = []
    held = 0
    for item, size in items:
        if batch and held + size > max_bytes:
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += size
        if held >= max_bytes:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class Posted(Generic[Item]):
    """What became of a message: where it lies now, or why the broker did not take it."""

    item: Item
    place: Position | None
    error: str | None = None


class Poster:
    """Publishes messages one by one for somebody who wants to know what became of each.

    Use it as a context manager.

    Parameters
    ----------
    settings : Settings
        Broker, deadline of a publication and bytes in flight.

    Raises
    ------
    ConfigurationError
        No broker, or refused log-in.
    """

    def __init__(self, settings: Settings) -> None:
        self._kafka, self._delivery = settings.kafka, settings.delivery
        self._producer = make_producer(settings.kafka, settings.delivery)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._producer.close(timeout=1.0)
        except Exception:  # what was acknowledged has been told; nothing depends on a clean good-bye
            return

    def post(self, messages: Iterable[tuple[Item, Outgoing | Reinjection]]) -> Iterator[Posted[Item]]:
        """Publish and yield what became of each message, in order.

        Messages are taken, and held, ``delivery.max_in_flight_bytes`` at a time.

        Raises
        ------
        DeliveryError
            The broker did not answer within ``delivery.flush_timeout_s``.
        ConfigurationError
            No right to write to the topic.
        """
        sized = (((item, m), len(m.value or b"") + len(m.key or b"") + 100) for item, m in messages)
        for batch in _batches(sized, self._delivery.max_in_flight_bytes):
            yield from self._publish(batch)

    def _publish(self, batch: Sequence[tuple[Item, Outgoing | Reinjection]]) -> Iterator[Posted[Item]]:
        deadline_s = time.monotonic() + self._delivery.flush_timeout_s
        sent = [self._send(message) for _, message in batch]
        with suppress(KafkaTimeoutError):  # the outcomes say which were not answered
            self._producer.flush(timeout=max(0.001, deadline_s - time.monotonic()))
        for (item, message), outcome in zip(batch, sent, strict=True):
            error = outcome if isinstance(outcome, KafkaError) else _failure(outcome)
            self._judge(message.topic, error)
            place = None if error is not None else Position(message.topic, *_where(outcome))
            yield Posted(item, place, None if error is None else str(error))

    def _send(self, message: Outgoing | Reinjection) -> Any:
        """Return the future, or the error when the client does not even take the message."""
        try:
            return self._producer.send(
                message.topic,
                message.value,
                key=message.key,
                headers=list(message.headers),
                partition=message.partition,
            )
        except KafkaError as error:
            return error

    def _judge(self, topic: str, error: KafkaError | None) -> None:
        if error is not None and (refused := denied(error, self._kafka, f"write to topic {topic}")):
            raise refused from error
        if isinstance(error, KafkaTimeoutError):
            raise DeliveryError(
                f"topic {topic}: the broker did not answer within {self._delivery.flush_timeout_s:g} s; "
                "this message and those after it may be there or not"
            ) from error


def _failure(future: Any) -> KafkaError | None:
    if not future.is_done:
        return KafkaTimeoutError("no answer")
    error: KafkaError | None = future.exception
    return error


def _where(future: Any) -> tuple[int, int]:
    return future.value.partition, future.value.offset


def free_partitions(settings: Settings, offsets: Mapping[int, int]) -> str | None:
    """Delete what lies before the given offsets in partitions of the dead-letter topic.

    Returns
    -------
    str or None
        Why the broker did not do it (no right, or a topic that is only compacted); None when it did.

    Raises
    ------
    ConfigurationError
        No broker, or refused log-in.
    """
    topic = settings.topic("deadletters")
    admin = connect(settings.kafka, lambda options: KafkaAdminClient(**options))
    try:
        admin.delete_records(
            {KafkaPartition(topic, partition): offset for partition, offset in offsets.items()},
            timeout_ms=milliseconds(settings.kafka.request_timeout_s),
        )
    except KafkaError as error:
        return str(error)
    finally:
        admin.close()
    return None
