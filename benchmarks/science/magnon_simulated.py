"""Shipped spin-wave models on simulated counts: do 90 % intervals hold the truth, also while a scan builds?

Usage: python benchmarks/science/magnon_simulated.py [--model magnon-square] [--seeds 100]

Every seed draws couplings from the model's prior, a path, counts and a background, and shows the model
a quarter, a half and all of the columns. Printed: the share of seeds whose 90 % interval holds the truth, of
the network and of least squares, and median sigma and error of the first coupling. The simulator is the
library's own renderer with Poisson counts, so this measures statistics, not physics.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from streamproc.models.excitations.lswt.errors import NotAMinimum
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.example import simulated_counts
from streamproc.models.excitations.maps.places import random_columns
from streamproc.models.excitations.maps.reader import MapReader
from threadpoolctl import threadpool_limits

from streamproc.errors import FrameFailed
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

WINDOW_MEV = 100.0
PARTS = (0.25, 0.5, 1.0)


def one(reader: MapReader, seed: int) -> list[tuple[float, dict[str, float], SqeMap]]:
    """Return the growing map of a seed with the truth."""
    case, rng = reader.case, np.random.default_rng(seed)
    energy = np.arange(12.0, WINDOW_MEV, 1.5)
    for _ in range(100):
        unit = rng.uniform(0.1, 0.9, len(reader.names))
        free = WINDOW_MEV * case.parameters.values_at(unit[None])[0]
        values = case.parameters.values(free)
        q = random_columns(case, rng)
        try:
            y = simulated_counts(case, q, energy, values, 10 ** rng.uniform(0.7, 2), seed, WINDOW_MEV)
        except (NotAMinimum, ValueError):
            continue  # no minimum, or no intensity in the window
        truth = {n: values[n] for n in reader.names}
        keep = [(part, q[: max(6, int(part * len(q)))]) for part in PARTS]
        return [
            (part, truth, SqeMap.of(c, energy, y[: len(c)], np.sqrt(np.maximum(y[: len(c)], 1))))
            for part, c in keep
        ]
    raise SystemExit(f"seed {seed}: no order in 100 draws")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="magnon-square")
    parser.add_argument("--seeds", type=int, default=100)
    arguments = parser.parse_args()
    settings = InferenceSettings()
    reader = MapReader(OnnxModel(find_model(arguments.model, settings), settings))
    held = {(p, who): {n: [] for n in reader.names} for p in PARTS for who in ("network", "fit")}
    first: dict[tuple[float, str], list[tuple[float, float]]] = {k: [] for k in held}
    flagged = dict.fromkeys(PARTS, 0)
    for seed in range(arguments.seeds):
        for part, truth, measured in one(reader, seed):
            try:
                read = reader.read(measured)
            except FrameFailed:
                continue
            refined = reader.refine(measured, read)
            flagged[part] += bool(refined is not None and refined.reasons)
            answers = {"network": read.answer.numbers}
            if refined is not None and not refined.reasons:
                answers["fit"] = refined.numbers
            for who, numbers in answers.items():
                for n in reader.names:
                    low, high = numbers[n].interval90
                    held[part, who][n].append(low <= truth[n] <= high)
                number = numbers[reader.names[0]]
                first[part, who].append((number.sigma, abs(number.value - truth[reader.names[0]])))
    for (part, who), found in held.items():
        shares = {f"Zc*{n}": f"{np.mean(v):.2f}" for n, v in found.items() if v}
        sigma, error = np.median(first[part, who], axis=0)
        print(
            f"{part:4.2f} of the columns, {who:7s}: 90 % intervals hold {shares} of {len(first[part, who])}; "
            f"{reader.names[0]}: median sigma {sigma:.2f}, error {error:.2f} % of the window"
        )
    print("flagged though right:", {p: f"{n}/{arguments.seeds}" for p, n in flagged.items()})
    return 0


if __name__ == "__main__":
    with threadpool_limits(1, "blas"):  # as every command of streamproc works
        sys.exit(main())
