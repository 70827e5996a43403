"""The topics a beamline needs: made where they are missing, checked where they are there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import (
    InvalidPartitionsError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from streamproc.errors import BrokerAway, ConfigurationError
from streamproc.settings import Settings
from streamproc.transports.kafka.connect import connect, denied, patiently, who

__all__ = ["TopicReport", "check_topics", "ensure_topics"]

Role = Literal["raw", "results", "deadletters", "state"]

_LEARNT_WITHIN_S = 10.0
_LOOK_INTERVAL_S = 0.1
_HEADROOM_BYTES = 2 * 1024 * 1024
_SEGMENT_BYTES = 16 * 1024 * 1024
_MINUTE_MS, _DAY_MS = 60 * 1000, 24 * 3600 * 1000
_NEEDED: Final[Mapping[Role, tuple[str, ...]]] = {
    "raw": ("read",),
    "results": ("write",),
    "deadletters": ("write",),
    "state": ("read", "write"),
}
"""What a service does with each."""
_LETTERS = {
    "cleanup.policy": "compact,delete",
    "retention.ms": str(30 * _DAY_MS),
    "retention.bytes": str(1024**3),
}
_STATE = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.1",
    "min.compaction.lag.ms": "0",
    "delete.retention.ms": str(_DAY_MS),
    # The segment that is written to is never compacted; without this a quiet topic would keep it for a week.
    "segment.ms": str(10 * _MINUTE_MS),
}


@dataclass(frozen=True, slots=True)
class _Topic:
    """What the broker says of a topic; ``allowed``: what we may do with it, None where it does not say."""

    partitions: int
    hidden: bool
    allowed: frozenset[str] | None
    config: Mapping[str, str] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        return self.hidden or self.partitions > 0


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What one topic is like.

    Attributes
    ----------
    role, name : str
        ``raw``, ``results``, ``deadletters`` or ``state``, and the topic's name.
    partitions : int
        0 when the topic does not exist.
    created : bool
        Whether it was made just now.
    problems : tuple of str
        What is wrong with it, each with what to do; empty when all is well.
    """

    role: str
    name: str
    partitions: int
    created: bool = False
    problems: tuple[str, ...] = ()


def ensure_topics(
    settings: Settings,
    create: bool = True,
    partitions: int = 1,
    analysis: str | Iterable[str] | None = None,
) -> list[TopicReport]:
    """Make the topics that are missing (with ``create``) and report on all of them.

    Topics that exist are not altered: what does not fit is reported with what to do. Except that a state
    topic gets as many partitions as the raw topic, where that has more by now.

    Parameters
    ----------
    settings : Settings
        Broker and topic names.
    create : bool
        Whether to make missing topics.
    partitions : int
        Partitions of a raw topic made here; results and state get as many as raw has, dead letters one.
    analysis : str, iterable of str, or None
        The analysis (or several) whose state topic is meant as well; None: without any.

    Raises
    ------
    ConfigurationError
        No broker, or no right to create or to look.
    """
    names = _names(settings, [analysis] if isinstance(analysis, str) else analysis or ())
    raw_name = settings.topic("raw")
    admin = connect(settings.kafka, lambda options: KafkaAdminClient(**options))
    try:
        # A node that was frozen just now is given up after the client's own time-out of a connection, 10 s.
        patience_s = settings.kafka.connect_timeout_s + settings.kafka.request_timeout_s
        found = patiently(lambda: _look(admin, names), patience_s)
        missing = [name for name, topic in found.items() if create and not topic.exists]
        if missing:
            raw = found[raw_name].partitions or partitions
            wanted = {name: 1 if names[name] == "deadletters" else raw for name in missing}
            _create(admin, settings, names, wanted)
            found = _look_for(admin, names, dict.fromkeys(missing, 1))
        raw = found[raw_name].partitions
        small = [n for n, topic in found.items() if names[n] == "state" and 0 < topic.partitions < raw]
        if create and small:
            _grow(admin, settings, dict.fromkeys(small, raw))
            found = _look_for(admin, names, dict.fromkeys(small, raw))
        return [
            TopicReport(role, name, found[name].partitions, name in missing, problems)
            for name, role in names.items()
            for problems in [_problems(settings, role, found[name], found[raw_name].partitions)]
        ]
    except KafkaError as error:
        kind = BrokerAway if error.retriable else ConfigurationError
        raise denied(error, settings.kafka, "look at the topics") or kind(
            f"topics at {settings.kafka.bootstrap}: {error}"
        ) from error
    finally:
        admin.close()


def check_topics(settings: Settings, analysis: str | Iterable[str] | None = None) -> list[TopicReport]:
    """Report on the topics without making any; parameters as those of :func:`ensure_topics`.

    Raises
    ------
    ConfigurationError
        No broker, or no right to look.
    """
    return ensure_topics(settings, create=False, analysis=analysis)


def _names(settings: Settings, analyses: Iterable[str]) -> dict[str, Role]:
    """Return the topics' names with their roles."""
    names: dict[str, Role] = {
        settings.topic("raw"): "raw",
        settings.topic("results"): "results",
        settings.topic("deadletters"): "deadletters",
    }
    return names | {settings.state_topic(analysis): "state" for analysis in analyses}


def _look(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, _Topic]:
    # Asked by name: a list of all topics leaves out those that we may not see.
    answers = {topic["name"]: topic for topic in admin.describe_topics(list(names))}
    found = {
        name: _Topic(
            partitions=len(answer["partitions"]),
            hidden=answer["error_code"] == TopicAuthorizationFailedError.errno,
            allowed=None if (may := answer.get("authorized_operations")) is None else frozenset(may),
        )
        for name in names
        for answer in [answers[name]]
    }
    configs = _configs(admin, [name for name, topic in found.items() if topic.partitions])
    return {name: replace(topic, config=configs.get(name, {})) for name, topic in found.items()}


def _look_for(admin: KafkaAdminClient, names: Iterable[str], made: Mapping[str, int]) -> dict[str, _Topic]:
    """Look until the node that answers knows the partitions just made; each node learns of them by itself."""
    deadline_s = time.monotonic() + _LEARNT_WITHIN_S
    while True:
        found = _look(admin, names)
        known = (found[n].hidden or found[n].partitions >= count for n, count in made.items())
        if all(known) or time.monotonic() > deadline_s:
            return found
        time.sleep(_LOOK_INTERVAL_S)


def _create(
    admin: KafkaAdminClient, settings: Settings, names: Mapping[str, Role], counts: Mapping[str, int]
) -> None:
    topics = [
        NewTopic(
            name,
            num_partitions=count,
            replication_factor=-1,
            topic_configs=_topic_configs(settings, names[name]),
        )
        for name, count in counts.items()
    ]
    answer = admin.create_topics(topics, raise_errors=False)
    for topic in answer["topics"]:
        error, name = for_code(topic["error_code"]), topic["name"]
        # Another process may be quicker; what it made is reported like any other topic.
        if error not in (NoError, TopicAlreadyExistsError):
            raise denied(error(), settings.kafka, f"create topic {name}") or ConfigurationError(
                f"topic {name} not created at {settings.kafka.bootstrap}: "
                f"{topic['error_message'] or error.__name__}"
            )
    admin.wait_for_topics(list(counts))


def _grow(admin: KafkaAdminClient, settings: Settings, counts: Mapping[str, int]) -> None:
    answer = admin.create_partitions(dict(counts), raise_errors=False)
    for result in answer.results:
        error = for_code(result.error_code)
        # Another instance may be quicker.
        if error not in (NoError, InvalidPartitionsError):
            raise denied(error(), settings.kafka, f"add partitions to topic {result.name}") or (
                ConfigurationError(
                    f"topic {result.name} did not get {counts[result.name]} partitions at "
                    f"{settings.kafka.bootstrap}: {result.error_message or error.__name__}"
                )
            )


def _topic_configs(settings: Settings, role: Role) -> dict[str, str]:
    largest = settings.kafka.max_message_bytes + _HEADROOM_BYTES
    configs = {"cleanup.policy": "delete", "max.message.bytes": str(largest)}
    if role == "deadletters":
        return configs | _LETTERS
    if role == "state":
        # A broker refuses a message that is larger than a segment.
        return configs | _STATE | {"segment.bytes": str(max(_SEGMENT_BYTES, largest))}
    return configs


def _configs(admin: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """Return ``max.message.bytes`` and ``cleanup.policy`` per topic; empty where they may not be read."""
    keys = ["max.message.bytes", "cleanup.policy"]
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, configs=keys) for name in names]
    try:
        described: Mapping[str, Any] = admin.describe_configs(resources, config_filter="all") if names else {}
    except KafkaError:
        return {}
    by_topic = next((v for k, v in described.items() if str(k).lower().endswith("topic")), described)
    return {name: {key: str(entry["value"]) for key, entry in by_topic[name].items()} for name in names}


def _problems(settings: Settings, role: Role, topic: _Topic, raw: int) -> tuple[str, ...]:
    kafka = settings.kafka
    if topic.hidden:
        needed = " and ".join(right.capitalize() for right in _NEEDED[role])
        return (f"{who(kafka)} may not see it: have {needed} on it allowed, or set {_elsewhere(role)}",)
    if not topic.exists:
        return ("does not exist: make it with `streamproc topics create`",)
    problems = []
    for right in _NEEDED[role]:
        if topic.allowed is not None and right.upper() not in topic.allowed:
            problems.append(
                f"{who(kafka)} may not {right} it: have {right.capitalize()} on it allowed, or set "
                f"{_elsewhere(role)}"
            )
    largest, needed_bytes = int(topic.config.get("max.message.bytes", 2**62)), kafka.max_message_bytes
    if largest < needed_bytes:
        problems.append(
            f"max.message.bytes is {largest}, kafka.max_message_bytes {needed_bytes}: raise the first or "
            "lower the second"
        )
    if "cleanup.policy" in topic.config:
        problems += _policy_problems(role, topic.config["cleanup.policy"].split(","))
    if role == "state" and raw and topic.partitions != raw:
        problems.append(
            f"has {topic.partitions} partitions, the raw topic {raw}: give both the same number"
            + ("; `streamproc topics create` adds what is missing" if topic.partitions < raw else "")
        )
    return tuple(problems)


def _elsewhere(role: Role) -> str:
    return f"kafka.{role}_topic or kafka.username"


def _policy_problems(role: Role, policy: Sequence[str]) -> list[str]:
    if role == "state":
        if list(policy) != ["compact"]:
            return [
                f"cleanup.policy is {','.join(policy)}, which throws away the state of runs that stay open: "
                "set it to compact"
            ]
    elif role == "deadletters":
        if "delete" not in policy:
            return ["cleanup.policy is compact, so letters are kept for ever: set it to compact,delete"]
    elif "compact" in policy:
        return ["cleanup.policy is compact, which throws documents of a run away: set it to delete"]
    return []
