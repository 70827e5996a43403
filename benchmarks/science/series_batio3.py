"""Transitions of barium titanate from 60 patterns alone (150 to 445 K in steps of 5 K), without references.

The files have no 2theta axis. Their channels are taken as proportional to 2theta from 0 (the publication,
Maffettone et al. 2021, Nat. Comput. Sci. 1, 290, plots 0 to 25 degrees), and brought to a grid even in its
logarithm as the live mode does with ln q. The published lines, 185, 280 and 400 K, are used to judge only.

Printed: the change points of all patterns, heating and cooling order, as they are said live; which lines
appear and vanish where the pattern jumps; the splitting of the 200 and 310 lines above 300 K, which is what
the third transition ends, and where it has fallen to a half and to a quarter; and all that was found over
seeds: with as much noise again as the measurement has (as if counted half as long), and, harder, with a
random tenth of the patterns left out (steps of 10 K and more). Last, for each published transition: the
nearest change point of all patterns, its mean and spread over the seeds, and in how many it lies within 10 K.

Usage: python benchmarks/science/series_batio3.py [--data ../shared/data/insitu_BaTiO3] [--seeds 5] [--out
batio3.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import median_filter
from scipy.optimize import least_squares
from scipy.signal import find_peaks
from streamproc.models.series.align import Alignment
from streamproc.models.series.patterns import PatternWatch
from streamproc.models.series.watch import ChangePoint
from streamproc.models.unmixing.grid import Grid

PUBLISHED_K = (185.0, 280.0, 400.0)
WITHIN_K = 10.0
POINTS = 4000
FIRST_CHANNEL = (
    100  # below lie the beam stop and no peaks; the logarithm would spread them over half of the grid
)
LINES = ((670, 13), (1061, 16))
"""Channel and reach of two lines that a tetragonal cell splits one to two."""

TETRAGONAL_K, AT_REST_K = 300.0, 360.0
"""From where on the splitting is printed, and up to where it is at rest."""


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/insitu_BaTiO3"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="Draw shift and change points into this file.")
    arguments = parser.parse_args()
    temperature, patterns = read(arguments.data)
    print(f"{len(patterns)} patterns, {temperature[0]:g} to {temperature[-1]:g} K")
    whole = {}
    for name, order in (("heating", slice(None)), ("cooling", slice(None, None, -1))):
        watch, first_said = watched(temperature[order], patterns[order])
        whole[name] = watch.change_points
        print(f"{name} order:")
        for c in watch.change_points:
            print(f"  {described(c)}; first said after the pattern at {first_said[c.number]:g} K")
            if "pattern" in c.quantity and c.kind == "jump":
                print(f"    {changed_lines(temperature, patterns, c.value)}")
    print_splitting(arguments.data)
    seeds = range(arguments.seeds)
    tried = {
        "as much noise again": [(temperature, noisier(arguments.data, seed)) for seed in seeds],
        "a tenth left out": [thinned(temperature, patterns, seed) for seed in seeds],
    }
    found = {name: judged(name, series) for name, series in tried.items()}
    print_summary(whole, found)
    print_rescaled({"all patterns, both orders": list(whole.values()), **found})
    if arguments.out is not None:
        draw(temperature, patterns, arguments.out)


def judged(name: str, series: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[ChangePoint, ...]]:
    """Print what is found in each series, and what of it lies elsewhere; returns it."""
    seeds = len(series)
    found: list[tuple[ChangePoint, ...]] = []
    elsewhere: list[ChangePoint] = []
    for seed, (temperature, patterns) in enumerate(series):
        watch = PatternWatch("temperature", POINTS)
        for value, pattern in zip(temperature, patterns, strict=True):
            watch.add(value, pattern)
        watch.search()
        print(f"{name}, seed {seed}, {len(patterns)} patterns:")
        for c in watch.change_points:
            print(f"  {described(c)}")
        found.append(watch.change_points)
        elsewhere += [c for c in watch.change_points if all(abs(c.value - t) > WITHIN_K for t in PUBLISHED_K)]
    common = sum("pattern" not in c.quantity for c in elsewhere)
    print(
        f"{name}, change points elsewhere: {len(elsewhere) / seeds:.1f} per seed, of these "
        f"{common / seeds:.1f} of all lines alike (shift or scale: instrument-like): "
        + ", ".join(f"{c.value:.0f} K ({c.quantity})" for c in sorted(elsewhere, key=lambda c: c.value))
    )
    return found


def print_summary(
    whole: dict[str, tuple[ChangePoint, ...]], tried: dict[str, list[tuple[ChangePoint, ...]]]
) -> None:
    """Print, for each published transition, the nearest change point of all patterns and of the seeds."""
    print(f"summary, change point nearest to what was published; wanted within {WITHIN_K:g} K:")
    for published in PUBLISHED_K:
        print(f"  published {published:g} K")
        for order, points in whole.items():
            c = nearest(points, published)
            within = "within" if abs(c.value - published) <= WITHIN_K else "NOT within"
            print(f"    all patterns, {order}: {described(c)}; {within} {WITHIN_K:g} K")
        for name, series in tried.items():
            near = [nearest(points, published) for points in series]
            values = np.array([c.value for c in near])
            spans = [c.span or c.interval90 for c in near]
            print(
                f"    {name}: mean {values.mean():.1f} K, standard deviation {values.std(ddof=1):.1f}, "
                f"{values.min():.1f} to {values.max():.1f}; within {WITHIN_K:g} K in "
                f"{(np.abs(values - published) <= WITHIN_K).sum()} of {values.size} seeds; published inside "
                f"its span (gradual) or 90 % interval in {sum(a <= published <= b for a, b in spans)}"
            )


def print_rescaled(tried: dict[str, list[tuple[ChangePoint, ...]]]) -> None:
    """Print each transition by a thermometer that the two others correct: one factor, their mean."""
    print("by a thermometer that the two other transitions, as published, correct by one factor:")
    wanted = np.array(PUBLISHED_K)
    for name, series in tried.items():
        found = np.array([[nearest(points, t).value for t in PUBLISHED_K] for points in series])
        for k, published in enumerate(PUBLISHED_K):
            others = np.arange(wanted.size) != k
            factor = np.mean(wanted[others] / found[:, others], axis=1)
            values = factor * found[:, k]
            print(
                f"  {name}: published {published:g} K, factor {factor.mean():.3f}, mean "
                f"{values.mean():.1f} K, {values.min():.1f} to {values.max():.1f}; within {WITHIN_K:g} K in "
                f"{(np.abs(values - published) <= WITHIN_K).sum()} of {values.size}"
            )


def nearest(points: tuple[ChangePoint, ...], place: float) -> ChangePoint:
    return min(points, key=lambda c: abs(c.value - place))


def thinned(temperature: np.ndarray, patterns: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Leave out a random tenth of the patterns."""
    kept = np.sort(np.random.default_rng(seed).permutation(len(patterns))[: len(patterns) * 9 // 10])
    return temperature[kept], patterns[kept]


def noisier(folder: Path, seed: int) -> np.ndarray:
    """Patterns with as much noise again: that of each channel is read off third differences."""
    _, measured = raw(folder)
    rough = 1.4826 * np.median(np.abs(np.diff(measured, n=3, axis=1)), axis=0) / np.sqrt(20)
    noise = median_filter(np.pad(rough, (1, 2), mode="edge"), 101)
    more = noise * np.random.default_rng(seed).normal(size=measured.shape)
    return on_grid(np.maximum(measured + more, 0.0))


def changed_lines(temperature: np.ndarray, patterns: np.ndarray, place: float) -> str:
    """Channels at which narrow lines appear or vanish, away from the lines that only change their shape."""
    roots = np.sqrt(patterns)
    alignment = Alignment(POINTS)
    before = np.flatnonzero(temperature < place)[-4:]
    after = np.flatnonzero(temperature > place)[:4]
    moved = [alignment.on(roots[before[-1]], roots[i]).moved ** 2 for i in (*before, *after)]
    change = np.mean(moved[4:], axis=0) - np.mean(moved[:4], axis=0)
    strong = np.mean(moved, axis=0) > 0.03 * np.max(moved)
    change[np.convolve(strong, np.ones(41), "same") > 0] = 0
    noise = 1.4826 * np.median(np.abs(change[change != 0]))
    found = {}
    for name, sign in (("appear", 1), ("vanish", -1)):
        at, how = find_peaks(sign * change, prominence=8 * noise, width=(2, 60))
        strongest = at[np.argsort(-how["prominences"])[:8]]
        found[name] = np.sort(np.round(FIRST_CHANNEL * np.exp(strongest * grid_step())).astype(int)).tolist()
    return f"the strongest weak lines that appear, by channel: {found['appear']}; vanish: {found['vanish']}"


def print_splitting(folder: Path) -> None:
    """Print by how much lines are split: as the last four patterns' line, twice, one to two in strength."""
    temperature, measured = raw(folder)
    spline = CubicSpline(np.arange(measured.shape[1]), measured[-4:].mean(axis=0))
    print("relative splitting above 300 K, in 1e-3, by the shape of the last four patterns:")
    above = temperature >= TETRAGONAL_K
    for channel, reach in LINES:
        x = np.arange(channel - reach, channel + reach)
        apart = np.array([split(spline, x, y[x]) / channel * 1e3 for y in measured[above]])
        rows = [f"{t:g} K {a:.1f}" for t, a in zip(temperature[above], apart, strict=True) if t % 15 == 0]
        share = apart / apart[temperature[above] <= AT_REST_K].mean()
        half, quarter = (last_above(temperature[above], share, level) for level in (0.5, 0.25))
        at_400 = float(np.interp(400, temperature[above], share))
        print(
            f"  channel {channel}: {', '.join(rows)}; of its mean below {AT_REST_K:g} K a half is left at "
            f"{half:.0f} K, a quarter at {quarter:.0f} K; at 400 K {at_400:.2f}, in the last four patterns, "
            f"which are taken as unsplit, {share[-4:].mean():.2f}"
        )


def last_above(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """Where a falling curve passes a level for the last time."""
    i = int(np.flatnonzero(y >= level)[-1])
    return float(x[i]) if i + 1 == x.size else float(np.interp(-level, -y[i : i + 2], x[i : i + 2]))


def split(spline: CubicSpline, x: np.ndarray, y: np.ndarray) -> float:
    def left_over(p: np.ndarray) -> np.ndarray:
        low, high = spline(x - p[1] + p[2] * 2 / 3), spline(x - p[1] - p[2] / 3)
        return np.asarray(p[0] * (low + 2 * high) / 3 + p[3] - y)

    fits = [least_squares(left_over, [1.0, 0.0, start, 0.0]) for start in (0.5, 4.0)]
    return float(min(fits, key=lambda f: f.cost).x[2])


def described(c: ChangePoint) -> str:
    low, high = c.interval90
    spread = "" if c.span is None else f", from {c.span[0]:.0f} to {c.span[1]:.0f} K"
    return (
        f"{c.value:6.1f} +- {c.sigma:4.1f} K (90 %: {low:.0f} to {high:.0f}), {c.kind} of {c.quantity}"
        f"{spread}, Bayes factor 10^{c.log10_bayes_factor:.1f}"
    )


def raw(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return temperatures (K) and patterns, by channel."""
    files = sorted(folder.glob("BTO_*K_tth.npy"))
    temperature = np.array([float(f.name.split("_")[1].removesuffix("K")) for f in files])
    return temperature, np.stack([np.load(f).ravel() for f in files])


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return temperatures (K) and patterns on a grid even in ln(channel)."""
    temperature, measured = raw(folder)
    return temperature, on_grid(measured)


def on_grid(measured: np.ndarray) -> np.ndarray:
    axis = np.log(np.arange(FIRST_CHANNEL, measured.shape[1], dtype=float))
    grid = Grid.of(axis, POINTS)
    return np.stack([grid.rebin(axis, y[FIRST_CHANNEL:])[0] for y in measured])


def grid_step() -> float:
    return float(Grid.of(np.log(np.array([FIRST_CHANNEL, 3487.0])), POINTS).step)


def watched(temperature: np.ndarray, patterns: np.ndarray) -> tuple[PatternWatch, dict[int, float]]:
    """Return the watch after all patterns, and the temperature at which each change point was first said."""
    watch, first_said = PatternWatch("temperature", POINTS), {}
    for value, pattern in zip(temperature, patterns, strict=True):
        for c in watch.update(value, pattern):
            first_said.setdefault(c.number, float(value))
    return watch, first_said


def draw(temperature: np.ndarray, patterns: np.ndarray, path: Path) -> None:
    """Draw the strain of the patterns with the change points found and published."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    watch, _ = watched(temperature, patterns)
    step = grid_step()
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(
        *zip(*((x, -1e6 * step * by) for x, by in watch.shifts), strict=True),
        ".-",
        label="strain of the pattern",
    )
    labelled = set()
    for c in watch.change_points:
        name, colour = "of all lines alike, 90 %", "C7"
        if "pattern" in c.quantity:
            name, colour = ("gradual, begin to end", "C2") if c.span else ("of the pattern, 90 %", "C1")
        label = name if name not in labelled else None
        axes.axvspan(*(c.span or c.interval90), alpha=0.3, color=colour, label=label)
        axes.plot(c.value, 0, "v", color=colour)
        labelled.add(name)
    for n, t in enumerate(PUBLISHED_K):
        axes.axvline(t, color="C3", linestyle="--", label=None if n else "published")
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel("strain against the first pattern (1e-6)")
    axes.legend()
    figure.savefig(path, dpi=120)
    print(f"drawn: {path}")


if __name__ == "__main__":
    main()
