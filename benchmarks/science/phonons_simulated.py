"""Force constants of simulated powder maps through a trained model: errors, intervals, time; maps of others.

Each seed draws force constants from the inner 90 % of the ranges, counts a map of them on a mesh twice as
fine as the fit's (its noise from another seed), and reads it as `excitation-fit` does: network, then the
fit that begins there. Told are, for each force constant, the standard deviation of (found - true) / sigma and
how often the 90 % interval holds the truth, and how much of the structure the fits leave over. With --foreign
also how often maps of something else are refused: copper and iron (phonons of another crystal), columns in
another order, energies upside down.
Usage: python benchmarks/science/phonons_simulated.py [--seeds 40] [--counts 200] [--foreign 10]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from phonons_measured import reader_of
from streamproc.models.excitations.lattice.case import LatticeCase, case_of
from streamproc.models.excitations.lattice.density import zone_of
from streamproc.models.excitations.mapmodel.errors import NotStable
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.example_powder import ALUMINIUM, powder_counts
from streamproc.models.excitations.maps.phonons import Phonons
from streamproc.models.excitations.maps.reader import MapReader
from threadpoolctl import threadpool_limits

ENERGY, Q = np.arange(8.5, 48.0, 1.0), np.arange(2.0, 8.1, 0.4)
COLUMNS = np.stack([Q, 0 * Q, 0 * Q], 1)
KELVIN, KT_MEV = 4.64, 0.4
INNER, SOFTEST_MEV = 0.05, 0.3
NOISE = 100_000
OTHERS = {
    "copper": ("fcc", 3.615, 63.55, (27.5, -1.5, 0.3, 0.0, 0.6, 0.0)),
    "iron": ("bcc", 2.866, 55.85, (21.0, 5.0, 15.0, 0.5, 0.8, -0.2)),
}


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", default="phonon-fcc", help="NAME, NAME:VERSION or a version folder")
    made.add_argument("--seeds", type=int, default=40, help="maps")
    made.add_argument("--first", type=int, default=1, help="first seed")
    made.add_argument("--counts", type=float, default=200.0, help="counts where phonons are strong")
    made.add_argument("--foreign", type=int, default=0, help="maps of each kind of something else")
    arguments = made.parse_args()
    with threadpool_limits(1, "blas"):
        reader = reader_of(arguments.model)
        drawn = list(truths(reader.case, arguments.first, arguments.seeds))
        reported(reader, drawn, arguments.counts, arguments.first)
        if arguments.foreign:
            refusals(reader, drawn[: arguments.foreign], arguments.counts)
    return 0


def truths(case: LatticeCase, first: int, number: int) -> Iterator[dict[str, float]]:
    """Force constants of lattices in the inner part of the ranges that are stable to long waves, by seed."""
    probe = Phonons(case, zone_of(case.file.crystal.a, 39)[0], SOFTEST_MEV)
    for seed in range(first, first + number):
        rng = np.random.default_rng(seed)
        while True:
            unit = rng.uniform(INNER, 1 - INNER, (1, len(case.parameters.free)))
            values = case.parameters.values(case.parameters.values_at(unit)[0])
            try:
                probe.check(values)
            except NotStable:
                continue
            yield values
            break


def counted(y: np.ndarray) -> SqeMap:
    return SqeMap.of(COLUMNS, ENERGY, y, np.sqrt(np.maximum(y, 1.0)))


def reported(reader: MapReader, drawn: list[dict[str, float]], counts: float, first: int) -> None:
    names = reader.names
    pulls, held, own, times, flagged, kinds, left = [], [], [], [], 0, [], []
    for k, values in enumerate(drawn):
        measured = counted(powder_counts(reader.case, Q, ENERGY, values, counts, NOISE + first + k, KT_MEV))
        reader.read(measured)  # the first map of a run makes what all of its maps share
        began = time.process_time()
        read = reader.read(measured)
        middle = time.process_time()
        refined = reader.refine(measured, read, KELVIN)
        times.append((middle - began, time.process_time() - middle))
        reasons = (*read.reasons, *(refined.reasons if refined is not None else ("no fit",)))
        flagged += bool(reasons)
        if reasons:
            print(f"  seed {first + k}: {'; '.join(reasons)}")
        if refined is None:
            continue
        truth = np.array([values[n] for n in names])
        found = [refined.numbers[n] for n in names]
        pulls.append([(f.value - t) / f.sigma for f, t in zip(found, truth, strict=True)])
        held.append([f.interval90[0] < t < f.interval90[1] for f, t in zip(found, truth, strict=True)])
        network = [read.answer.numbers[n].interval90 for n in names]
        own.append([low < t < high for (low, high), t in zip(network, truth, strict=True)])
        kinds.append([f.sigma for f in found])
        left.append(1 - refined.fit.explained)
        if np.abs(pulls[-1]).max() > 3.5:
            print(f"  seed {first + k}: pulls {np.round(pulls[-1], 1)}, chi2 {refined.fit.chi2_reduced:.2f}")
    p, h = np.array(pulls), np.array(held)
    print(f"{len(p)} maps of {counts:g} counts where phonons are strong; {flagged} flagged")
    for n, sd, mean, inside, net, s in zip(
        names, p.std(0), p.mean(0), h.mean(0), np.mean(own, 0), np.median(kinds, 0), strict=True
    ):
        print(
            f"  {n}: pulls {mean:+.2f} +- {sd:.2f}, 90 % interval holds {100 * inside:.0f} % "
            f"(network {100 * net:.0f} %), median sigma {s:.3f} N/m"
        )
    print(f"  all: pulls {p.std():.3f} +- {p.std() / np.sqrt(2 * p.size):.3f}, hold {100 * h.mean():.1f} %")
    print(f"  of the structure left over: {100 * max(left):.1f} % at most")
    for what, seconds in zip(("network", "fit"), np.array(times).T, strict=True):
        median, slow = 1e3 * np.median(seconds), 1e3 * np.quantile(seconds, 0.95)
        print(f"  {what}: {median:.0f} ms of processor time (95 % below {slow:.0f} ms)")


def refusals(reader: MapReader, drawn: list[dict[str, float]], counts: float) -> None:
    """How often maps of something else are flagged."""
    order = np.random.default_rng(1).permutation(len(Q))
    said: dict[str, list[bool]] = {}
    left: dict[str, list[float]] = {}
    for k, values in enumerate(drawn):
        own = powder_counts(reader.case, Q, ENERGY, values, counts, 900 + k, KT_MEV)
        maps = {"columns in another order": own[order], "energies upside down": own[:, ::-1]}
        for name in OTHERS:
            case, forces = other(reader.case, name)
            maps[name] = powder_counts(case, Q, ENERGY, forces, counts, 900 + k, KT_MEV)
        for what, y in maps.items():
            read = reader.read(counted(y))
            refined = None if read.reasons else reader.refine(counted(y), read, KELVIN)
            refused = bool(read.reasons) or refined is None or bool(refined.reasons)
            said.setdefault(what, []).append(refused)
            if refined is not None:
                left.setdefault(what, []).append(100 * (1 - refined.fit.explained))
    for what, found in said.items():
        over = f"; left over: {min(left[what]):.0f} to {max(left[what]):.0f} %" if what in left else ""
        print(f"  refused: {what}: {sum(found)} of {len(found)}{over}")


def other(case: LatticeCase, name: str) -> tuple[LatticeCase, Mapping[str, float]]:
    """Another element's powder on the same columns."""
    lattice, edge, mass, forces = OTHERS[name]
    content = case.file.model_dump(mode="json", exclude_none=True)
    content["crystal"] |= {"lattice": lattice, "a": edge, "mass": mass}
    return case_of(content, Path(name)), dict(zip(ALUMINIUM, forces, strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
