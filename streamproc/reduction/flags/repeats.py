"""What comes back: copies of a reading, and pixels that are high time after time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.reduction.flags.reading import Reading

__all__ = ["Copies", "HotPixels"]

Pixels = npt.NDArray[np.int64]

_HOT_AFTER = 3


class Copies:
    """Counts how often in a row the same data came."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._count = 0

    def count(self, reading: Reading) -> int:
        """Return how many readings ago the data were new; data without any count are no copies."""
        same = reading.checksum == self._last and not reading.constant
        self._count = self._count + 1 if same else 0
        self._last = reading.checksum
        return self._count

    def snapshot(self) -> list[Any]:
        """Return the state."""
        return ["" if self._last is None else f"{self._last:x}", self._count]

    def restore(self, state: list[Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._last, self._count = int(state[0], 16) if state[0] else None, int(state[1])


class HotPixels:
    """Remembers how many readings in a row each pixel was high."""

    def __init__(self) -> None:
        self._pixels: Pixels = np.empty(0, np.int64)
        self._times: Pixels = np.empty(0, np.int64)

    def persistent(self, high: Pixels) -> Pixels:
        """Take the high pixels (sorted) of the next reading; return those high three times running."""
        if not high.size:  # as in most frames
            self._pixels = self._times = high
            return high
        times = np.ones(high.size, np.int64)
        if self._pixels.size:
            at = np.minimum(np.searchsorted(self._pixels, high), self._pixels.size - 1)
            times += np.where(self._pixels[at] == high, self._times[at], 0)
        self._pixels, self._times = high, times
        return high[times >= _HOT_AFTER]

    def snapshot(self) -> dict[str, bytes]:
        """Return the state."""
        return {"pixels": self._pixels.astype("<i8").tobytes(), "times": self._times.astype("<i8").tobytes()}

    def restore(self, state: Mapping[str, bytes]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._pixels, self._times = (
            np.frombuffer(state[name], "<i8").astype(np.int64) for name in ("pixels", "times")
        )
