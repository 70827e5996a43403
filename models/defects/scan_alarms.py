"""Sequential alarms on several quantities of one scan, with one false-alarm rate for all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from streamproc.models.defects.alarm import AlarmSettings, AlarmState, decision_limit, watch

__all__ = ["Alarm", "ScanAlarms"]

_FALLING = ("size_nm", "spots", "grains")
"""Quantities whose fall is the alarm."""

_OWN_ERROR = 0.5
"""Scatter is at least this share of an estimate's own sigma. Readings of one scan agree better than that; but
a
smaller change may be a model that takes one defect a little for another."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A quantity has begun to change.

    Attributes
    ----------
    quantity : str
        Which.
    seq_num, onset_seq_num : int
        Reading at which the alarm rose, and the one since which the sum has been rising.
    frames : int
        Good readings before the onset.
    before, scatter : float
        Mean and standard deviation of what is watched over the readings before the onset (logarithms where
        the model gives logarithms).
    now : float
        What is watched, at the alarm.
    total, limit : float
        The cumulative sum and its limit.
    """

    quantity: str
    seq_num: int
    onset_seq_num: int
    frames: int
    before: float
    scatter: float
    now: float
    total: float
    limit: float


@dataclass(frozen=True, slots=True)
class _Watched:
    """The alarm's state, and what was known before the sum began to rise."""

    state: AlarmState = field(default_factory=AlarmState)
    onset_seq_num: int = 0
    before: AlarmState = field(default_factory=AlarmState)


class ScanAlarms:
    """One alarm for each quantity; each rises once in a scan.

    Parameters
    ----------
    quantities : sequence of str
        Names of estimates. A fall of ``size_nm`` is watched, a rise of all others.
    settings : AlarmSettings
        ``frames_per_false_alarm`` holds for all quantities together: each alone is given that many times
        their number, which is on the safe side where they are correlated.
    """

    def __init__(self, quantities: Sequence[str], settings: AlarmSettings) -> None:
        self.quantities = tuple(quantities)
        rate = settings.frames_per_false_alarm * max(len(self.quantities), 1)
        self.settings = replace(settings, frames_per_false_alarm=rate)
        self.limit = decision_limit(self.settings)
        self._watched = {name: _Watched() for name in self.quantities}

    def take(self, seq_num: int, values: Mapping[str, tuple[float, float]], good: bool) -> list[Alarm]:
        """Take the next reading into account.

        Parameters
        ----------
        seq_num : int
            Which reading.
        values : mapping of str to (float, float)
            What is watched and its standard deviation, by quantity; a quantity that is not there (out of
            domain, say) keeps its sum.
        good : bool
            False for a bad reading: it changes nothing.

        Returns
        -------
        list of Alarm
            Alarms that rise with this reading.
        """
        return [
            a
            for name in self.quantities
            if good and name in values
            for a in self._one(name, seq_num, *values[name])
        ]

    def _one(self, name: str, seq_num: int, value: float, sigma: float) -> list[Alarm]:
        old, sign = self._watched[name], -1.0 if name in _FALLING else 1.0
        state = watch(old.state, sign * value, True, self.settings, _OWN_ERROR * sigma)
        if state.since is None or state.since != old.state.since:
            known = _Watched(state, seq_num, old.state)
        else:
            known = replace(old, state=state)
        self._watched[name] = known
        if not state.raised or old.state.raised:
            return []
        before = known.before
        scatter = (before.squares / max(before.frames - 1, 1)) ** 0.5
        return [
            Alarm(
                name, seq_num, known.onset_seq_num, before.frames, sign * before.mean, scatter, value,
                state.total, self.limit,
            )
        ]  # fmt: skip

    def levels(self) -> dict[str, float]:
        """Return the cumulative sum of each quantity over its limit."""
        return {name: w.state.total / self.limit for name, w in self._watched.items()}

    def raised(self) -> dict[str, bool]:
        """Return which alarms are up."""
        return {name: w.state.raised for name, w in self._watched.items()}

    def snapshot(self) -> dict[str, Any]:
        """Return the state: numbers, strings, lists."""
        return {
            name: [asdict(w.state), w.onset_seq_num, asdict(w.before)] for name, w in self._watched.items()
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        for name, (state, onset, before) in stored.items():
            if name in self._watched:
                self._watched[name] = _Watched(AlarmState(**state), int(onset), AlarmState(**before))
