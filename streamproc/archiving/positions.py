"""Positions: how far a topic is read, and how far that may be committed."""

from __future__ import annotations

from collections.abc import Iterable

from streamproc.archiving.gather import GatheredRun
from streamproc.archiving.ports import ResultsSource
from streamproc.documents import BadMessage, Document, TopicPartition

__all__ = ["Positions"]

_TIMEOUT_S = 10.0


class Positions:
    """Commits only past runs that are safe: a restart begins at the oldest run that is not."""

    def __init__(self) -> None:
        self._through: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}

    def read(self, message: Document | BadMessage) -> None:
        """Note that a message was read."""
        self._through[message.position.topic_partition] = message.position.offset + 1

    def drop(self, partition: TopicPartition) -> None:
        """Forget a partition that another process has now."""
        self._through.pop(partition, None)
        self._committed.pop(partition, None)

    def commit(self, source: ResultsSource, unsafe: Iterable[GatheredRun]) -> None:
        """Commit what was read, up to the first document of each run that is not safe yet.

        Raises
        ------
        DeliveryError
            The broker does not take it.
        """
        safe = dict(self._through)
        for run in unsafe:
            if run.partition in safe:
                safe[run.partition] = min(safe[run.partition], run.first_offset)
        moved = {p: offset for p, offset in safe.items() if offset > self._committed.get(p, 0)}
        if moved:
            source.commit(moved, _TIMEOUT_S)
            self._committed.update(moved)
