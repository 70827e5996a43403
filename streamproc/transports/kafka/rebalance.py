"""Rebalance: which partitions came to us and which left, told between two polls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener

from streamproc.documents import TopicPartition
from streamproc.errors import StreamprocError

__all__ = ["Rebalance"]

_LEAVE_TIMEOUT_S = 2.0
"""How long a leaving partition may wait for the loop to be at its poll; then its work is simply dropped."""


class Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]
    """Remembers what came and went; what came stays paused until its stored state is restored.

    kafka-python calls a listener from a thread of its own, also between two polls. So the thread that polls
    holds a lock except while it polls, and what is finished is delivered under that lock.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self.paused = False
        self.ever_assigned = False
        self.leaving: Callable[[Sequence[TopicPartition]], None] | None = None
        self.leaving_now = False
        self.waiting: set[KafkaPartition] = set()
        self.metadata: Any = None
        self._consumer = consumer
        self._loop = threading.Lock()
        self._loop.acquire()
        self._books = threading.Lock()
        self._failure: StreamprocError | None = None
        self._taken: list[TopicPartition] = []
        self._gained: list[KafkaPartition] = []

    def polling(self, poll: Callable[[], Any]) -> Any:
        """Do a poll, during which partitions may leave; raise what their delivery raised."""
        self._loop.release()
        try:
            records = poll()
        finally:
            self._loop.acquire()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return records

    def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        """Note the new partitions and keep them from being read."""
        partitions = list(assigned)
        with self._books:
            self.ever_assigned = self.ever_assigned or bool(partitions)
            held = partitions if self.paused or self.leaving is not None else []
            if held:
                self._consumer.pause(*held)
            if self.leaving is not None:
                self.waiting.update(partitions)
            self._gained += partitions

    def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:
        """Have what is finished delivered, and note what goes to another member."""
        partitions = list(revoked)
        ours = [(p.topic, p.partition) for p in partitions if p not in self.waiting]
        if ours and self.leaving is not None and self._loop.acquire(timeout=_LEAVE_TIMEOUT_S):
            self.leaving_now, self.metadata = True, self._consumer.group_metadata()
            try:
                self.leaving(ours)
            except StreamprocError as error:
                self._failure = error
            finally:
                self.leaving_now = False
                self._loop.release()
        self.on_partitions_lost(partitions)

    def on_partitions_lost(self, lost: Iterable[KafkaPartition]) -> None:
        """Note what went to another member while we were away."""
        with self._books:
            for partition in lost:
                self._taken.append((partition.topic, partition.partition))
                self.waiting.discard(partition)
                self._gained = [p for p in self._gained if p != partition]

    def take_revoked(self) -> list[TopicPartition]:
        """Return and forget what was taken away; from now on we are who we are at this moment."""
        with self._books:
            self.metadata = self._consumer.group_metadata()
            taken, self._taken = self._taken, []
        return taken

    def take_gained(self) -> list[KafkaPartition]:
        """Return and forget what was assigned."""
        with self._books:
            gained, self._gained = self._gained, []
        return gained

    def begun(self, partition: KafkaPartition) -> None:
        """Let a partition be read, unless the whole topic is paused."""
        with self._books:
            self.waiting.discard(partition)
            if not self.paused:
                self._consumer.resume(partition)
