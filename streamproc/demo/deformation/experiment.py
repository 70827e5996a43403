"""The deformation experiment: patterns of a tensile test, answered by the data and defect flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamproc.dashboard.state import RunView
from streamproc.demo.deformation.scan import MODEL, SATURATION, Truth, read_truth
from streamproc.demo.options import DemoOptions
from streamproc.demo.summary import run_facts, run_lines

__all__ = ["Deformation", "alarms_told", "summarise", "tables"]

_POINTS, _RATE_HZ = 40, 5.0
_QUANTITIES = {"density_per_m2": "dislocation density (1/m^2)", "deformation": "stacking faults per layer"}


def tables() -> str:
    """Return the flags' tables of the configuration (TOML)."""
    return f"""\
[analysis.defect-flags]
key = "mythen"
axis_key = "mythen_two_theta"
wavelength_A = 1.5405929
data_flags = {{ monitor_key = "i0", saturation = {SATURATION} }}

[analysis.defect-flags.defects]
model = "{MODEL}"
limits = {{ density_per_m2 = 1e15, deformation = 0.01 }}
frames_per_false_alarm = 1000
"""


class Deformation:
    """A tensile test of copper in front of a strip detector."""

    analysis = "defect-flags"

    def __init__(self, options: DemoOptions) -> None:
        self.points, self.rate_Hz = options.for_events(
            _POINTS, _RATE_HZ, "patterns of --experiment deformation are in the events"
        )

    def tables(self) -> str:
        """Return the flags' tables."""
        return tables()

    def prepare(self, folder: Path) -> None:
        """Write nothing: the model is one of those shipped."""

    def beamline(self) -> list[str]:
        """Return the tensile stage with its steps."""
        return ["streamproc.demo.deformation.beamline", "--points", str(self.points)]

    def doing(self) -> str:
        """Say how many steps."""
        return f"pulling copper in {self.points} steps, a pattern at each"

    def summarise(self, run: RunView, folder: Path, elapsed_s: float) -> dict[str, Any]:
        """Compare alarms, bad readings and estimates with the test."""
        return summarise(run, read_truth(folder / "truth.json"), elapsed_s)

    def lines(self, summary: dict[str, Any]) -> list[str]:
        """Return the summary for a reader."""
        first, *rest = run_lines(summary)
        return [first, *_alarm_lines(summary), *_estimate_lines(summary), *rest]


def summarise(run: RunView, truth: Truth, elapsed_s: float) -> dict[str, Any]:
    """Return the summary that ``streamproc demo --experiment deformation --json`` writes.

    Returns
    -------
    dict
        What :func:`~streamproc.demo.summary.run_facts` gives, and ``onset_seq_num``; ``alarms`` as
        :func:`alarms_told`; ``first_alarm_after`` (good readings from the onset to the first true alarm, 1 is
        the onset's own; None without one); ``false_alarms``; ``bad_readings`` and ``true_bad_readings``;
        ``accuracy`` (by quantity: median ratio or error, share within the 90 % interval); ``said``.
    """
    alarms = alarms_told(run, truth)
    true = [a["good_readings_after"] for a in alarms if a["good_readings_after"] is not None]
    data = run.so_far.get("data_flags")
    bad = [p.seq_num for p in data.points if "bad-frame" in p.reasons] if data is not None else []
    said = run.so_far["summary"].words[-1].get("said", "") if "summary" in run.so_far else ""
    return {
        **run_facts(run, len(truth.steps), elapsed_s),
        "experiment": "deformation",
        "onset_seq_num": truth.onset_seq_num,
        "alarms": alarms,
        "first_alarm_after": min(true, default=None),
        "false_alarms": len(alarms) - len(true),
        "bad_readings": bad,
        "true_bad_readings": {str(s.seq_num): s.fault for s in truth.steps if s.fault},
        "accuracy": {name: _accuracy(run, truth, name) for name in _QUANTITIES},
        "said": said,
    }


def alarms_told(run: RunView, truth: Truth) -> list[dict[str, Any]]:
    """Return each alarm of a run: ``quantity``, ``seq_num``, ``onset_seq_num``, ``said``, and
    ``good_readings_after`` the true onset, None before it."""
    stream = run.so_far.get("alarms")
    if stream is None:
        return []
    good = [s.seq_num for s in truth.steps if not s.fault]
    told = []
    for point, words in zip(stream.points, stream.words, strict=True):
        after = sum(truth.onset_seq_num <= n <= point.seq_num for n in good)
        told.append({
            "quantity": words.get("quantity", ""), "seq_num": point.seq_num,
            "onset_seq_num": int(point.values["onset_seq_num"]), "said": words.get("said", ""),
            "good_readings_after": after if truth.onset_seq_num and after else None,
        })  # fmt: skip
    return told


def _accuracy(run: RunView, truth: Truth, name: str) -> dict[str, float | None]:
    """Median of the estimate over the truth (of the density) or of its error, and coverage; good data
    only."""
    key, off, inside = f"defect_{name}", [], []
    for step in truth.steps:
        point = run.points.get(step.seq_num)
        if point is None or step.fault or not np.isfinite(point.values.get(key, np.nan)):
            continue
        true, value = float(getattr(step, name)), point.values[key]
        off.append(value / true if name == "density_per_m2" else abs(value - true))
        low, high = point.intervals[key]
        inside.append(low <= true <= high)
    if not off:
        return {"median": None, "coverage90": None}
    return {"median": float(np.median(off)), "coverage90": float(np.mean(inside))}


def _alarm_lines(summary: Mapping[str, Any]) -> list[str]:
    lost: Sequence[str] = [f"{n} ({why})" for n, why in summary["true_bad_readings"].items()]
    known = ", ".join(map(str, summary["bad_readings"])) or "none"
    lines = [
        f"the specimen yields at reading {summary['onset_seq_num']}; bad data: {', '.join(lost) or 'none'}",
        f"readings called bad: {known}; false alarms: {summary['false_alarms']}",
    ]
    for alarm in summary["alarms"]:
        after = alarm["good_readings_after"]
        when = "a FALSE alarm" if after is None else f"good reading {after} from the onset on"
        lines.append(f"  alarm at reading {alarm['seq_num']} ({when}): {alarm['said']}")
    return lines if summary["alarms"] else [*lines, "  no alarm"]


def _estimate_lines(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, said in _QUANTITIES.items():
        found = summary["accuracy"][name]
        if found["median"] is None:
            continue
        what = "over the truth" if name == "density_per_m2" else "from the truth"
        lines.append(
            f"  {said}: median {found['median']:.3g} {what}; 90 % intervals hold it in "
            f"{100 * found['coverage90']:.0f} %"
        )
    return lines
