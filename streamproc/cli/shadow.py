"""The shadow of a service: a process of its own with another model, looked after by the one at work."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import structlog

from streamproc.analysis import Analysis
from streamproc.errors import ConfigurationError
from streamproc.inference.registry import find_model
from streamproc.loading import find_analysis
from streamproc.service.shadow import ShadowAnalysis, ShadowSink, ShadowState
from streamproc.settings import Settings

__all__ = ["ShadowPlan", "ShadowProcess", "end_with_parent", "plan_shadow", "shadow_settings"]

_log = structlog.get_logger()

_FIRST_PAUSE_S, _MOST_PAUSE_S = 1.0, 60.0
_POLL_S = 0.1
_NICE = 10
"""The analysis at work comes first wherever both want a core."""


@dataclass(frozen=True, slots=True)
class ShadowPlan:
    """What makes a service a shadow.

    Attributes
    ----------
    model : Path
        Its model file.
    sha256 : str
        Of the file.
    begin : Mapping of int to int
        Where it begins in each partition the first time.
    """

    model: Path
    sha256: str
    begin: Mapping[int, int]

    def to_text(self) -> str:
        """Return it for the command line of the process."""
        return json.dumps([str(self.model), self.sha256, dict(self.begin)])

    @classmethod
    def from_text(cls, text: str) -> ShadowPlan:
        """Return what :meth:`to_text` wrote.

        Raises
        ------
        ConfigurationError
            It did not write this.
        """
        try:
            model, sha256, begin = json.loads(text)
            return cls(Path(model), str(sha256), {int(k): int(v) for k, v in begin.items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"--as-shadow is for `streamproc run --shadow` itself: {error}"
            ) from error

    def wrap(self, analysis: Analysis) -> Analysis:
        """Return the analysis as a shadow's."""
        return cast(Analysis, ShadowAnalysis(analysis))

    def sink(self, sink: Any, settings: Settings) -> Any:
        """Return the sink as a shadow's."""
        return ShadowSink(sink, settings.topic("deadletters"))

    def state(self, state: Any) -> Any:
        """Return the stored state as a shadow's."""
        return ShadowState(state, self.begin)


def plan_shadow(name: str, settings: Settings, model: str) -> ShadowPlan:
    """Find the shadow's model, and where the analysis at work is.

    Parameters
    ----------
    name : str
        The analysis.
    settings : Settings
        Those of the service at work.
    model : str
        NAME, NAME:VERSION or an .onnx file.

    Raises
    ------
    ConfigurationError
        No such model, or an analysis without one.
    """
    from streamproc.transports.kafka.groups import committed_positions

    analysis = find_analysis(name)
    if "model" not in analysis.Settings.model_fields:
        raise ConfigurationError(f"--shadow {model}: analysis {analysis.name} has no setting `model`")
    path = find_model(model, settings.inference).resolve()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    begin = committed_positions(settings.kafka, settings.topic("raw"), settings.group(analysis.name))
    return ShadowPlan(path, sha256, begin)


def shadow_settings(name: str, settings: Settings, plan: ShadowPlan) -> Settings:
    """Return the settings of a shadow: group, ids and state of its own."""
    own, kafka = f"shadow-{plan.sha256[:8]}", settings.kafka
    update: dict[str, Any] = {"group_id": f"{settings.group(name)}-{own}"}
    for key in ("group_instance_id", "transactional_id"):
        if getattr(kafka, key) is not None:
            update[key] = f"{getattr(kafka, key)}-{own}"
    if kafka.state_topic is not None:
        update["state_topic"] = f"{kafka.state_topic}.{own}"
    watch = settings.observability
    port = None if watch.http_port is None else 0
    return settings.model_copy(
        update={
            "kafka": kafka.model_copy(update=update),
            "observability": watch.model_copy(update={"http_port": port}),
            "inference": settings.inference.model_copy(update={"watch_interval_s": 0.0}),
        }
    )


class ShadowProcess:
    """Starts the shadow and starts it again when it dies, ever more slowly; never raises, never blocks work.

    Parameters
    ----------
    arguments : sequence of str
        ``run ANALYSIS ...``, as for the service at work.
    plan : ShadowPlan
        What makes it a shadow.
    """

    def __init__(self, arguments: Sequence[str], plan: ShadowPlan) -> None:
        self._command = [sys.executable, "-m", "streamproc", *arguments, "--as-shadow", plan.to_text()]
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="shadow", daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def reload(self) -> None:
        """Have it read its settings again."""
        self._signal(signal.SIGHUP)

    def wait(self) -> None:
        """Wait until it has ended by itself, having read the topic to its end."""
        self._over.wait()

    def ask_to_stop(self) -> None:
        """Have it end; returns at once."""
        self._ending.set()
        self._signal(signal.SIGTERM)

    def stop(self, timeout_s: float) -> None:
        """End it; past ``timeout_s`` (s) it is killed, and goes on from its stored state another time."""
        self.ask_to_stop()
        if not self._over.wait(timeout_s):
            self._signal(signal.SIGKILL)
            self._over.wait(timeout_s)

    def _look_after(self) -> None:
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._ending.is_set():
                began_s = time.monotonic()
                code = self._run()
                if code == 0 or self._ending.is_set():
                    return
                if code == 2:
                    _log.error("the shadow cannot run; the analysis at work goes on without it")
                    return
                pause_s = _FIRST_PAUSE_S if time.monotonic() - began_s > _MOST_PAUSE_S else pause_s
                _log.warning("the shadow ended, started again", exit_code=code, pause_s=pause_s)
                self._ending.wait(pause_s)
                pause_s = min(2 * pause_s, _MOST_PAUSE_S)
        except Exception:  # whatever becomes of the shadow, the analysis at work goes on
            _log.exception("the shadow cannot be started; the analysis at work goes on without it")
        finally:
            self._over.set()

    def _run(self) -> int:
        # Its standard input stays open as long as this process lives: its end is how it learns of ours.
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)
        if self._ending.is_set():
            self._signal(signal.SIGTERM)
        return self._process.wait()

    def _signal(self, number: int) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(OSError):
                process.send_signal(number)


def end_with_parent(stop: Callable[[], None]) -> None:
    """Make this process the less important one, and end it when the one that started it is gone."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)

    def listen() -> None:
        with contextlib.suppress(OSError):
            # Not sys.stdin: Python cannot end while a thread waits in a buffered read.
            while os.read(0, 1):
                pass
        stop()

    threading.Thread(target=listen, name="parent", daemon=True).start()
