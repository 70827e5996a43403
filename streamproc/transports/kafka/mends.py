"""What kafka-python (3.0.12) gets wrong, mended from outside: all use of its private parts is here.

Each has a test with a real broker that fails without it (``tests/integration/test_client_faults.py``).
"""

from __future__ import annotations

import time
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.coordinator.base import MemberState
from kafka.errors import KafkaConnectionError

__all__ = [
    "ask_again_soon",
    "forget_positions",
    "join",
    "joining",
    "keep_requests",
    "know_partition",
    "rejoin",
    "tell_of_losses",
    "topic_id",
]

_BACKOFF_MS = 20


def ask_again_soon(client: Any) -> None:
    """Have a consumer, producer or administrator ask for metadata again after 20 ms.

    What it says of topics is asked for one topic after the other, and kafka-python lets 100 ms pass between
    two questions: it never gives its ``retry_backoff_ms`` to the part that asks. Each takeover of a partition
    would wait for three of them. After failures its own growing pauses go on to hold.
    """
    cluster = client._metadata if isinstance(client, KafkaProducer) else client._manager.cluster
    cluster.config["retry_backoff_ms"] = _BACKOFF_MS


def joining(consumer: KafkaConsumer) -> bool:
    """Whether the next poll begins or continues joining the group (only the coordinator knows before)."""
    rejoin: bool = consumer._coordinator.need_rejoin()
    return rejoin or consumer.group_metadata().state is not MemberState.STABLE


def join(consumer: KafkaConsumer, timeout_ms: int) -> bool:
    """Join the group for at most ``timeout_ms`` (ms); returns, as soon as it is so, whether it is joined.

    A poll would wait to its end for messages, of partitions that cannot be read yet. And a leader that joins
    because the topic's partitions became known needs no join any more once it has assigned them. When the
    answer comes between two polls, kafka-python never takes it: it sends no heartbeats, takes no commits,
    and loses its place in the group.
    """
    coordinator = consumer._coordinator
    if not coordinator.need_rejoin():
        coordinator.request_rejoin()
    coordinator.poll(timeout_ms=timeout_ms)
    return not joining(consumer)


def rejoin(consumer: KafkaConsumer) -> None:
    """Have the next poll join the group again; where this is the group's leader all is shared out anew.

    A leader that restarted in its old place does not know that it leads. So nobody would ever see that the
    topic has more partitions than were shared out.
    """
    consumer._coordinator.request_rejoin()


def know_partition(producer: KafkaProducer, topic: str, partition: int, timeout_s: float) -> None:
    """Have a producer know a partition that was added to a topic after it had asked for the topic.

    It would refuse to send to it until it asks again by itself, after five minutes.
    """
    deadline_s = time.monotonic() + timeout_s
    while partition not in producer.partitions_for(topic) and time.monotonic() < deadline_s:
        producer._metadata.request_update()
        time.sleep(_BACKOFF_MS / 1000)


def tell_of_losses(consumer: KafkaConsumer) -> None:
    """Have it tell of lost partitions whenever its membership ends, and claim them no more.

    It tells at the beginning of a join, and of a join that is under way nothing more. A process that froze
    meanwhile, and was put out of the group, would come back as a new member that still holds partitions
    which others have worked on since, and could commit over them. And to the group it claims what it last
    had, also after a loss: the leader then waits for it to give up what it has not, and a partition that is
    meant for another member goes to nobody.
    """
    coordinator = consumer._coordinator
    reset = coordinator.reset_generation

    def reset_generation(*member_id: str, **named: str) -> None:
        reset(*member_id, **named)
        coordinator.rejoining = False  # so the next attempt begins from the beginning, where losses are told
        for assignor in coordinator._assignors.values():
            assignor.member_assignment = None

    coordinator.reset_generation = reset_generation


def keep_requests(producer: KafkaProducer) -> None:
    """Keep it from forgetting a transactional request whose coordinator just went away.

    Its sender takes the request from its queue, waits for a connection, and puts the request back when that
    wait returns False; but the wait never returns False, it raises, and then the request is lost and whoever
    waits for its answer waits for ever.
    """
    client = producer._sender._client
    wait_for_connection = client.await_ready

    def await_ready(node_id: Any, timeout_ms: float = 30_000) -> bool:
        try:
            return bool(wait_for_connection(node_id, timeout_ms=timeout_ms))
        except KafkaConnectionError:
            return False

    client.await_ready = await_ready


def forget_positions(producer: KafkaProducer) -> None:
    """Keep it from committing positions of an aborted transaction with the next one.

    They may be those of partitions that are another member's by then, whose work would be done again.
    """
    producer._transaction_manager._pending_txn_offset_commits.clear()


def topic_id(consumer: KafkaConsumer, topic: str) -> str:
    """Return the identity of a topic whose metadata was fetched; empty where the broker tells none."""
    found = consumer._cluster.topic_id(topic)
    return "" if found is None or not found.int else str(found)
