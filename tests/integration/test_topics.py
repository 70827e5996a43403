"""Topics made and judged on the real Apache Kafka."""

from __future__ import annotations

import time
import uuid

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from streamproc.settings import Settings
from streamproc.transports.kafka import check_topics, ensure_topics

pytestmark = pytest.mark.broker
MIB = 1024 * 1024


@pytest.fixture
def admin(kafka):
    client = KafkaAdminClient(bootstrap_servers=kafka)
    yield client
    client.close()


def own_settings(kafka, **changes):
    return Settings(beamline=f"t{uuid.uuid4().hex[:12]}", kafka={"bootstrap": kafka} | changes)


def configs_of(admin, topic):
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    (by_topic,) = admin.describe_configs([resource], config_filter="all").values()
    return {key: entry["value"] for key, entry in by_topic[topic].items()}


def set_config(admin, topic, **configs):
    named = {key.replace("_", "."): value for key, value in configs.items()}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=named)])


def problems(settings, role, analysis="phase-map"):
    (report,) = [r for r in check_topics(settings, analysis) if r.role == role]
    return " ".join(report.problems)


def test_topics_are_made_for_what_they_hold(kafka, admin):
    settings = own_settings(kafka)
    made = {r.role: r for r in ensure_topics(settings, partitions=3, analysis="phase-map")}
    assert {role: report.partitions for role, report in made.items()} == {
        "raw": 3,
        "results": 3,
        "state": 3,
        "deadletters": 1,
    }
    assert all(report.created and not report.problems for report in made.values())
    for role in ("raw", "results"):
        assert configs_of(admin, made[role].name)["cleanup.policy"] == "delete"
    letters = configs_of(admin, made["deadletters"].name)
    assert set(letters["cleanup.policy"].split(",")) == {"compact", "delete"}
    assert (letters["retention.ms"], letters["retention.bytes"]) == (str(30 * 86400 * 1000), str(1024**3))
    state = configs_of(admin, made["state"].name)
    assert made["state"].name == settings.state_topic("phase-map")
    assert state["cleanup.policy"] == "compact" and state["delete.retention.ms"] == str(86400 * 1000)
    assert {configs_of(admin, r.name)["max.message.bytes"] for r in made.values()} == {str(66 * MIB)}


def test_each_analysis_has_a_state_topic_of_its_own(kafka):
    settings = own_settings(kafka)
    made = ensure_topics(settings, analysis=["one", "two"])
    assert [r.name for r in made if r.role == "state"] == [settings.state_topic(n) for n in ("one", "two")]
    assert not [r for r in check_topics(settings) if r.role == "state"]
    assert "does not exist" in problems(settings, "state", "three")


def test_a_state_record_as_large_as_any_message_is_taken(kafka):
    settings = own_settings(kafka, max_message_bytes=20 * MIB)
    ensure_topics(settings, analysis="a")
    producer = KafkaProducer(bootstrap_servers=kafka, max_request_size=22 * MIB)
    producer.send(settings.state_topic("a"), bytes(20 * MIB), key=b"run").get(timeout=30)
    producer.close()


def test_state_that_was_replaced_is_thrown_away(kafka):
    """60 MiB of the same key: what is left is one segment and its last state."""
    settings = own_settings(kafka, max_message_bytes=MIB)
    ensure_topics(settings, analysis="a")
    topic = settings.state_topic("a")
    producer = KafkaProducer(bootstrap_servers=kafka, max_request_size=2 * MIB)
    for i in range(60):
        producer.send(topic, i.to_bytes(2, "big") + bytes(MIB - 2), key=b"run")
    producer.flush(timeout=60)
    producer.close()
    deadline_s = time.monotonic() + 60
    while len(kept := read_all(kafka, topic)) > 20:
        assert time.monotonic() < deadline_s, f"{len(kept)} of 60 records are still there"
        time.sleep(0.5)
    assert int.from_bytes(kept[-1][:2], "big") == 59


def read_all(bootstrap, topic):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    end, got = consumer.end_offsets([partition])[partition], []
    while consumer.position(partition) < end:
        got += [r.value for batch in consumer.poll(timeout_ms=500).values() for r in batch]
    consumer.close()
    return got


def test_a_state_topic_that_would_lose_state_is_a_problem(kafka, admin):
    settings = own_settings(kafka)
    ensure_topics(settings, analysis="phase-map")
    assert not problems(settings, "state")
    set_config(admin, settings.state_topic("phase-map"), cleanup_policy="compact,delete")
    assert "set it to compact" in problems(settings, "state")
    set_config(admin, settings.topic("results"), cleanup_policy="compact")
    assert "set it to delete" in problems(settings, "results")
    set_config(admin, settings.topic("deadletters"), cleanup_policy="compact")
    assert "set it to compact,delete" in problems(settings, "deadletters")
    set_config(admin, settings.topic("deadletters"), cleanup_policy="delete")
    assert not problems(settings, "deadletters")


@pytest.mark.parametrize(("partitions", "after"), [(2, 3), (4, 4)], ids=["too few", "too many"])
def test_a_state_topic_gets_the_partitions_of_the_raw_topic(kafka, admin, partitions, after):
    settings = own_settings(kafka)
    state = settings.state_topic("a")
    admin.create_topics([NewTopic(state, partitions, 1, topic_configs={"cleanup.policy": "compact"})])
    ensure_topics(settings, partitions=3)
    assert f"has {partitions} partitions, the raw topic 3" in problems(settings, "state", "a")
    (grown,) = [r for r in ensure_topics(settings, analysis="a") if r.role == "state"]
    assert not grown.created and grown.partitions == after
    assert bool(grown.problems) == (after != 3)
