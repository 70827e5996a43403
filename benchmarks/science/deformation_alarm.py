"""The tensile test of `streamproc demo --experiment deformation` without Kafka: does the alarm rise in time?

Usage: python benchmarks/science/deformation_alarm.py [--seeds 50] [--points 40] [--quiet]

Every seed is another specimen, diffractometer, yield point, lost beam and jammed module, as `--seed` of the
demo.
Readings go through the defect-flags analysis as the service would give them, with the demo's settings.
Counted
are good readings from the yield point to the first alarm (1: with the yield point's own), alarms before it,
alarms on a bad reading, and bad readings found. With `--quiet` nothing ever yields: alarms in how many
readings?
Wanted: within 3 good readings in every seed, no alarm on bad data, all bad readings found and no good one
called
bad, and false alarms as seldom as set.
"""

from __future__ import annotations

import argparse
import sys
import time
import tomllib
from collections import Counter
from dataclasses import replace
from typing import Any

from streamproc.consumers.defect_flags import DefectFlags, DefectFlagsSettings
from threadpoolctl import threadpool_limits

from streamproc.analysis import Frame, LoadContext
from streamproc.demo.deformation.beamline import COUNTS, MONITOR, STRAIN, TWO_THETA
from streamproc.demo.deformation.experiment import tables
from streamproc.demo.deformation.scan import Camera, Truth, axis_deg, tensile_test
from streamproc.documents import Position
from streamproc.runs import Run
from streamproc.settings import InferenceSettings

WITHIN = 3
_COUNTED = (
    "false alarm", "alarm on bad data", "flag on bad data", "bad reading missed", "good called bad",
    "good not judged", "late",
)  # fmt: skip


def loaded() -> DefectFlags:
    table = tomllib.loads(tables())["analysis"]["defect-flags"]
    # the plots beside the alarms cost time and change nothing in them
    table["defects"] |= {"cross_check_every": 0}
    return DefectFlags.load(DefectFlagsSettings.model_validate(table), LoadContext(InferenceSettings()))


def frames(truth: Truth) -> list[Frame]:
    camera, axis, made = Camera(truth), axis_deg(), []
    for k, step in enumerate(truth.steps):
        counts, monitor = camera.take(k)
        readings: dict[str, Any] = {TWO_THETA: axis, MONITOR: monitor, STRAIN: step.strain_percent}
        made.append(Frame("demo", "primary", k + 1, COUNTS, counts, 1.7e9 + k, readings))
    return made


def quiet(truth: Truth) -> Truth:
    """The same specimen, never loaded beyond its yield point: every reading is like the last before it."""
    before = truth.steps[max(truth.onset_seq_num - 2, 0)]
    still = [
        step if step.seq_num < truth.onset_seq_num
        else replace(before, seq_num=step.seq_num, strain_percent=step.strain_percent, fault=step.fault)
        for step in truth.steps
    ]  # fmt: skip
    return Truth(truth.seed, 0, tuple(still))


def went(analysis: DefectFlags, truth: Truth) -> dict[str, list[dict[str, Any]]]:
    running = analysis.begin(Run("demo", {"uid": "demo"}, Position("benchmark", 0, 0)))
    said = [*running.update(running.process(frames(truth))), *running.end()]
    return {
        s: [dict(r.values) for r in said if r.stream == s] for s in ("data_flags", "defect_flags", "alarms")
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--points", type=int, default=40)
    parser.add_argument("--quiet", action="store_true", help="nothing yields: false alarms only")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    arguments = parser.parse_args()
    analysis, began = loaded(), time.monotonic()
    after: Counter[int] = Counter()
    wrong: Counter[str] = Counter()
    judged = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        truth = tensile_test(arguments.points, seed)
        truth = quiet(truth) if arguments.quiet else truth
        judged += judge(seed, truth, went(analysis, truth), after, wrong)
    print(
        f"{arguments.seeds} seeds of {arguments.points} readings, {time.monotonic() - began:.0f} s; ", end=""
    )
    print(f"{judged} readings judged before the yield point")
    if not arguments.quiet:
        print("good readings from the yield point to the first alarm: " + told(after))
    for what in _COUNTED:
        print(f"  {what}: {wrong[what]}")
    expected = judged / analysis.settings.defects.frames_per_false_alarm
    print(f"  false alarms expected at the rate set: {expected:.1f}")
    sound = not any(wrong[k] for k in wrong if k not in ("false alarm", "good not judged"))
    passed = sound and wrong["false alarm"] <= expected + 2 * expected**0.5
    print("holds" if passed else "FAILS")
    return 0 if passed else 1


def told(after: Counter[int]) -> str:
    return ", ".join(f"{'never' if n == 0 else n}: {after[n]} seeds" for n in sorted(after))


def judge(
    seed: int, truth: Truth, said: dict[str, list[dict[str, Any]]], after: Counter[int], wrong: Counter[str]
) -> int:
    """Count what went right and wrong in one test; return the readings judged before the yield point."""
    bad = {s.seq_num for s in truth.steps if s.fault}
    onset = truth.onset_seq_num or len(truth.steps) + 1
    called = {int(v["seq_num"]) for v in said["data_flags"] if v["data_bad"]}
    wrong["bad reading missed"] += len(bad - called)
    wrong["good called bad"] += len(called - bad)
    for reading in said["defect_flags"]:
        n = int(reading["seq_num"])
        flagged = any(v for k, v in reading.items() if k.startswith("defect_flag_"))
        wrong["flag on bad data"] += n in bad and flagged
        if n not in bad and n not in called and not reading["defect_judged"]:
            wrong["good not judged"] += 1
            print(f"seed {seed}: reading {n} not judged: {reading['reasons']}")
    times = [int(a["seq_num"]) for a in said["alarms"]]
    wrong["alarm on bad data"] += len(bad.intersection(times))
    early = [a for a in said["alarms"] if a["seq_num"] < onset]
    wrong["false alarm"] += len(early)
    for alarm in early:
        print(f"seed {seed}: false alarm at {alarm['seq_num']:.0f} (yields at {onset}): {alarm['said']}")
    first = min((n for n in times if n >= onset), default=None)
    if truth.onset_seq_num:
        late = 0 if first is None else sum(onset <= n <= first for n in range(1, first + 1) if n not in bad)
        after[late] += 1
        wrong["late"] += not 1 <= late <= WITHIN
    return sum(bool(v["defect_judged"]) for v in said["defect_flags"] if v["seq_num"] < onset)


if __name__ == "__main__":
    with threadpool_limits(1, "blas"):  # as every command of streamproc works
        sys.exit(main())
