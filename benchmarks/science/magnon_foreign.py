"""Maps of something else through a shipped spin-wave model: how many are flagged, how many right ones?

Usage: python benchmarks/science/magnon_foreign.py [--model magnon-square] [--seeds 30]

Each seed is a map as in magnon_simulated.py, and three that are none of the model's: its columns in another
order (axes mistaken), its energies upside down (bands no spin wave has), and no magnons at all, but two
lines that do not depend on Q. Printed: how many are flagged (by network or fit), and how strong magnons
those hold that are not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
from magnon_simulated import one
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.reader import MapReader
from threadpoolctl import threadpool_limits

from streamproc.errors import FrameFailed
from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings


def counted(q: np.ndarray, energy: np.ndarray, y: np.ndarray) -> SqeMap:
    return SqeMap.of(q, energy, y, np.sqrt(np.maximum(y, 1)))


def kinds(right: SqeMap, seed: int) -> Iterator[tuple[str, SqeMap]]:
    rng = np.random.default_rng([seed, 1])
    q, energy, y = right.q_rlu, right.energy_meV, right.intensity
    yield "right", right
    yield "columns elsewhere", counted(q, energy, y[rng.permutation(len(y))])
    yield "energies upside down", counted(q, energy, y[:, ::-1])
    lines = sum(np.exp(-0.5 * ((energy - rng.uniform(20, 90)) / 3) ** 2) for _ in range(2))
    flat = np.tile(0.3 + lines + np.exp(-energy / 15), (len(q), 1))
    yield "lines at all Q", counted(q, energy, rng.poisson(np.quantile(y, 0.98) * flat).astype(float))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="magnon-square")
    parser.add_argument("--seeds", type=int, default=30)
    arguments = parser.parse_args()
    settings = InferenceSettings()
    reader = MapReader(OnnxModel(find_model(arguments.model, settings), settings))
    flagged: dict[str, list[bool]] = {}
    weak: dict[str, list[float]] = {}
    for seed in range(arguments.seeds):
        _, _, right = one(reader, seed)[-1]
        for kind, measured in kinds(right, seed):
            try:
                read = reader.read(measured)
            except FrameFailed:
                continue
            refined = reader.refine(measured, read)
            reasons = (*read.reasons, *(refined.reasons if refined is not None else ("no fit",)))
            flagged.setdefault(kind, []).append(bool(reasons))
            if not reasons and refined is not None:
                weak.setdefault(kind, []).append(refined.fit.significance)
    for kind, found in flagged.items():
        told = ""
        if kind != "right" and weak.get(kind):
            told = f"; magnon significance of those that pass: median {np.median(weak[kind]):.0f} sigma"
        print(f"{kind:22s} {sum(found)} of {len(found)} flagged{told}")
    return 0


if __name__ == "__main__":
    with threadpool_limits(1, "blas"):  # as every command of streamproc works
        sys.exit(main())
