"""Patterns of simulated series: alarms where nothing happens, and what is said where something does.

Eight lines, 600 channels, 60 patterns over 300 K, counts. Nothing here is used to set anything. "wandering"
series are random walks: a step of one is a jump, if a small one, and may be called so. In a "closing"
series the lines are split, the splitting falls ever faster to two thirds, and the unsplit pattern takes over
(half-way at the transition, from a tenth to nine tenths in 35 K): a first-order transition with both phases
side by side, as of barium titanate at its Curie point. In "closing late" it is 45 K before the end. The mean
error (found less true) says whether places lag.

Usage: python benchmarks/science/pattern_series_simulated.py [--trials 20] [--seed 1] [--events NAME ...]
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from streamproc.models.series.patterns import PatternWatch

CHANNELS = np.arange(600)
AT = np.array([80, 150, 155, 230, 300, 390, 460, 540.0])
AREAS = np.array([300, 800, 400, 500, 200, 350, 250, 150.0])
UNEVEN = np.array([1, 0, 1, 0.5, 0, 1, 0.5, 0.2])
APART = np.array([0, 2, -2, 0, 3, 0, -2, 0])
X = np.linspace(100, 400, 60)
NEAR_K = 10.0
NOTHING = (
    "nothing", "even expansion", "uneven expansion", "faster and faster", "lines cross their widths",
    "turning round", "vibrations", "sharpening", "wandering beam", "wandering texture",
)  # fmt: skip
EVENTS = (
    "jolt", "stretch", "split", "side by side", "side by side, wide", "jolt and split",
    "closing", "closing late",
)  # fmt: skip
LATE_K = 45.0


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", nargs="+", choices=EVENTS, help="these alone, and no series without")
    arguments = parser.parse_args()
    print(f"{arguments.trials} series each; series with an alarm, and what was said")
    for kind in () if arguments.events else NOTHING:
        said = [found(kind, 0.0, [arguments.seed, trial]) for trial in range(arguments.trials)]
        what = Counter(f"{c.quantity}, {c.kind}" for one in said for c in one)
        print(f"  {kind:<26}{sum(bool(one) for one in said):>4}  {dict(what)}")
    print(
        f"{'':<28}found within {NEAR_K:g} K; root mean square error, mean error, in the 90 % interval, "
        "elsewhere; as"
    )
    for kind in arguments.events or EVENTS:
        print(f"  {kind:<26}{judged(kind, arguments)}")


def judged(kind: str, arguments: argparse.Namespace) -> str:
    errors, inside, elsewhere, what = [], 0, 0, Counter()
    for trial in range(arguments.trials):
        truth = float(np.random.default_rng([arguments.seed, trial, 7]).uniform(200, 300))
        truth = truth if "late" not in kind else float(X[-1]) - LATE_K + (truth - 250) / 20
        said = found(kind, truth, [arguments.seed, trial])
        near = sorted((c for c in said if abs(c.value - truth) <= NEAR_K), key=lambda c: abs(c.value - truth))
        elsewhere += len(said) - bool(near)
        if near:
            errors.append(near[0].value - truth)
            inside += near[0].interval90[0] <= truth <= near[0].interval90[1]
            what[f"{near[0].quantity}, {near[0].kind}"] += 1
    rms = float(np.sqrt(np.mean(np.square(errors)))) if errors else float("nan")
    mean = float(np.mean(errors)) if errors else float("nan")
    return f"{len(errors):>4}{rms:>8.1f}{mean:>+8.1f}{inside:>6}{elsewhere:>6}  {dict(what)}"


def found(kind: str, truth: float, seed: list[int]) -> tuple:
    random = np.random.default_rng(seed)
    walk = np.cumsum(random.normal(size=(X.size, 2)), axis=0) / np.sqrt(X.size)
    watch = PatternWatch("temperature", CHANNELS.size)
    for x, wander in zip(X, walk, strict=True):
        share = (x - X[0]) / (X[-1] - X[0])
        watch.add(x, random.poisson(np.maximum(clean(kind, share, x - truth, wander), 0)))
    watch.search()
    return watch.change_points


def pattern(at: np.ndarray = AT, areas: np.ndarray = AREAS, width: float = 4.0) -> np.ndarray:
    each = np.exp(-0.5 * ((CHANNELS - np.asarray(at)[:, None]) / width) ** 2)
    return np.asarray(30 + 20 * np.exp(-CHANNELS / 200) + areas @ each)


def clean(kind: str, share: float, beyond: float, wander: np.ndarray) -> np.ndarray:
    """Expected counts at a share of the series, ``beyond`` K above the event."""
    after = float(beyond > 0)
    if "closing" in kind:
        return closing(share, beyond)
    if "side by side" in kind:
        second = 1 / (1 + np.exp(-beyond / (16 if "wide" in kind else 8)))
        return (1 - second) * pattern(AT * (1 - 0.003 * share)) + second * pattern(
            AT * (1 - 0.003 * share) + APART
        )
    at = {
        "even expansion": AT * (1 - 0.01 * share),
        "uneven expansion": AT * (1 - 0.004 * share * UNEVEN),
        "faster and faster": AT * (1 - 0.006 * (share**2 + 0.3 * share) * UNEVEN),
        "lines cross their widths": AT * (1 - 0.04 * share * UNEVEN),
        "turning round": AT * (1 - 0.004 * (1 - (2 * share - 1) ** 2) * UNEVEN),
        "jolt": AT + after,
        "stretch": AT * (1 + 0.004 * after),
        "split": AT * (1 - 0.003 * share) + after * APART,
        "jolt and split": AT + after * (1 + APART),
    }.get(kind, AT)
    areas, width = AREAS, 4.0
    if kind == "vibrations":
        areas = AREAS * np.exp(-0.5 * share * (AT / 300) ** 2)
    if kind == "sharpening":
        width = 4 - 1.2 * share
    if kind == "wandering texture":
        areas = AREAS * (1 + 0.1 * wander[0] * np.array([1, -1, 0, 0, 1, 0, -1, 0]))
    scale = 1 + 0.1 * wander[0] if kind == "wandering beam" else 1.0
    return np.asarray(scale * pattern(at, areas, width))


def closing(share: float, beyond: float) -> np.ndarray:
    """Split lines beside unsplit ones, ``beyond`` K above the place where there is as much of either."""
    left = 2 / 3 + np.sqrt(max(-beyond, 0.0) / 300) / 3
    unsplit = 1 / (1 + np.exp(-beyond / 8))
    at = AT * (1 - 0.003 * share)
    apart = 3 * APART * left
    return (1 - unsplit) * (
        0.4 * pattern(at - 0.6 * apart) + 0.6 * pattern(at + 0.4 * apart)
    ) + unsplit * pattern(at)


if __name__ == "__main__":
    main()
