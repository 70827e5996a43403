"""Faults of the client that are mended from outside: requests lost, positions kept too long, joins forgotten."""

from __future__ import annotations

import threading
import time

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaConnectionError
from structlog.testing import capture_logs

from streamproc.errors import DeliveryAborted, FatalError
from streamproc.settings import DeliverySettings
from streamproc.transports.kafka import KafkaSource, KafkaState, TransactionalSink, transactions
from streamproc.transports.kafka import source as source_module
from streamproc.transports.kafka.connect import connect
from streamproc.transports.kafka.mends import joining
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


def delivered(sink, source, outgoing, consumed):
    """Deliver as the service does: once more where the group was being rearranged, as on a busy machine."""
    for _ in range(50):
        try:
            return sink.deliver(outgoing, consumed)
        except DeliveryAborted:
            source.poll(0.2)
            source.revoked()
    raise AssertionError("the group is never at rest")


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
            delivered(sink[0], source, [result], {(settings.topic("raw"), 0): number})
        ended.set()

    threading.Thread(target=deliver, daemon=True).start()
    assert ended.wait(120)
    assert given_up == []
    assert lefts == [[]]
    with TopicReader(settings.kafka, settings.topic("results")) as reader:
        assert [m.value for m in reader.messages()] == [b"value 0", b"value 1", b"value 2"]
    sink[0].close()
    source.close()


def polled_until(source, condition, timeout_s=30):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "did not come true in time"
        source.poll(0.01)
        source.revoked()


def test_a_join_that_is_answered_between_two_polls_ends_as_a_member(beamline):
    """As at start-up, when the leader learns of the topic's partitions while it is a member already."""
    settings = beamline()
    source = KafkaSource(settings.kafka, settings.topic("raw"), settings.group("phase-map"))
    coordinator = source._consumer._coordinator
    polled_until(source, lambda: source.assigned() and not joining(source._consumer))
    coordinator._assignment_snapshot = {}
    source._consumer.poll(0)  # no time to wait for the answer
    deadline_s = time.monotonic() + 10
    while coordinator.need_rejoin():  # until the assignment, which makes the client think that all is done
        assert time.monotonic() < deadline_s
    time.sleep(0.2)
    assert joining(source._consumer)
    polled_until(source, lambda: not joining(source._consumer))
    source.commit(dict.fromkeys(source.assigned(), 0), 10)
    assert not source._pending
    source.close()


def test_a_member_that_is_put_out_during_a_join_is_told_what_it_lost(beamline):
    """As when a process freezes in the middle of a join: others work on its partitions before it goes on."""
    settings, asked = beamline(), []
    kafka = settings.kafka.model_copy(update={"session_timeout_s": 8.0})
    frozen, other = (
        KafkaSource(
            kafka.model_copy(update={"group_instance_id": who}),
            settings.topic("raw"),
            settings.group("phase-map"),
        )
        for who in ("frozen", "other")
    )
    frozen.on_leaving(asked.extend)
    polled_until(frozen, lambda: frozen.assigned() and not joining(frozen._consumer))
    held = frozen.assigned()
    coordinator = frozen._consumer._coordinator
    coordinator.request_rejoin()
    frozen._consumer.poll(0)  # a join begins; nothing more is heard of this member, no heartbeat either
    member = coordinator._generation.member_id
    with capture_logs() as said:
        polled_until(other, lambda: set(other.assigned()) == set(held), 60)
    (waits,) = [entry for entry in said if entry["event"].startswith("still joining the group")]
    assert waits["session_timeout_s"] == 8.0
    told, deadline_s = [], time.monotonic() + 30
    while not told or joining(frozen._consumer):
        assert time.monotonic() < deadline_s
        frozen.poll(0.01)
        told += frozen.revoked()
        other.poll(0.01)
        other.revoked()
    assert coordinator._generation.member_id != member
    assert sorted(told) == sorted(held) and not asked
    frozen.close()
    other.close()


def test_a_member_that_was_put_out_claims_nothing_of_what_it_lost(beamline):
    """Or the leader waits for it to give a partition up that it has not, and nobody gets it."""
    settings = beamline(partitions=2)
    source = KafkaSource(settings.kafka, settings.topic("raw"), settings.group("phase-map"))
    polled_until(source, lambda: len(source.assigned()) == 2 and not joining(source._consumer))
    coordinator = source._consumer._coordinator

    def claimed():
        ((_, metadata),) = coordinator.group_protocols()
        return [(t.topic, n) for t in metadata.owned_partitions for n in t.partitions]

    assert sorted(claimed()) == sorted(source.assigned())
    coordinator.reset_generation()  # as when the broker does not know it any more
    assert claimed() == []
    polled_until(source, lambda: len(source.assigned()) == 2 and not joining(source._consumer))
    source.close()


def test_partitions_without_an_owner_are_looked_for_after_each_rebalance(beamline, monkeypatch):
    settings, looks, answers = beamline(partitions=2), [], [None, frozenset({0})]
    truly, generations = source_module.assigned_partitions, []

    def look(*asked):
        looks.append(answers.pop(0) if answers else truly(*asked))
        generations.append(coordinator._generation.generation_id)
        return looks[-1]

    monkeypatch.setattr(source_module, "assigned_partitions", look)
    for pause in ("_LOOK_INTERVAL_S", "_LOOK_AT_GROUP_INTERVAL_S"):
        monkeypatch.setattr(source_module, pause, 0.1)
    source = KafkaSource(settings.kafka, settings.topic("raw"), settings.group("phase-map"))
    coordinator = source._consumer._coordinator
    polled_until(source, lambda: {0, 1} in looks)
    assert looks[:2] == [None, {0}] and generations[2] > generations[1]  # shared out anew
    for _ in range(50):
        source.poll(0.01)
    seen = len(looks)
    for _ in range(50):
        source.poll(0.01)
    assert len(looks) == seen
    coordinator.request_rejoin()
    polled_until(source, lambda: len(looks) > seen)
    assert looks[-1] == {0, 1}
    source.close()


def test_a_partition_that_comes_back_with_nothing_new_has_no_lag(beamline):
    """As after a freeze: the broker has told this connection of its end before, and does not say it again."""
    settings = beamline()
    kafka = settings.kafka.model_copy(update={"session_timeout_s": 6.0})
    names = settings.topic("raw"), settings.group("phase-map")
    frozen, other = (KafkaSource(kafka, *names, restores=True) for _ in range(2))

    def turned_until(condition, *sources):
        deadline_s = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline_s, "did not come true in time"
            for source in sources:
                source.poll(0.01)
                source.revoked()
                for partition in source.gained():
                    source.begin(partition, 0)

    for source in (frozen, other):
        source.on_leaving(lambda partitions: None)
    turned_until(lambda: frozen.assigned() and frozen.lag() == 0, frozen)
    frozen._consumer._coordinator.request_rejoin()
    frozen._consumer.poll(0)  # a join begins; nothing more is heard of this member, no heartbeat either
    turned_until(lambda: other.assigned() and other.lag() == 0, other)
    other.close()
    turned_until(lambda: not joining(frozen._consumer) and frozen.assigned(), frozen)
    turned_until(lambda: frozen.lag() == 0, frozen)
    frozen.close()


def test_all_clients_ask_for_metadata_again_as_soon_as_they_were_told_to(beamline):
    """The client keeps to 100 ms between two topics, whatever it is told: three times for each takeover."""
    kafka = beamline().kafka
    clients = [
        connect(kafka, lambda options: KafkaConsumer(**options)),
        connect(kafka, lambda options: KafkaProducer(**options)),
        connect(kafka, lambda options: KafkaAdminClient(**options)),
    ]
    pauses_ms = [clients[0]._cluster, clients[1]._metadata, clients[2]._manager.cluster]
    assert [cluster.refresh_backoff() for cluster in pauses_ms] == [20, 20, 20]
    for client in clients:
        client.close()


class _Claims:
    """A member that says who it is; ``stale``: as one that the group has forgotten."""

    def __init__(self, source):
        self._source, self.stale = source, False

    def group_metadata(self):
        metadata = self._source.group_metadata()
        return metadata._replace(member_id="nobody") if self.stale else metadata


def test_positions_of_an_aborted_transaction_are_not_committed_with_the_next(beamline):
    settings = beamline(partitions=2)
    raw, watchdog = settings.topic("raw"), Watchdog()
    source = KafkaSource(settings.kafka, raw, settings.group("phase-map"), watchdog=watchdog)
    while len(source.assigned()) < 2:
        source.poll(0.2)
        source.revoked()
    claims = _Claims(source)
    sink = TransactionalSink(settings.kafka, DeliverySettings(), "claims", claims, watchdog)
    claims.stale = True
    with pytest.raises(DeliveryAborted):
        sink.deliver([], {(raw, 0): 11, (raw, 1): 12})
    claims.stale = False
    delivered(sink, source, [], {(raw, 1): 13})
    sink.close()
    source.close()
    stored = KafkaState(
        settings.kafka,
        DeliverySettings(),
        settings.state_topic("phase-map"),
        raw,
        settings.group("phase-map"),
    )
    assert [stored.load(n).committed for n in (0, 1)] == [None, 13]


def test_state_that_waits_for_a_transaction_says_so_and_gives_up_in_its_deadline(beamline):
    settings = beamline()
    topic = settings.state_topic("phase-map")
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap,
        transactional_id="undecided",
        transaction_timeout_ms=60_000,
    )
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, key=b"run", value=b"state", partition=0).get(10)
    state = KafkaState(
        settings.kafka, DeliverySettings(restore_timeout_s=6.5), topic, settings.topic("raw"),
        settings.group("phase-map"),
    )  # fmt: skip
    with capture_logs() as said, pytest.raises(FatalError, match="a transaction is undecided"):
        state.load(0)
    (waits,) = [entry for entry in said if entry["event"].startswith("state is still being read")]
    assert (waits["partition"], waits["position"], waits["end"]) == (0, 0, 1)
    producer.abort_transaction()
    assert not state.load(0).records
    producer.close()
