"""Messages sent as a test wrote them: in order and once, also when the client has to send some again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kafka import KafkaProducer

from streamproc.settings import Settings


def ordered_producer(bootstrap: str, **options: Any) -> KafkaProducer:
    """A topic just made refuses the first requests: without numbers on them the client would reorder the rest."""
    return KafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, max_request_size=2**27, **options
    )


def publish(
    settings: Settings, raws: Iterable[bytes], key: bytes = b"run", topic: str = "raw", **options: Any
) -> None:
    """Send messages with one key to a topic of the beamline; returns when the broker has all."""
    producer = ordered_producer(settings.kafka.bootstrap, **options)
    sent = [producer.send(settings.topic(topic), raw, key=key) for raw in raws]
    producer.flush(60)
    producer.close()
    for future in sent:
        future.get(0)
