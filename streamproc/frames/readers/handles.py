"""Open files, kept between frames: bounded in number, one lock each, closed with the run that used them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Generic, Protocol, TypeVar

__all__ = ["Handle", "HandleCache"]


class Handle(Protocol):
    """Something that is open and can be closed."""

    def close(self) -> None:
        """Close it; closing twice does no harm."""


H = TypeVar("H", bound=Handle)
K = TypeVar("K")


class _Entry(Generic[H]):
    __slots__ = ("handle", "lock", "runs")

    def __init__(self) -> None:
        self.lock = RLock()
        self.handle: H | None = None
        self.runs: set[str] = set()


class HandleCache(Generic[K, H]):
    """Least-recently-used cache of open handles.

    Parameters
    ----------
    max_open : int
        Most handles kept open; the longest unused idle one is closed beyond it. Handles in use at that
        moment stay, so that threads never wait for each other's files.
    """

    def __init__(self, max_open: int) -> None:
        self._max_open = max_open
        self._entries: OrderedDict[K, _Entry[H]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """Return how many handles are open."""
        with self._lock:
            return sum(entry.handle is not None for entry in self._entries.values())

    @contextmanager
    def use(self, key: K, run_uid: str, make: Callable[[], H]) -> Iterator[H]:
        """Give the handle of ``key`` to one thread at a time, made by ``make`` where there is none yet."""
        entry = self._locked(key, run_uid)
        try:
            if entry.handle is None:
                entry.handle = make()
            yield entry.handle
        finally:
            entry.lock.release()
            self._shrink()

    def _locked(self, key: K, run_uid: str) -> _Entry[H]:
        """Return the entry of ``key`` with its lock held, sure that it was not closed while we waited."""
        while True:
            with self._lock:
                entry = self._entries.setdefault(key, _Entry())
                entry.runs.add(run_uid)
                self._entries.move_to_end(key)
            entry.lock.acquire()
            with self._lock:
                if self._entries.get(key) is entry:
                    return entry
            entry.lock.release()

    def drop(self, key: K) -> None:
        """Close the handle of ``key`` once nobody uses it."""
        with self._lock:
            entry = self._entries.pop(key, None)
        if entry is not None:
            self._close(entry)

    def release(self, run_uid: str) -> None:
        """Close what only this run used."""
        with self._lock:
            for entry in self._entries.values():
                entry.runs.discard(run_uid)
            unused = [key for key, entry in self._entries.items() if not entry.runs]
        for key in unused:
            self.drop(key)

    def close(self) -> None:
        """Close everything."""
        with self._lock:
            keys = list(self._entries)
        for key in keys:
            self.drop(key)

    def _shrink(self) -> None:
        with self._lock:
            surplus = len(self._entries) - self._max_open
            for key in list(self._entries):
                if surplus <= 0:
                    return
                if self._closed_if_idle(self._entries[key]):
                    del self._entries[key]
                    surplus -= 1

    def _closed_if_idle(self, entry: _Entry[H]) -> bool:
        if not entry.lock.acquire(blocking=False):
            return False
        try:
            if entry.handle is not None:
                entry.handle.close()
                entry.handle = None
            return True
        finally:
            entry.lock.release()

    @staticmethod
    def _close(entry: _Entry[H]) -> None:
        with entry.lock:
            if entry.handle is not None:
                entry.handle.close()
                entry.handle = None
