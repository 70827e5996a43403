"""The map without references on the Fe-Ga-Pd composition spread, against the published phase regions.

278 measured patterns (37 to 48 degrees) with compositions and the regions that density-functional theory
foretells (Kusne et al. 2020, Nat. Commun. 11, 5966). The patterns come one by one, in the order of the
file and in two random orders, through the class that the live mode uses. Printed: the number of components
and how certain it is, the adjusted Rand index of the regions found against those published, and the time
it took; for scale, the index of usual clusterings of the whole patterns that are told the published number
of regions, and of the published labels of each pattern's nearest neighbours: how far the published regions,
which are foretold and not measured, can be seen in the patterns at all. A picture of both maps is drawn.

Usage: python benchmarks/science/unsupervised_fegapd.py [--data ../shared/data/comb_FeGaPd] [--seeds 3]
[--out fegapd.png]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree
from streamproc.consumers._patterns import log_q
from streamproc.models.mapping.drawing import draw_map
from streamproc.models.mapping.scores import adjusted_rand_index
from streamproc.models.mapping.so_far import PhaseMapSoFar
from streamproc.models.unmixing.grid import Grid
from streamproc.models.unmixing.settings import UnmixingSettings
from streamproc.models.unmixing.unmixer import Unmixer, settings_on

AXES = ("Fe", "Ga", "Pd")


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/comb_FeGaPd"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("fegapd.png"))
    arguments = parser.parse_args()
    two_theta, patterns, composition, regions = read(arguments.data)
    indices = []
    print(f"{len(patterns)} patterns, {np.unique(regions).size} published regions")
    print("seed  order   components  in question  regions  ARI   residual  CPU s/pat  slowest CPU s")
    for seed in range(arguments.seeds):
        order = np.arange(len(patterns))
        if seed:
            order = np.random.default_rng(seed).permutation(order)
        unmixer, times = unmixed(two_theta, patterns[order], composition[order], seed)
        so_far = mapped(unmixer, composition[order])
        found = so_far.regions()
        index = adjusted_rand_index(found.label, regions[order])
        indices.append(index)
        n = unmixer.number
        print(
            f"{seed:<5} {'random' if seed else 'file':<7} {n.number:<11} "
            f"{f'{n.at_least} to {n.at_most}':<12} {found.count:<8} {index:.3f} "
            f"{np.median(unmixer.residuals):<9.3f} {np.mean(times):<10.3f} {max(times):.2f}"
        )
        if n.reason:
            print(f"      cannot tell: {n.reason}")
        if seed == 0:
            names = [f"component {i}" for i in unmixer.identities]
            beside = ("published (DFT)", [f"region {r}" for r in regions[order]])
            title = f"Fe-Ga-Pd, no references: adjusted Rand index {index:.2f}"
            draw_map(so_far, arguments.out, names, title=title, beside=beside, regions=found)
            print(f"      drawn: {arguments.out}")
    spread = np.std(indices, ddof=1) if len(indices) > 1 else float("nan")
    print(f"adjusted Rand index {np.mean(indices):.3f} +- {spread:.3f} over {len(indices)} seeds")
    for_scale(patterns, regions, arguments.seeds)


def for_scale(patterns: np.ndarray, regions: np.ndarray, seeds: int) -> None:
    """Print what clusterings of whole patterns reach, and what the patterns know of the published regions."""
    roots = np.sqrt(np.maximum(patterns, 0.0))
    shape = roots / np.linalg.norm(roots, axis=1, keepdims=True)
    count = np.unique(regions).size
    ward = fcluster(linkage(shape, "ward"), count, "maxclust")
    means = [kmeans2(shape, count, minit="++", rng=seed)[1] for seed in range(seeds)]
    indices = [adjusted_rand_index(label, regions) for label in means]
    print(
        f"for scale, told that there are {count}: Ward's clustering of the patterns "
        f"{adjusted_rand_index(ward, regions):.3f}, k-means {min(indices):.3f} to {max(indices):.3f}"
    )
    _, near = cKDTree(shape).query(shape, k=6)
    foretold = np.array([np.bincount(regions[others[1:]]).argmax() for others in near])
    print(
        f"told the published region of all other patterns, by the five most alike: "
        f"{adjusted_rand_index(foretold, regions):.3f}"
    )


def read(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return 2theta (degrees), patterns, compositions and published regions."""
    table = np.loadtxt(folder / "FeGaPd_XRD.txt", delimiter=",")
    composition = np.loadtxt(folder / "FeGaPd_CMP.txt", skiprows=1)
    regions = np.loadtxt(folder / "FeGaPd_DFT_regions.txt").astype(int)
    return table[0], table[1:], composition, regions


def unmixed(
    two_theta: np.ndarray, patterns: np.ndarray, places: np.ndarray, seed: int
) -> tuple[Unmixer, list[float]]:
    """Take all patterns apart, one by one, as the live mode does by default."""
    table = UnmixingSettings(seed=seed)
    axis = log_q(two_theta, "two_theta_deg")
    grid = Grid.of(axis, table.points)
    unmixer = Unmixer(table.points, settings_on(grid, table))
    times = []
    for pattern, place in zip(patterns, places, strict=True):
        begin = time.process_time()
        unmixer.add(grid.rebin(axis, pattern)[0], place)
        times.append(time.process_time() - begin)
    unmixer.estimate()
    return unmixer, times


def mapped(unmixer: Unmixer, composition: np.ndarray) -> PhaseMapSoFar:
    """Return the map of the shares."""
    so_far = PhaseMapSoFar(AXES, unmixer.settings.most_components)
    total = np.maximum(unmixer.activations.sum(axis=1, keepdims=True), 1e-300)
    for place, shares, sigma in zip(
        composition, unmixer.activations / total, unmixer.sigma / total, strict=True
    ):
        so_far.add(dict(zip(AXES, place, strict=True)), shares, sigma)
    return so_far


if __name__ == "__main__":
    main()
