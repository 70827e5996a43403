"""The real Apache Kafka for the tests of this folder: one broker of each kind for all, own topics for each."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Iterator

import pytest

from streamproc.settings import Settings
from streamproc.transports.broker import ADMIN, Broker, service_rights
from streamproc.transports.kafka import ensure_topics
from tests.integration.stage import Instance, Topics


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Address of a running Apache Kafka; when it cannot be started the tests fail."""
    with Broker() as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def cluster() -> Iterator[Broker]:
    """Three nodes; a test that takes some away brings them back."""
    with Broker(nodes=3) as broker:
        yield broker


@pytest.fixture(scope="session")
def secure_kafka() -> Iterator[Broker]:
    """One node with encryption, log-in and rights."""
    with Broker(tls=True) as broker:
        yield broker


def new_name() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def beamline(kafka: str) -> Callable[..., Settings]:
    """Make the settings of a beamline of its own, its topics created."""

    def make(partitions: int = 1, **sections: object) -> Settings:
        own = dict(sections.pop("kafka", {}))  # type: ignore[call-overload]
        settings = Settings(
            beamline=new_name(),
            kafka={"bootstrap": kafka, "session_timeout_s": 6.0} | own,
            **sections,
        )
        reports = ensure_topics(settings, partitions=partitions, analysis="phase-map")
        assert not [p for r in reports for p in r.problems]
        return settings

    return make


@pytest.fixture
def secure_beamline(secure_kafka: Broker) -> Callable[..., Settings]:
    """Make the settings of a user of its own, with the rights of a service, on a beamline of its own."""

    def make(partitions: int = 1, analysis: str = "phase-map", **sections: object) -> Settings:
        own = dict(sections.pop("kafka", {}))  # type: ignore[call-overload]
        name = new_name()
        made = Settings(beamline=name, kafka=secure_kafka.kafka_table(ADMIN) | own, **sections)
        reports = ensure_topics(made, partitions=partitions, analysis=analysis)
        assert not [p for r in reports for p in r.problems]
        user = f"user-{name}"
        secure_kafka.users.add(user)
        settings = Settings(
            beamline=name,
            kafka=secure_kafka.kafka_table(user) | {"session_timeout_s": 6.0} | own,
            **sections,
        )
        secure_kafka.users.allow(user, service_rights(settings, analysis))
        return settings

    return make


@pytest.fixture
def stage(beamline, tmp_path):
    """Makes topics and service processes; ends the processes."""
    started, opened = [], []

    def topics(partitions):
        opened.append(Topics(beamline(partitions=partitions), partitions))
        return opened[-1]

    def instance(settings, name, **service):
        started.append(Instance(settings, tmp_path, name, **service).start())
        return started[-1]

    yield topics, instance
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)
    for one in opened:
        one.close()
