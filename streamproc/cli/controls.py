"""How a running command is ended and paused: signals, and a key where there is a terminal."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from streamproc.cli.keys import pressed
from streamproc.replay import RunningClock

__all__ = ["EPILOGUE", "Controls", "controlled", "stopping"]

EPILOGUE = 128
"""What is added to a signal's number to make an exit code."""


@dataclass(slots=True)
class Controls:
    """What somebody outside asks for.

    Attributes
    ----------
    stop, pause : threading.Event
        Set while asked for.
    caught : list of int
        The signal that ended it.
    clock : RunningClock
        No time passes on it while the process is stopped.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    pause: threading.Event = field(default_factory=threading.Event)
    caught: list[int] = field(default_factory=list)
    clock: RunningClock = field(default_factory=RunningClock)

    def toggle(self) -> None:
        """Pause, or go on."""
        if self.pause.is_set():
            self.pause.clear()
        else:
            self.pause.set()


@contextmanager
def stopping() -> Iterator[tuple[threading.Event, list[int]]]:
    """Turn the first Ctrl-C or SIGTERM into an event; a second one ends at once."""
    stop, caught = threading.Event(), []  # type: ignore[var-annotated]

    def end(number: int, frame: Any) -> None:
        if caught:
            sys.exit(EPILOGUE + number)
        caught.append(number)
        stop.set()

    with _handled({signal.SIGINT: end, signal.SIGTERM: end}):
        yield stop, caught


@contextmanager
def controlled() -> Iterator[Controls]:
    """As :func:`stopping`; SIGUSR1, or p on a terminal, pauses and goes on; Ctrl-Z and fg cost no time."""
    with stopping() as (stop, caught):
        controls = Controls(stop, caught=caught)
        handlers = {
            signal.SIGUSR1: lambda number, frame: controls.toggle(),
            signal.SIGCONT: lambda number, frame: controls.clock.continued(),
        }
        with _handled(handlers), pressed({"p": controls.toggle}):
            yield controls


@contextmanager
def _handled(handlers: dict[signal.Signals, Callable[[int, Any], None]]) -> Iterator[None]:
    """Handle signals meanwhile; only the main thread can."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in handlers} if main else {}
    for number in before:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
