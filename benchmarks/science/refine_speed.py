"""How long fits take on one core: quick cross-check, refinement cold and warm, screening of many phases.

Usage: python benchmarks/science/refine_speed.py [--rounds 15]     (no data needed: simulated)

Wall and processor time of the rounds (the latter is judged, as other work may share the machine); a warm
refinement starts from the state of its neighbour in a series (other fractions, cells 0.05 % apart).
Wanted: a warm refinement of four phases in <= 100 ms.
"""

# ruff: noqa: E402  (BLAS is held to one thread, as in a service, before numpy is imported)
from __future__ import annotations

import argparse
import os
import sys

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
from streamproc.models.powder.fit import (
    ProfileFitter,
    QuickFitter,
    cu_k_alpha,
    doublet,
    pattern_of,
    phases_of,
    quick_settings,
    reference_of,
    refine_settings,
    screen,
    select,
)
from streamproc.models.powder.simulate import (
    CU_KA1_A,
    CU_KA2_A,
    Grain,
    Instrument,
    phase_table,
    render_pattern,
)
from streamproc.models.powder.structures import KNOWN, structures
from timing import timed

AXIS = np.linspace(20.0, 100.0, 2000)
LONG = np.arange(5.0, 150.0, 0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print(
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, "
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}"
    )
    names = tuple(structures())
    tables = {name: phase_table(name, CU_KA1_A) for name in names}
    four = reference_of({n: tables[n] for n in KNOWN}, CU_KA1_A, CU_KA2_A, 152.0)
    rng = np.random.default_rng(1)

    def mixture(axis, shares, stretch=1.0, seed=0):
        grain = Grain(cell_scale=(stretch,) * 3)
        return render_pattern(
            axis, shares, Instrument(displacement_mm=0.05), np.random.default_rng(seed), peak_counts=10000,
            background=0.02, tables=tables, grains=dict.fromkeys(shares, grain),
        )  # fmt: skip

    shares = dict(zip(KNOWN, (0.4, 0.3, 0.2, 0.1), strict=True))
    root = np.sqrt(mixture(AXIS, shares))
    x = (root / root.max()).astype(np.float32)
    quick = QuickFitter(four, KNOWN, 20.0, 100.0, 2000)
    timed("quick cross-check, 4 phases, 2000 points", lambda: quick.fit(x), rounds)
    known = quick.fit(x).state
    timed("quick cross-check from a known state", lambda: quick.fit(x, start=known), rounds)

    fitter = ProfileFitter(phases_of(four), refine_settings(cu_k_alpha()))
    pattern = pattern_of(LONG, mixture(LONG, shares))
    other = pattern_of(LONG, mixture(LONG, dict(zip(KNOWN, (0.35, 0.3, 0.25, 0.1), strict=True)), 1.0005, 1))
    neighbour = fitter.fit(other).state
    timed(
        f"refinement cold, 4 phases, {LONG.size} points, 5 emission lines",
        lambda: fitter.fit(pattern),
        rounds,
    )
    warm_ms = timed(
        "refinement warm, from the neighbour in a series",
        lambda: fitter.fit(pattern, start=neighbour),
        rounds,
    )
    print(f"    steps cold {fitter.fit(pattern).steps}, warm {fitter.fit(pattern, start=neighbour).steps}")

    many = ProfileFitter(
        phases_of(reference_of(tables, CU_KA1_A, CU_KA2_A, 102.0)),
        quick_settings(doublet(CU_KA1_A, CU_KA2_A)),
    )
    three = [str(n) for n in rng.choice(names, 3, replace=False)]
    unknown = pattern_of(AXIS, mixture(AXIS, dict(zip(three, (0.5, 0.3, 0.2), strict=True)), 1.002))
    timed(f"first look at {len(names)} phases", lambda: screen(many, unknown), rounds)
    timed("search with fits, three phases to find", lambda: select(many, unknown), max(3, rounds // 5))
    found = select(many, unknown).gain
    print(f"    in it {', '.join(sorted(three))}; found {', '.join(sorted(found))}")
    return 0 if warm_ms <= 100 else 1


if __name__ == "__main__":
    sys.exit(main())
