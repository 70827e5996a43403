"""The sequential alarm keeps the false-alarm rate it is asked for and finds a rise soon."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.defects.alarm import AlarmSettings, AlarmState, decision_limit, watch

from streamproc.errors import ConfigurationError


def run_length(values, settings: AlarmSettings) -> int:
    state = AlarmState()
    for k, value in enumerate(values):
        state = watch(state, float(value), True, settings)
        if state.raised:
            return k + 1
    return len(values)


def test_false_alarms_come_as_seldom_as_asked_for() -> None:
    """300 runs of white noise: the mean run length, estimated from censored runs, within 30 %."""
    rng, settings = np.random.default_rng(11), AlarmSettings(frames_per_false_alarm=100)
    lengths = [run_length(rng.standard_normal(300) * 0.2 + 34.0, settings) for _ in range(300)]
    alarms = sum(length < 300 for length in lengths)
    assert sum(lengths) / alarms == pytest.approx(100, rel=0.3)


def test_a_rise_of_three_sigma_is_found_within_four_frames_and_dated() -> None:
    rng, settings = np.random.default_rng(2), AlarmSettings(frames_per_false_alarm=1000)
    delays, onsets = [], []
    for _ in range(100):
        values = rng.standard_normal(60)
        values[40:] += 3.0
        state = AlarmState()
        length = run_length(values, settings)
        for value in values[:length]:
            state = watch(state, value, True, settings)
        if length > 40:
            delays.append(length - 40)
            onsets.append(state.since)
    assert len(delays) > 90
    assert np.median(delays) <= 4
    assert abs(np.median(onsets) - 41) <= 2


def test_bad_frames_change_nothing() -> None:
    settings = AlarmSettings()
    state = AlarmState()
    for value in (1.0, 1.1, 0.9, 1.05, 0.95):
        state = watch(state, value, True, settings)
    for value in (1e6, float("nan"), -1e6):
        assert watch(state, value, False, settings) == state
    assert watch(state, float("nan"), True, settings) == state


def test_one_wild_frame_raises_no_alarm() -> None:
    state, settings = AlarmState(), AlarmSettings()
    rng = np.random.default_rng(0)
    for value in rng.standard_normal(30):
        state = watch(state, value, True, settings)
    after = watch(state, 1e9, True, settings)
    assert not after.raised
    assert after.squares < 10 * state.squares  # and the scatter is not spoilt
    assert decision_limit(settings) > 5.0


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 10, got 2"):
        AlarmSettings(frames_per_false_alarm=2)
    with pytest.raises(ConfigurationError, match=r"from 0\.1 to 5, got 9"):
        AlarmSettings(shift_sigma=9)
