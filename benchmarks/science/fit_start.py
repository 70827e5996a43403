"""How often the quick fit finds the lines of known phases, with and without its blurred first fits.

Patterns are drawn from the training's own prior (instruments, grains, cells, counts, cut ends, holes) by the
simulator, which shares no code with the fit: one to four phases of the shipped system, no foreign material.
A pattern is found where the fit ends no worse than one that is started from the truth (reduced chi-squared
within 10 %, or below one: noise and model error alone), and its cells are right where the linear strain of
each phase with a tenth of the weight or more is within 0.05 %. ``--sharp`` draws lines of 0.07 degrees only.
Usage: OMP_NUM_THREADS=1 python benchmarks/science/fit_start.py [--patterns 400] [--seeds 1 2 3]
       [--span 0.004] [--blur 0.012 0.004]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from streamproc.models.powder.fit import (
    FitState,
    QuickFitter,
    Refined,
    doublet,
    quick_settings,
    reference_of,
)
from streamproc.models.powder.optics import Grain, Instrument
from streamproc.models.powder.priors import draw_grain, draw_instrument
from streamproc.models.powder.ranges import PriorRanges
from streamproc.models.powder.simulate import (
    CU_KA1_A,
    CU_KA2_A,
    bin_edges,
    phase_table,
    render_phase,
)
from streamproc.models.powder.structures import KNOWN

AXIS = np.linspace(20.0, 100.0, 2000)
AREA_SHARE, HOLE_SHARE = 0.4, 0.12
WIDTHS_DEG = (0.0, 0.1, 0.2, 1.0)
WORSE, OFF = 1.1, 5e-4
LEAST_WEIGHT = 0.1
SHARP = {
    "fwhm_deg": (0.07, 0.07), "area_fwhm_deg": (0.07, 0.07), "u_deg2": (0.0, 0.003),
    "area_u_deg2": (0.0, 0.003), "v_deg2": (-0.002, 0.0), "size_nm": (200.0, 800.0),
    "microstrain": (0.0, 0.0004),
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    x: np.ndarray
    fractions: dict[str, float]
    grains: dict[str, Grain]
    instrument: Instrument

    @property
    def fwhm_deg(self) -> float:
        return float(np.sqrt(self.instrument.w_deg2))

    def truth(self) -> FitState:
        i = self.instrument
        values = {"zero_deg": i.zero_deg, "displacement_mm": i.displacement_mm}
        values |= {"width": float(np.log(self.fwhm_deg))}
        for name, grain in self.grains.items():
            values |= {f"{name}.{axis}": s - 1 for axis, s in zip("abc", grain.cell_scale, strict=True)}
            values |= {f"{name}.inverse_size": 1 / grain.size_nm, f"{name}.microstrain": grain.strain}
        return FitState(tuple(self.grains), values)


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--patterns", type=int, default=400, help="patterns of each seed")
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    made.add_argument("--span", type=float, default=0.004, help="relative half-width of the cells' range")
    made.add_argument("--sharp", action="store_true", help="sharp lines only")
    made.add_argument("--blur", type=float, nargs="*", help="other levels than the shipped ones")
    arguments = made.parse_args()
    tables = {n: phase_table(n, CU_KA1_A) for n in KNOWN}
    reference = reference_of(tables, CU_KA1_A, CU_KA2_A, 102.0)
    now = quick_settings(doublet(CU_KA1_A, CU_KA2_A))
    if arguments.blur is not None:
        now = now.changed(blur=tuple(arguments.blur))
    fitters = {
        what: QuickFitter(reference, KNOWN, AXIS[0], AXIS[-1], AXIS.size, settings)
        for what, settings in (("reference cells", now.changed(blur=())), ("blurred fits", now))
    }
    ranges = PriorRanges(cell_span=arguments.span)
    if arguments.sharp:
        ranges = replace(ranges, **SHARP)
    print(f"cells within {100 * arguments.span:g} %, blurs {now.blur}, {arguments.patterns} patterns a seed")
    for seed in arguments.seeds:
        drawn = [draw(tables, ranges, seed, k) for k in range(arguments.patterns)]
        judge(f"seed {seed}", drawn, fitters)


def draw(tables: dict, ranges: PriorRanges, seed: int, k: int) -> Drawn:
    """One pattern as the network reads it."""
    rng = np.random.default_rng([seed, k])
    area = bool(rng.random() < AREA_SHARE)
    instrument = draw_instrument(rng, area, ranges=ranges)
    names = rng.choice(KNOWN, rng.integers(1, len(KNOWN) + 1), replace=False)
    weights = rng.dirichlet(np.ones(len(names)))
    grains = {str(n): draw_grain(rng, tables[n], area, ranges=ranges) for n in names}
    edges = bin_edges(AXIS)
    clean = sum(
        w * render_phase(edges, tables[n], instrument, grains[n], rng)
        for w, n in zip(weights, grains, strict=True)
    )
    t = (AXIS - AXIS[0]) / np.ptp(AXIS)
    level = np.exp(rng.uniform(np.log(0.002), np.log(0.3)))
    slope = 1 + 1.5 * rng.random() * np.exp(-t / 0.2) + (rng.random() - 0.5) * t
    mean = clean / clean.max() + level * slope
    low, high = (3e3, 3e6) if area else (300, 5e4)
    counts = np.exp(rng.uniform(np.log(low), np.log(high)))
    root = np.sqrt(rng.poisson(counts * mean / mean.max())) * seen(rng, t)
    x = (root / root.max()).astype(np.float32)
    return Drawn(x, dict(zip(grains, map(float, weights), strict=True)), grains, instrument)


def seen(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """Cut ends and holes as often and as wide as in the training's mixtures."""
    cut = rng.random(2) < 0.5
    first = 0.125 * rng.random() if cut[0] else 0.0
    last = 0.625 + 0.375 * rng.random() if cut[1] else 1.0
    kept = (t >= first) & (t <= last)
    if rng.random() < HOLE_SHARE:
        for _ in range(3):
            centre, half = rng.random(), 0.015 * rng.random()
            kept &= (abs(t - centre) >= half) | (rng.random() > 0.7)
    return kept


def judge(what: str, drawn: list[Drawn], fitters: dict[str, QuickFitter]) -> None:
    best = [next(iter(fitters.values())).fit(d.x, start=d.truth()).chi2_reduced for d in drawn]
    width = np.array([d.fwhm_deg for d in drawn])
    for name, fitter in fitters.items():
        fitter.warm_up()
        began = time.process_time()
        fits = [fitter.fit(d.x) for d in drawn]
        each_ms = 1e3 * (time.process_time() - began) / len(drawn)
        least = [min(b, f.chi2_reduced) for b, f in zip(best, fits, strict=True)]
        found = np.array([f.chi2_reduced <= max(1.0, WORSE * b) for f, b in zip(fits, least, strict=True)])
        right = np.array([cells_right(d, f) for d, f in zip(drawn, fits, strict=True)])
        shares = "; ".join(
            f"{a:g} to {b:g} deg: {100 * found[g].mean():.1f} %, {100 * right[g].mean():.1f} %"
            for a, b in pairwise(WIDTHS_DEG)
            if (g := (width >= a) & (width < b)).any()
        )
        print(
            f"{what}, start from {name:<15}: found {100 * found.mean():.1f} %, cells right "
            f"{100 * right.mean():.1f} % of {len(drawn)} ({shares}); {each_ms:.2f} ms processor time a fit",
            flush=True,
        )


def cells_right(drawn: Drawn, fit: Refined) -> bool:
    return all(
        abs(fit.phases[n].strain.value - (np.prod(drawn.grains[n].cell_scale) ** (1 / 3) - 1)) < OFF
        for n, w in drawn.fractions.items()
        if w >= LEAST_WEIGHT
    )


if __name__ == "__main__":
    main()
