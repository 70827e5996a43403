"""Which consumer groups are at work on a broker."""

from __future__ import annotations

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from streamproc.errors import ConfigurationError
from streamproc.settings import KafkaSettings
from streamproc.transports.kafka.connect import connect

__all__ = ["active_groups"]

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
