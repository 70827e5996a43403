"""Whether a cluster is whole: every copy of every partition on a node that keeps up."""

from __future__ import annotations

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from streamproc.errors import ConfigurationError
from streamproc.settings import KafkaSettings
from streamproc.transports.kafka.connect import connect

__all__ = ["lagging_partitions"]


def lagging_partitions(kafka: KafkaSettings, timeout_s: float) -> list[str] | None:
    """Return the partitions, ``topic/number``, of which some copy is missing or behind.

    Parameters
    ----------
    kafka : KafkaSettings
        Whom to ask; one node's view is enough.
    timeout_s : float
        How long to wait for an answer (s).

    Returns
    -------
    list of str or None
        Empty when nothing lags; None without an answer.
    """
    patient = kafka.model_copy(update={"connect_timeout_s": timeout_s, "request_timeout_s": timeout_s})
    try:
        admin = connect(patient, lambda options: KafkaAdminClient(**options))
    except ConfigurationError:
        return None
    try:
        topics = admin.describe_topics()
    except KafkaError:
        return None
    finally:
        admin.close()
    return [
        f"{topic['name']}/{p['partition_index']}"
        for topic in topics
        for p in topic["partitions"]
        if len(p["isr_nodes"]) < len(p["replica_nodes"]) or p["leader_id"] < 0
    ]
