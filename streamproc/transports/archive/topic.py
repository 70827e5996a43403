"""Runs that still lie in a Kafka topic, by the time they were published or by offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from streamproc.documents import BadMessage, Position
from streamproc.errors import ArchiveDamaged, ConfigurationError, DocumentRefused
from streamproc.settings import KafkaSettings
from streamproc.transports.archive.files import Owner
from streamproc.transports.archive.ports import NamedDocument, Query, RunRef
from streamproc.transports.archive.repair import repaired
from streamproc.transports.archive.select import select
from streamproc.transports.codec import decode
from streamproc.transports.kafka.reading import Message, TopicReader

__all__ = ["TopicArchive", "parse_topic"]

_FRAMED = {
    b"\x92\xa5start": "start", b"\x92\xd9\x05start": "start",
    b"\x92\xa4stop": "stop", b"\x92\xd9\x04stop": "stop",
}  # fmt: skip
_CLOCKS_S = 300.0
"""How far the clocks of an acquisition machine and of a broker's clients may be apart (s)."""

_RANGE = re.compile(r"(\d+):(\d+)-(\d*)")
Ranges = Mapping[int, tuple[int, int | None]]


@dataclass(frozen=True, slots=True)
class _Span:
    """Where a run lies in its partition; ``end`` None: to the topic's present end."""

    begin: Position
    end: int | None


class TopicArchive:
    """A topic as an archive, up to the end it has when it is asked.

    Parameters
    ----------
    kafka : KafkaSettings
        Broker and log-in.
    topic : str
        Raw (or result) documents.
    ranges : Mapping of int to (int, int or None), optional
        Offsets by partition, half-open; all of the topic by default.
    timeout_s : float
        Deadline of one reading (s).
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, ranges: Ranges | None = None, timeout_s: float = 600.0
    ) -> None:
        self.name = topic
        self._kafka, self._ranges, self._timeout_s = kafka, ranges, timeout_s

    def runs(self, query: Query) -> Iterator[RunRef]:
        """Yield the runs a query means; only starts and stops are decoded."""
        starts: dict[str, tuple[dict[str, Any], Position]] = {}
        stops: dict[str, tuple[dict[str, Any], int]] = {}
        since_s = None if query.since_s is None else query.since_s - _CLOCKS_S
        with self._reader(self._ranges, since_s) as reader:
            for message in reader.messages():
                name, doc = _framed(message)
                if name == "start":
                    starts.setdefault(str(doc.get("uid")), (doc, message.position))
                elif name == "stop" and doc:
                    stops[str(doc.get("run_start"))] = (doc, message.position.offset + 1)
        found = []
        for uid, (start, position) in starts.items():
            stop, end = stops.get(uid, (None, None))
            place = f"{self.name}, from {position.partition}@{position.offset} on"
            cut = None if self._ranges is None else self._ranges[position.partition][1]
            found.append(RunRef(uid, start, stop, place, _Span(position, end or cut)))
        yield from select(found, query, f"topic {self.name}")

    def documents(self, run: RunRef) -> Iterator[NamedDocument]:
        """Yield the documents of a run."""
        return repaired(self._own(run), run.note)

    def close(self) -> None:
        """Nothing is kept open."""

    def _own(self, run: RunRef) -> Iterator[NamedDocument]:
        span: _Span = run.handle
        partition, owner = span.begin.partition, Owner(run.uid)
        with self._reader({partition: (span.begin.offset, span.end)}, None) as reader:
            try:
                for message in reader.documents():
                    if isinstance(message, BadMessage):
                        run.note(f"the message at {message.position} cannot be read and was left out")
                    elif owner.has(message.name, message.doc):
                        yield message.name, message.doc
            except ConfigurationError as error:
                raise ArchiveDamaged(error.message) from error

    def _reader(self, ranges: Ranges | None, since_s: float | None) -> TopicReader:
        return TopicReader(self._kafka, self.name, since_s=since_s, timeout_s=self._timeout_s, ranges=ranges)


def parse_topic(text: str, default: str) -> tuple[str, Ranges | None]:
    """Return topic and ranges of ``kafka``, ``kafka:TOPIC`` or ``kafka:TOPIC@PARTITION:FROM-TO[,...]``.

    Raises
    ------
    ConfigurationError
        Offsets that are none.
    """
    topic, _, offsets = text.removeprefix("kafka").removeprefix(":").partition("@")
    if not offsets:
        return topic or default, None
    ranges: dict[int, tuple[int, int | None]] = {}
    for part in offsets.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ConfigurationError(
                f"{text!r}: expected kafka:TOPIC@PARTITION:FROM-TO, as in kafka:demo.raw@0:120-480 "
                "(without TO: to the present end)"
            )
        ranges[int(match[1])] = (int(match[2]), int(match[3]) if match[3] else None)
    return topic or default, ranges


def _framed(message: Message) -> tuple[str, dict[str, Any]]:
    """Return name and document of a start or stop; of others nothing."""
    value = message.value or b""
    name = next((n for head, n in _FRAMED.items() if value.startswith(head)), "")
    if not name:
        return "", {}
    try:
        return decode(value)
    except DocumentRefused:
        return "", {}
