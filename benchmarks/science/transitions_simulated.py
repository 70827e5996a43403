"""Places of three known transitions of a simulated titanate, heated from 150 K in steps of 5 K.

A perovskite cell that is rhombohedral, orthorhombic, tetragonal and cubic, with cells close to
those of barium titanate. Transitions are of first order, both phases
side by side in equal amounts at the true place, and the tetragonal splitting falls by a third on the way to
the last one. The true places are drawn anew in every series. Printed: found less true. A mean error above
zero is a lag of the estimator; what it finds in a measured series beyond that is not its own. The same series
is watched to 445 K, where the last transition has hardly ended, and on to 545 K.

Usage: python benchmarks/science/transitions_simulated.py [--trials 20] [--seed 1] [--width-K 3 8]
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import product

import numpy as np
from streamproc.models.series.patterns import PatternWatch

STEP_K = 5.0
TRUE_K = (185.0, 280.0, 400.0)
NAMES = ("R to O", "O to T", "T to C")
DRAWN_WITHIN_K = 7.5
POINTS = 2000
LINE_WIDTH = 2.5
"""Standard deviation of a line, in points of the grid."""

WAVELENGTH_A = 0.167
GRID = np.linspace(np.log(0.22), np.log(1.5), POINTS)
"""ln(1/d in 1/A)."""

EXPANSION = 1.2e-5
CELLS = {
    "R": (4.001, 4.001, 4.001, 89.86, 89.86, 89.86), "O": (3.983, 4.0186, 4.0186, 89.83, 90.0, 90.0),
    "T": (3.9925, 3.9925, 4.0365, 90.0, 90.0, 90.0), "C": (4.0094, 4.0094, 4.0094, 90.0, 90.0, 90.0),
}  # fmt: skip


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    made.add_argument("--trials", type=int, default=20)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument(
        "--width-K", type=float, nargs="+", default=[8.0], help="of the logistic share of the new phase"
    )
    arguments = made.parse_args()
    for width_K, last_K in product(arguments.width_K, (445.0, 545.0)):
        errors: list[list[float]] = [[] for _ in TRUE_K]
        sigmas: list[list[float]] = [[] for _ in TRUE_K]
        held, kinds = np.zeros(len(TRUE_K), int), [Counter() for _ in TRUE_K]
        for trial in range(arguments.trials):
            random = np.random.default_rng([arguments.seed, trial])
            true = np.array(TRUE_K) + random.uniform(-DRAWN_WITHIN_K, DRAWN_WITHIN_K, len(TRUE_K))
            said = found(true, last_K, width_K, random)
            for i, place in enumerate(true):
                if said:
                    nearest = min(said, key=lambda c: abs(c.value - place))
                    low, high = nearest.interval90
                    errors[i].append(nearest.value - place)
                    sigmas[i].append(nearest.sigma)
                    held[i] += low <= place <= high
                    kinds[i][f"{nearest.quantity}, {nearest.kind}"] += 1
        print(f"{arguments.trials} series to {last_K:g} K, shares {width_K:g} K wide")
        for name, e, s, h, k in zip(NAMES, errors, sigmas, held, kinds, strict=True):
            values = np.array(e) if e else np.array([np.nan])
            print(
                f"  {name}: nearest less true, mean {values.mean():+.1f} K, {values.min():+.1f} to "
                f"{values.max():+.1f}, standard deviation {values.std():.1f}, mean sigma "
                f"{np.mean(s or [np.nan]):.1f}; in the 90 % interval {h}; {dict(k)}"
            )


def found(true: np.ndarray, last_K: float, width_K: float, random: np.random.Generator) -> tuple:
    watch = PatternWatch("temperature", POINTS)
    for kelvin in np.arange(150.0, last_K + 1, STEP_K):
        watch.add(kelvin, random.poisson(expected(kelvin, true, width_K)))
    watch.search()
    return watch.change_points


def expected(kelvin: float, true: np.ndarray, width_K: float) -> np.ndarray:
    """Expected counts at a temperature."""
    beyond = 1 / (1 + np.exp(-(kelvin - true) / width_K))
    shares = -np.diff([1.0, *beyond, 0.0])
    whole = np.full(POINTS, 100.0)
    for share, (name, cell) in zip(np.maximum(shares, 0.0), CELLS.items(), strict=True):
        if share > 1e-4:
            whole += share * lines(closed(cell, kelvin, true) if name == "T" else cell, kelvin)
    return whole


def closed(cell: tuple[float, ...], kelvin: float, true: np.ndarray) -> tuple[float, ...]:
    """The tetragonal cell with a splitting that falls to two thirds, ever faster."""
    left = 2 / 3 + np.sqrt(max(true[2] - kelvin, 0.0) / (true[2] - true[1])) / 3
    mean = (cell[0] ** 2 * cell[2]) ** (1 / 3)
    apart = min(left, 1.0) * (cell[2] - cell[0])
    return (mean - apart / 3, mean - apart / 3, mean + 2 * apart / 3, 90.0, 90.0, 90.0)


def lines(cell: tuple[float, ...], kelvin: float) -> np.ndarray:
    """All lines of a cell, each index with the strength that falls with 1/d as scattering does."""
    lengths, cosines = np.array(cell[:3]) * (1 + EXPANSION * (kelvin - 300)), np.cos(np.radians(cell[3:]))
    metric = np.outer(lengths, lengths)
    for (i, j), cosine in zip(((1, 2), (0, 2), (0, 1)), cosines, strict=True):
        metric[i, j] *= cosine
        metric[j, i] *= cosine
    reciprocal = np.linalg.inv(metric)
    hkl = np.array([i for i in product(range(-5, 6), repeat=3) if any(i)])
    inverse = np.sqrt(np.einsum("ni,ij,nj->n", hkl, reciprocal, hkl))
    inverse = inverse[(inverse > 0.23) & (inverse < 1.45)]
    strength = 300 * np.exp(-2 * inverse**2) / inverse**2
    at = (np.log(inverse) - GRID[0]) / (GRID[1] - GRID[0])
    return np.asarray(peaks(at, strength))


def peaks(at: np.ndarray, strength: np.ndarray) -> np.ndarray:
    near = np.rint(at).astype(int)[:, None] + np.arange(-15, 16)
    there = (near >= 0) & (near < POINTS)
    heights = strength[:, None] * np.exp(-0.5 * ((near - at[:, None]) / LINE_WIDTH) ** 2)
    return np.bincount(near[there], heights[there], POINTS)


if __name__ == "__main__":
    main()
