"""Twins and dislocations of a measured electrodeposited Ni-Mo film, with the whole-pattern fit.

Usage: python benchmarks/science/defects_nimo.py [DATA] [--figure FILE.png]   (default: ../shared/data)

The file is on the axis (2 a sin(theta) / lambda)^2 with a = 0.36 nm, in units of its first point;
wavelength, instrument and standard are not said. Taken: Cu K-alpha1 alone, an instrument of 0.05 degrees
(the lines are ten times wider), contrast factors of nickel, the five lines below 110 degrees (beyond,
another stretch is joined on, with a hole between), three small foreign peaks left out, 2 % of the intensity
as error of the model. Lines may sit where they like (a film has residual stress), so shifts do not count as
evidence: only shapes do.

Density and arrangement M = Re sqrt(rho) go together; so fits with M free and with M = 1 and 2 are printed:
their spread is the uncertainty. The same pattern is fitted without faults and without dislocations. A
defect is flagged where its value minus 1.64 standard deviations is above the limit in every one of the
three fits, and the fit without it is worse by more than a third in chi^2.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from streamproc.models.defects.dislocations import modified_williamson_hall, williamson_hall
from streamproc.models.defects.faults import Faults
from streamproc.models.defects.fit import DefectFit, fit_defects
from streamproc.models.defects.material import Material, material_of
from streamproc.models.defects.singles import fit_lines
from streamproc.models.defects.state import DefectState, microstrain
from streamproc.models.powder.floor import estimate_noise
from streamproc.models.powder.optics import CU_KA1_A, Instrument
from streamproc.models.powder.structures import structure

A_OF_AXIS_NM = 0.36
FOREIGN_DEG = ((40.3, 41.6), (87.2, 88.4), (91.8, 93.0))
OPTICS = Instrument(
    wavelength_A=CU_KA1_A, wavelength2_A=CU_KA1_A, ka2_ratio=0.0, u_deg2=0.0, v_deg2=0.0, w_deg2=0.0025,
    lorentz_x_deg=0.0, asymmetry_deg=0.0,
)  # fmt: skip
FREE = ("density_per_m2", "arrangement", "q", "size_nm", "deformation", "growth")
START = DefectState(
    density_per_m2=3e15, arrangement=1.0, size_nm=30, size_sigma=0.35, q=1.8, faults=Faults(growth=0.03)
)
LIMITS = {"growth": 0.005, "density_per_m2": 1e15}
LEAST_GAIN = 4 / 3


def prepared(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Axis (degrees 2theta, even steps), intensity, variance, and the points that count."""
    squared, y = np.loadtxt(path).T
    two_theta = np.rad2deg(2 * np.arcsin(np.sqrt(squared) / A_OF_AXIS_NM * CU_KA1_A / 20))
    axis = np.arange(two_theta[0] + 0.05, 110.0, 0.04)
    edges = np.r_[axis - 0.02, axis[-1] + 0.02]
    sums, numbers = (np.histogram(two_theta, edges, weights=w)[0] for w in (y, None))
    y = sums / np.maximum(numbers, 1)
    constant, gain = estimate_noise(y)
    used = numbers > 0
    for low, high in FOREIGN_DEG:
        used &= (axis < low) | (axis > high)
    return axis, y, constant + gain * y + (0.02 * y) ** 2, used


def variants(material: Material, pattern: tuple[np.ndarray, ...]) -> dict[str, DefectFit]:
    """The fits by name."""
    axis, y, variance, used = pattern

    def fit(free: tuple[str, ...], start: DefectState) -> DefectFit:
        return fit_defects(
            axis,
            y,
            variance,
            material,
            OPTICS,
            free=free,
            starts=[start],
            used=used,
            background=4,
            move_lines=True,
        )

    fixed = tuple(name for name in FREE if name != "arrangement")
    return {
        "M free": fit(FREE, START),
        "M = 1": fit(fixed, START),
        "M = 2": fit(fixed, replace(START, arrangement=2.0)),
        "no faults": fit(FREE[:4], replace(START, faults=Faults())),
        "no dislocations": fit(
            ("size_nm", "size_sigma", "deformation", "growth"), replace(START, density_per_m2=1e9)
        ),
    }


def told(name: str, fit: DefectFit, material: Material) -> str:
    """One row of the table."""
    s, e = fit.state, fit.sigma
    rho, twins = e.get("density_per_m2", float("nan")), e.get("growth", float("nan"))
    strain = 1e3 * microstrain(material, s)
    return (
        f"{name:16s} {s.density_per_m2:9.2e} +- {rho * s.density_per_m2:8.1e}  {s.arrangement:5.2f}  "
        f"{s.q:5.2f}  {s.size_nm:5.1f}  {s.faults.growth:7.4f} +- {twins:6.4f}  {s.faults.deformation:7.4f}  "
        f"{strain:6.2f}  {fit.chi2:6.2f}  {100 * fit.rwp:5.2f} %  {', '.join(fit.at_limit)}"
    )


def flagged(name: str, fits: dict[str, DefectFit], without: str) -> bool:
    """Whether a defect is certain by the rule of this file."""
    lowest = []
    for fit in (fits["M free"], fits["M = 1"], fits["M = 2"]):
        if name == "growth":
            lowest.append(fit.state.faults.growth - 1.64 * fit.sigma["growth"])
        else:
            lowest.append(fit.state.density_per_m2 * np.exp(-1.64 * fit.sigma["density_per_m2"]))
    return min(lowest) > LIMITS[name] and fits[without].chi2 > LEAST_GAIN * fits["M free"].chi2


def draw(path: Path, pattern: tuple[np.ndarray, ...], fits: dict[str, DefectFit]) -> None:
    """Measured, fitted, and what is left, for the best fit and the two without a defect."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    axis, y, variance, used = pattern
    figure, rows = plt.subplots(
        2, 3, figsize=(15, 7), height_ratios=(3, 1), sharex=True, layout="constrained"
    )
    for column, name in enumerate(("M free", "no faults", "no dislocations")):
        fit = fits[name]
        top, bottom = rows[0, column], rows[1, column]
        top.semilogy(axis, y, ".", ms=2, color="0.4", label="measured")
        top.semilogy(axis, fit.model, lw=1, color="C3", label=f"fit, chi2 {fit.chi2:.2f}")
        top.semilogy(axis, fit.background, lw=0.8, color="C0", label="background")
        top.set_title(name)
        top.legend()
        left = np.where(used, (y - fit.model) / np.sqrt(variance), np.nan)
        bottom.plot(axis, left, lw=0.6, color="C3")
        bottom.set(xlabel="2theta, Cu K-alpha1 (degrees)", ylim=(-8, 8))
    rows[0, 0].set_ylabel("intensity")
    rows[1, 0].set_ylabel("difference / sigma")
    figure.savefig(path, dpi=110)


def main() -> int:
    arguments = [a for a in sys.argv[1:] if a != "--figure"]
    figure = Path(arguments.pop()) if "--figure" in sys.argv else None
    default = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
    path = Path(arguments[0] if arguments else default) / "defect_diffault" / "NiMo_sample.dat"
    if not path.is_file():
        print(f"not measured: there is no {path}")
        return 2
    a = 10 * 0.362
    material = material_of(replace(structure("nickel"), name="Ni-Mo", cell=(a, a, a, 90, 90, 90)), CU_KA1_A)
    pattern = prepared(path)
    began = time.perf_counter()
    fits = variants(material, pattern)
    print(f"{len(fits)} fits in {time.perf_counter() - began:.1f} s; strain over 10 nm in 1e-3")
    print(
        f"{'fit':16s} {'density':21s}   M      q     size   twins               alpha    strain   chi2    Rwp"
    )
    for name, fit in fits.items():
        print(told(name, fit, material))
    axis, y, variance, _ = pattern
    lines = fit_lines(axis, y, variance, material, OPTICS)
    plain = williamson_hall(lines)
    modified = modified_williamson_hall(
        lines, material.contrast(fits["M free"].state.q), material.burgers_nm, True
    )
    print(
        f"Williamson-Hall: size {plain.size_nm:.0f} nm, strain {plain.strain:.4f}, "
        f"misfit {100 * plain.misfit:.0f} %"
    )
    print(
        f"modified, with faults: density for M = 1 {modified.density_per_m2:.1e} 1/m^2, 1.5 alpha + beta = "
        f"{2 * modified.fault * material.a_nm:.3f}, misfit {100 * modified.misfit:.0f} %"
    )
    twins, dislocations = (
        flagged("growth", fits, "no faults"),
        flagged("density_per_m2", fits, "no dislocations"),
    )
    print(f"twins above {LIMITS['growth']} flagged: {twins}; dislocations above 1e15 flagged: {dislocations}")
    if figure is not None:
        draw(figure, pattern, fits)
    return 0 if twins and dislocations else 1


if __name__ == "__main__":
    raise SystemExit(main())
