"""Our reduction beside pyFAI, round robin in one process: median, minimum, ratio.

Run ``python benchmarks/reduction.py [--side 1024] [--rounds 15] [--json FILE]``. Dark, flat, mask, solid
angle, polarisation and Poisson errors on both sides; the frames are distinct, so that none is warm in the
cache. Times are CPU times of the process, which other programs disturb least; with one thread they are the
wall times of a quiet machine.
"""

from __future__ import annotations

# ruff: noqa: E402  (threads are bounded before numpy and pyFAI are imported)
import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BINS, AZIMUTHS, FRAMES = 1000, 360, 8


def make_plans(side: int) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """Return our plans by name, pyFAI's integrator, and the settings both share."""
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
    from streamproc.reduction.correction import Correction
    from streamproc.reduction.geometry import Geometry

    rng = np.random.default_rng(1)
    pixel = 0.15 / side
    detector = Detector(pixel, pixel, max_shape=(side, side))
    integrator = AzimuthalIntegrator(0.2, 0.07, 0.08, 0.05, -0.03, 0.0, detector=detector, wavelength=5e-11)
    geometry = Geometry.of(integrator, "benchmark", "")
    shape = (side, side)
    mask = rng.random(shape) < 0.058
    images = {"mask": mask, "dark": rng.uniform(0, 2, shape), "flat": rng.uniform(0.9, 1.1, shape)}
    correction = Correction(**images, polarization_factor=0.95)
    plans = {
        "no": AzimuthalPlan.build(geometry, correction, PlanOptions(BINS, azimuth_bins=AZIMUTHS)),
        "bbox": AzimuthalPlan.build(
            geometry, correction, PlanOptions(BINS, azimuth_bins=AZIMUTHS, splitting="bbox")
        ),
    }
    return (
        plans,
        integrator,
        {**images, "polarization_factor": 0.95, "unit": "2th_deg", "error_model": "poisson"},
    )


def make_rivals(side: int) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    """Return name -> (name of the one it is measured against, function of a frame)."""
    plans, integrator, shared = make_plans(side)

    def pyfai(splitting: str, cake: bool) -> Callable[[Any], Any]:
        method = (splitting, "csr", "cython")
        if cake:
            span = (-180, 180)
            return lambda f: integrator.integrate2d(
                f, BINS, AZIMUTHS, azimuth_range=span, method=method, **shared
            )
        return lambda f: integrator.integrate1d(f, BINS, method=method, **shared)

    return {
        "read once (frame.max())": ("", lambda f: f.max()),
        "pyFAI no/csr/cython": ("", pyfai("no", False)),
        "streamproc no": ("pyFAI no/csr/cython", plans["no"].integrate),
        "pyFAI bbox/csr/cython": ("", pyfai("bbox", False)),
        "streamproc bbox": ("pyFAI bbox/csr/cython", plans["bbox"].integrate),
        "pyFAI cake no/csr/cython": ("", pyfai("no", True)),
        "streamproc cake no (with 1-D)": ("pyFAI cake no/csr/cython", plans["no"].cake),
        "pyFAI cake bbox/csr/cython": ("", pyfai("bbox", True)),
        "streamproc cake bbox (with 1-D)": ("pyFAI cake bbox/csr/cython", plans["bbox"].cake),
    }


def agreement(rivals: dict[str, tuple[str, Callable[[Any], Any]]], frame: Any) -> dict[str, float]:
    """Return the largest relative difference of the 1-D sigmas between each rival and the one beside it."""
    worst = {}
    for name in ("streamproc no", "streamproc bbox"):
        ours, theirs = rivals[name][1](frame), rivals[rivals[name][0]][1](frame)
        used = theirs.count > 0
        worst[name] = float(np.max(np.abs(ours.sigma[used] / theirs.sigma[used] - 1)))
    return worst


def measure(
    rivals: dict[str, tuple[str, Callable[[Any], Any]]], frames: Sequence[Any], rounds: int
) -> dict[str, list[float]]:
    """Time each rival once per round (CPU ms), the order rotated."""
    names = list(rivals)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _, function in rivals.values():
        function(frames[0])  # tables and machine code
    for turn in range(rounds):
        for position in range(len(names)):
            name = names[(turn + position) % len(names)]
            frame = frames[(turn * len(names) + position) % len(frames)]
            start = time.process_time()
            rivals[name][1](frame)
            times[name].append(1e3 * (time.process_time() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1024, help="rows and columns of the frame")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(2)
    shape = (arguments.side, arguments.side)
    frames = [rng.poisson(20, shape).astype(np.uint16) for _ in range(FRAMES)]
    rivals = make_rivals(arguments.side)
    worst = agreement(rivals, frames[0])
    times = measure(rivals, frames, arguments.rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    side = arguments.side
    print(f"{side} x {side} uint16, {BINS} bins, cake {BINS} x {AZIMUTHS}, corrected, 1 thread, CPU time")
    print(f"{'':34}{'median ms':>10}{'min ms':>9}  {'against':>28}{'ratio':>8}{'sigma differs by':>18}")
    for name, (against, _) in rivals.items():
        ratio = f"{medians[against] / medians[name]:.1f}x" if against else ""
        difference = f"{worst[name]:.1e}" if name in worst else ""
        row = f"{name:34}{medians[name]:10.2f}{min(times[name]):9.2f}"
        print(f"{row}  {against:>28}{ratio:>8}{difference:>18}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"median_ms": medians, "times_ms": times, "agreement": worst}, indent=1)
        )


if __name__ == "__main__":
    main()
