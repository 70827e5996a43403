"""``streamproc run``: the service."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import structlog

from streamproc.errors import BrokerAway, DeliveryError
from streamproc.observability.http import StatusServer
from streamproc.observability.logs import configure_logs

__all__ = ["run_command"]

_log = structlog.get_logger()


@click.command("run")
@click.argument("analysis")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("--bootstrap", metavar="HOST:PORT", help="Broker; overrides the file.")
@click.option("--beamline", metavar="NAME", help="Short name that begins every topic; overrides the file.")
@click.option(
    "--once", is_flag=True, help="End when the topic is read to its present end and all is answered."
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Setting of the analysis, as in its table of the file (unmixing.points=500); may be given again.",
)
@click.option(
    "--unsupervised", is_flag=True, help="Short for --set unsupervised=true (phase-map without references)."
)
def run_command(
    analysis: str,
    config: Path | None,
    bootstrap: str | None,
    beamline: str | None,
    once: bool,
    assignments: tuple[str, ...],
    unsupervised: bool,
) -> None:
    """Analyse live runs of a Kafka topic and publish the results as new Bluesky runs.

    ANALYSIS is a name (`streamproc config schema` lists them) or the path of a consumer's .py file.

    \b
    Example:
      streamproc run phase-map --config beamline.toml
      streamproc run phase-map --unsupervised --set axis_key=two_theta

    Every setting of the file can also be given as an environment variable, e.g.
    STREAMPROC_KAFKA__BOOTSTRAP=broker:9092; `streamproc config schema` explains them all.

    SIGTERM and Ctrl-C end the service cleanly: frames in work are finished, published and committed.
    SIGHUP, or a new file in a model folder, puts a new model to work between two documents, if it passes
    its checks; otherwise the old one stays and the log says why.
    Exit codes: 0 clean end, 1 something could not be trusted, 2 something you must provide is missing or
    wrong, 3 a publication did not finish in its deadline, or no broker answered. After 1 and 3 a restart goes
    on where it ended.
    """
    from streamproc.cli.reloading import Reloader
    from streamproc.cli.wiring import analysis_table, build_service, load_analysis, settings_of

    table = analysis_table(analysis, [*assignments, *(["unsupervised=true"] if unsupervised else [])])
    settings = settings_of(config, bootstrap, beamline, table)
    if once:
        service_settings = settings.service.model_copy(update={"one_pass": True})
        settings = settings.model_copy(update={"service": service_settings})
    configure_logs(settings.observability)
    with _broker_may_come_back():
        service, metrics, loaded = build_service(analysis, settings)
    reloader = Reloader(
        lambda: settings_of(config, bootstrap, beamline, table),
        lambda again: load_analysis(analysis, again),
        loaded,
        service.reload,
        metrics.reload,
    )

    def end(number: int, frame: Any) -> None:
        _log.info("ending", signal=signal.Signals(number).name)
        service.stop()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGHUP, lambda number, frame: reloader.ask())
    status = None
    watch = settings.observability
    if watch.http_port is not None:
        status = StatusServer(
            watch.http_host, watch.http_port, metrics.text, service.health, service.readiness
        )
        _log.info("status server", host=watch.http_host, port=status.port)
    reloader.start()
    _log.info("ready", analysis=analysis, topic=settings.topic("raw"), results=settings.topic("results"))
    try:
        with _broker_may_come_back():
            service.run()
    finally:
        reloader.close()
        if status is not None:
            status.close()
    _log.info("ended")


@contextmanager
def _broker_may_come_back() -> Iterator[None]:
    """Have a supervisor try again when no broker answers, which it does not after a wrong setting."""
    try:
        yield
    except BrokerAway as error:
        raise DeliveryError(error.message) from error
