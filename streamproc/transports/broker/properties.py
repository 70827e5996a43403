"""server.properties of a small KRaft cluster on one machine, open or with encryption, log-in and rights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ADMIN", "NODE_NAME", "Certificates", "Node", "node_properties", "render"]

ADMIN = "admin"
"""The user that may do everything on a broker with log-in."""
NODE_NAME = "streamproc-node"
"""Common name of the certificate that nodes show to each other."""

_MESSAGE_BYTES = 128 * 1024 * 1024
_REQUEST_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Node:
    """One broker and controller.

    Attributes
    ----------
    number : int
        From 1; Kafka's ``node.id``.
    host : str
        Address that all its ports are on.
    port, controller_port, inner_port : int
        For clients; for the controllers' quorum; for the nodes among themselves, where clients' port is
        encrypted.
    folder : Path
        Its properties, log and data.
    """

    number: int
    host: str
    port: int
    controller_port: int
    inner_port: int
    folder: Path

    @property
    def address(self) -> str:
        """HOST:PORT for clients."""
        return f"{self.host}:{self.port}"

    @property
    def inner_address(self) -> str:
        """HOST:PORT for the nodes among themselves."""
        return f"{self.host}:{self.inner_port}"


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of a broker.

    Attributes
    ----------
    authority : Path
        What clients trust (``kafka.ssl_cafile``).
    server : Path
        Key and certificate that clients see.
    node : Path
        Key and certificate that nodes show to each other.
    """

    authority: Path
    server: Path
    node: Path


def node_properties(
    node: Node,
    nodes: Sequence[Node],
    certificates: Certificates | None = None,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the properties of ``node`` in a cluster of ``nodes``.

    One node answers as soon as it runs: no waiting for group members, few partitions in the internal topics,
    small buffers. Messages may have 128 MB, so that frames fit. Three nodes keep every message three times,
    and one that was acknowledged to a client with acks=all is on two of them at least; a node that lacks
    acknowledged messages never becomes a leader.

    Parameters
    ----------
    node, nodes
        This node and all of them.
    certificates : Certificates or None
        With them clients' port is encrypted and wants a log-in, and users have the rights they were given.
    extra : Mapping or None
        Laid over the rest.
    """
    replicas, in_sync = str(min(3, len(nodes))), str(min(2, len(nodes)))
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        "controller.quorum.voters": ",".join(f"{n.number}@{n.host}:{n.controller_port}" for n in nodes),
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(node.folder / "data"),
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "unclean.leader.election.enable": "false",
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
        # The default of 9 s is how long a killed node is missed, by clients and by itself when it comes back.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    }
    listeners = _open_listeners(node) if certificates is None else _secure_listeners(node, certificates)
    return properties | listeners | dict(extra or {})


def _open_listeners(node: Node) -> dict[str, str]:
    return {
        "listeners": f"PLAINTEXT://{node.address},CONTROLLER://{node.host}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{node.address}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }


def _secure_listeners(node: Node, certificates: Certificates) -> dict[str, str]:
    """Clients log in with a password; nodes know each other by a certificate that only they have."""
    client, inner, controller = (f"listener.name.{name}." for name in ("sasl_ssl", "inner", "controller"))
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        "listeners": f"SASL_SSL://{node.address},INNER://{node.inner_address},"
        f"CONTROLLER://{node.host}:{node.controller_port}",
        "advertised.listeners": f"SASL_SSL://{node.address},INNER://{node.inner_address}",
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,INNER:SSL,CONTROLLER:SSL",
        "inter.broker.listener.name": "INNER",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.node),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.authority),
        f"{client}ssl.keystore.type": "PEM",
        f"{client}ssl.keystore.location": str(certificates.server),
        f"{client}ssl.client.auth": "none",
        f"{inner}ssl.client.auth": "required",
        f"{controller}ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        f"{client}scram-sha-512.sasl.jaas.config": scram,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:{ADMIN};User:CN={NODE_NAME}",
    }


def render(properties: Mapping[str, str]) -> str:
    """Return the text of a properties file."""
    return "".join(
        f"{key}={value.replace(chr(92), chr(92) * 2)}\n" for key, value in sorted(properties.items())
    )
