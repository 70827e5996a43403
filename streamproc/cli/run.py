"""``streamproc run``: the service."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import structlog

from streamproc.errors import BrokerAway, ConfigurationError, DeliveryError
from streamproc.observability.http import StatusServer
from streamproc.observability.logs import configure_logs
from streamproc.settings import Settings

if TYPE_CHECKING:
    from streamproc.analysis import Analysis

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
    "--shadow", "shadow_model", metavar="MODEL",
    help="Have another model (NAME, NAME:VERSION or an .onnx file) answer too, in result runs of its own.",
)  # fmt: skip
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
@click.option("--as-shadow", "as_shadow", hidden=True)
def run_command(
    analysis: str, config: Path | None, bootstrap: str | None, beamline: str | None, once: bool,
    shadow_model: str | None, as_shadow: str | None, assignments: tuple[str, ...], unsupervised: bool,
) -> None:  # fmt: skip
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
    With --shadow another process answers the same frames with another model. Its result runs are marked
    (streamproc.shadow in their start), and live views and steering leave them aside; nothing that happens to
    it touches the answers of the analysis itself. `streamproc compare` holds the two against each other.
    Exit codes: 0 clean end, 1 something could not be trusted, 2 something you must provide is missing or
    wrong, 3 a publication did not finish in its deadline, or no broker answered. After 1 and 3 a restart goes
    on where it ended.
    """
    with _nothing_collected():
        from streamproc.cli.reloading import Reloader
        from streamproc.cli.shadow import ShadowPlan, ShadowProcess, end_with_parent, plan_shadow
        from streamproc.cli.wiring import analysis_table, build_service, load_for, settings_of

    plan = ShadowPlan.from_text(as_shadow) if as_shadow is not None else None

    given = [*assignments, *(["unsupervised=true"] if unsupervised else [])]
    table = analysis_table(analysis, given)

    def read_settings() -> Settings:
        return _settings(settings_of(config, bootstrap, beamline, table), analysis, once, plan)

    settings = read_settings()
    configure_logs(settings.observability)
    shadow: ShadowProcess | None = None
    with _broker_may_come_back(), _nothing_collected():
        if shadow_model is not None:
            wanted = plan_shadow(analysis, settings, shadow_model)
            arguments = _again(analysis, config, bootstrap, beamline, once, given)
            shadow = ShadowProcess(arguments, wanted)
        service, metrics, loaded = build_service(analysis, settings, plan)
    if shadow is not None and loaded.provenance().model_sha256 == wanted.sha256:
        service.close()
        raise ConfigurationError(f"--shadow {shadow_model}: that is the very model that is at work")
    if plan is not None:
        structlog.contextvars.bind_contextvars(shadow=plan.model.parent.name)
        end_with_parent(service.stop)

    def swap(again: Analysis) -> None:
        service.reload(again)
        gc.unfreeze()  # the old one may go now

    reloader = Reloader(
        read_settings,
        lambda again: load_for(analysis, again, plan),
        loaded,
        swap,
        metrics.reload,
    )

    def end(number: int, frame: Any) -> None:
        _log.info("ending", signal=signal.Signals(number).name)
        service.stop()
        if shadow is not None:
            shadow.ask_to_stop()

    def reload(number: int, frame: Any) -> None:
        reloader.ask()
        if shadow is not None:
            shadow.reload()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGHUP, reload)
    status = None
    watch = settings.observability
    if watch.http_port is not None:
        status = StatusServer(
            watch.http_host, watch.http_port, metrics.text, service.health, service.readiness
        )
        _log.info("status server", host=watch.http_host, port=status.port)
    reloader.start()
    if shadow is not None:
        shadow.start()
    _log.info("ready", analysis=analysis, topic=settings.topic("raw"), results=settings.topic("results"))
    try:
        with _broker_may_come_back():
            service.run()
        if shadow is not None and once:
            shadow.wait()
    finally:
        if shadow is not None:
            shadow.stop(settings.service.drain_timeout_s + 2.0)
        reloader.close()
        if status is not None:
            status.close()
    _log.info("ended")
    gc.freeze()  # or the interpreter looks for half a second through what goes with the process anyway


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Leave garbage alone while everything is loaded, and never look through what was loaded again.

    A million objects come and stay: looking for garbage among them is a sixth of the time that a restart is
    waited for, and later a pause between two frames.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _settings(settings: Settings, analysis: str, once: bool, plan: Any) -> Settings:
    """Lay over the settings what the command line and a shadow change."""
    from streamproc.cli.shadow import shadow_settings
    from streamproc.loading import find_analysis

    if once:
        service = settings.service.model_copy(update={"one_pass": True})
        settings = settings.model_copy(update={"service": service})
    return settings if plan is None else shadow_settings(find_analysis(analysis).name, settings, plan)


def _again(
    analysis: str,
    config: Path | None,
    bootstrap: str | None,
    beamline: str | None,
    once: bool,
    assignments: list[str],
) -> list[str]:
    """Return the command line of this service."""
    given = {"--config": config, "--bootstrap": bootstrap, "--beamline": beamline}
    options = [text for k, v in given.items() if v is not None for text in (k, str(v))]
    options += [text for a in assignments for text in ("--set", a)]
    return ["run", analysis, *options, *(["--once"] if once else [])]


@contextmanager
def _broker_may_come_back() -> Iterator[None]:
    """Have a supervisor try again when no broker answers, which it does not after a wrong setting."""
    try:
        yield
    except BrokerAway as error:
        raise DeliveryError(error.message) from error
