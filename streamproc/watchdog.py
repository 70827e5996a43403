"""Watchdog: ends the process when something that cannot be interrupted does not come back in time."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamproc.errors import DeliveryError

__all__ = ["Watchdog", "end_process"]


def end_process(message: str) -> None:
    """Say why and end the process at once, with the exit code of a delivery that failed (3)."""
    # No clean-up: whatever hangs would hang that too. What was not committed is read again.
    print(f"streamproc: {message}", file=sys.stderr, flush=True)
    os._exit(DeliveryError.exit_code)


class Watchdog:
    """Watches calls of one thread that may wait without limit.

    Parameters
    ----------
    give_up : callable
        Called with a sentence, in the watchdog's own thread, when a deadline has passed.
    """

    def __init__(self, give_up: Callable[[str], None] = end_process) -> None:
        self._give_up = give_up
        self._changed = threading.Condition()
        self._limits: list[tuple[float, str]] = []
        self._ended = False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def limit(self, what: str, timeout_s: float) -> Iterator[None]:
        """Give what is done inside ``timeout_s`` (s); ``what`` completes "... did not end within"."""
        message = f"{what} did not end within {timeout_s:g} s; a restart goes on at the committed position"
        entry = (time.monotonic() + timeout_s, message)
        with self._changed:
            self._limits.append(entry)
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                if entry in self._limits:
                    self._limits.remove(entry)

    def close(self) -> None:
        """End the watching."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._ended:
                first_s, message = min(self._limits, default=(None, ""))
                if first_s is None:
                    self._changed.wait()
                elif (left_s := first_s - time.monotonic()) > 0:
                    self._changed.wait(left_s)
                else:
                    self._limits = [(s, m) for s, m in self._limits if s != first_s]
                    self._give_up(message)
