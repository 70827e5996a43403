"""Alarms on several quantities share one false-alarm rate, date the onset, and go on after an interruption."""

from __future__ import annotations

import json

import numpy as np
import pytest
from streamproc.models.defects.alarm import AlarmSettings, AlarmState, decision_limit, watch
from streamproc.models.defects.scan_alarms import ScanAlarms

NAMES = ("density_per_m2", "size_nm", "growth")


def _sent(alarms: ScanAlarms, rows: np.ndarray, sigma: float = 0.0, first: int = 1):
    risen = []
    for k, row in enumerate(rows):
        values = {n: (float(v), sigma) for n, v in zip(NAMES, row, strict=True)}
        risen += alarms.take(first + k, values, True)
    return risen


def test_all_quantities_together_keep_the_rate() -> None:
    """Runs of 200 readings until the first of three alarms: the mean between alarms, censored, within 35 %."""
    rng, frames, risen = np.random.default_rng(4), 0, 0
    for _ in range(250):
        alarms = ScanAlarms(NAMES, AlarmSettings(frames_per_false_alarm=100))
        for k, row in enumerate(rng.standard_normal((200, 3))):
            values = {n: (float(v), 0.0) for n, v in zip(NAMES, row, strict=True)}
            frames += 1
            if alarms.take(k + 1, values, True):
                risen += 1
                break
    assert frames / risen == pytest.approx(100, rel=0.35)
    one = decision_limit(AlarmSettings(frames_per_false_alarm=100))
    assert ScanAlarms(NAMES, AlarmSettings(frames_per_false_alarm=100)).limit > one


def test_a_fall_of_the_size_is_an_alarm_and_a_rise_is_none() -> None:
    rows = np.random.default_rng(1).normal(5.0, 0.05, (40, 3))
    rows[30:, 1] -= 0.5
    (alarm,) = _sent(ScanAlarms(NAMES, AlarmSettings()), rows)
    assert alarm.quantity == "size_nm" and 31 <= alarm.seq_num <= 33 and alarm.onset_seq_num == 31
    assert alarm.before == pytest.approx(5.0, abs=0.03) and alarm.now < 4.7 and alarm.frames == 30
    rows[30:, 1] += 1.0
    assert _sent(ScanAlarms(NAMES, AlarmSettings()), rows) == []


def test_a_change_below_the_models_own_error_is_not_looked_for() -> None:
    rows = np.random.default_rng(1).normal(0.0, 0.01, (40, 3))
    rows[30:, 2] += 0.05
    assert [a.quantity for a in _sent(ScanAlarms(NAMES, AlarmSettings()), rows)] == ["growth"]
    assert _sent(ScanAlarms(NAMES, AlarmSettings()), rows, sigma=0.3) == []


def test_bad_readings_change_nothing_and_an_alarm_rises_once() -> None:
    rows = np.random.default_rng(2).normal(0.0, 1.0, (60, 3))
    rows[30:, 0] += 4
    with_bad, plain = ScanAlarms(NAMES, AlarmSettings()), ScanAlarms(NAMES, AlarmSettings())
    risen = []
    for k, row in enumerate(rows):
        values = {n: (float(v), 0.0) for n, v in zip(NAMES, row, strict=True)}
        assert with_bad.take(2 * k + 1, dict.fromkeys(NAMES, (1e9, 0.0)), False) == []
        risen += with_bad.take(2 * k + 2, values, True)
    assert [a.quantity for a in risen] == ["density_per_m2"]
    _sent(plain, rows)
    assert with_bad.levels() == plain.levels() and with_bad.raised() == plain.raised()


def test_a_restored_watch_says_the_same_as_one_that_went_on() -> None:
    rows = np.random.default_rng(3).normal(0.0, 1.0, (50, 3))
    rows[25:, 2] += 3
    whole = ScanAlarms(NAMES, AlarmSettings())
    expected = _sent(whole, rows)
    for cut in (1, 10, 26):
        first, second = ScanAlarms(NAMES, AlarmSettings()), ScanAlarms(NAMES, AlarmSettings())
        said = _sent(first, rows[:cut])
        second.restore(json.loads(json.dumps(first.snapshot())))
        assert said + _sent(second, rows[cut:], first=cut + 1) == expected
        assert second.levels() == whole.levels()


def test_the_least_scatter_makes_a_step_smaller() -> None:
    state, settings = AlarmState(), AlarmSettings()
    for value in (1.0, 1.1, 0.9, 1.05, 0.95):
        state = watch(state, value, True, settings)
    assert watch(state, 1.4, True, settings, 0.5).total < watch(state, 1.4, True, settings).total
