from __future__ import annotations

from collections import Counter

import pytest

from streamproc.audit import AuditReport, Finding, Findings, RunAudit
from streamproc.torture.count import OwnCount, Wait
from streamproc.torture.looks import Look, Silence, parse_metrics
from streamproc.torture.services import Life
from streamproc.torture.verdict import judge, longest_waits, memory_figures, percentile, restart_figures

MB = 1024 * 1024
FLAT = {"a": {"first_mb": 100.0, "last_mb": 101.0, "flat": True, "samples": 100}}


def life(number=2, answered_s=None, **more):
    return Life(number, 1000 + number, 100.0, answered_s, **more)


def figures(*lives, limit_s=10.0, now_s=200.0):
    return restart_figures({"a": [life(1, 103.0), *lives]}, limit_s, now_s)


def audit(**counts):
    findings = Findings()
    if counts:
        findings.add(Finding("lost", "an event", "none", run_uid="raw", result_uid="result"))
    return AuditReport((RunAudit("raw", "result", "phase-map", **counts),), findings, (), {})


# -- restarts ----------------------------------------------------------------------------------------------


def test_the_first_process_is_no_restart():
    assert figures().count == 0


def test_a_restart_is_measured_from_its_start_to_its_first_answer():
    found = figures(life(2, 104.5), life(3, 103.0))
    assert (found.count, found.answered, found.times_s, found.late) == (2, 2, (4.5, 3.0), ())
    assert found.to_json(10.0)["slowest_s"] == 4.5


def test_a_slow_restart_is_late():
    (late,) = figures(life(2, 110.1)).late
    assert "10.1 s" in late and "service a" in late


def test_a_restart_hit_in_time_is_not_judged():
    found = figures(life(2, hit_s=104.0, ended_s=104.1), life(3, 125.0, hit_s=109.0))
    assert (found.answered, found.interrupted, found.late) == (0, 2, ())


def test_a_restart_hit_only_after_the_limit_is_late_all_the_same():
    assert len(figures(life(2, hit_s=110.5)).late) == 1


@pytest.mark.parametrize("ended_s", [110.5, None])
def test_a_restart_that_never_answers_is_late(ended_s):
    assert len(figures(life(2, ended_s=ended_s)).late) == 1


def test_a_restart_that_ends_by_itself_in_time_is_not_late_but_the_next_one_may_be():
    found = figures(life(2, ended_s=103.0), life(3, 111.0))
    assert (found.interrupted, len(found.late)) == (1, 1)


# -- memory ------------------------------------------------------------------------------------------------


def samples(first, last, count=300):
    return [(float(i), round((first + (last - first) * i / count) * MB)) for i in range(count)]


def test_memory_that_stays_is_flat():
    found = memory_figures(samples(200, 205))
    assert found["flat"] is True
    assert found["first_mb"] == pytest.approx(201, abs=1)


def test_memory_that_grows_is_not_flat():
    assert memory_figures(samples(200, 300))["flat"] is False


def test_a_single_peak_is_no_growth():
    values = samples(200, 200)
    values[-1] = (values[-1][0], 900 * MB)
    assert memory_figures(values)["flat"] is True


def test_too_few_samples_say_nothing():
    assert memory_figures(samples(200, 900, 20))["flat"] is None
    assert memory_figures([])["flat"] is None


# -- verdict -----------------------------------------------------------------------------------------------


def test_nothing_speaks_against_a_sound_torture():
    assert judge(OwnCount(5, 5), audit(), figures(life(2, 104.0)), FLAT, {"-9": 3, "3": 1}) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"own": OwnCount(5, 4, missing={"raw": [3]})}, "no event"),
        ({"own": OwnCount(5, 5, repeated=Counter(x=2))}, "2 result documents are there twice"),
        ({"own": OwnCount(5, 5, unknown=1)}, "never published"),
        ({"own": OwnCount(5, 5, unfinished=["raw"])}, "no result stop"),
        ({"audit": audit(lost=1)}, "lost"),
        ({"audit": audit(doubled=1)}, "more than once"),
        ({"restarts": figures(life(2, 111.0))}, "beyond the limit"),
        ({"exits": {"2": 1}}, "exit code 2"),
        ({"memory": {"a": {**FLAT["a"], "last_mb": 300.0, "flat": False}}}, "memory of service a"),
    ],
)
def test_each_fault_is_said(changed, words):
    sound = {"own": OwnCount(5, 5), "audit": audit(), "restarts": figures(), "memory": FLAT, "exits": {}}
    assert any(words in problem for problem in judge(**(sound | changed)))


def test_memory_that_could_not_be_judged_is_no_fault():
    unknown = {"a": {"first_mb": None, "last_mb": None, "flat": None, "samples": 0}}
    assert judge(OwnCount(5, 5), audit(), figures(), unknown, {}) == []


def test_percentiles_are_values_that_occurred():
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.95, 1.0)] == [51.0, 96.0, 100.0]
    assert percentile([], 0.5) is None


# -- what is seen of a service -------------------------------------------------------------------------------


def test_the_longest_silence_is_the_longest_time_without_a_new_answer():
    silence = Silence()
    for now_s, count in [(0.0, 5), (2.0, 5), (3.0, 6), (4.0, 7), (9.0, 7), (9.5, 8), (10.0, 8)]:
        silence.note(now_s, count)
    assert silence.longest_s == 5.0


def test_metrics_are_read_as_the_service_writes_them():
    from streamproc.observability.metrics import ServiceMetrics

    metrics = ServiceMetrics("phase-map")
    for _ in range(3):
        metrics.frame("done", 0.1)
    metrics.frame("failed")
    metrics.state(lag=7, waiting=2, waiting_bytes=10, open_runs=1, paused=False)
    found = parse_metrics(metrics.text().decode())
    assert found["frames_total:done"] == 3
    assert found["frames_total:failed"] == 1
    assert found["lag_messages"] == 7
    assert found["frames_waiting"] == 2


def test_a_look_at_an_earlier_process_is_not_taken_for_the_present_one(tmp_path):
    from streamproc.torture.services import Supervised

    service = Supervised("a", [], tmp_path, 1, lambda line: None)
    service.lives.append(life(2))
    service.take(Look(pid=999, at_s=101.0, done=5))
    assert service.life.answered_s is None
    service.take(Look(pid=service.life.pid, at_s=102.0, done=5))
    assert (service.life.answer_time_s, service.life.answered_with) == (2.0, "result")


# -- waits -------------------------------------------------------------------------------------------------


def test_the_longest_waits_are_told_one_for_each_time_they_came():
    at_s = {100.0: 5.0, 101.0: 7.0, 119.0: 6.0, 150.0: 4.0, 190.0: 3.0, 230.0: 2.0}  # seconds waited
    waits = [Wait(1000 * long, "raw", n, at) for n, (at, long) in enumerate(at_s.items(), 1)]
    told = longest_waits(waits, begin_unix_s=90.0)
    assert [(w["latency_ms"], w["seq_num"], w["published_s"]) for w in told] == [
        (7000.0, 2, 11.0),
        (4000.0, 4, 60.0),
        (3000.0, 5, 100.0),
    ]
