"""server.properties of a small KRaft cluster on one machine; the seat for more nodes and for encryption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Node", "node_properties", "render"]

_MESSAGE_BYTES = 128 * 1024 * 1024
_REQUEST_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Node:
    """One broker and controller: its number, its ports on ``host``, its folder."""

    number: int
    host: str
    port: int
    controller_port: int
    folder: Path

    @property
    def address(self) -> str:
        """HOST:PORT for clients."""
        return f"{self.host}:{self.port}"


def node_properties(
    node: Node, nodes: Sequence[Node], extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the properties of ``node`` in a cluster of ``nodes``.

    One node answers as soon as it runs: no waiting for group members, few partitions in the internal topics,
    small buffers. Messages may have 128 MB, so that frames fit.

    Parameters
    ----------
    node, nodes
        This node and all of them.
    extra : Mapping or None
        Laid over the rest.
    """
    replicas = str(min(3, len(nodes)))
    in_sync = str(min(2, len(nodes)))
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        "controller.quorum.voters": ",".join(f"{n.number}@{n.host}:{n.controller_port}" for n in nodes),
        "listeners": f"PLAINTEXT://{node.host}:{node.port},CONTROLLER://{node.host}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{node.address}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(node.folder / "data"),
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        "message.max.bytes": str(_MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(_MESSAGE_BYTES),
        "socket.request.max.bytes": str(_REQUEST_BYTES),
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    }
    if len(nodes) > 1:
        # The default of 9 s is how long clients wait for a node that was killed.
        properties |= {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
    return properties | dict(extra or {})


def render(properties: Mapping[str, str]) -> str:
    """Return the text of a properties file."""
    return "".join(
        f"{key}={value.replace(chr(92), chr(92) * 2)}\n" for key, value in sorted(properties.items())
    )
