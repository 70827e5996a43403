"""Which consumer groups are at work on a broker, and how far one is."""

from __future__ import annotations

from functools import partial

from kafka import KafkaAdminClient, KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from streamproc.errors import ConfigurationError
from streamproc.settings import KafkaSettings
from streamproc.transports.kafka.connect import connect, denied, milliseconds, patiently

__all__ = ["active_groups", "assigned_partitions", "committed_positions"]

_ACTIVE = ("Stable", "PreparingRebalance", "CompletingRebalance")


def active_groups(kafka: KafkaSettings) -> list[str]:
    """Return the consumer groups that have members now, sorted by name.

    Raises
    ------
    ConfigurationError
        No broker, or no right to look.
    """
    admin = connect(kafka, lambda options: KafkaAdminClient(**options))
    try:
        groups = admin.list_groups()
    except KafkaError as error:
        raise ConfigurationError(f"consumer groups at {kafka.bootstrap}: {error}") from error
    finally:
        admin.close()
    return sorted(str(g["group_id"]) for g in groups if g.get("group_state") in _ACTIVE)


def assigned_partitions(kafka: KafkaSettings, group: str, topic: str) -> frozenset[int] | None:
    """Return the partitions of a topic that members of a group have; None while they are shared out anew.

    Raises
    ------
    ConfigurationError
        No broker, or no right to look.
    """
    admin = connect(kafka, lambda options: KafkaAdminClient(**options))
    try:
        found = admin.describe_groups([group])[group]
    except KafkaError as error:
        raise denied(error, kafka, f"look at consumer group {group}") or ConfigurationError(
            f"consumer group {group} at {kafka.bootstrap}: {error}"
        ) from error
    finally:
        admin.close()
    if found["group_state"] != "Stable":
        return None
    assignments = [m["member_assignment"] or {} for m in found["members"]]
    given = [a for assignment in assignments for a in assignment.get("assigned_partitions", ())]
    return frozenset(int(n) for a in given if a["topic"] == topic for n in a["partitions"])


def committed_positions(kafka: KafkaSettings, topic: str, group: str) -> dict[int, int]:
    """Return what a group has committed of a topic, by partition; partitions without are left out.

    Raises
    ------
    ConfigurationError
        No broker, or no right to use the group.
    """
    consumer = connect(
        kafka, lambda options: KafkaConsumer(**options, group_id=group, enable_auto_commit=False)
    )
    timeout_ms = milliseconds(kafka.request_timeout_s)

    def committed(number: int) -> int | None:
        at = consumer.committed(KafkaPartition(topic, number), timeout_ms=timeout_ms)
        return None if at is None else int(at)

    try:
        numbers = patiently(lambda: consumer.partitions_for_topic(topic) or (), kafka.connect_timeout_s)
        found = {n: patiently(partial(committed, n), kafka.connect_timeout_s) for n in sorted(numbers)}
        return {n: at for n, at in found.items() if at is not None}
    except KafkaError as error:
        raise denied(error, kafka, f"use consumer group {group}") or ConfigurationError(
            f"positions of group {group} cannot be read: {error}"
        ) from error
    finally:
        consumer.close(autocommit=False, timeout_ms=1000)
