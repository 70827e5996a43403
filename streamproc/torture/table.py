"""The report for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["table"]

_WIDTH = 12
_TAKEN_OVER, _ABORTED = "partition taken over", "delivery aborted, made anew at the next turn"
"""What the services' logs call it."""


def table(report: Mapping[str, Any]) -> list[str]:
    """Return the lines of a report, as :func:`streamproc.torture.run.run_torture` gives it."""
    lines = [f"{name:<{_WIDTH}}{text}" for name, text in _rows(report)]
    return [*lines, *(f"{'':<{_WIDTH}}{problem}" for problem in report["problems"])]


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    faults, frames, audit = report["faults"], report["frames"], report["audit"]["totals"]
    yield "faults", f"{faults['count']} in {report['duration_s']:.0f} s: {_counts(faults['by_kind'])}"
    yield "seed", str(report["seed"])
    yield "restarts", _restarts(report["restarts"])
    yield "exits", _counts({_exit(code): count for code, count in report["exits"].items()})
    yield "handovers", _handovers(report["log_events"])
    yield "runs", f"{frames['runs']}: {_counts(frames['runs_by_storage'])}"
    yield "raw", f"{frames['raw_documents']} documents, {frames['raw_repeated']} of them published twice"
    yield "frames", f"{frames['answered']} of {frames['produced']} answered"
    yield "lost", f"{frames['lost']} by own count, {audit['lost']} by the audit"
    yield "doubled", f"{frames['doubled']} by own count, {audit['doubled']} by the audit"
    yield "failed", f"{frames['failed']} in the ledgers, {report['dead_letters']} dead letters"
    yield "latency", ", ".join(f"{name} {_ms(value)}" for name, value in report["latency_ms"].items())
    yield "longest", _longest(report["longest_waits"])
    yield "silence", f"{report['longest_silence_s']:.1f} s at most without a new answer"
    yield "memory", "; ".join(f"{name}: {_memory(m)}" for name, m in report["memory"].items())
    yield "machine", _machine(report["machine"])
    yield "verdict", "passed" if report["passed"] else "FAILED"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def _restarts(restarts: Mapping[str, Any]) -> str:
    text = str(restarts["count"])
    if restarts["answered"]:
        times = f"{restarts['median_s']:.1f} s (median), {restarts['slowest_s']:.1f} s (slowest)"
        text += f", answering after {times}"
    if restarts["interrupted"]:
        text += f"; {restarts['interrupted']} hit again before that"
    return text


def _handovers(events: Mapping[str, int]) -> str:
    taken, aborted = events.get(_TAKEN_OVER, 0), events.get(_ABORTED, 0)
    return f"{taken} times a partition was taken over, {aborted} transactions aborted"


def _longest(waits: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(map(_wait, waits)) or "-"


def _wait(wait: Mapping[str, Any]) -> str:
    which = f"run {wait['run_uid'][:8]}, reading {wait['seq_num']}"
    return f"{_ms(wait['latency_ms'])} from {wait['published_s']:.1f} s on ({which})"


def _exit(code: str) -> str:
    return {"-9": "SIGKILL", "-15": "SIGTERM", "0": "clean"}.get(code, f"with code {code}")


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def _machine(machine: Mapping[str, Any]) -> str:
    load = machine["load_median"]
    return f"{machine['cores']} cores" + (f", load {load:.1f} (median)" if load is not None else "")


def _memory(figures: Mapping[str, Any]) -> str:
    if figures["first_mb"] is None:
        return "not measured"
    change = f"{figures['first_mb']:.0f} to {figures['last_mb']:.0f} MiB"
    return change if figures["flat"] is not None else f"{change} (too short to tell)"
