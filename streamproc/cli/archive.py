"""``streamproc archive``: result runs into Tiled."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import click
import structlog

from streamproc.errors import BrokerAway, ConfigurationError, DeliveryError

__all__ = ["archive_command"]

_log = structlog.get_logger()

_TILED_TRIES = "2"
"""Tiled's client tries ten times by itself, for half a minute; here each try is counted and paused for."""


@click.command("archive")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option(
    "--to",
    "url",
    metavar="TILED",
    help="Container of the raw runs: http://HOST:PORT[/PATH] or profile:NAME. "
    "Default: tiled.catalog of the settings.",
)
@click.option(
    "--api-key-env", metavar="NAME",
    help="Environment variable with a key that may write there. Default: tiled.api_key_env, TILED_API_KEY.",
)  # fmt: skip
@click.option(
    "--spool", type=click.Path(path_type=Path, file_okay=False), default=Path("archive-spool"),
    show_default=True, help="Folder for runs that Tiled does not take; each archiver needs its own.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="End when the topic is read to its present end and all is stored.")
@click.option(
    "--give-up", "give_up_s", type=click.FloatRange(min=0), default=30.0, show_default=True, 
    metavar="SECONDS", help="A run that could not be stored for this long goes to the spool.",
)  # fmt: skip
@click.option("--bootstrap", metavar="HOST:PORT", help="Broker; overrides the file.")
@click.option("--beamline", metavar="NAME", help="Short name that begins every topic; overrides the file.")
def archive_command(
    config: Path | None, url: str | None, api_key_env: str | None, spool: Path, once: bool, give_up_s: float,
    bootstrap: str | None, beamline: str | None,
) -> int:  # fmt: skip
    """Store result runs in Tiled beside the raw runs, each once and whole.

    A consumer of the results topic with a group of its own; any number may run. A run is written when its
    stop has come; one that is there completely is left alone, one that is there in part is written anew. What
    Tiled does not take is kept in the spool folder, one .jsonl file a run, and tried again. The position in
    the topic is committed only past runs that are stored or in the spool.

    \b
    Example:
      TILED_API_KEY=... streamproc archive --config beamline.toml --to https://tiled.example/api/v1/metadata/raw

    SIGTERM and Ctrl-C end it cleanly. Exit codes: 0 clean end, 1 with --once: runs are left in the spool, 2
    something you must provide is missing or wrong, 3 the broker does not take positions, or the spool cannot
    be written.
    """
    os.environ.setdefault("TILED_RETRY_ATTEMPTS", _TILED_TRIES)
    from streamproc.cli.wiring import settings_of
    from streamproc.observability.logs import configure_logs

    settings = settings_of(config, bootstrap, beamline)
    configure_logs(settings.observability)
    url = settings.tiled_catalog() if url in (None, "tiled") else url
    api_key_env = api_key_env or settings.tiled.api_key_env
    store = _store(url, os.environ.get(api_key_env), api_key_env)
    archiver, source, kept, metrics = _build(settings, store, spool, once, give_up_s)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: archiver.stop())
    status = _status(settings, archiver, metrics, source)
    _log.info("ready", results=settings.topic("results"), to=url, spool=str(spool))
    try:
        left = archiver.run()
    finally:
        source.close()
        kept.close()
        if status is not None:
            status.close()
    _log.info("ended", left_in_the_spool=left)
    return 1 if once and left else 0


def _store(url: str, api_key: str | None, name: str) -> Any:
    """Open the store; a server that is away is waited for, a refused key is said at once."""
    from streamproc.transports.tiled.connect import TiledAway
    from streamproc.transports.tiled.store import RunStore

    store = RunStore(url, api_key)
    try:
        store.check()
    except TiledAway as error:
        _log.warning("Tiled does not answer; runs go to the spool until it does", reason=error.message)
    except ConfigurationError as error:
        hint = "" if api_key else f" (environment variable {name} is not set)"
        raise ConfigurationError(error.message + hint) from error
    return store


def _build(settings: Any, store: Any, spool: Path, once: bool, give_up_s: float) -> tuple[Any, Any, Any, Any]:
    from streamproc.archiving.archiver import Archiver
    from streamproc.archiving.ports import ArchiveOptions
    from streamproc.archiving.spool import Spool
    from streamproc.observability.archive_metrics import ArchiveMetrics
    from streamproc.transports.kafka import KafkaSource

    kept, metrics = Spool(spool), ArchiveMetrics()
    group = settings.kafka.group_id or f"streamproc-{settings.beamline}-archive"
    try:
        source = KafkaSource(settings.kafka, settings.topic("results"), group, runs=settings.runs)
    except BrokerAway as error:
        raise DeliveryError(error.message) from error
    options = ArchiveOptions(
        once=once, give_up_s=give_up_s, idle_timeout_s=settings.runs.idle_timeout_s,
        drain_timeout_s=settings.service.drain_timeout_s,
    )  # fmt: skip
    return Archiver(source, store, kept, metrics, options), source, kept, metrics


def _status(settings: Any, archiver: Any, metrics: Any, source: Any) -> Any:
    from streamproc.observability.http import StatusServer

    watch = settings.observability
    if watch.http_port is None:
        return None

    def ready() -> tuple[bool, Any]:
        healthy, details = archiver.health()
        return healthy and bool(source.assigned()), details

    return StatusServer(watch.http_host, watch.http_port, metrics.text, archiver.health, ready)
