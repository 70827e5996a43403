"""The topics a beamline needs: made where they are missing, checked where they are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from streamproc.errors import ConfigurationError
from streamproc.settings import Settings
from streamproc.transports.kafka.connect import connect

__all__ = ["TopicReport", "check_topics", "ensure_topics"]

Role = Literal["raw", "results", "deadletters", "state"]

_HEADROOM_BYTES = 2 * 1024 * 1024
_SEGMENT_BYTES = 16 * 1024 * 1024
_MINUTE_MS, _DAY_MS = 60 * 1000, 24 * 3600 * 1000
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

    Topics that exist are never altered: what does not fit is reported with what to do.

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
        counts = _partition_counts(admin, names)
        missing = [name for name in names if create and not counts[name]]
        raw = counts[raw_name] or partitions
        counts |= {name: 1 if names[name] == "deadletters" else raw for name in missing}
        if missing:
            _create(admin, settings, names, {name: counts[name] for name in missing})
        configs = _configs(admin, [name for name in names if counts[name]])
        return [
            TopicReport(role, name, counts[name], name in missing, problems)
            for name, role in names.items()
            for problems in [_problems(settings, role, counts[name], counts[raw_name], configs.get(name, {}))]
        ]
    except KafkaError as error:
        raise ConfigurationError(f"topics at {settings.kafka.bootstrap}: {error}") from error
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


def _partition_counts(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    present = set(admin.list_topics())
    # Only existing ones are described: asking for a missing topic could create it.
    ours = [name for name in names if name in present]
    described = admin.describe_topics(ours) if ours else []
    counts = {topic["name"]: len(topic["partitions"]) for topic in described}
    return {name: counts.get(name, 0) for name in names}


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
    try:
        admin.create_topics(topics, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        # Another process was quicker; what it made is reported like any other topic.
        admin.wait_for_topics(list(counts))


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


def _problems(
    settings: Settings, role: Role, count: int, raw: int, config: Mapping[str, str]
) -> tuple[str, ...]:
    if not count:
        return ("does not exist: make it with `streamproc topics create`",)
    problems = []
    largest, needed = int(config.get("max.message.bytes", 2**62)), settings.kafka.max_message_bytes
    if largest < needed:
        problems.append(
            f"max.message.bytes is {largest}, kafka.max_message_bytes {needed}: raise the first or lower "
            "the second"
        )
    if "cleanup.policy" in config:
        problems += _policy_problems(role, config["cleanup.policy"].split(","))
    if role in ("results", "state") and raw and count != raw:
        problems.append(f"has {count} partitions, the raw topic {raw}: give both the same number")
    return tuple(problems)


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
