"""The topics a beamline needs: made where they are missing, checked where they are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from streamproc.errors import ConfigurationError
from streamproc.settings import Settings
from streamproc.transports.kafka.connect import connect

__all__ = ["TopicReport", "check_topics", "ensure_topics"]

Which = Literal["raw", "results", "deadletters"]

_HEADROOM_BYTES = 2 * 1024 * 1024
_ROLES: Final[tuple[Which, ...]] = ("raw", "results", "deadletters")


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What one topic is like.

    Attributes
    ----------
    role, name : str
        ``raw``, ``results`` or ``deadletters``, and the topic's name.
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


def ensure_topics(settings: Settings, create: bool = True, partitions: int = 1) -> list[TopicReport]:
    """Make the topics that are missing (with ``create``) and report on all of them.

    Topics that exist are never altered: what does not fit is reported with what to do.

    Parameters
    ----------
    settings : Settings
        Broker and topic names.
    create : bool
        Whether to make missing topics.
    partitions : int
        Partitions of a raw topic made here; results get as many as raw has, dead letters one.

    Raises
    ------
    ConfigurationError
        No broker, or no right to create or to look.
    """
    admin = connect(settings.kafka, lambda options: KafkaAdminClient(**options))
    try:
        found = _partition_counts(admin, settings)
        raw = found["raw"] or partitions
        wanted = {role: 1 if role == "deadletters" else raw for role in _ROLES}
        missing = [role for role in _ROLES if create and not found[role]]
        if missing:
            _create(admin, settings, {role: wanted[role] for role in missing})
        configs = _configs(admin, [settings.topic(r) for r in _ROLES if found[r] or r in missing])
        counts = {r: wanted[r] if r in missing else found[r] for r in _ROLES}
        return [_report(settings, r, counts, configs, r in missing) for r in _ROLES]
    except KafkaError as error:
        raise ConfigurationError(f"topics at {settings.kafka.bootstrap}: {error}") from error
    finally:
        admin.close()


def check_topics(settings: Settings) -> list[TopicReport]:
    """Report on the topics without making any.

    Raises
    ------
    ConfigurationError
        No broker, or no right to look.
    """
    return ensure_topics(settings, create=False)


def _partition_counts(admin: KafkaAdminClient, settings: Settings) -> dict[Which, int]:
    present = set(admin.list_topics())
    # Only existing ones are described: asking for a missing topic could create it.
    ours: dict[Which, str] = {r: name for r in _ROLES if (name := settings.topic(r)) in present}
    described = admin.describe_topics(list(ours.values())) if ours else []
    counts = {topic["name"]: len(topic["partitions"]) for topic in described}
    return {role: counts.get(ours.get(role, ""), 0) for role in _ROLES}


def _create(admin: KafkaAdminClient, settings: Settings, wanted: Mapping[Which, int]) -> None:
    largest = str(settings.kafka.max_message_bytes + _HEADROOM_BYTES)
    topics = [
        NewTopic(
            settings.topic(role),
            num_partitions=count,
            replication_factor=-1,
            topic_configs={"cleanup.policy": "delete", "max.message.bytes": largest},
        )
        for role, count in wanted.items()
    ]
    try:
        admin.create_topics(topics, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        # Another process was quicker; what it made is reported like any other topic.
        admin.wait_for_topics([t.name for t in topics])


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


def _report(
    settings: Settings,
    role: Which,
    counts: Mapping[Which, int],
    configs: Mapping[str, Mapping[str, str]],
    created: bool,
) -> TopicReport:
    name, count = settings.topic(role), counts[role]
    if not count:
        return TopicReport(
            role, name, 0, problems=("does not exist: make it with `streamproc topics create`",)
        )
    problems, config = [], configs.get(name, {})
    largest, needed = int(config.get("max.message.bytes", 2**62)), settings.kafka.max_message_bytes
    if largest < needed:
        problems.append(
            f"max.message.bytes is {largest}, kafka.max_message_bytes {needed}: raise the first or lower "
            "the second"
        )
    if "compact" in config.get("cleanup.policy", ""):
        problems.append("cleanup.policy is compact, which throws documents of a run away: set it to delete")
    if role == "results" and counts["raw"] and count != counts["raw"]:
        problems.append(f"has {count} partitions, the raw topic {counts['raw']}: give both the same number")
    return TopicReport(role, name, count, created, tuple(problems))
