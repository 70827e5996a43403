"""Data flags as an analysis says them: outputs, values, evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from streamproc.analysis import Output, RunResult
from streamproc.reduction.flags.kinds import ALONE, KINDS
from streamproc.reduction.flags.watch import Judgement

__all__ = ["STREAM", "flag_outputs", "flag_values", "flags_said", "run_flag_outputs"]

STREAM = "data_flags"

MODEL = "data-flags:1"


def flag_outputs(kinds: Sequence[str] = ALONE) -> tuple[Output, ...]:
    """Return the outputs of these kinds: a flag and its number each, then the evidence."""
    outputs: list[Output] = []
    for name in kinds:
        kind = KINDS[name]
        what = "bad" if kind.bad else "doubtful"
        outputs += [
            Output(
                f"data_flag_{name}", "flag", "", f"{what}: data_{name} has reached its limit", (), False, True
            ),
            Output(f"data_{name}", "number", kind.units, f"{kind.description}; NaN: not judged"),
        ]
    return (
        *outputs,
        Output(
            "data_evidence", "text", "", "JSON: pixels, rows, boxes or stretches of the axis of each flag"
        ),
    )


def run_flag_outputs() -> tuple[Output, ...]:
    """Return the outputs of stream ``data_flags``: what each reading shows within its run."""
    return (
        Output("seq_num", "number", "", "reading that is judged"),
        Output("data_bad", "flag", "", "nothing may be concluded from this reading", (), False, True),
        *flag_outputs(tuple(KINDS)),
        Output("reasons", "text", "", "the flags that are up, with number and limit"),
    )


def flag_values(judgement: Judgement, kinds: Sequence[str] = ALONE) -> dict[str, Any]:
    """Return the values of :func:`flag_outputs`."""
    values: dict[str, Any] = {}
    for name in kinds:
        values[f"data_flag_{name}"] = bool(judgement.flags.get(name, False))
        values[f"data_{name}"] = float(judgement.numbers.get(name, float("nan")))
    return values | {
        "data_evidence": json.dumps(judgement.evidence, sort_keys=True) if judgement.evidence else ""
    }


def flags_said(seq_num: int, judgement: Judgement) -> RunResult:
    """Return the event of stream ``data_flags`` for one reading."""
    values = {"seq_num": float(seq_num), "data_bad": judgement.bad, "reasons": "; ".join(judgement.reasons)}
    return RunResult(STREAM, values | flag_values(judgement, tuple(KINDS)))
