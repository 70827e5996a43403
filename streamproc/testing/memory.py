"""Source and sink in memory: the same protocols as Kafka's, for tests and for trying an analysis out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamproc.documents import BadMessage, Document, Position, TopicPartition
from streamproc.errors import ArchiveDamaged, DeliveryError
from streamproc.runs import select_run
from streamproc.transports.archive.ports import FramePlaces, Query, RunRef
from streamproc.transports.archive.select import select
from streamproc.transports.ports import Held, Outgoing, Stored

__all__ = ["Delivery", "MemoryArchive", "MemorySink", "MemorySource", "MemoryState", "documents"]


def documents(
    pairs: Iterable[tuple[str, Mapping[str, Any]]],
    *,
    topic: str = "memory",
    partition: int = 0,
    first_offset: int = 0,
    published_s: float | None = None,
) -> list[Document]:
    """Return ``(name, doc)`` pairs as Documents with consecutive offsets."""
    return [
        Document(name, doc, Position(topic, partition, offset), published_s=published_s)
        for offset, (name, doc) in enumerate(pairs, first_offset)
    ]


class MemorySource:
    """A source over a list of messages.

    Parameters
    ----------
    messages : iterable of Document or BadMessage
        In the order they are given out; more can be added with :meth:`append`.
    batch_size : int or sequence of int
        How many one poll gives; a sequence is used poll by poll, its last entry for all later ones.
    start_at : int
        How many messages lie before the read position already (a join in the middle).
    rewind_limit : int or None
        How far :meth:`rewind_to_start` looks back, in messages; None for all the way.
    """

    def __init__(
        self,
        messages: Iterable[Document | BadMessage],
        batch_size: int | Sequence[int] = 100,
        *,
        start_at: int = 0,
        rewind_limit: int | None = None,
    ) -> None:
        self.messages = list(messages)
        self.position = start_at
        self.rewinds: list[str | None] = []
        self.paused = self.closed = False
        self._sizes = [batch_size] if isinstance(batch_size, int) else list(batch_size)
        self._rewind_limit = rewind_limit
        self._revoked: set[TopicPartition] = set()
        self._untold: list[TopicPartition] = []
        self._begun: set[TopicPartition] = set()
        self._leaving: Callable[[Sequence[TopicPartition]], None] | None = None

    def append(self, *messages: Document | BadMessage) -> None:
        """Add messages at the end."""
        self.messages.extend(messages)

    def poll(self, timeout_s: float) -> Sequence[Document | BadMessage]:
        """Return the next batch at once; empty when there is none or the source is paused."""
        if self.paused or self.closed:
            return []
        size = self._sizes[0] if len(self._sizes) == 1 else self._sizes.pop(0)
        batch = self.messages[self.position : self.position + size]
        self.position += len(batch)
        return batch

    def rewind_to_start(self, run_uid: str | None, before: Document) -> Sequence[Document | BadMessage]:
        """Return the documents of the run that precede ``before`` in its partition, oldest first.

        ``run_uid`` None: the run that ``before``'s descriptor or resource belongs to.
        """
        self.rewinds.append(run_uid)
        at = [i for i, m in enumerate(self.messages) if m.position == before.position]
        end = at[0] if at else self.position
        start = 0 if self._rewind_limit is None else max(0, end - self._rewind_limit)
        return select_run(self.messages[start:end], run_uid, before)

    def pause(self) -> None:
        """Give nothing out until :meth:`resume`."""
        self.paused = True

    def resume(self) -> None:
        """Give messages out again."""
        self.paused = False

    def assigned(self) -> Sequence[TopicPartition]:
        """Return the partitions of all messages."""
        return sorted({m.position.topic_partition for m in self.messages} - self._revoked)

    def gained(self) -> Sequence[TopicPartition]:
        """Return the partitions that :meth:`begin` was not called for yet."""
        return [partition for partition in self.assigned() if partition not in self._begun]

    def begin(self, partition: TopicPartition, offset: int | None) -> None:
        """Read on from ``offset`` of a partition, or from the read position as it is."""
        self._begun.add(partition)
        if offset is not None:
            rest = [m for m in self.messages if m.position.topic_partition != partition]
            of_it = [m for m in self.messages if m.position.topic_partition == partition]
            done = [m for m in of_it if m.position.offset < offset]
            todo = [m for m in of_it if m.position.offset >= offset]
            others_done = [m for m in rest if self.messages.index(m) < self.position]
            self.messages = [*done, *others_done, *todo, *(m for m in rest if m not in others_done)]
            self.position = len(done) + len(others_done)

    def on_leaving(self, callback: Callable[[Sequence[TopicPartition]], None]) -> None:
        """Have ``callback`` called by :meth:`hand_over`."""
        self._leaving = callback

    def hand_over(self, partition: TopicPartition) -> None:
        """Take a partition away as a rebalance does: what is finished may still be delivered."""
        if self._leaving is not None:
            self._leaving([partition])
        self.revoke(partition)

    def revoke(self, partition: TopicPartition) -> None:
        """Take a partition away: its messages are given out no more, :meth:`revoked` tells of it once."""
        self._revoked.add(partition)
        self._untold.append(partition)
        rest = self.messages[self.position :]
        self.messages[self.position :] = [m for m in rest if m.position.topic_partition != partition]

    def revoked(self) -> Sequence[TopicPartition]:
        """Return the partitions taken away since the last call."""
        untold, self._untold = self._untold, []
        return untold

    def lag(self) -> int:
        """Return how many messages wait behind the read position."""
        return len(self.messages) - self.position

    def close(self) -> None:
        """Give nothing out any more."""
        self.closed = True


@dataclass(frozen=True, slots=True)
class Delivery:
    """One call of ``deliver``."""

    outgoing: tuple[Outgoing, ...]
    consumed: Mapping[TopicPartition, int]


class MemorySink:
    """A sink that keeps what it was given.

    Parameters
    ----------
    fail_at : iterable of int
        Numbers of the ``deliver`` calls (from 0) that raise DeliveryError and keep nothing.
    """

    def __init__(self, fail_at: Iterable[int] = ()) -> None:
        self.deliveries: list[Delivery] = []
        self.calls = 0
        self.closed = False
        self._fail_at = frozenset(fail_at)

    def deliver(self, outgoing: Sequence[Outgoing], consumed: Mapping[TopicPartition, int]) -> None:
        """Keep what is published and what is consumed.

        Raises
        ------
        DeliveryError
            When told to fail.
        """
        call, self.calls = self.calls, self.calls + 1
        if call in self._fail_at:
            raise DeliveryError(f"delivery {call} was told to fail; nothing of it was kept")
        self.deliveries.append(Delivery(tuple(outgoing), dict(consumed)))

    @property
    def messages(self) -> list[Outgoing]:
        """Everything published, in order."""
        return [message for delivery in self.deliveries for message in delivery.outgoing]

    @property
    def committed(self) -> dict[TopicPartition, int]:
        """Next offset to read per partition."""
        return {where: offset for d in self.deliveries for where, offset in d.consumed.items()}

    def on_topic(self, topic: str) -> list[Outgoing]:
        """Return what was published on one topic, in order."""
        return [message for message in self.messages if message.topic == topic]

    def close(self) -> None:
        """Take nothing more."""
        self.closed = True


class MemoryState:
    """Reads stored state back from what sinks were given.

    Parameters
    ----------
    topic : str
        The state topic.
    sinks : MemorySink
        Oldest first.
    committed : int or None
        What the group has committed.
    held : Held or None
        What the input partition holds.
    """

    def __init__(
        self, topic: str, *sinks: MemorySink, committed: int | None = None, held: Held | None = None
    ) -> None:
        self._topic, self._sinks, self._committed, self._held = topic, sinks, committed, held

    def load(self, partition: int) -> Stored:
        """Return the newest value per key of a partition."""
        newest: dict[str, bytes] = {}
        for message in (m for sink in self._sinks for m in sink.on_topic(self._topic)):
            if message.partition != partition:
                continue
            newest.pop(message.key.decode(), None)
            if message.value is not None:
                newest[message.key.decode()] = bytes(message.value)
        return Stored(newest, self._committed, self._held)


class MemoryArchive:
    """An archive of runs in memory.

    Parameters
    ----------
    *runs : iterable of (name, doc)
        The documents of one run each, start first.
    frames : FramePlaces
        Where their frames lie.
    damaged_after : int or None
        How many documents of a run can be read before the archive turns out to be damaged.
    """

    name = "memory"

    def __init__(
        self,
        *runs: Iterable[tuple[str, Mapping[str, Any]]],
        frames: FramePlaces | None = None,
        damaged_after: int | None = None,
    ) -> None:
        self._runs = [list(run) for run in runs]
        self._frames, self._damaged_after = frames or FramePlaces(), damaged_after

    def runs(self, query: Query | None = None) -> Iterator[RunRef]:
        """Yield the runs a query means."""
        refs = []
        for number, run in enumerate(self._runs):
            start = run[0][1]
            stop = next((doc for name, doc in run if name == "stop"), None)
            refs.append(RunRef(start["uid"], start, stop, "memory", number, self._frames))
        yield from select(refs, query or Query(), self.name)

    def documents(self, run: RunRef) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the documents of a run."""
        for number, named in enumerate(self._runs[run.handle]):
            if number == self._damaged_after:
                raise ArchiveDamaged("the archive in memory was told to be damaged here")
            yield named

    def close(self) -> None:
        """Nothing is open."""
