"""The real Apache Kafka for the tests of this folder: one broker for all of them, own topics for each."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from streamproc.settings import Settings
from streamproc.transports.broker import Broker
from streamproc.transports.kafka import ensure_topics


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Address of a running Apache Kafka; when it cannot be started the tests fail."""
    with Broker() as broker:
        yield broker.bootstrap


@pytest.fixture
def beamline(kafka: str) -> Callable[..., Settings]:
    """Make the settings of a beamline of its own, its topics created."""

    def make(partitions: int = 1, **sections: object) -> Settings:
        own = dict(sections.pop("kafka", {}))  # type: ignore[call-overload]
        settings = Settings(
            beamline=f"t{uuid.uuid4().hex[:12]}",
            kafka={"bootstrap": kafka, "session_timeout_s": 6.0} | own,
            **sections,
        )
        reports = ensure_topics(settings, partitions=partitions, analysis="phase-map")
        assert not [p for r in reports for p in r.problems]
        return settings

    return make
