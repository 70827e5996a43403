"""Source and Sink: the two Protocols every transport fulfils."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from streamproc.documents import BadMessage, Document, TopicPartition

__all__ = ["Held", "Outgoing", "Sink", "Source", "Stage", "StateReader", "Stored"]


class Stage(IntEnum):
    """What of a delivery has to be there before the rest, where one message is published after the other."""

    SAID = 0
    """Results, dead letters, and parts of the state that do not count yet."""
    COUNTS = 1
    """What makes the parts count."""
    WITHDRAWN = 2
    """Parts that are not needed any more."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish: topic, key, value bytes, and headers (never part of the result itself)."""

    topic: str
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = field(default=())
    partition: int | None = None
    stage: Stage = Stage.SAID


class Source(Protocol):
    """Where documents come from."""

    def poll(self, timeout_s: float) -> Sequence[Document | BadMessage]:
        """Return what has arrived, waiting at most ``timeout_s`` (s); an empty sequence when nothing came."""

    def rewind_to_start(self, run_uid: str | None, before: Document) -> Sequence[Document | BadMessage]:
        """Return the documents of ``run_uid`` that precede ``before`` in its partition, oldest first.

        A bounded backward search (message count and bytes are settings) that leaves the read position
        alone. Empty when the run's start is not found within the bound.
        """

    def pause(self) -> None:
        """Stop fetching (membership and heartbeats go on); polled sequences are empty until ``resume``."""

    def resume(self) -> None:
        """Fetch again."""

    def assigned(self) -> Sequence[TopicPartition]:
        """Return the partitions that are read now."""

    def gained(self) -> Sequence[TopicPartition]:
        """Return the partitions assigned since the last call."""

    def begin(self, partition: TopicPartition, offset: int | None) -> int | None:
        """Read a gained partition from ``offset`` on; None: where the transport would begin by itself.

        Returns where that is; None where a restart cannot come upon another place.
        """

    def on_leaving(self, callback: Callable[[Sequence[TopicPartition]], None]) -> None:
        """Have ``callback`` called, during a poll, while partitions may still be committed before they go.

        From then on nothing of a gained partition is polled before :meth:`begin`.
        """

    def revoked(self) -> Sequence[TopicPartition]:
        """Return the partitions taken away since the last call; their unfinished work is dropped."""

    def lag(self) -> int:
        """Return how many messages wait behind the read position."""

    def close(self) -> None:
        """Leave the group and free everything; never raises."""


class Sink(Protocol):
    """Where results go, together with the input positions they complete."""

    def deliver(self, outgoing: Sequence[Outgoing], consumed: Mapping[TopicPartition, int]) -> None:
        """Publish all of ``outgoing``, then mark ``consumed`` (next offset to read per partition) as done.

        All at once, or stage by stage: ``outgoing`` comes in the order of its stages.

        Raises
        ------
        DeliveryAborted
            Nothing of it counts; the caller may try again.
        DeliveryError
            When it did not finish in its deadline, or another instance took over: end the process.
        """

    def close(self) -> None:
        """Flush within the deadline and free everything."""


@dataclass(frozen=True, slots=True)
class Held:
    """What an input partition holds.

    Attributes
    ----------
    first, end : int
        Position of the oldest message that is still there, and the one after the newest.
    topic_id : str
        Identity of the topic, another one when it was deleted and made anew; empty where a broker has none.
    """

    first: int
    end: int
    topic_id: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an input partition that was taken over.

    Attributes
    ----------
    records : Mapping
        Newest value per key of its state partition, decided transactions only.
    committed : int or None
        The group's position in the input partition, read after the records; None: none yet.
    held : Held or None
        What the input partition holds; None where nothing can leave it.
    """

    records: Mapping[str, bytes]
    committed: int | None
    held: Held | None = None


class StateReader(Protocol):
    """Where the stored open-run state of a partition is read back."""

    def load(self, partition: int) -> Stored:
        """Return what is stored for an input partition.

        Raises
        ------
        FatalError
            Not read within its deadline.
        """
