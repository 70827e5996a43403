"""Rings over azimuth: the shipped cake models on cakes they have not seen, their time, and a measured frame.

Usage: python benchmarks/science/cakes.py [DATA] [--rows N] [--ceria MODEL_FOLDER]   (default: ../shared/data)

Printed are the errors of texture strength, spottiness and spots on fresh simulated cakes (seed of this file's
own), the share of true values inside the 90 % intervals, how well texture above 0.2 is told from none with
few and many grains, and how many shadows and misplaced centres are noticed; then the CPU time that the zones
of a 1 Mpx frame cost beside the profile, and beside a whole cake in one pass with it. Wanted: coverage 87
to 93 %, spots within a factor 1.5 below 1e4 (68 %), spottiness within a fifth above 1 % (68 %), texture told
from none with AUROC >= 0.75.

With `--ceria`, the folder that `streamproc train defect-flags --structure ceria --wavelength 0.4066 --only
cake --out FOLDER` wrote: what it says of the measured CeO2 frame (a calibrant: no texture is known; its rings
are visibly spotty), by quarters of the circle as well, and of the same frame with half of its counts. There
is no truth to compare with but the flags' own number, which comes from other sums.
"""

from __future__ import annotations

# ruff: noqa: E402  (threads are bounded before numpy and pyFAI are imported)
import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from streamproc.models.defects.cake.evidence import foreign_cakes, scored_cakes
from streamproc.models.defects.cake.heights import AZIMUTHS
from streamproc.models.defects.cake.library import CakeSystem, build_cakes
from streamproc.models.defects.cake.ranges import CakeRanges
from streamproc.models.defects.cake.reading import ring_zones, rings_read
from streamproc.models.defects.cake.rings import Rings
from streamproc.models.defects.network.estimate import read_defects
from streamproc.models.defects.network.scores import auroc

from streamproc.frames.pattern_files import read_image
from streamproc.inference.model import OnnxModel
from streamproc.reduction.azimuthal import AzimuthalPlan, PlanOptions
from streamproc.reduction.correction import Correction
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.geometry import Geometry, load_geometry
from streamproc.reduction.ringcake import RingCakePlan
from streamproc.settings import InferenceSettings

SEED = 88_000
HERE = Path(__file__).resolve().parents[2] / "models"


def simulated(model: OnnxModel, rows: int) -> bool:
    """Print the figures of one model; whether all are reached."""
    card = model.card
    ranges = CakeRanges(**{k: card.valid_domain[k] for k in CakeRanges.__dataclass_fields__})
    system = CakeSystem(Rings.of_card(card.reference), ranges)
    library = build_cakes(system, rows, SEED)
    outputs, truth = model.run(library.x), library.targets
    figures = scored_cakes(outputs, truth, card)
    print(f"{card.name}:{card.version}  {model.path.stat().st_size / 1e6:.1f} MB, {len(library)} cakes")
    for name in ("mean_error", "error_68", "coverage_90"):
        print(f"  {name:12s} " + ", ".join(f"{k} {v:g}" for k, v in figures[name].items()))
    values, texture, spots = outputs["values"], truth[:, 0], np.exp(truth[:, 2])
    for low, high in ((0, 300), (300, 1e4), (1e4, 1e9)):
        part = (spots > low) & (spots <= high) & ((texture == 0) | (texture > 0.2))
        told = auroc(values[part, 0], texture[part] > 0)
        print(f"  texture told, {low:g} to {high:g} spots: AUROC {told:.3f}")
    foreign = foreign_cakes(system, 400, SEED + 1)
    limits = card.calibration.limits
    noticed = (model.run(foreign.x)["distance"] > limits["distance"]) | (foreign.odd > limits["odd_wave"])
    false = (outputs["distance"] > limits["distance"]) | (library.odd > limits["odd_wave"])
    print(f"  shadows and misplaced centres noticed: {noticed.mean():.3f}; sound cakes: {false.mean():.3f}")
    coverage = figures["coverage_90"].values()
    rows_ = [
        ("worst coverage of 90 %", min(coverage), ">= 0.87", min(coverage) >= 0.87),
        ("best coverage of 90 %", max(coverage), "<= 0.93", max(coverage) <= 0.93),
        ("spots below 1e4: factor, 68 %", v := figures["spots_factor_68"], "<= 1.5", v <= 1.5),
        ("spottiness above 1 %: factor", v := figures["spottiness_factor_68"], "<= 1.2", v <= 1.2),
        ("texture against none: AUROC", v := figures["texture_auroc"], ">= 0.75", v >= 0.75),
    ]
    for name, value, wanted, reached in rows_:
        print(f"  {name:32s} {value:8.4f}  wanted {wanted:8s} {'reached' if reached else 'NOT reached'}")
    return all(reached for *_, reached in rows_)


def timed(model: OnnxModel) -> None:
    """CPU time of the passes over a 1 Mpx frame, in turns."""
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    side = 1024
    integrator = AzimuthalIntegrator(
        0.3,
        0.075,
        0.07,
        detector=Detector(0.15 / side, 0.15 / side, max_shape=(side, side)),
        wavelength=2.5e-11,
    )
    geometry = Geometry.of(integrator, "benchmark", "")
    rings = Rings.of_card(model.card.reference)
    plan = AzimuthalPlan.build(geometry, Correction(), PlanOptions(1000))
    whole = AzimuthalPlan.build(geometry, Correction(), PlanOptions(1000, azimuth_bins=AZIMUTHS))
    cells = RingCakePlan.of(plan, ring_zones(rings), AZIMUTHS)
    q = integrator.center_array((side, side), unit="q_A^-1")
    mean = 20 + sum(300 * np.exp(-(((q / at - 1) / 0.006) ** 2)) for at in rings.q_invA)
    frames = [np.random.default_rng(k).poisson(mean).astype(np.uint16) for k in range(6)]
    read = rings_read(cells.sums(frames[0]), rings, 0.25)
    functions: dict[str, Callable[[np.ndarray], object]] = {
        "profile": plan.integrate, "profile and whole cake, one pass": whole.cake,
        "zones of the rings": cells.sums,
        "statistics of the rings": lambda frame: rings_read(sums, rings, 0.25),
        "network": lambda frame: model.run(read.x[None]),
    }  # fmt: skip
    sums, taken = cells.sums(frames[0]), {name: [] for name in functions}
    for turn in range(40):
        for name, function in functions.items():
            start = time.process_time_ns()
            function(frames[turn % len(frames)])
            taken[name].append(1e-6 * (time.process_time_ns() - start))
    for name, values in taken.items():
        print(f"  {name:34s} {np.median(values[5:]):6.2f} ms")


def measured(folder: Path, model: OnnxModel) -> None:
    """The CeO2 frame."""
    image, geometry = read_image(folder / "CeO2_Pilatus1M.tif"), load_geometry(folder / "CeO2_Pilatus1M.poni")
    correction = Correction(mask=image < 0, polarization_factor=0.99)
    plan = AzimuthalPlan.build(geometry, correction, PlanOptions(1000, flip="rows"), shape=image.shape)
    rings, wavelength = Rings.of_card(model.card.reference), float(geometry.wavelength_A or 0)
    cells = RingCakePlan.of(plan, ring_zones(rings), AZIMUTHS)
    flags, _ = FrameReader(plan).read(image)
    half = np.random.default_rng(1).binomial(np.maximum(image, 0), 0.5).astype(np.int32)
    quarters = {}
    rows, columns = np.indices(image.shape)
    for name, inside in (("upper half", rows < 521), ("left half", columns < 490)):
        quarters[name] = np.where(inside, image, -1).astype(np.int32)
    print(f"  the flags' number of spottiness, mean over rings: {flags.numbers['spotty']:.3f}")
    for name, frame in {"whole": image, "half of the counts": half, **quarters}.items():
        read = rings_read(cells.sums(frame), rings, wavelength)
        outputs = {k: v[0] for k, v in model.run(read.x[None]).items()}
        reading = read_defects(outputs, model.card)
        odd, limit = float(read.odd), model.card.calibration.limits["odd_wave"]
        text = ", ".join(
            f"{n} {e.value:.3g} ({e.low:.3g} to {e.high:.3g})" for n, e in reading.estimates.items()
        )
        said = "; ".join(reading.reasons) or "in domain"
        print(f"  {name:18s} {text}; {said}, odd wave {odd:.1f} of {limit:.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    parser.add_argument("data", nargs="?", type=Path, default=default)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--ceria", type=Path)
    arguments = parser.parse_args()
    files = sorted(HERE.glob("defects_*/*/cake/model.onnx"))
    models = [OnnxModel(file, InferenceSettings()) for file in files]
    reached = [simulated(model, arguments.rows) for model in models]
    timed(models[0])
    if arguments.ceria is not None:
        folder = arguments.data / "img2d_CeO2_pilatus"
        if not folder.is_dir():
            print(f"not measured: there is no {folder}")
            return 2
        measured(folder, OnnxModel(arguments.ceria / "cake" / "model.onnx", InferenceSettings()))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
