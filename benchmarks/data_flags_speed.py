"""What the data flags add to the integration of a frame, and cost on a pattern: CPU time, one thread.

Run ``python benchmarks/data_flags_speed.py [--side 1024] [--rounds 60] [--processes 7]``. Integration with
and without flags take turns over distinct frames. ``marginal`` is what ``FrameReader.read`` costs more than
``AzimuthalPlan.integrate`` of the same plan: from the array to the profile and the numbers and evidence of
all kinds that one frame can show, in Python and in compiled code. Both come from memory as they do live:
each finds the caches as the other left them. Plain integration tests each pixel, which the flags need not do
where their scan has; that gain is part of the difference. The watch, the ordered half, compares a reading
with its run. It is timed right after its frame, as in a scan in which frames come one by one; for 16 frames
after all of them have been read, as the service does where they come faster than that (per frame); and after
another frame has been integrated, which is the worst that the caches can be like. ``together`` is what flags
and watch cost more than the integration. Not counted are decoding and writing events. The frames are sound:
one with zeros, hits or spots is looked at again.

Integration is measured twice under two names: the
difference of the two is what these numbers are worth, and so is what they differ by from one fifth of the
rounds to another (``noise``: half of the range of the five medians). ``of the fastest`` is the difference of
the fastest of each: what the code takes when nobody else presses on memory and caches. A shared host rarely
is so.

Where a process finds its memory makes more of a difference than that: with ``--processes 7`` all is measured
in so many processes, one after the other, and the medians over them are printed with the lowest and the
highest.
"""

from __future__ import annotations

# ruff: noqa: E402  (threads are bounded before numpy and pyFAI are imported)
import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
from streamproc.reduction.correction import Correction
from streamproc.reduction.flags.patterns import PatternReader
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.watch import FlagWatch
from streamproc.reduction.geometry import Geometry

BINS, FRAMES, BATCH = 1000, 8, 16


def make(side: int, masked: float) -> tuple[AzimuthalPlan, list[Any]]:
    """Return a plan and distinct frames of powder rings."""
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    pixel = 0.15 / side
    integrator = AzimuthalIntegrator(
        0.2, 0.07, 0.08, 0.05, -0.03, 0.0,
        detector=Detector(pixel, pixel, max_shape=(side, side)), wavelength=5e-11,
    )  # fmt: skip
    random = np.random.default_rng(1)
    mask = random.random((side, side)) < masked
    plan = AzimuthalPlan.build(
        Geometry.of(integrator, "benchmark", ""), Correction(mask=mask), PlanOptions(BINS)
    )
    angle = np.rad2deg(integrator.center_array((side, side), unit="2th_rad"))
    mean = 20 + 30 * np.exp(-angle / 10)
    for at in (6, 8.5, 11, 13.4, 15, 17.2, 19.9, 22):
        mean += 400 * np.exp(-0.5 * ((angle - at) / 0.08) ** 2)
    return plan, [random.poisson(mean).astype(np.uint16) for _ in range(FRAMES)]


def times(functions: dict[str, Callable[[Any], Any]], frames: list[Any], rounds: int) -> dict[str, Any]:
    """Return CPU times (ms) of each function, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        for frame in frames[:3]:
            function(frame)
    for turn in range(rounds):
        for place, (name, function) in enumerate(functions.items()):
            frame = frames[(turn * len(functions) + place) % len(frames)]
            start = time.process_time_ns()
            function(frame)
            taken[name].append(1e-6 * (time.process_time_ns() - start))
    return {name: np.array(values) for name, values in taken.items()}


def shown(found: dict[str, Any], least: bool = True) -> dict[str, float]:
    """Print median, noise and minimum of each; return the medians."""
    for name, values in found.items():
        medians = [float(np.median(part)) for part in np.array_split(values, min(5, values.size))]
        noise = 0.5 * (max(medians) - min(medians))
        lowest = f"{values.min():9.3f}" if least else ""
        print(f"{name:28}{np.median(values):10.3f}{noise:8.3f}{lowest}", flush=True)
    return {name: float(np.median(values)) for name, values in found.items()}


def measured(side: int, masked: float, rounds: int) -> dict[str, float]:
    """Print the table of one process; return its medians (ms)."""
    plan, frames = make(side, masked)
    reader, watch, later = FrameReader(plan), FlagWatch(FlagSettings()), FlagWatch(FlagSettings())
    readings = iter([reader.read(frame)[0] for frame in frames] * (rounds + 4))
    axis = plan.axis
    functions: dict[str, Callable[[Any], Any]] = {
        "integrate": plan.integrate,
        "read (integrate + flags)": reader.read,
        "integrate again": plan.integrate,
        "read and watch": lambda f: watch.take(reader.read(f)[0]),
        "integrate in parts": reader.parted.integrate,
        "watch (ordered half)": lambda f: later.take(next(readings)),
    }
    found = times(functions, frames, rounds)
    print(f"{side} x {side} uint16, {BINS} bins, {masked:.1%} masked, 1 thread, CPU time")
    print(f"{'':28}{'median ms':>10}{'noise':>8}{'min ms':>9}")
    integrated = found["integrate"]
    marginal = found["read (integrate + flags)"] - integrated
    medians = shown(found) | shown({
        "marginal of the flags": marginal,
        "together, right after": found["read and watch"] - integrated,
        "together, a frame between": marginal + found["watch (ordered half)"],
        "the same of nothing": found["integrate again"] - integrated,
    }, least=False)  # fmt: skip
    plain = min(found["integrate"].min(), found["integrate again"].min())
    medians |= shown(
        {"together, of the fastest": np.array([found["read and watch"].min() - plain])}, least=False
    )
    batches = [[frames[(k + i) % FRAMES] for i in range(BATCH)] for k in range(FRAMES)]
    whole = times(
        {
            "integrate": lambda batch: [plan.integrate(f) for f in batch],
            "read, watch": lambda batch: [watch.take(r) for r in [reader.read(f)[0] for f in batch]],
        },
        batches,
        max(rounds // 3, 5),
    )
    each = (whole["read, watch"] - whole["integrate"]) / BATCH
    medians |= shown({f"together, {BATCH} frames a time": each}, least=False)
    patterns = [
        np.random.default_rng(k).poisson(plan.integrate(frames[0]).intensity).astype(float) for k in range(8)
    ]
    second, one = FlagWatch(FlagSettings()), PatternReader()
    return medians | shown(times(
        {
            f"pattern of {axis.size}: read": lambda y: one.read(axis, y, "two_theta_deg", 0.5),
            f"pattern of {axis.size}: read, watch": lambda y: second.take(
                one.read(axis, y, "two_theta_deg", 0.5)
            ),
        },
        patterns,
        rounds,
    ))  # fmt: skip


def main() -> None:
    """Print the table, or one for each process and what they have in common."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--masked", type=float, default=0.0, help="share of pixels masked at random")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--processes", type=int, default=1, help="measure in so many, in turn")
    arguments = parser.parse_args()
    given = (arguments.side, arguments.masked, arguments.rounds)
    if arguments.processes < 2:
        measured(*given)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        found = [pool.apply(measured, given) for _ in range(arguments.processes)]
    print(f"{arguments.processes} processes {'':14}{'median ms':>10}{'lowest':>9}{'highest':>9}")
    for name in found[0]:
        values = [medians[name] for medians in found]
        print(f"{name:28}{np.median(values):10.3f}{min(values):9.3f}{max(values):9.3f}")


if __name__ == "__main__":
    main()
