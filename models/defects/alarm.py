"""A sequential alarm on one estimate over a scan, with the false-alarm rate the user asks for.

Self-starting CUSUM (Hawkins 1987, The Statistician 36, 299): each new value is compared with mean and scatter
of
all before it, by Student's t, so that no baseline has to be known and the rate holds from the third frame on.
The
decision limit follows from the mean number of frames between false alarms (Siegmund 1985, Sequential
Analysis).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtr

from streamproc.errors import ConfigurationError

__all__ = ["AlarmSettings", "AlarmState", "decision_limit", "watch"]


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """What the alarm is tuned to.

    Attributes
    ----------
    frames_per_false_alarm : float
        Mean number of frames between false alarms while nothing changes, >= 10.
    shift_sigma : float
        Rise to be found soonest, in units of the frame-to-frame scatter.
    """

    frames_per_false_alarm: float = 1000.0
    shift_sigma: float = 1.0

    def __post_init__(self) -> None:
        if not self.frames_per_false_alarm >= 10:
            raise ConfigurationError(
                f"frames_per_false_alarm must be at least 10, got {self.frames_per_false_alarm:g}"
            )
        if not 0.1 <= self.shift_sigma <= 5:
            raise ConfigurationError(f"shift_sigma must be from 0.1 to 5, got {self.shift_sigma:g}")


@dataclass(frozen=True, slots=True)
class AlarmState:
    """What the alarm remembers; begin with ``AlarmState()``.

    Attributes
    ----------
    frames : int
        Good frames seen before the alarm.
    mean, squares : float
        Their mean and sum of squared deviations.
    total : float
        The cumulative sum.
    since : int or None
        Good frame at which the sum began to rise: the estimate of the onset.
    raised : bool
        Whether the alarm is up; it stays.
    """

    frames: int = 0
    mean: float = 0.0
    squares: float = 0.0
    total: float = 0.0
    since: int | None = None
    raised: bool = False


def decision_limit(settings: AlarmSettings) -> float:
    """Return the limit of the cumulative sum.

    The mean run length of a CUSUM with reference k and limit h is (exp(2 k b) - 2 k b - 1) / (2 k^2) with
    b = h + 1.166 (Siegmund 1985, equation 2.56 for no change).
    """
    k = settings.shift_sigma / 2

    def excess(h: float) -> float:
        b = h + 1.166
        return float(np.expm1(2 * k * b) - 2 * k * b) / (2 * k * k) - settings.frames_per_false_alarm

    return float(brentq(excess, 0.0, 200.0)) if excess(0.0) < 0 else 0.0


def watch(
    state: AlarmState, value: float, good: bool, settings: AlarmSettings, least_scatter: float = 0.0
) -> AlarmState:
    """Take one frame's estimate into account.

    Parameters
    ----------
    state : AlarmState
        Before the frame.
    value : float
        The estimate (of a density its logarithm).
    good : bool
        False for a bad frame or one out of domain: it changes nothing, so that a lost beam never raises the
        alarm.
    settings : AlarmSettings
        The tuning.
    least_scatter : float
        Scatter is taken as at least this: changes that are small against it are not looked for.

    Returns
    -------
    AlarmState
        After the frame; once ``raised``, it stays as it is.
    """
    if not good or not np.isfinite(value) or state.raised:
        return state
    n = state.frames + 1
    if n < 3 or state.squares <= 0:
        return _learned(state, value)
    k, limit = settings.shift_sigma / 2, decision_limit(settings)
    z, scatter = _normal(state, value, least_scatter)
    most = k + 0.9 * limit  # one frame alone raises no alarm, and is learned from no further than that
    if abs(z) > most:
        z = float(np.clip(z, -most, most))
        value = float(np.clip(value, state.mean - most * scatter, state.mean + most * scatter))
    total = max(0.0, state.total + z - k)
    since = None if total == 0 else state.since if state.since is not None else n
    return replace(_learned(state, value), total=total, since=since, raised=total > limit)


def _learned(state: AlarmState, value: float) -> AlarmState:
    """Mean and squared deviations with one more value (Welford)."""
    n = state.frames + 1
    mean = state.mean + (value - state.mean) / n
    return replace(state, frames=n, mean=mean, squares=state.squares + (value - state.mean) * (value - mean))


def _normal(state: AlarmState, value: float, least: float) -> tuple[float, float]:
    """The new value as a standard normal deviate, by Student's t of those before, and its scatter."""
    n = state.frames
    scatter = max(float(np.sqrt(state.squares / (n - 1))), least) * float(np.sqrt(1 + 1 / n))
    t = (value - state.mean) / scatter
    # from the lower tail on either side: there the distribution function keeps its digits
    z = float(ndtri(max(stdtr(n - 1, -abs(t)), 1e-300)))
    return (-z if t > 0 else z), scatter
