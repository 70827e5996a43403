"""A pure powder without defects is not flagged: fluorite of the round robin, fitted with its own crystal.

Usage: python benchmarks/science/defects_pure.py [DATA] [--draws 50]   (default: ../shared/data)

No network knows fluorite; this is the whole-pattern fit with its contrast factors. The round robin has no
line-profile standard, so two of its other pure powders stand in, one after the other: corundum, whose lines
are a little wider than those of fluorite, and zincite, whose lines are sharper (what they have of their own
is taken for the instrument's). Each draw thins the measured counts to half, at random. A defect is flagged
where the value, less 1.64 standard deviations, is beyond its limit: dislocations above 1e15 1/m^2, domains
below 50 nm. A parameter that ends at the edge of its range (1e12 1/m^2, 1000 nm: nothing of it) is no flag
unless that edge is beyond the limit. Wanted: at most one draw in a hundred flagged. So that this is no
blindness, the same counts are broadened as crystals of 20 nm would be, and must be flagged.

Textures are told by the phase map, as they are live: each pure powder, as measured and thinned to half, goes
through the analysis with the shipped model and its refinement. Wanted: brucite's texture is flagged each time
(its plates lie flat: r of March and Dollase along c below 1), and no other powder's.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from streamproc.consumers.phase_map import PhaseMap, PhaseMapSettings
from streamproc.models.defects.fit import DefectFit, fit_defects
from streamproc.models.defects.material import Material, material_of
from streamproc.models.defects.size import size_coefficients
from streamproc.models.defects.standard import instrument_from_standard
from streamproc.models.defects.state import DefectState
from streamproc.models.powder.optics import CU_KA1_A, CU_KA2_A, Instrument
from streamproc.models.powder.structures import structure

from streamproc.analysis import Frame, LoadContext
from streamproc.documents import Position
from streamproc.runs import Run
from streamproc.settings import InferenceSettings

OPTICS = Instrument(
    wavelength_A=CU_KA1_A, wavelength2_A=CU_KA2_A, ka2_ratio=0.5, asymmetry_deg=0.0,
    polarisation=float(np.cos(np.deg2rad(26.6)) ** 2),
)  # fmt: skip
RANGE_DEG = (25.0, 100.0)
FREE = ("density_per_m2", "size_nm", "cell_scale", "displacement_mm")
MOST_DENSITY, LEAST_SIZE_NM = 1e15, 50.0
SMALL_NM = 20.0


def measured(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Axis (degrees) and counts."""
    two_theta, counts = np.loadtxt(folder / f"{name}.prn").T
    return two_theta, counts


def standards(folder: Path) -> dict[str, Instrument]:
    """The instrument as two of the powders show it."""
    found = {}
    for name in ("corundum", "zincite"):
        axis, counts = measured(folder, name)
        found[name] = instrument_from_standard(axis, counts, np.maximum(counts, 1), structure(name), OPTICS)
    return found


def fitted(axis: np.ndarray, counts: np.ndarray, material: Material, instrument: Instrument) -> DefectFit:
    start = DefectState(
        density_per_m2=1e14, arrangement=2.0, size_nm=100, size_sigma=0.35,
        q=(material.edge.q + material.screw.q) / 2,
    )  # fmt: skip
    return fit_defects(
        axis, counts, np.maximum(counts, 1), material, instrument, free=FREE, starts=[start], background=8
    )


def flags(fit: DefectFit) -> list[str]:
    """What is beyond its limit with 95 % confidence."""

    def spread(name: str) -> float:
        return float(np.exp(1.64 * fit.sigma[name])) if np.isfinite(fit.sigma[name]) else 1.0

    up = []
    if fit.state.density_per_m2 / spread("density_per_m2") > MOST_DENSITY:
        up.append("dislocations")
    if fit.state.size_nm * spread("size_nm") < LEAST_SIZE_NM:
        up.append("small domains")
    return up


def broadened(axis: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The same pattern as crystals of 20 nm would give it: convolved along s = 2 sin(theta) / lambda."""
    s = 20 / CU_KA1_A * np.sin(np.deg2rad(axis) / 2)
    even = np.linspace(s[0], s[-1], 2 ** int(np.ceil(np.log2(2 * axis.size))))
    length = np.fft.rfftfreq(even.size, even[1] - even[0])
    median = SMALL_NM * np.exp(-2.5 * 0.35**2)
    wide = np.fft.irfft(
        np.fft.rfft(np.interp(even, s, counts)) * size_coefficients(length, median, 0.35), even.size
    )
    return np.maximum(np.interp(s, even, wide), 0.0)


def refined(analysis: PhaseMap, axis: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """What the phase map says of one pattern once it is refined."""
    running = analysis.begin(Run("pure", {"uid": "pure"}, Position("benchmark", 0, 0)))
    frame = Frame("pure", "primary", 1, "pattern", counts, 0.0, {"two_theta": axis})
    said = [*running.update(running.process([frame])), *running.end()]
    return dict(next(s.values for s in said if s.stream == "refined"))


def textures(folder: Path, draws: int) -> bool:
    """Print what the phase map says of the textures of the pure powders; whether it is what is wanted."""
    settings = PhaseMapSettings(axis_key="two_theta", refine_every=1)
    analysis = PhaseMap.load(settings, LoadContext(InferenceSettings()))
    random, right = np.random.default_rng(2), True
    for name in ("brucite", "corundum", "fluorite", "zincite"):
        axis, counts = measured(folder, name)
        patterns = [counts, *(random.binomial(counts.astype(int), 0.5).astype(float) for _ in range(draws))]
        found = [refined(analysis, axis, pattern) for pattern in patterns]
        r = [values[f"{name}_march_r"] for values in found]
        flagged, wanted = sum(bool(v[f"{name}_textured"]) for v in found), len(found) * (name == "brucite")
        right = right and flagged == wanted
        print(
            f"{name}'s texture flagged: {flagged} of {len(found)} (as measured, thinned {draws} times); "
            f"wanted {wanted}; r {r[0].value:.3f} +- {r[0].sigma:.3f}, "
            f"of all {min(v.value for v in r):.3f} to {max(v.value for v in r):.3f}"
        )
    return right


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    parser.add_argument("data", nargs="?", type=Path, default=default)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--thinned", type=int, default=4, help="thinned patterns whose texture is judged")
    arguments = parser.parse_args()
    folder = arguments.data / "iucr_qarr"
    if not (folder / "fluorite.prn").is_file():
        print(f"not measured: there is no {folder / 'fluorite.prn'}")
        return 2
    material = material_of(structure("fluorite"), CU_KA1_A)
    axis, counts = measured(folder, "fluorite")
    inside = (axis > RANGE_DEG[0]) & (axis < RANGE_DEG[1])
    axis, counts = axis[inside], counts[inside]
    small = broadened(axis, counts)
    rng, wrong, missed, total, began = np.random.default_rng(1), 0, 0, 0, time.perf_counter()
    for name, instrument in standards(folder).items():
        optics = replace(instrument, asymmetry_deg=0.0)
        whole = fitted(axis, counts, material, optics)
        print(
            f"{name:9s} as standard: density {whole.state.density_per_m2:.2g} 1/m^2, size "
            f"{whole.state.size_nm:.0f} nm, chi2 {whole.chi2:.2f}, at its edge "
            f"{', '.join(whole.at_limit) or '-'}, flags {', '.join(flags(whole)) or '-'}"
        )
        for draw in range(arguments.draws):
            thinned = rng.binomial(counts.astype(int), 0.5).astype(float)
            wrong += bool(flags(fitted(axis, thinned, material, optics)))
            total += 1
            if draw % 10 == 0:
                fit = fitted(axis, rng.poisson(small / 2).astype(float), material, optics)
                missed += "small domains" not in flags(fit)
    few = 2 * (1 + (arguments.draws - 1) // 10)
    print(f"flagged: {wrong} of {total} thinned patterns; wanted at most {max(total // 100, 0)}")
    print(f"broadened to {SMALL_NM:g} nm and not flagged: {missed} of {few}; wanted 0")
    print(f"{(time.perf_counter() - began) / (total + few + 2):.1f} s a fit")
    right = textures(folder, arguments.thinned)
    return 0 if wrong <= total // 100 and not missed and right else 1


if __name__ == "__main__":
    raise SystemExit(main())
