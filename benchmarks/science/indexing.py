"""Indexing of simulated and measured patterns: is the system right, the cell, and the stated probability?

Usage:
  python benchmarks/science/indexing.py [--seeds 11 12 13] [--patterns 21] [--workers 2]   simulated
  python benchmarks/science/indexing.py --measured ../shared/data                          measured
  python benchmarks/science/indexing.py --calibrate --seeds 1 2 3 4 5                      fit the calibration

``--kinds`` chooses what is simulated; "pseudo", which is not in the default, are crystals nearly of a higher
symmetry (axes that differ by 0.03 to 1 %, angles by as much). When the calibration is fitted, each seed is
judged by what was fitted to the others. Times are of the processor. ``--keep FILE`` keeps what was found,
``--again FILE...`` judges it anew without searching.
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from indexing_calibration import Case, fit, held_out, reliability
from measured_phases import measured
from random_crystals import KINDS, PSEUDO, Drawn, draw
from streamproc.models.powder.indexing.calibration import CALIBRATION, Calibration
from streamproc.models.powder.indexing.forms import SYSTEMS
from streamproc.models.powder.indexing.index import Weighed, hint_from, weigh_peaks
from streamproc.models.powder.indexing.lattice import primitive_metric, same_lattice, signature
from streamproc.models.powder.peaks import Doublet, find_peaks

CU = (1.5405929, 1.5444274)
FREE = {s.name: s.free for s in SYSTEMS}
TOLERANCE = 0.005
"""A cell is right when all seven Voronoi vectors of its lattice are, within 0.5 %: a distortion that the
lines do not show may be as large."""


@dataclass
class Trial:
    """What the search found in one pattern, and the truth."""

    name: str
    kind: str
    seed: int
    truths: tuple[tuple[str, np.ndarray], ...]
    peaks: int
    weighed: Weighed | None
    seconds: float

    def right(self, cell: np.ndarray, centring: str) -> bool:
        """Whether this is the lattice (or one of two) that the pattern was made with."""
        own = signature(primitive_metric(cell, centring))
        return any(same_lattice(own, lattice, TOLERANCE) for _, lattice in self.truths)


@dataclass
class Outcome:
    """What was said of one pattern, and whether it is right."""

    trial: Trial
    said: str
    probability: float
    cell_probability: float
    system_right: bool
    cell_right: bool
    system_or_lower: bool
    text: str


def attempt(drawn: Drawn, kind: str, seed: int, max_s: float, beam: Doublet) -> Trial:
    begin = time.process_time()
    found = find_peaks(drawn.x, drawn.counts, beam)
    weighed = weigh_peaks(found, beam.wavelength_A, max_s, time.process_time)
    seconds = time.process_time() - begin
    peaks = len(found.peaks)
    return Trial(drawn.name, kind, seed, drawn.truths, peaks, weighed, seconds)


def simulated(task: tuple[int, int, str, float]) -> Trial:
    seed, number, kind, max_s = task
    drawn = draw(np.random.default_rng([seed, number]), kind)
    return attempt(drawn, kind, seed, max_s, Doublet(CU[0], CU[1] if drawn.ka2 else None))


def judge(trial: Trial, calibration: Calibration) -> Outcome:
    if trial.weighed is None:
        return Outcome(trial, "abstains", 0.0, 0.0, False, False, False, f"{trial.peaks} peaks")
    hint = hint_from(trial.weighed, calibration)
    best = hint.best
    if best is None:
        none = f"none {hint.systems['none']:.3f}"
        return Outcome(trial, "abstains", 0.0, 0.0, False, False, False, none)
    system, chance = max(((k, v) for k, v in hint.systems.items() if k != "none"), key=lambda kv: kv[1])
    text = (
        f"{best.system} {best.centring} {np.round(best.cell, 3).tolist()} M{best.lines}={best.m:.0f} "
        f"F={best.f:.0f} {best.indexed}/{best.used} of {best.predicted}"
    )
    fits = any(system == name for name, _ in trial.truths)
    right = trial.right(np.array(best.cell), best.centring)
    # a lattice that is right and is named after a system higher than the true one is nearly of that
    lower = any(FREE[system] <= FREE.get(name, 6) for name, _ in trial.truths)
    return Outcome(trial, system, chance, best.probability, fits, right, fits or (right and lower), text)


def table(outcomes: list[Outcome]) -> None:
    heads = ("kind", "patterns", "said", "system right", "cell right", "median s", "longest s", "unfinished")
    print(f"{heads[0]:<14}" + "".join(f"{h:>13}" for h in heads[1:]))
    for kind in dict.fromkeys(o.trial.kind for o in outcomes):
        some = [o for o in outcomes if o.trial.kind == kind]
        told = [o for o in some if o.said != "abstains"]
        seconds = [o.trial.seconds for o in some]
        unfinished = sum(bool(o.trial.weighed and o.trial.weighed.unfinished) for o in some)
        counts = (len(some), len(told), sum(o.system_right for o in told), sum(o.cell_right for o in told))
        times = f"{np.median(seconds):>13.1f}{max(seconds):>13.1f}"
        print(f"{kind:<14}" + "".join(f"{c:>13}" for c in counts) + times + f"{unfinished:>13}")


def line(o: Outcome) -> str:
    system, cell = ("right" if ok else "WRONG" for ok in (o.system_right, o.cell_right))
    said = (
        "abstains" if o.said == "abstains" else
        f"{o.said} {o.probability:.3f} ({system}), cell {o.cell_probability:.3f} ({cell})"
    )  # fmt: skip
    return f"{o.trial.name:<46} {said} {o.trial.seconds:.1f} s  {o.text}"


def per_seed(outcomes: list[Outcome]) -> None:
    for seed in dict.fromkeys(o.trial.seed for o in outcomes):
        part = [o for o in outcomes if o.trial.seed == seed]
        told = [o for o in part if o.said != "abstains"]
        real = [o for o in part if o.trial.truths]
        print(
            f"seed {seed}: said {len(told)} of {len(part)}; of those system right "
            f"{np.mean([o.system_right for o in told]):.2f}, cell right "
            f"{np.mean([o.cell_right for o in told]):.2f}; "
            f"cell found and said in {np.mean([o.cell_right for o in real]):.2f} of those that have one"
        )


def failures(outcomes: list[Outcome]) -> None:
    print("not right:")
    for o in outcomes:
        silent = o.said == "abstains"
        if (silent and o.trial.truths) or (not silent and not (o.cell_right and o.system_right)):
            print(f"  {line(o)}")


def search(arguments: argparse.Namespace) -> list[Trial]:
    if arguments.measured:
        drawn = measured(arguments.measured)
        return [attempt(d, "measured", 0, arguments.max_s, Doublet(*CU)) for d in drawn]
    tasks = [
        (seed, i, arguments.kinds[i % len(arguments.kinds)], arguments.max_s)
        for i in range(arguments.patterns)
        for seed in arguments.seeds
    ]
    trials = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        for trial in pool.map(simulated, tasks):
            trials.append(trial)
            if arguments.keep:  # as far as it got: a long run may be stopped
                arguments.keep.write_bytes(pickle.dumps(trials))
            print(
                f"{len(trials)}/{len(tasks)} {line(judge(trial, CALIBRATION))}", file=sys.stderr, flush=True
            )
    return trials


def again(files: list[Path]) -> list[Trial]:
    """Read kept trials; of several runs."""
    return [trial for file in files for trial in pickle.loads(file.read_bytes())]


def calibrate(trials: list[Trial]) -> None:
    """Fit the calibration, and judge each seed by what is fitted to the others."""
    for name, some in (("all", trials), *((f"without {PSEUDO}", [t for t in trials if t.kind != PSEUDO]),)):
        print(f"{name}: {len(some)} patterns of {len({t.seed for t in some})} seeds: {fit(some)}")
    print(f"in force: {CALIBRATION}")
    fresh = held_out(trials)
    for name, pairs in (("in force", [(t, CALIBRATION) for t in trials]), ("held out", fresh)):
        each = [Case(t).loss(c) for t, c in pairs if t.weighed and t.weighed.fitted]
        print(f"mean log loss of the lattice, {name}: {np.mean(each):.3f}")
    for title, kinds in (
        (": all but nearly symmetric ones, each seed by the others", lambda t: t.kind != PSEUDO),
        (": nearly symmetric ones", lambda t: t.kind == PSEUDO),
    ):
        reliability([judge(t, c) for t, c in fresh if kinds(t)], title)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--patterns", type=int, default=21, help="per seed, the kinds in turn")
    parser.add_argument("--kinds", nargs="+", choices=(*KINDS, PSEUDO), default=list(KINDS))
    parser.add_argument("--max-s", type=float, default=20.0)
    parser.add_argument("--measured", type=Path)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--again", type=Path, nargs="+")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    trials = again(arguments.again) if arguments.again else search(arguments)
    if arguments.calibrate:
        calibrate(trials)
        return
    outcomes = [judge(t, CALIBRATION) for t in trials]
    if arguments.measured:
        print("\n".join(map(line, outcomes)))
    table(outcomes)
    if not arguments.measured:
        per_seed(outcomes)
        reliability(outcomes)
    failures(outcomes)


if __name__ == "__main__":
    main()
