"""Unmixing on simulated mixtures: is the number right, how far off are the shares, what does it cost.

Phases of six peaks on a curved floor, shares from a Dirichlet distribution (some almost pure), every phase
moved in every pattern by up to 4 channels. Nothing here is used to set anything.

Usage: python benchmarks/science/unmixing_simulated.py [--seeds 5] [--patterns 80]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from streamproc.models.unmixing.number import likeness
from streamproc.models.unmixing.unmixer import Unmixer, UnmixerSettings

CHANNELS = 500


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--patterns", type=int, default=80)
    arguments = parser.parse_args()
    print(f"{arguments.patterns} patterns of {CHANNELS} channels, {arguments.seeds} seeds each")
    print("phases  noise   number right  cannot tell  rms share  rms z   CPU s/pat  slowest CPU s")
    for phases in (2, 3, 4, 5):
        for noise in (0.003, 0.03):
            outcomes = [one(phases, noise, seed, arguments.patterns) for seed in range(arguments.seeds)]
            right = [o for o in outcomes if o[0] == phases]
            doubt = sum(not o[1] for o in outcomes)
            error, z = (np.sqrt(np.mean([o[k] ** 2 for o in right])) if right else np.nan for k in (2, 3))
            mean, slowest = np.mean([o[4] for o in outcomes]), max(o[5] for o in outcomes)
            print(
                f"{phases:<8}{noise:<8g}{f'{len(right)} of {len(outcomes)}':<14}{doubt:<13}"
                f"{error:<11.4f}{z:<8.2f}{mean:<11.3f}{slowest:.2f}"
            )


def one(phases: int, noise: float, seed: int, m: int) -> tuple[int, bool, float, float, float, float]:
    patterns, shares, pure = mixtures(phases, noise, seed, m)
    unmixer, times = Unmixer(CHANNELS, UnmixerSettings(reach=8, floor_width=25, seed=seed)), []
    for pattern in patterns:
        begin = time.process_time()
        unmixer.add(pattern)
        times.append(time.process_time() - begin)
    unmixer.estimate()
    number, certain = unmixer.number.number, unmixer.number.certain
    error, z = np.nan, np.nan
    if number == phases:
        order = likeness(pure, unmixer.components, 8).argmax(axis=1)
        total = unmixer.activations.sum(axis=1, keepdims=True)
        off = (unmixer.activations / total)[:, order] - shares
        error = float(np.sqrt((off**2).mean()))
        z = float(np.sqrt(np.mean((off / (unmixer.sigma / total)[:, order]) ** 2)))
    return number, certain, error, z, float(np.mean(times)), max(times)


def mixtures(phases: int, noise: float, seed: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return patterns (m, channels), shares (m, phases) and pure patterns."""
    random = np.random.default_rng(seed)
    x = np.arange(CHANNELS)
    peaks = [(random.uniform(30, CHANNELS - 30, 6), random.uniform(0.2, 1.0, 6)) for _ in range(phases)]

    def pure(j: int, moved: float) -> np.ndarray:
        y = np.sum(
            [h * np.exp(-0.5 * ((x - c - moved) / 3) ** 2) for c, h in zip(*peaks[j], strict=True)], axis=0
        )
        return np.asarray(y / y.sum())

    shares = random.dirichlet(np.full(phases, 0.4), m)
    shifts = random.uniform(-4, 4, (m, phases))
    y = np.array([sum(shares[i, j] * pure(j, shifts[i, j]) for j in range(phases)) for i in range(m)])
    floor = 0.3 * np.exp(-x / 200) * y.max()
    noisy = np.maximum(y + floor + random.normal(size=y.shape) * noise * y.max(), 0)
    return noisy, shares, np.array([pure(j, 0.0) for j in range(phases)])


if __name__ == "__main__":
    main()
