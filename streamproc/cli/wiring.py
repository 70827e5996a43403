"""Put the concrete parts of a service together."""

from __future__ import annotations

import time
import tomllib
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamproc.analysis import Analysis, LoadContext
from streamproc.cli.reloading import load_within
from streamproc.cli.shadow import ShadowPlan
from streamproc.errors import ConfigurationError
from streamproc.frames.paths import PathPolicy
from streamproc.frames.readers import FrameReader
from streamproc.loading import analysis_settings, find_analysis
from streamproc.observability.metrics import ServiceMetrics
from streamproc.runs import RunTracker
from streamproc.service import Service, ServiceParts
from streamproc.settings import Settings, load_settings, merge_tables
from streamproc.transports.kafka import (
    KafkaSink,
    KafkaSource,
    KafkaState,
    TransactionalSink,
    check_topics,
    ensure_topics,
)
from streamproc.transports.ports import Sink
from streamproc.validation import DocumentValidator
from streamproc.watchdog import Watchdog

__all__ = ["analysis_table", "build_service", "frame_reader", "load_analysis", "load_for", "settings_of"]


def settings_of(
    config: Path | None,
    bootstrap: str | None = None,
    beamline: str | None = None,
    analysis: dict[str, Any] | None = None,
) -> Settings:
    """Read the settings with the command line's overrides (``analysis``: tables by name) laid over them."""
    overrides: dict[str, Any] = {}
    if bootstrap:
        overrides["kafka"] = {"bootstrap": bootstrap}
    if beamline:
        overrides["beamline"] = beamline
    if analysis:
        overrides["analysis"] = analysis
    return load_settings(config, overrides)


def analysis_table(name: str, assignments: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` texts of the command line as ``{analysis: table}``; values as in TOML, or plain
    text.

    Raises
    ------
    ConfigurationError
        A text without ``=`` or key.
    """
    table: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise ConfigurationError(f"--set {text!r}: expected KEY=VALUE, e.g. axis_key=two_theta")
        try:
            read: Any = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            read = value
        for part in reversed(parts):
            read = {part: read}
        table = merge_tables(table, read)
    return {find_analysis(name).name: table} if table else {}


def load_analysis(name: str, settings: Settings, extra: dict[str, Any] | None = None) -> Analysis:
    """Load an analysis with its table of the settings; everything it needs is checked here."""
    analysis = find_analysis(name)
    unknown = sorted(set(settings.analysis) - {analysis.name, name} - _names())
    if unknown:
        raise ConfigurationError(f"[analysis.{unknown[0]}]: there is no such analysis")
    table = merge_tables(settings.analysis.get(analysis.name, {}), extra or {})
    return analysis.load(analysis_settings(analysis, table), LoadContext(settings.inference))


def load_for(name: str, settings: Settings, shadow: ShadowPlan | None) -> Analysis:
    """Load an analysis for a service, or with another model for its shadow."""
    if shadow is None:
        return load_analysis(name, settings)
    return shadow.wrap(load_analysis(name, settings, {"model": str(shadow.model)}))


def frame_reader(settings: Settings) -> FrameReader:
    """Build the reader of detector files."""
    frames = settings.frames
    policy = PathPolicy(tuple(frames.roots), dict(frames.prefix_map))
    return FrameReader(policy, max_frame_bytes=frames.max_frame_bytes)


def build_service(
    name: str, settings: Settings, shadow: ShadowPlan | None = None
) -> tuple[Service, ServiceMetrics, Analysis]:
    """Build the service of one analysis on the configured broker.

    Parameters
    ----------
    name : str
        The analysis.
    settings : Settings
        Those of the service; of a shadow: from :func:`shadow_settings`.
    shadow : ShadowPlan or None
        Given for a shadow.

    Raises
    ------
    ConfigurationError
        Anything the user must provide is missing or wrong: geometry, model, broker, topics.
    """
    if not name.endswith(".py"):
        _without_extensions()
    analysis = load_within(lambda: load_for(name, settings, shadow), settings.inference.load_timeout_s)
    for root in settings.frames.roots:
        if not root.is_dir():
            raise ConfigurationError(f"frames.roots: {root} is no folder")
    _require_topics(settings, analysis.name)
    metrics = ServiceMetrics(analysis.name)
    watchdog = Watchdog()
    group = settings.group(analysis.name)
    source = KafkaSource(
        settings.kafka, settings.topic("raw"), group, runs=settings.runs, watchdog=watchdog, restores=True
    )
    validator = DocumentValidator()
    sink = _sink(settings, group, source, watchdog)
    state = KafkaState(
        settings.kafka, settings.delivery, settings.state_topic(analysis.name), settings.topic("raw"), group,
        grow=lambda: ensure_topics(settings, analysis=analysis.name),
    )  # fmt: skip
    parts = ServiceParts(
        source=source,
        sink=sink if shadow is None else shadow.sink(sink, settings),
        state=state if shadow is None else shadow.state(state),
        analysis=analysis,
        make_tracker=lambda: RunTracker(
            settings.runs.max_open, settings.runs.idle_timeout_s, time.monotonic, validator=validator
        ),
        reader=frame_reader(settings),
        metrics=metrics,
    )
    return Service(parts, settings), metrics, analysis


def _without_extensions() -> None:
    """Keep numba from loading what other installed packages (awkward, sparse) register with it.

    No kernel of the installed analyses knows their types, and every start would wait for them.
    """
    from numba.core import entrypoints

    entrypoints._already_initialized = True


def _sink(settings: Settings, group: str, source: KafkaSource, watchdog: Watchdog) -> Sink:
    """Build the sink that ``service.delivery`` asks for."""
    if settings.service.delivery == "at-least-once":
        return KafkaSink(settings.kafka, settings.delivery, source)
    own = settings.kafka.group_instance_id or uuid.uuid4().hex
    transactional_id = settings.kafka.transactional_id or f"{group}.{own}"
    return TransactionalSink(settings.kafka, settings.delivery, transactional_id, source, watchdog)


def _require_topics(settings: Settings, analysis: str) -> None:
    """A topic that is missing or cannot take our messages is said at once, not at the first result."""
    reports = check_topics(settings, analysis)
    partitions = {r.role: r.partitions for r in reports}
    if 0 < partitions["raw"] > partitions["state"] and all(partitions[r] for r in ("results", "deadletters")):
        # The service's own: new to whoever comes from a version that had none, or the raw topic has grown.
        reports = ensure_topics(settings, analysis=analysis)
    faults = [f"topic {r.name} {problem}" for r in reports for problem in r.problems]
    if faults:
        raise ConfigurationError("; ".join(faults))


def _names() -> set[str]:
    from streamproc.loading import analysis_names

    return set(analysis_names())
