"""Which input positions may be committed: everything before the oldest one still in work."""

from __future__ import annotations

from collections import Counter

from streamproc.documents import Position, TopicPartition

__all__ = ["OffsetBook"]


class OffsetBook:
    """Keeps, per partition, how far it was read and which positions are still needed.

    A position is *held* while a result that depends on it is not delivered; a restart then reads it again.
    """

    def __init__(self) -> None:
        self._next: dict[TopicPartition, int] = {}
        self._held: dict[TopicPartition, Counter[int]] = {}
        self._committed: dict[TopicPartition, int] = {}

    def read(self, position: Position) -> None:
        """Note that a message was read."""
        partition = position.topic_partition
        self._next[partition] = max(self._next.get(partition, 0), position.offset + 1)

    def hold(self, position: Position) -> None:
        """Keep a position from being committed until it is released as often as it was held."""
        self._held.setdefault(position.topic_partition, Counter())[position.offset] += 1

    def release(self, position: Position) -> None:
        """Give a held position free."""
        held = self._held.get(position.topic_partition)
        if held is None or position.offset not in held:
            return
        held[position.offset] -= 1
        if held[position.offset] <= 0:
            del held[position.offset]

    def committable(self) -> dict[TopicPartition, int]:
        """Return the next offset to read per partition where it moved since :meth:`committed`."""
        ready = {}
        for partition, following in self._next.items():
            held = self._held.get(partition)
            offset = min(min(held), following) if held else following
            if offset > self._committed.get(partition, -1):
                ready[partition] = offset
        return ready

    def committed(self, offsets: dict[TopicPartition, int]) -> None:
        """Note what was committed."""
        self._committed.update(offsets)

    def forget(self, partition: TopicPartition) -> None:
        """Drop a partition that was taken away."""
        for book in (self._next, self._held, self._committed):
            book.pop(partition, None)
