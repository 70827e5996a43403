"""Transitions of barium titanate from 60 patterns alone (150 to 445 K in steps of 5 K), without references.

The files have no 2theta axis. Their channels are taken as proportional to 2theta from 0 (the publication,
Maffettone et al. 2021, Nat. Comput. Sci. 1, 290, plots 0 to 25 degrees), and brought to a grid even in its
logarithm as the live mode does with ln q. The published lines, 185, 280 and 400 K, are used to judge only.

Printed: the change points of all patterns, heating and cooling order; and over seeds, each with a random
tenth of the patterns left out, how often each published transition was found within 10 K, and what else
was found.

Usage: python benchmarks/science/series_batio3.py [--data ../shared/data/insitu_BaTiO3] [--seeds 3] [--out
batio3.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from streamproc.models.series.patterns import PatternWatch
from streamproc.models.series.watch import ChangePoint
from streamproc.models.unmixing.grid import Grid

PUBLISHED_K = (185.0, 280.0, 400.0)
WITHIN_K = 10.0
POINTS = 4000
FIRST_CHANNEL = (
    100  # below lie the beam stop and no peaks; the logarithm would spread them over half of the grid
)


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/insitu_BaTiO3"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="Draw shift and change points into this file.")
    arguments = parser.parse_args()
    temperature, patterns = read(arguments.data)
    print(f"{len(patterns)} patterns, {temperature[0]:g} to {temperature[-1]:g} K")
    for name, order in (("heating", slice(None)), ("cooling", slice(None, None, -1))):
        watch, first_said = watched(temperature[order], patterns[order])
        print(f"{name} order:")
        for c in watch.change_points:
            print(f"  {described(c)}; first said after the pattern at {first_said[c.number]:g} K")
    judged(temperature, patterns, arguments.seeds)
    if arguments.out is not None:
        draw(temperature, patterns, arguments.out)


def judged(temperature: np.ndarray, patterns: np.ndarray, seeds: int) -> None:
    found = np.zeros(len(PUBLISHED_K), int)
    inside = np.zeros(len(PUBLISHED_K), int)
    other = 0
    for seed in range(seeds):
        kept = np.sort(np.random.default_rng(seed).permutation(len(patterns))[: len(patterns) * 9 // 10])
        watch, _ = watched(temperature[kept], patterns[kept])
        print(f"seed {seed}, {kept.size} patterns:")
        for c in watch.change_points:
            print(f"  {described(c)}")
        near = [[c for c in watch.change_points if abs(c.value - t) <= WITHIN_K] for t in PUBLISHED_K]
        found += [bool(n) for n in near]
        inside += [
            any(c.interval90[0] <= t <= c.interval90[1] for c in watch.change_points) for t in PUBLISHED_K
        ]
        other += len(watch.change_points) - sum(map(len, near))
    for t, n, m in zip(PUBLISHED_K, found, inside, strict=True):
        print(
            f"published {t:g} K: within {WITHIN_K:g} K in {n} of {seeds} seeds, in the 90 % interval in {m}"
        )
    print(f"change points elsewhere: {other / seeds:.1f} per seed")


def described(c: ChangePoint) -> str:
    low, high = c.interval90
    spread = "" if c.span is None else f", from {c.span[0]:.0f} to {c.span[1]:.0f} K"
    return (
        f"{c.value:6.1f} +- {c.sigma:4.1f} K (90 %: {low:.0f} to {high:.0f}), {c.kind} of {c.quantity}{spread}, "
        f"Bayes factor 10^{c.log10_bayes_factor:.1f}"
    )


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return temperatures (K) and patterns on a grid even in ln(channel)."""
    files = sorted(folder.glob("BTO_*K_tth.npy"))
    temperature = np.array([float(f.name.split("_")[1].removesuffix("K")) for f in files])
    measured = np.stack([np.load(f).ravel() for f in files])
    axis = np.log(np.arange(FIRST_CHANNEL, measured.shape[1], dtype=float))
    grid = Grid.of(axis, POINTS)
    return temperature, np.stack([grid.rebin(axis, y[FIRST_CHANNEL:])[0] for y in measured])


def watched(temperature: np.ndarray, patterns: np.ndarray) -> tuple[PatternWatch, dict[int, float]]:
    """Return the watch after all patterns, and the temperature at which each change point was first said."""
    watch, first_said = PatternWatch("temperature", POINTS), {}
    for value, pattern in zip(temperature, patterns, strict=True):
        for c in watch.update(value, pattern):
            first_said.setdefault(c.number, float(value))
    watch.search()
    return watch, first_said


def draw(temperature: np.ndarray, patterns: np.ndarray, path: Path) -> None:
    """Draw the strain of the patterns with the change points found and published."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    watch, _ = watched(temperature, patterns)
    step = Grid.of(np.log(np.array([FIRST_CHANNEL, 3487.0])), POINTS).step
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(
        *zip(*((x, -1e6 * step * by) for x, by in watch.shifts), strict=True),
        ".-",
        label="strain of the pattern",
    )
    for n, c in enumerate(watch.change_points):
        axes.axvspan(*c.interval90, alpha=0.3, color="C1", label=None if n else "found, 90 %")
    for n, t in enumerate(PUBLISHED_K):
        axes.axvline(t, color="C3", linestyle="--", label=None if n else "published")
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel("strain against the first pattern (1e-6)")
    axes.legend()
    figure.savefig(path, dpi=120)
    print(f"drawn: {path}")


if __name__ == "__main__":
    main()
