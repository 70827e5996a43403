"""A clock that stands still until it is told to move."""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """Callable like :func:`time.monotonic`; moves only by :meth:`advance`.

    Parameters
    ----------
    now_s : float
        Where it starts (s).
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Return the time (s)."""
        return self.now_s

    def advance(self, seconds_s: float) -> float:
        """Move on by ``seconds_s`` (s) and return the new time."""
        self.now_s += seconds_s
        return self.now_s

    def sleep(self, seconds_s: float) -> None:
        """Stand in for :func:`time.sleep`: moves the clock, does not wait."""
        self.advance(seconds_s)
