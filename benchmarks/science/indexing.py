"""Indexing of simulated and measured patterns: is the system right, the cell, and the probability that is stated?

Usage:
  python benchmarks/science/indexing.py [--seeds 11 12 13] [--patterns 21] [--max-s 20]      simulated
  python benchmarks/science/indexing.py --measured ../shared/data                            measured
  python benchmarks/science/indexing.py --calibrate --seeds 1 2                              fit the calibration

The calibration is fitted on other seeds than those it is judged on.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from measured_phases import measured
from random_crystals import KINDS, Drawn, draw
from scipy.optimize import minimize
from scipy.special import logsumexp
from streamproc.models.powder.indexing.index import CALIBRATION, Calibration, hint_from, weigh_peaks
from streamproc.models.powder.indexing.lattice import primitive_metric, same_lattice, signature
from streamproc.models.powder.peaks import Doublet, find_peaks

CU = (1.5405929, 1.5444274)
TOLERANCE = 0.002


@dataclass
class Outcome:
    """One pattern: what was said of it under the present calibration, and the raw evidence for another one."""

    name: str
    kind: str
    system: str
    said: str
    probability: float
    cell_probability: float
    system_right: bool
    cell_right: bool
    seconds: float
    finished: bool
    logs: np.ndarray
    right: np.ndarray
    text: str


def judge(drawn: Drawn, kind: str, max_s: float, beam: Doublet) -> Outcome:
    begin = time.monotonic()
    found = find_peaks(drawn.x, drawn.counts, beam)
    weighed = weigh_peaks(found, beam.wavelength_A, max_s)
    seconds = time.monotonic() - begin
    if weighed is None:
        return Outcome(
            drawn.name, kind, drawn.system, "abstains", 0.0, 0.0, False, False, seconds, True, np.zeros(1),
            np.zeros(0, bool), f"{len(found.peaks)} peaks",
        )  # fmt: skip
    hint = hint_from(weighed)
    right = np.array([_same(f.cell, f.centring, drawn) for f in weighed.fitted], bool)
    best = hint.best
    system, chance = max(((k, v) for k, v in hint.systems.items() if k != "none"), key=lambda kv: kv[1])
    return Outcome(
        drawn.name, kind, drawn.system, "abstains" if best is None else system, chance,
        0.0 if best is None else best.probability, system == drawn.system,
        best is not None and _same(np.array(best.cell), best.centring, drawn), seconds, not weighed.unfinished,
        np.array([f.log_evidence for f in weighed.fitted] + [weighed.log_none]), right,
        "" if best is None else f"{best.system} {best.centring} {np.round(best.cell, 3).tolist()} "
        f"M{best.lines}={best.m:.0f} F={best.f:.0f} {best.indexed}/{best.used} of {best.predicted}",
    )  # fmt: skip


def _same(cell: np.ndarray, centring: str, drawn: Drawn) -> bool:
    if drawn.lattice is None:
        return False
    return same_lattice(signature(primitive_metric(cell, centring)), drawn.lattice, TOLERANCE)


def simulated(task: tuple[int, int, str, float]) -> Outcome:
    seed, number, kind, max_s = task
    drawn = draw(np.random.default_rng([seed, number]), kind)
    return judge(drawn, kind, max_s, Doublet(CU[0], CU[1] if drawn.ka2 else None))


def loss(parameters: np.ndarray, outcomes: list[Outcome]) -> float:
    """Mean log loss of "this lattice is right", or of none where the right one is not among them."""
    temperature, none = float(np.exp(parameters[0])), float(parameters[1])
    total = 0.0
    for o in outcomes:
        logs = o.logs / temperature
        logs[-1] += none
        hit = np.append(o.right, not o.right.any())
        total -= logsumexp(logs[hit]) - logsumexp(logs)
    return total / len(outcomes)


def calibrate(outcomes: list[Outcome]) -> Calibration:
    usable = [o for o in outcomes if o.logs.size > 1]
    starts = [np.array([np.log(t), b]) for t in (1.0, 3.0) for b in (0.0, 5.0)]
    fits = [minimize(loss, s, args=(usable,), method="Nelder-Mead") for s in starts]
    best = min(fits, key=lambda f: f.fun)
    print(f"log loss {best.fun:.3f} with temperature {np.exp(best.x[0]):.2f}, none {best.x[1]:.2f}; "
          f"{loss(np.array([np.log(CALIBRATION.temperature), CALIBRATION.none]), usable):.3f} as delivered; {len(usable)} patterns")  # fmt: skip
    return Calibration(float(np.exp(best.x[0])), float(best.x[1]))


def reliability(outcomes: list[Outcome]) -> None:
    print("stated probability against hits (simulated patterns for which something is said)")
    print(f"{'stated':>12}{'systems':>9}{'mean':>7}{'hit':>6}{'cells':>8}{'mean':>7}{'hit':>6}")
    edges = (0.0, 0.5, 0.7, 0.9, 0.98, 1.001)
    told = [o for o in outcomes if o.said != "abstains"]
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        row = f"{low:6.2f}-{min(high, 1):.2f} "
        for stated, hit in (("probability", "system_right"), ("cell_probability", "cell_right")):
            here = [o for o in told if low <= getattr(o, stated) < high]
            mean = np.mean([getattr(o, stated) for o in here]) if here else float("nan")
            share = np.mean([getattr(o, hit) for o in here]) if here else float("nan")
            row += f"{len(here):>9}{mean:7.2f}{share:6.2f}"
        print(row)


def table(outcomes: list[Outcome]) -> None:
    print(f"{'kind':<14}{'patterns':>9}{'said':>6}{'system right':>14}{'cell right':>12}{'wrong':>7}{'median s':>10}{'max s':>7}{'unfinished':>11}")  # fmt: skip
    for kind in dict.fromkeys(o.kind for o in outcomes):
        some = [o for o in outcomes if o.kind == kind]
        told = [o for o in some if o.said != "abstains"]
        wrong = sum(not o.cell_right for o in told)
        print(
            f"{kind:<14}{len(some):>9}{len(told):>6}{sum(o.system_right for o in told):>14}"
            f"{sum(o.cell_right for o in told):>12}{wrong:>7}{np.median([o.seconds for o in some]):>10.1f}"
            f"{max(o.seconds for o in some):>7.1f}{sum(not o.finished for o in some):>11}"
        )


def failures(outcomes: list[Outcome]) -> None:
    print("not right (patterns with a cell to be found that was not said, and what was said wrongly):")
    for o in outcomes:
        if (o.said == "abstains" and o.system != "none") or (o.said != "abstains" and not o.cell_right):
            print(f"  {o.name}: {o.said} {o.probability:.2f}, cell {o.cell_probability:.2f} {o.text}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--patterns", type=int, default=21, help="per seed, the kinds in turn")
    parser.add_argument("--max-s", type=float, default=20.0)
    parser.add_argument("--measured", type=Path)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.measured:
        outcomes = [judge(d, "measured", arguments.max_s, Doublet(*CU)) for d in measured(arguments.measured)]
        for o in outcomes:
            print(f"{o.name:<40} {o.said} {o.probability:.3f} ({'right' if o.system_right else 'WRONG'}), cell "
                  f"{o.cell_probability:.3f} ({'right' if o.cell_right else 'WRONG'}) {o.seconds:.1f} s  {o.text}")  # fmt: skip
        table(outcomes)
        return
    tasks = [
        (seed, i, KINDS[i % len(KINDS)], arguments.max_s)
        for seed in arguments.seeds
        for i in range(arguments.patterns)
    ]
    with ProcessPoolExecutor(arguments.workers) as pool:
        outcomes = list(pool.map(simulated, tasks))
    table(outcomes)
    for i, seed in enumerate(arguments.seeds):
        part = outcomes[i * arguments.patterns : (i + 1) * arguments.patterns]
        told = [o for o in part if o.said != "abstains"]
        print(f"seed {seed}: system right {np.mean([o.system_right for o in told]):.2f}, cell right "
              f"{np.mean([o.cell_right for o in told]):.2f} of {len(told)} said, {len(part)} patterns")  # fmt: skip
    reliability(outcomes)
    calibrate(outcomes)
    if not arguments.calibrate:
        failures(outcomes)


if __name__ == "__main__":
    main()
