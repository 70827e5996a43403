"""Document and Position: what travels through streamproc."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BadMessage", "Document", "Position", "TopicPartition"]

TopicPartition = tuple[str, int]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a message was read: Kafka topic, partition and offset, or archive name, 0 and index."""

    topic: str
    partition: int
    offset: int

    @property
    def topic_partition(self) -> TopicPartition:
        """The (topic, partition) this position lies in."""
        return (self.topic, self.partition)

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class Document:
    """One Bluesky document exactly as event-model has it, with the place it was read from.

    Attributes
    ----------
    name : str
        ``start``, ``descriptor``, ``event``, ... as sent; unknown names are skipped by the tracker.
    doc : Mapping
        The document. Arrays in it are read-only views on ``raw``.
    position : Position
        Where it was read.
    key : bytes or None
        The message key.
    raw : bytes
        The message as it came, kept for the dead-letter topic; empty for sources without messages.
    published_s : float or None
        Unix time the producer gave the message (s), used for latency figures only, never in results.
    headers : tuple of (str, bytes)
        The message's headers (``latency_ms`` of our results); empty for sources without them.
    letter : bytes or None
        Key of the dead letter that this message was before it was reinjected; set by who takes it.
    """

    name: str
    doc: Mapping[str, Any]
    position: Position
    key: bytes | None = None
    raw: bytes = field(default=b"", repr=False)
    published_s: float | None = None
    headers: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    letter: bytes | None = None


@dataclass(frozen=True, slots=True)
class BadMessage:
    """A message that could not be decoded: its bytes, position and the reason, for the dead letters."""

    position: Position
    reason: str
    key: bytes | None = None
    raw: bytes = field(default=b"", repr=False)
    published_s: float | None = None
    headers: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    letter: bytes | None = None
