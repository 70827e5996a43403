"""What the demo's scans share: a detector whose data travel in the events, and the scan of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bluesky.protocols import HasHints, Readable, Stageable, Triggerable
from ophyd.status import Status

from streamproc.demo.publishing import Acquire, Callback, drive, paced

__all__ = ["EventDetector", "Key", "scan"]


@dataclass(frozen=True, slots=True)
class Key:
    """What a data key is: event-model dtype, numpy type code, units, shape."""

    dtype: str
    dtype_numpy: str
    units: str
    shape: tuple[int, ...] = ()

    def described(self, name: str) -> dict[str, Any]:
        """Return its entry of a descriptor."""
        return {
            "source": f"SIM:{name}", "dtype": self.dtype, "dtype_numpy": self.dtype_numpy,
            "shape": list(self.shape), "units": self.units,
        }  # fmt: skip


class EventDetector(Readable[Any], Triggerable, Stageable, HasHints):
    """A detector: its readings are in the events, unless a subclass stores them elsewhere.

    Parameters
    ----------
    name : str
        Of the device.
    keys : Mapping of str to Key
        What it reads.
    take : callable
        Returns the values by key of the n-th trigger (from 0) since staging.
    plotted : str
        The key that a live plot shows.
    """

    parent = None

    def __init__(
        self, name: str, keys: Mapping[str, Key], take: Callable[[int], Mapping[str, Any]], plotted: str
    ) -> None:
        self._name, self._keys, self._take, self._plotted = name, keys, take, plotted
        self._taken = 0
        self._reading: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Name of the device."""
        return self._name

    @property
    def hints(self) -> Any:
        """Plot one key."""
        return {"fields": [self._plotted]}

    def stage(self) -> list[Any]:
        """Begin with the first reading."""
        self._taken = 0
        return [self]

    def unstage(self) -> list[Any]:
        """Nothing to close."""
        return [self]

    def trigger(self) -> Status:
        """Take one reading, in a thread of its own as a real detector would."""
        status = Status(obj=self)
        threading.Thread(target=self._acquire, args=(status,), name=f"{self.name}-exposure").start()
        return status

    def _acquire(self, status: Status) -> None:
        try:
            values, now = self._take(self._taken), time.time()
            self._reading = {key: {"value": value, "timestamp": now} for key, value in values.items()}
            self._taken += 1
        except Exception as error:
            status.set_exception(error)
        else:
            status.set_finished()

    def read(self) -> dict[str, Any]:
        """Return the newest reading."""
        return dict(self._reading)

    def describe(self) -> dict[str, Any]:
        """Describe the keys."""
        return {name: key.described(name) for name, key in self._keys.items()}


def scan(detector: EventDetector, places: Any, *, rate_Hz: float, metadata: Mapping[str, Any]) -> Acquire:
    """Return the scan of places with a RunEngine.

    Parameters
    ----------
    detector : EventDetector
        Read at every place.
    places : cycler
        Motors and where they go.
    rate_Hz : float
        Readings a second at most; 0: as fast as it goes.
    metadata : Mapping
        Goes into the start document.
    """
    from bluesky import plans as bp

    def acquire(callbacks: Sequence[Callback], asked_to_stop: threading.Event) -> str:
        scan_nd: Any = bp.scan_nd
        pace = paced(rate_Hz, asked_to_stop)
        return drive(scan_nd([detector], places, per_step=pace, md=dict(metadata)), callbacks)

    return acquire
