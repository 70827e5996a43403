"""How long spin waves, the estimate from a map and its refinement take on one core.

Usage: python benchmarks/science/magnon_speed.py [--rounds 15]     (no data needed: simulated)

Wall and processor time of the rounds (the latter is judged, as other work may share the machine). The map
has the size of a measured one: 217 columns, 121 energies. Wanted: 10 us per wave vector for two sites,
estimate <= 20 ms, refinement <= 500 ms.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from streamproc.models.excitations.lswt.waves import SpinWaves
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.example import example_case, simulated_counts
from streamproc.models.excitations.maps.reader import MapReader
from threadpoolctl import threadpool_limits
from timing import timed

from streamproc.inference.model import OnnxModel
from streamproc.inference.registry import find_model
from streamproc.settings import InferenceSettings

SHIPPED = {
    "magnon-square": {"J": 32.0, "J2": 1.8, "D": -0.2},
    "magnon-chain": {"J": 26.0, "D": -0.1},
    "magnon-honeycomb": {"J": -10.0, "J2": -0.3, "DM": 0.8, "D": -0.2},
}


def simulated(name: str, columns: int, energies: int) -> SqeMap:
    energy = np.linspace(20.0, 140.0, energies)
    t = np.linspace(0, 1, columns)[:, None]
    first, last = np.array([0.75, 0.25, 0.1]), np.array([0.2, 0.6, 0.9])
    q = first + (last - first) * t
    y = simulated_counts(example_case(name), q, energy, SHIPPED[name], 60.0, 3, 140.0)
    return SqeMap.of(q, energy, y, np.sqrt(np.maximum(y, 1)))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", nargs="+", default=list(SHIPPED), choices=list(SHIPPED))
    arguments = parser.parse_args()
    rounds = arguments.rounds
    claims = []
    q = np.random.default_rng(1).random((5000, 3))
    for name, values in SHIPPED.items():
        waves = SpinWaves(example_case(name).model, q)
        took = timed(
            f"{name}: energies and intensities, 5000 q", lambda w=waves, v=values: w.neutron(v), rounds
        )
        claims.append((f"{name}: {took / 5:.2f} us per wave vector, wanted 10", took / 5 <= 10))
    settings = InferenceSettings()
    for name in arguments.models:
        reader = MapReader(OnnxModel(find_model(name, settings), settings))
        whole = simulated(name, 217, 121)
        read = reader.read(whole)
        one = timed(f"{name}: estimate of 217 x 121 cells", lambda r=reader, m=whole: r.read(m), rounds)
        two = timed(
            f"{name}: refinement of the same",
            lambda r=reader, m=whole, a=read: r.refine(m, a),
            max(3, rounds // 3),
        )
        claims += [(f"{name}: estimate {one:.1f} ms, wanted 20", one <= 20)]
        claims += [(f"{name}: refinement {two:.0f} ms, wanted 500", two <= 500)]
    for claim, holds in claims:
        print(f"{'holds ' if holds else 'FAILS '} {claim}")
    return 0 if all(h for _, h in claims) else 1


if __name__ == "__main__":
    with threadpool_limits(1, "blas"):  # as every command of streamproc works
        sys.exit(main())
