"""Change points and onsets on simulated series: false alarms, misses, errors, and what the intervals hold.

60 points at uneven places, noise 0.05; each kind of series so often as --trials says, with sigma given and
unknown. "live" asks after every point, so that an alarm at any time counts. Nothing here is used to set
anything.

Usage: python benchmarks/science/change_points_simulated.py [--trials 100] [--seed 1]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from streamproc.models.series.curves import prepare_curves
from streamproc.models.series.onset import find_onset
from streamproc.models.series.scan import find_changes
from streamproc.models.series.watch import SeriesWatch

Curve = Callable[[np.ndarray, float], np.ndarray]

NOISE = 0.05
NEAR = 10.0
SMOOTH: dict[str, Curve] = {
    "flat": lambda x, _: 0 * x,
    "line": lambda x, _: x / 50,
    "parabola": lambda x, _: 5 * (x / 100) ** 2,
    "exponential": lambda x, _: np.exp(x / 20) / 20,
    "wave": lambda x, _: np.sin(x / 10),
    "crossover": lambda x, _: np.tanh((x - 50) / 20),
}
BROKEN: dict[str, Curve] = {
    "jump of 4 sigma": lambda x, t: np.where(x > t, 0.2, 0.0) + x / 100,
    "jump of 10 sigma": lambda x, t: np.where(x > t, 0.5, 0.0) + x / 100,
    "kink, 20 sigma at end": lambda x, t: np.maximum(x - t, 0) / 50,
    "kink, 60 sigma at end": lambda x, t: np.maximum(x - t, 0) / 17,
    "order parameter": lambda x, t: np.sqrt(np.maximum(t - x, 0)) / 5,
}
FRACTIONS: dict[str, Curve] = {
    "zero": lambda x, _: 0 * x,
    "line from zero": lambda x, _: 0.3 * x,
    "parabola from zero": lambda x, _: 0.3 * x**2,
    "onset, slope 0.5": lambda x, t: 0.5 * np.maximum(x - t, 0),
    "onset, slope 1": lambda x, t: np.maximum(x - t, 0),
}


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for given in (True, False):
        random = np.random.default_rng([arguments.seed, given])
        print(f"sigma {'given' if given else 'unknown'}, {arguments.trials} series each")
        print(f"  {'series':<24}{'false alarms':>13}{'found':>8}{'rms error':>11}{'rms z':>7}{'in 90 %':>9}")
        for name, curve in (SMOOTH | BROKEN).items():
            print(f"  {name:<24}{judged(curve, name in BROKEN, random, arguments.trials, given)}")
    random = np.random.default_rng(arguments.seed)
    print(f"live, asked after every point, {arguments.trials // 4} series each: alarms at any time")
    for name in ("flat", "parabola", "wave"):
        print(f"  {name:<24}{live(SMOOTH[name], random, arguments.trials // 4):>13}")
    print(f"onsets of a fraction, noise 0.01, 50 points, {arguments.trials} each: found, rms error, in 90 %")
    for name, curve in FRACTIONS.items():
        print(f"  {name:<24}{onsets(curve, 'onset' in name, random, arguments.trials)}")


def judged(curve: Curve, broken: bool, random: np.random.Generator, trials: int, given: bool) -> str:
    false, errors, z, inside = 0, [], [], 0
    for _ in range(trials):
        x, truth = np.sort(random.uniform(0, 100, 60)), random.uniform(35, 65)
        y = curve(x, truth) + random.normal(size=60) * NOISE
        curves = prepare_curves(x, y[:, None], np.full((60, 1), NOISE) if given else None)
        found = [] if curves is None else find_changes(curves)
        near = [c for c in found if broken and abs(c.value - truth) < NEAR]
        false += len(found) - len(near)
        if near:
            best = min(near, key=lambda c: abs(c.value - truth))
            errors.append(best.value - truth)
            z.append((best.value - truth) / best.sigma)
            inside += best.interval90[0] <= truth <= best.interval90[1]
    if not broken:
        return f"{false:>13}"
    n = max(len(errors), 1)
    return f"{false:>13}{len(errors):>8}{rms(errors):>11.2f}{rms(z):>7.2f}{inside / n:>9.0%}"


def live(curve: Curve, random: np.random.Generator, trials: int) -> int:
    alarms = 0
    for _ in range(trials):
        watch, x = SeriesWatch("x", ["y"]), np.sort(random.uniform(0, 100, 60))
        y = curve(x, 0.0) + random.normal(size=60) * NOISE
        said = [
            c for place, value in zip(x, y, strict=True) for c in watch.update(place, {"y": (value, NOISE)})
        ]
        alarms += bool(said)
    return alarms


def onsets(curve: Curve, real: bool, random: np.random.Generator, trials: int) -> str:
    errors, inside, found = [], 0, 0
    for _ in range(trials):
        x, truth = random.uniform(0, 1, 50), random.uniform(0.35, 0.65)
        onset = find_onset(x, curve(x, truth) + random.normal(size=50) * 0.01, np.full(50, 0.01))
        if onset is not None:
            found += 1
            errors.append(onset.value - truth)
            inside += onset.interval90[0] <= truth <= onset.interval90[1]
    return f"{found:>13}" + (f"{rms(errors):>11.3f}{inside / max(found, 1):>9.0%}" if real else "")


def rms(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values else float("nan")


if __name__ == "__main__":
    main()
