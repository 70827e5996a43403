"""Reloading: a new model goes to work while the service runs, if it passes its checks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from streamproc.analysis import Analysis
from streamproc.errors import ConfigurationError, StreamprocError
from streamproc.inference.registry import model_files
from streamproc.settings import Settings

__all__ = ["Reloader", "load_within"]

_log = structlog.get_logger()

_PATIENCE_S = 15.0
"""Loading takes a few seconds where nothing has to be compiled."""


def load_within(load: Callable[[], Analysis], timeout_s: float) -> Analysis:
    """Load an analysis, or give up after ``timeout_s`` (s).

    Raises
    ------
    ConfigurationError
        Whatever ``load`` found wrong, or that it did not come back.
    """
    answer: list[Analysis | BaseException] = []

    def attempt() -> None:
        try:
            answer.append(load())
        except BaseException as error:
            answer.append(error)

    thread = threading.Thread(target=attempt, name="load", daemon=True)
    thread.start()
    thread.join(min(_PATIENCE_S, timeout_s))
    if thread.is_alive() and timeout_s > _PATIENCE_S:
        _log.info("still loading; the first start after an installation compiles for this machine, once")
        thread.join(timeout_s - _PATIENCE_S)
    if not answer:
        raise ConfigurationError(
            f"the analysis and its model were not loaded within {timeout_s:g} s (inference.load_timeout_s): "
            "is the file on a share that does not answer?"
        )
    if isinstance(answer[0], BaseException):
        raise answer[0]
    return answer[0]


class Reloader:
    """Loads the analysis again when asked to or when a model file changed, and hands it to the service.

    What does not load or fails its checks is refused with a message; the analysis at work stays.

    Parameters
    ----------
    read_settings : callable
        Reads the settings again.
    load : callable
        Loads the analysis from settings.
    analysis : Analysis
        The one at work.
    accept : callable
        Takes a new one: ``Service.reload``.
    count : callable
        Gets ``accepted``, ``refused`` or ``unchanged`` each time.
    """

    def __init__(
        self,
        read_settings: Callable[[], Settings],
        load: Callable[[Settings], Analysis],
        analysis: Analysis,
        accept: Callable[[Analysis], None],
        count: Callable[[str], None],
    ) -> None:
        self._read_settings, self._load, self._accept, self._count = read_settings, load, accept, count
        self._analysis = analysis
        self._settings = read_settings()
        self._seen = self._stamp()
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._watch, name="reload", daemon=True)

    def start(self) -> None:
        """Begin to watch the model folders (every ``inference.watch_interval_s``)."""
        self._thread.start()

    def ask(self) -> None:
        """Reload at once (SIGHUP)."""
        self._wake.set()

    def close(self) -> None:
        """End the watching."""
        self._ended = True
        self._wake.set()

    def reload(self) -> None:
        """Load settings and analysis again; never raises."""
        try:
            settings = self._read_settings()
            analysis = load_within(lambda: self._load(settings), settings.inference.load_timeout_s)
        except StreamprocError as error:
            _log.error("reload refused, the old one stays", reason=error.message)
            self._count("refused")
            return
        except Exception as error:
            _log.exception("reload refused, the old one stays", reason=f"{type(error).__name__}: {error}")
            self._count("refused")
            return
        self._settings = settings
        if analysis.provenance() == self._analysis.provenance():
            _log.info("reload: nothing has changed")
            self._count("unchanged")
            return
        _log.info("reload accepted", model=str(analysis.provenance().details.get("model", "")))
        self._analysis = analysis
        self._accept(analysis)
        self._count("accepted")

    def _watch(self) -> None:
        while not self._ended:
            interval_s = self._settings.inference.watch_interval_s
            asked = self._wake.wait(interval_s or None)
            self._wake.clear()
            if self._ended:
                return
            if asked or self._changed():
                self._seen = self._stamp()
                self.reload()

    def _changed(self) -> bool:
        """Tell whether the files are others than before, and no copy is under way."""
        now = self._stamp()
        if now == self._seen:
            return False
        settle_s = min(1.0, self._settings.inference.watch_interval_s)
        threading.Event().wait(settle_s)
        return self._stamp() == now

    def _stamp(self) -> list[tuple[str, int, int]]:
        named = self._settings.analysis.get(self._analysis.name, {})
        stamps = []
        for path in [*model_files(self._settings.inference), *_named_files(named)]:
            try:
                found = path.stat()
            except OSError:
                continue
            stamps.append((str(path), found.st_mtime_ns, found.st_size))
        return sorted(stamps)


def _named_files(table: dict[str, Any]) -> list[Path]:
    """Return the model files that an analysis's table names by their path."""
    base = Path(str(table.get("base_dir", ".")))
    return [base / v for v in table.values() if isinstance(v, str) and v.endswith(".onnx")]
