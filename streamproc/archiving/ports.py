"""What an archiver reads from, and how it goes about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamproc.documents import BadMessage, Document, TopicPartition

__all__ = ["ArchiveOptions", "ResultsSource"]


class ResultsSource(Protocol):
    """What is needed of the source of result documents."""

    def poll(self, timeout_s: float) -> Sequence[Document | BadMessage]:
        """Return what has arrived."""

    def rewind_to_start(self, run_uid: str | None, before: Document) -> Sequence[Document]:
        """Return the documents of a run before one."""

    def revoked(self) -> Sequence[TopicPartition]:
        """Return the partitions taken away since the last call."""

    def commit(self, consumed: Mapping[TopicPartition, int], timeout_s: float) -> None:
        """Store the next offset to read per partition."""

    def lag(self) -> int:
        """Return how many messages wait."""


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """How the archiver goes about it; all times in s.

    Attributes
    ----------
    once : bool
        End when the topic is read to its present end and everything is stored or spooled.
    give_up_s : float
        A run that could not be stored for this long goes to the spool, and its position is committed.
    most_pause_s : float
        Longest pause between two attempts.
    idle_timeout_s : float
        A run that is silent this long without a stop is kept in the spool's ``open`` folder.
    drain_timeout_s : float
        At the end: how long an attempt in progress is waited for.
    """

    once: bool = False
    give_up_s: float = 30.0
    most_pause_s: float = 20.0
    idle_timeout_s: float = 3600.0
    drain_timeout_s: float = 4.0
