"""What one node knows: who is up, whom it lets in, rights. A change reaches every node a little later."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourceType
from kafka.errors import KafkaError, for_code
from kafka.protocol.admin import DescribeAclsRequest
from kafka.protocol.metadata import MetadataRequest

from streamproc.errors import ConfigurationError
from streamproc.settings import KafkaSettings
from streamproc.transports.kafka.connect import broker_addresses, client_options
from streamproc.transports.kafka.login import ask_node
from streamproc.transports.kafka.users import Right

__all__ = ["brokers_seen", "lets_in", "rights_of", "until_known"]

_ANSWER_TIMEOUT_S = 5.0
_KNOWN_TIMEOUT_S = 30.0
_POLL_S = 0.05


def brokers_seen(kafka: KafkaSettings, timeout_s: float) -> frozenset[int]:
    """Return the numbers of the nodes that are up and take requests, as the one asked sees it.

    Parameters
    ----------
    kafka : KafkaSettings
        Whom to ask: the first address of ``bootstrap``.
    timeout_s : float
        How long to wait (s); without an answer nothing is up.
    """
    request = MetadataRequest(version=9, topics=[], allow_auto_topic_creation=False)
    try:
        return frozenset(broker.node_id for broker in _ask(kafka, request, timeout_s).brokers)
    except (OSError, KafkaError, ConfigurationError):
        return frozenset()


def lets_in(kafka: KafkaSettings) -> bool:
    """Tell whether a node (the first address of ``kafka.bootstrap``) takes the log-in of ``kafka``.

    Whether its certificate can be trusted is not asked.
    """
    options = client_options(kafka)
    if (context := options.get("ssl_context")) is not None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = MetadataRequest(version=9, topics=[], allow_auto_topic_creation=False)
    try:
        ask_node(broker_addresses(kafka)[0], kafka, options, request, _ANSWER_TIMEOUT_S)
    except (OSError, KafkaError, ConfigurationError):
        return False
    return True


def rights_of(kafka: KafkaSettings, user: str) -> frozenset[Right] | None:
    """Return the rights of a user as a node (the first address of ``kafka.bootstrap``) knows them.

    None without an answer.

    Raises
    ------
    ConfigurationError
        A node without rights (no authorizer).
    """
    request = DescribeAclsRequest(
        version=3,
        resource_type_filter=ResourceType.ANY,
        resource_name_filter=None,
        pattern_type_filter=ACLResourcePatternType.ANY,
        principal_filter=f"User:{user}",
        host_filter=None,
        operation=ACLOperation.ANY,
        permission_type=ACLPermissionType.ALLOW,
    )
    try:
        answer = _ask(kafka, request)
    except (OSError, KafkaError):
        return None
    if answer.error_code:
        raise ConfigurationError(
            f"Kafka broker at {kafka.bootstrap}: rights: "
            f"{answer.error_message or for_code(answer.error_code).__name__}"
        )
    found, _ = KafkaAdminClient._convert_describe_acls_response_to_acls(answer)
    return frozenset(_right(acl) for acl in found)


def until_known(condition: Callable[[], bool], what: str) -> None:
    """Wait until a node has taken in a change.

    Raises
    ------
    ConfigurationError
        Not within 30 s; ``what`` says what was waited for.
    """
    deadline_s = time.monotonic() + _KNOWN_TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise ConfigurationError(f"the Kafka broker did not take in {what} within {_KNOWN_TIMEOUT_S:g} s")
        time.sleep(_POLL_S)


def _ask(kafka: KafkaSettings, request: Any, timeout_s: float = _ANSWER_TIMEOUT_S) -> Any:
    return ask_node(broker_addresses(kafka)[0], kafka, client_options(kafka), request, timeout_s)


def _right(acl: ACL) -> Right:
    resource = acl.resource_pattern
    prefix = resource.pattern_type is ACLResourcePatternType.PREFIXED
    return Right(
        resource.resource_type.name.lower(), resource.resource_name, acl.operation.name.lower(), prefix
    )
