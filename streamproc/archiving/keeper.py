"""Keeper: one run at a time on its way into the store, on a thread of its own, so that the topic is heard."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol

from streamproc.errors import StreamprocError
from streamproc.transports.tiled.store import WholeRun

__all__ = ["Attempt", "Keeper", "Store"]


class Store(Protocol):
    """Takes whole runs, however often they come."""

    def put(self, run: WholeRun) -> str:
        """Store a run; returns ``stored``, ``replaced`` or ``skipped``, or raises."""


@dataclass(slots=True)
class Attempt:
    """One attempt at one run.

    Attributes
    ----------
    uid : str
        The run.
    outcome : str
        ``stored``, ``replaced``, ``skipped``; empty when it failed or is not over.
    reason : str
        Why it failed.
    seconds : float
        How long it took (s).
    over : threading.Event
        Set when it is over.
    """

    uid: str
    over: threading.Event
    outcome: str = ""
    reason: str = ""
    seconds: float = 0.0


class Keeper:
    """Puts runs into a store.

    Parameters
    ----------
    store : Store
        Where they go.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, uid: str, run: WholeRun) -> Attempt:
        """Start an attempt; nobody waits for its thread when the process ends."""
        attempt = Attempt(uid, threading.Event())
        threading.Thread(target=self._put, args=(attempt, run), name=f"store-{uid[:8]}", daemon=True).start()
        return attempt

    def _put(self, attempt: Attempt, run: WholeRun) -> None:
        began_s = time.monotonic()
        try:
            attempt.outcome = self._store.put(run)
        except StreamprocError as error:
            attempt.reason = error.message
        except Exception as error:  # whatever the store's client raises, the run is kept
            attempt.reason = f"{type(error).__name__}: {error}"
        attempt.seconds = time.monotonic() - began_s
        attempt.over.set()
