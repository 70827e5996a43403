"""What a topic holds, read from its beginning by a consumer of its own."""

from __future__ import annotations

import time
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from streamproc.settings import Settings
from streamproc.transports.codec import decode
from streamproc.transports.kafka.connect import client_options

_DEADLINE_S = 90.0


def records(settings: Settings, topic: str, isolation: str = "read_committed") -> list[Any]:
    """Every record, in the order of each partition."""
    consumer = KafkaConsumer(
        **client_options(settings.kafka), auto_offset_reset="earliest", isolation_level=isolation
    )
    try:
        parts = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(parts)
        ends, found = consumer.end_offsets(parts), []
        deadline_s = time.monotonic() + _DEADLINE_S
        while any(consumer.position(p) < ends[p] for p in parts):
            assert time.monotonic() < deadline_s, f"{topic} not read within {_DEADLINE_S:g} s"
            for batch in consumer.poll(timeout_ms=200).values():
                found += batch
        return found
    finally:
        consumer.close()


def results(settings: Settings, isolation: str = "read_committed") -> list[tuple[str, dict[str, Any]]]:
    """Every result document."""
    return [decode(r.value) for r in records(settings, settings.topic("results"), isolation)]
