"""Three nodes: nothing that was acknowledged is lost, whatever happens to one of them, or to all."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid

import psutil
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from streamproc.settings import KafkaSettings, Settings
from streamproc.transports.broker import Broker
from streamproc.transports.kafka import check_topics, ensure_topics
from streamproc.transports.kafka.nodes import brokers_seen

pytestmark = pytest.mark.broker
DEADLINE_S = 90.0


@pytest.fixture
def whole(cluster):
    """The cluster; a test that failed half-way leaves all its nodes running to the next."""
    yield cluster
    for index, process in enumerate(cluster.processes):
        cluster.thaw_node(index)
        if process.poll() is not None:
            cluster.restart_node(index)


@pytest.fixture
def settings(whole):
    made = Settings(beamline=f"t{uuid.uuid4().hex[:12]}", kafka={"bootstrap": whole.bootstrap})
    assert not [p for r in ensure_topics(made, partitions=3, analysis="a") for p in r.problems]
    return made


def until(condition, deadline_s=DEADLINE_S):
    end_s = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end_s, "not within the deadline"
        time.sleep(0.05)
    return value


@contextlib.contextmanager
def publishing(settings):
    """Publish numbers to all partitions for as long as the block takes; yields what was acknowledged."""
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap.split(","),
        acks="all",
        enable_idempotence=False,
        delivery_timeout_ms=60_000,
        request_timeout_ms=5_000,
        retry_backoff_ms=50,
    )
    acknowledged, sent, over = set(), [], threading.Event()

    def publish():
        number = 0
        while not over.is_set():
            future = producer.send(settings.topic("raw"), str(number).encode(), partition=number % 3)
            future.add_callback(lambda _, n=number: acknowledged.add(n))
            sent.append(future)
            number += 1
            over.wait(0.005)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        until(lambda: len(acknowledged) > 50)
        yield acknowledged
        before = len(acknowledged)
        until(lambda: len(acknowledged) > before + 50)
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(KafkaError):
            producer.flush(timeout=60)
        producer.close(timeout=5)


def read_numbers(settings):
    consumer = KafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap.split(","), auto_offset_reset="earliest"
    )
    partitions = [TopicPartition(settings.topic("raw"), n) for n in range(3)]
    consumer.assign(partitions)
    ends, got = consumer.end_offsets(partitions), []
    end_s = time.monotonic() + DEADLINE_S
    while any(consumer.position(p) < ends[p] for p in partitions):
        assert time.monotonic() < end_s, "not read within the deadline"
        got += [int(r.value) for batch in consumer.poll(timeout_ms=500).values() for r in batch]
    consumer.close()
    return set(got)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_death_of_any_node_loses_nothing_and_stops_nothing(whole, settings, index):
    with publishing(settings) as acknowledged:
        whole.kill_node(index)
        before = len(acknowledged)
        until(lambda: len(acknowledged) > before + 100)
    assert acknowledged <= read_numbers(settings), "two nodes have everything"
    whole.restart_node(index)
    others = [i for i in range(3) if i != index]
    whole.kill_node(others[0])
    assert acknowledged <= read_numbers(settings), "the one that came back has caught up"
    whole.restart_node(others[0])


def test_a_frozen_node_is_done_without_and_comes_back(whole, settings):
    with publishing(settings) as acknowledged:
        whole.freeze_node(2)
        before = len(acknowledged)
        until(lambda: len(acknowledged) > before + 100)
        left = KafkaSettings(bootstrap=whole.nodes[0].address)
        until(lambda: brokers_seen(left, 5.0) == {1, 2})
        whole.thaw_node(2)
        until(lambda: brokers_seen(left, 5.0) == {1, 2, 3})
    assert acknowledged <= read_numbers(settings)


def test_all_nodes_killed_at_once_keep_what_was_acknowledged(whole, settings):
    with publishing(settings) as acknowledged:
        for index in range(3):
            whole.kill_node(index)
        whole.restart_node(0, 1, 2)
    assert acknowledged <= read_numbers(settings)


def test_one_node_of_three_acknowledges_nothing(whole, settings):
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap.split(","),
        acks="all",
        enable_idempotence=False,
        delivery_timeout_ms=4_000,
        request_timeout_ms=2_000,
    )
    for partition in range(3):
        producer.send(settings.topic("raw"), b"0", partition=partition).get(timeout=30)
    whole.kill_node(1)
    whole.kill_node(2)
    try:
        for partition in range(3):
            with pytest.raises(KafkaError):
                producer.send(settings.topic("raw"), b"1", partition=partition).get(timeout=30)
    finally:
        producer.close(timeout=2)
        whole.restart_node(1, 2)


def test_a_client_gets_in_although_the_first_address_is_frozen_or_dead(whole, settings):
    whole.freeze_node(0)
    try:
        assert not [p for r in check_topics(settings, "a") for p in r.problems]
        whole.kill_node(0)
        assert not [p for r in check_topics(settings, "a") for p in r.problems]
    finally:
        whole.restart_node(0)


def test_a_node_comes_back_on_its_port_and_folder(whole):
    before = whole.nodes[1]
    pid = whole.processes[1].pid
    whole.restart_node(1)
    assert whole.nodes[1] == before and whole.processes[1].pid != pid
    assert not psutil.pid_exists(pid)
    assert brokers_seen(KafkaSettings(bootstrap=before.address), 5.0) == {1, 2, 3}


@pytest.mark.parametrize("kept", [False, True])
def test_stop_ends_frozen_killed_and_restarted_nodes(tmp_path, kept):
    broker = Broker(tmp_path / "kept" if kept else None, nodes=3).start()
    port = int(broker.nodes[0].port)
    assert broker.bootstrap.count(",") == 2
    broker.kill_node(0)
    broker.restart_node(0)
    broker.kill_node(1)
    broker.freeze_node(2)
    broker.check()
    processes = [psutil.Process(p.pid) for p in broker.processes if p.poll() is None]
    assert len(processes) == 2
    broker.stop()
    assert not any(p.is_running() for p in processes)
    if kept:
        with Broker(tmp_path / "kept", port, nodes=3) as again:
            assert again.nodes[0].port == port
