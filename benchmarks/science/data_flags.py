"""Data flags on sound series and on series with a fault from the seventh reading on: F1 of each kind.

Run ``python benchmarks/science/data_flags.py [--repeats 3] [--first SEED] [--data FOLDER] [--groups frames
...]``. Simulated frames (several detectors, textures, line widths, a lattice that expands) and patterns;
measured frames and patterns by binomial thinning of their counts, and measured series as they are. A kind is
judged reading by reading against all others; readings in which a fault is only growing (i0_drift below
twice its limit, hot pixels before the third time) are not asked about that kind.
"""

from __future__ import annotations

# ruff: noqa: E402  (threads are bounded before numpy is imported)
import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from data_faults import FROM, NoPlace, Scene, Series, with_fault
from data_scenes import (
    DATA,
    measured_frames,
    measured_patterns,
    measured_series,
    simulated_frames,
    simulated_patterns,
)

from streamproc.reduction.flags.kinds import KINDS
from streamproc.reduction.flags.patterns import PatternReader
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.settings import FlagSettings
from streamproc.reduction.flags.watch import FlagWatch, Judgement

READINGS = 16
GROUPS: dict[str, tuple[str, Any]] = {
    "frames": ("simulated frames", simulated_frames),
    "patterns": ("simulated patterns", simulated_patterns),
    "measured-frames": ("measured frames, thinned", measured_frames),
    "measured-patterns": ("measured patterns, thinned", measured_patterns),
}
IMAGES_ONLY = {"hot", "spotty", "over_exposed_dark", "missing_rows"}


def judge(scene: Scene, series: Series, reader: FrameReader | None) -> list[Judgement]:
    """Judge a series as the analysis does."""
    settings = FlagSettings(saturation=scene.limit if reader is not None else None)
    watch, patterns, judgements = FlagWatch(settings), PatternReader(settings), []
    for data, dark in zip(series.readings, series.darks, strict=True):
        if reader is not None:
            reading, _ = reader.read(data, dark)
        else:
            reading = patterns.read(scene.axis, data.astype(float), "two_theta_deg", scene.wavelength_A)
        judgements.append(watch.take(reading))
    return judgements


def asked(kind: str, truth: str, since: int) -> bool:
    """Tell whether a reading asks about a kind: not where its fault is only growing."""
    if truth == "hot" and since < 2 and kind in ("hot", "spikes"):
        return False
    return not (kind == truth == "i0_drift" and since < 8)


def possible(scene: Scene, kind: str, reader: FrameReader | None) -> bool:
    """Tell whether a scene can have a fault."""
    if reader is None and kind in IMAGES_ONLY:
        return False
    if kind == "ice_rings":
        low, high = scene.axis[scene.valid].min(), scene.axis[scene.valid].max()
        wave = scene.wavelength_A
        return (
            wave is not None
            and low < 2 * np.rad2deg(np.arcsin(wave / 7.9))
            and high > 2 * np.rad2deg(np.arcsin(wave / 4.4))
        )
    return True


class Score:
    """Counts per kind."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.misses: Counter[str] = Counter()
        self.false: Counter[str] = Counter()
        self.clean: Counter[str] = Counter()
        self.clean_readings = 0
        self.where: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def add(self, name: str, series: Series, judgements: Iterable[Judgement], injected: str) -> None:
        """Count a series."""
        for k, (truth, judgement) in enumerate(zip(series.truth, judgements, strict=True)):
            for kind in KINDS:
                up = judgement.flags.get(kind, False)
                if not asked(kind, truth, k - FROM):
                    continue
                counter = self.hits if up and truth == kind else self.misses if truth == kind else self.false
                if up or truth == kind:
                    counter[kind] += 1
                    if counter is not self.hits:
                        what = "missed" if truth == kind else f"false while {truth or 'sound'}"
                        self.where[kind, what][name] += 1
                if up and not injected:
                    self.clean[kind] += 1
            self.clean_readings += not injected

    def print(self) -> None:
        """Print the table and where it went wrong."""
        print(f"{'kind':20}{'readings':>9}{'recall':>8}{'precision':>10}{'F1':>7}{'false on sound':>16}")
        for kind in KINDS:
            hit, miss, false = self.hits[kind], self.misses[kind], self.false[kind]
            if not hit + miss:
                print(f"{kind:20}{'not asked':>9}")
                continue
            recall, precision = hit / (hit + miss), hit / max(hit + false, 1)
            f1 = 2 * hit / (2 * hit + miss + false)
            share = self.clean[kind] / max(self.clean_readings, 1)
            print(f"{kind:20}{hit + miss:9d}{recall:8.3f}{precision:10.3f}{f1:7.3f}{share:15.2%} ")
        print(f"sound readings: {self.clean_readings}; with a false flag of any kind, counted by kind: "
              f"{sum(self.clean.values())}")  # fmt: skip
        for (kind, what), names in sorted(self.where.items()):
            print(f"  {kind}: {what}: {', '.join(f'{n} {c}' for n, c in names.most_common(6))}")


def run(scene: Scene, reader: FrameReader | None, kinds: list[str], score: Score, seed: int) -> None:
    """Judge a sound series and one of each fault."""
    random = np.random.default_rng([seed, len(scene.name), *scene.name.encode()])
    for kind in ["", *kinds]:
        if kind and not possible(scene, kind, reader):
            continue
        try:
            series = with_fault(scene, kind, READINGS, random)
        except NoPlace:
            continue
        score.add(scene.name, series, judge(scene, series, reader), kind)


def main() -> None:
    """Print the scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder of measured data")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="first seed (0 and on judge)")
    parser.add_argument("--groups", nargs="*", choices=[*GROUPS, "series"], default=[*GROUPS, "series"])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    arguments = parser.parse_args()
    for group in arguments.groups:
        score = Score()
        if group == "series":
            for scene in measured_series(arguments.data):
                series = Series(list(scene.images), [""] * len(scene.images), [None] * len(scene.images))
                score.add(scene.name, series, judge(scene, series, None), "")
            print("\n== measured series as they are: no fault is known ==")
            print(f"readings {score.clean_readings}, flags: {dict(score.clean) or 'none'}")
            for (kind, what), names in sorted(score.where.items()):
                print(f"  {kind}: {what}: {dict(names)}")
            continue
        title, made = GROUPS[group]
        for seed in range(arguments.first, arguments.first + arguments.repeats):
            for scene, reader in made(seed, arguments.data):
                run(scene, reader, arguments.kinds, score, seed)
        print(f"\n== {title} ==", flush=True)
        score.print()


if __name__ == "__main__":
    main()
