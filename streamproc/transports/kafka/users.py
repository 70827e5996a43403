"""Users of a broker with log-in, and what they may do; for whoever administers it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError

from streamproc.errors import ConfigurationError
from streamproc.settings import KafkaSettings, Settings
from streamproc.transports.kafka.connect import connect, denied

__all__ = ["Right", "allow", "put_user", "service_rights", "withdraw"]

Kind = Literal["topic", "group", "transactional_id", "cluster"]

_MECHANISM = "SCRAM-SHA-512"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One thing a user may do.

    Attributes
    ----------
    kind : str
        ``topic``, ``group``, ``transactional_id`` or ``cluster``.
    name : str
        Of the topic, group or id; ``kafka-cluster`` for the cluster.
    operation : str
        As Kafka names it, in small letters: ``read``, ``write``, ``describe``, ``idempotent_write``, ...
        To read or write includes to describe.
    prefix : bool
        Whether everything that begins with ``name`` is meant.
    """

    kind: Kind
    name: str
    operation: str
    prefix: bool = False


def service_rights(settings: Settings, analysis: str) -> frozenset[Right]:
    """Return exactly what a service of ``analysis`` needs.

    Parameters
    ----------
    settings : Settings
        Names of topics, group and transactional id.
    analysis : str
        Name of the analysis.
    """
    group, state = settings.group(analysis), settings.state_topic(analysis)
    topics = {
        settings.topic("raw"): ("read",),
        settings.topic("results"): ("write",),
        settings.topic("deadletters"): ("write",),
        state: ("read", "write"),
    }
    given = settings.kafka.transactional_id
    return frozenset(
        [
            *(Right("topic", name, what) for name, whats in topics.items() for what in whats),
            *(Right("topic", name, "describe_configs") for name in topics),
            Right("group", group, "read"),
            Right("transactional_id", given or f"{group}.", "write", prefix=given is None),
        ]
    )


def put_user(kafka: KafkaSettings, user: str, password: str) -> None:
    """Make a user, or give one another password (SCRAM-SHA-512).

    Raises
    ------
    ConfigurationError
        No broker, no right to do it, or a name or password the broker refuses.
    """
    with _admin(kafka, f"make user {user!r}") as admin:
        change = UserScramCredentialUpsertion(user, _MECHANISM, password)
        if fault := admin.alter_user_scram_credentials([change])[user]:
            raise ConfigurationError(f"user {user!r} not made: {fault}")


def allow(kafka: KafkaSettings, user: str, rights: Iterable[Right]) -> None:
    """Give rights to a user.

    Raises
    ------
    ConfigurationError
        No broker, no right to do it, or a broker without rights (no authorizer).
    """
    wanted = [_acl(user, right) for right in rights]
    with _admin(kafka, f"give rights to user {user!r}") as admin:
        if failed := admin.create_acls(wanted)["failed"]:
            raise failed[0]


def withdraw(kafka: KafkaSettings, user: str, rights: Iterable[Right]) -> None:
    """Take rights away from a user; parameters and errors as those of :func:`allow`."""
    filters = [_filter(user, right) for right in rights]
    with _admin(kafka, f"take rights from user {user!r}") as admin:
        admin.delete_acls(filters)


@contextmanager
def _admin(kafka: KafkaSettings, doing: str) -> Iterator[KafkaAdminClient]:
    admin = connect(kafka, lambda options: KafkaAdminClient(**options))
    try:
        yield admin
    except KafkaError as error:
        raise denied(error, kafka, doing) or ConfigurationError(
            f"Kafka broker at {kafka.bootstrap}: {doing}: {error}"
        ) from error
    finally:
        admin.close()


def _parts(right: Right) -> tuple[ResourceType, str, ACLResourcePatternType, ACLOperation]:
    pattern = ACLResourcePatternType.PREFIXED if right.prefix else ACLResourcePatternType.LITERAL
    kind, operation = ResourceType[right.kind.upper()], ACLOperation[right.operation.upper()]
    return kind, right.name, pattern, operation


def _acl(user: str, right: Right) -> ACL:
    kind, name, pattern, operation = _parts(right)
    resource = ResourcePattern(kind, name, pattern)
    return ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, resource)


def _filter(user: str, right: Right) -> ACLFilter:
    kind, name, pattern, operation = _parts(right)
    resource = ResourcePatternFilter(kind, name, pattern)
    return ACLFilter(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, resource)
