"""A coordinator that cannot be reached for a moment does not end in a call that never returns."""

from __future__ import annotations

import threading

import pytest
from kafka.errors import KafkaConnectionError

from streamproc.settings import DeliverySettings
from streamproc.transports.kafka import KafkaSource, TransactionalSink, transactions
from streamproc.transports.kafka.reading import TopicReader
from streamproc.transports.ports import Outgoing
from streamproc.watchdog import Watchdog

pytestmark = pytest.mark.broker


def out_of_reach(client, times):
    """Let waiting for a connection to a coordinator fail ``times`` times, as it does when its node dies."""
    left, wait_for_connection = [None] * times, client.await_ready

    def await_ready(node_id, **options):
        if left and str(node_id).startswith("coordinator"):
            left.pop()
            raise KafkaConnectionError(f"Node {node_id} not ready")
        return wait_for_connection(node_id, **options)

    client.await_ready = await_ready
    return left


@pytest.mark.parametrize("times", [1, 5])
def test_a_transaction_goes_on_when_its_coordinator_is_back(beamline, monkeypatch, times):
    settings, make, lefts = beamline(), transactions.make_producer, []

    def make_producer(*arguments, **options):
        producer = make(*arguments, **options)
        lefts.append(out_of_reach(producer._sender._client, times))
        return producer

    monkeypatch.setattr(transactions, "make_producer", make_producer)
    given_up, ended = [], threading.Event()

    def give_up(message):
        given_up.append(message)
        ended.set()

    watchdog = Watchdog(give_up)
    source = KafkaSource(
        settings.kafka, settings.topic("raw"), settings.group("phase-map"), watchdog=watchdog
    )
    sink = []

    def deliver():
        while not source.assigned():
            source.poll(0.2)
            source.revoked()
        sink.append(TransactionalSink(settings.kafka, DeliverySettings(), f"lost-{times}", source, watchdog))
        for number in range(3):
            # Each kind of request: to begin, to add partitions and positions, to commit.
            lefts[0].extend([None] * times)
            result = Outgoing(settings.topic("results"), b"key", b"value %d" % number)
            sink[0].deliver([result], {(settings.topic("raw"), 0): number})
        ended.set()

    threading.Thread(target=deliver, daemon=True).start()
    assert ended.wait(120)
    assert given_up == []
    assert lefts == [[]]
    with TopicReader(settings.kafka, settings.topic("results")) as reader:
        assert [m.value for m in reader.messages()] == [b"value 0", b"value 1", b"value 2"]
    sink[0].close()
    source.close()
