"""How good the answers were: results against the known truth, latency, completeness."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from streamproc.dashboard.state import RunView

__all__ = ["read_truth", "run_facts", "run_lines", "summarise", "summary_lines"]


def read_truth(path: Path) -> dict[int, dict[str, float]]:
    """Read ``truth.json``: weight fractions by seq_num."""
    listed = json.loads(path.read_text(encoding="utf-8"))["points"]
    return {int(p["seq_num"]): {k: float(v) for k, v in p["fractions"].items()} for p in listed}


def summarise(
    run: RunView, truth: Mapping[int, Mapping[str, float]], *, elapsed_s: float, **facts: Any
) -> dict[str, Any]:
    """Return the summary that ``streamproc demo --json`` writes.

    Parameters
    ----------
    run : RunView
        The result run, ended.
    truth : mapping of int to mapping of str to float
        Weight fractions by seq_num.
    elapsed_s : float
        From the first raw document to the last answer (s).
    **facts
        Further entries (storage, seed, ...).

    Returns
    -------
    dict
        ``points``, ``ledger``, ``latency_ms``, ``frames_per_s``, ``accuracy``, ``in_domain``,
        ``result_run_uids``, ``model``, and the facts.
    """
    return {
        **run_facts(run, len(truth), elapsed_s),
        "accuracy": _accuracy(run, truth),
        "in_domain": run.count - run.flagged,
        **facts,
    }


def run_facts(run: RunView, expected: int, elapsed_s: float) -> dict[str, Any]:
    """Return what a summary says of any run that has ended.

    Returns
    -------
    dict
        ``points``, ``ledger``, ``latency_ms``, ``frames_per_s``, ``result_run_uids``, ``model``.
    """
    ledger = run.ledger
    return {
        "points": expected,
        "ledger": {
            "expected": ledger.expected if ledger else expected,
            "done": ledger.done if ledger else run.count,
            "failed": ledger.failed if ledger else 0,
            "dropped": ledger.dropped if ledger else 0,
        },
        "latency_ms": {"p50": run.latency_ms(50), "p95": run.latency_ms(95), "p99": run.latency_ms(99)},
        "frames_per_s": run.count / elapsed_s if elapsed_s > 0 else None,
        "result_run_uids": [run.uid],
        "model": run.model,
    }


def _accuracy(run: RunView, truth: Mapping[int, Mapping[str, float]]) -> dict[str, Any]:
    """Return mean absolute error and coverage of the 90 % intervals, overall and per phase."""
    errors: dict[str, list[float]] = {}
    inside: dict[str, list[bool]] = {}
    for seq_num in truth.keys() & run.points.keys():
        point = run.points[seq_num]
        for phase, true in truth[seq_num].items():
            value = point.values.get(phase, math.nan)
            if math.isfinite(value):
                errors.setdefault(phase, []).append(abs(value - true))
            if phase in point.intervals and all(map(math.isfinite, point.intervals[phase])):
                low, high = point.intervals[phase]
                inside.setdefault(phase, []).append(low <= true <= high)
    return {
        "fraction_mae": _mean([e for per_phase in errors.values() for e in per_phase]),
        "coverage90": _mean([i for per_phase in inside.values() for i in per_phase]),
        "phases": {
            phase: {"mae": _mean(errors[phase]), "coverage90": _mean(inside.get(phase, []))}
            for phase in errors
        },
    }


def _mean(values: list[Any]) -> float | None:
    return float(np.mean(values)) if values else None


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return the summary for a reader."""
    accuracy = summary["accuracy"]
    first, *rest = run_lines(summary)
    lines = [
        f"{first}; {summary['in_domain']} within the model's domain",
        f"against the known truth: mean absolute error {_percent(accuracy['fraction_mae'])} by weight,",
        f"  the 90 % intervals hold the truth in {_percent(accuracy['coverage90'], 0)} of cases",
    ]
    for phase, figures in accuracy["phases"].items():
        held = _percent(figures["coverage90"], 0)
        lines.append(f"  {phase:<12} error {_percent(figures['mae'])}, intervals hold {held}")
    return [*lines, *rest]


def run_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return what :func:`run_facts` gives for a reader: completeness, then latency."""
    ledger, latency, rate = summary["ledger"], summary["latency_ms"], summary["frames_per_s"]
    return [
        f"{ledger['done']} of {ledger['expected']} points answered, {ledger['failed']} failed, "
        f"{ledger['dropped']} dropped",
        f"from document to answer: p50 {_ms(latency['p50'])}, p95 {_ms(latency['p95'])}; "
        f"{'-' if rate is None else f'{rate:.1f}'} frames/s",
    ]


def _percent(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
