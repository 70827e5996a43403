"""Line profiles of another code (DifFault, Kaszas et al. 2024, SoftwareX 27, 101860) against ours.

Usage: python benchmarks/science/defects_diffault.py [DATA]     (default: ../shared/data beside the
repository)

DifFault's reference spectra say neither parameters nor conventions. Found by looking and by fitting: the
axis is
N = h^2 + k^2 + l^2 and is used as if it were 2 sin(theta) / lambda in 1/nm, in the strain term too; each
line is
scaled to its maximum; it sits one point below the grid point next to N. Size (log-normal spheres) and strain
(Wilkens) are ours; what is fitted are median, sigma, rho b^2 Ch00, Re, q and the fault probability, 6
numbers for
4096 points. Wanted: 3 % of the maximum.

Planar faults come twice. ``its``: with the formulas DifFault documents, which depart from the exact rods:
widths and
shifts are too large by 2 pi / 3 (1/3 where 1/(2 pi) belongs), lines with h + k + l = 3n are given a width and
are shifted, and all shift the same way (Warren: 111 and 200 oppositely). ``exact``: with
models/defects/faults.
Twins, which do not shift, agree; for stacking faults no value of alpha makes the two alike. That is printed
too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares
from streamproc.models.defects.dislocations import Contrast, strain_coefficients
from streamproc.models.defects.faults import Faults, family_coefficients, split_family
from streamproc.models.defects.size import size_coefficients

BCC = [(1, 1, 0), (2, 0, 0), (2, 1, 1), (2, 2, 0), (3, 1, 0)]
FCC = [(1, 1, 1), (2, 0, 0), (2, 2, 0), (3, 1, 1), (2, 2, 2)]
SUMS = {
    (1, 1, 1): (3, 1, 1, 1),
    (2, 0, 0): (2,),
    (2, 2, 0): (4, 0),
    (3, 1, 1): (5, 1, 3),
    (2, 2, 2): (6, 2, 2, 2),
}
"""h + k + l of the members DifFault counts."""

A_NM, POINTS = 0.36, 8192
WANTED = 0.03
SPECTRA = {
    "BCC_iron": None,
    "FCC_copper_twin": "growth",
    "FCC_copper_stacking_intrinsic": "deformation",
    "FCC_copper_stacking_extrinsic": "extrinsic",
}


def its_faults(length: np.ndarray, hkl: tuple[int, ...], kind: str, p: float) -> np.ndarray:
    """Fault coefficients by DifFault's documented formulas."""
    norm = 3 * A_NM * np.sqrt(np.dot(hkl, hkl))
    decay = 2 * p / np.sqrt(1 - p) if kind == "growth" else -np.log(1 - 3 * p + 3 * p * p)
    sign = {"growth": 0.0, "deformation": 1.0, "extrinsic": -1.0}[kind]
    turn = sign * (np.pi / 3 - np.arctan(np.sqrt(3) * (1 - 2 * p)))
    out = np.zeros(length.shape, complex)
    for total in SUMS[hkl]:
        width = 0.01 if total % 3 == 0 else total / norm * decay
        out += np.exp(-np.pi * width * length + 2j * np.pi * length * total / norm * turn)
    return out / len(SUMS[hkl])


def spectrum(
    values: np.ndarray, kind: str | None, exact: bool, axis: np.ndarray, heights: np.ndarray
) -> np.ndarray:
    """Five lines on the reference's axis."""
    median, sigma, strength, cutoff, fault = np.exp(values[:5])
    step = axis[1] - axis[0]
    length = np.fft.rfftfreq(POINTS, step)[:2500]
    contrast = Contrast(1.0, values[5])
    out = np.zeros(axis.size)
    for height, hkl in zip(heights, BCC if kind is None else FCC, strict=True):
        n = float(np.dot(hkl, hkl))
        a = size_coefficients(length, median, sigma) * strain_coefficients(
            length, n, strength, cutoff, 1.0, contrast.of(hkl)
        )
        if kind and exact:
            a = a * family_coefficients(
                length, split_family(hkl, (A_NM,), "fcc"), Faults(**{kind: fault}), "fcc"
            )
        elif kind:
            a = a * its_faults(length, hkl, kind, fault)
        line = np.fft.irfft(np.conj(a), POINTS)
        place = int(np.argmin(np.abs(axis - n))) - 1
        out += height * np.roll(line, place)[: axis.size] / line.max()
    return out


def fit(axis: np.ndarray, seen: np.ndarray, kind: str | None, exact: bool) -> tuple[np.ndarray, float]:
    """Parameters and the largest departure over the maximum."""
    tops = [int(np.argmin(np.abs(axis - np.dot(hkl, hkl)))) for hkl in (BCC if kind is None else FCC)]
    heights = np.array([seen[max(top - 60, 0) : top + 60].max() for top in tops])

    def left(values: np.ndarray) -> np.ndarray:
        return spectrum(values, kind, exact, axis, heights) - seen

    start = [*np.log([30, 0.3, 1e-4, 12, 0.03]), 1.7]
    bounds = ([*np.log([1, 0.01, 1e-6, 1, 1e-3]), -1], [*np.log([1000, 1.5, 1e-2, 400, 0.2]), 2.9])
    found = least_squares(left, start, bounds=bounds, x_scale=0.1, max_nfev=60)
    return np.r_[np.exp(found.x[:5]), found.x[5]], float(np.abs(found.fun).max() / seen.max())


def main() -> int:
    default = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else default) / "defect_diffault"
    if not folder.is_dir():
        print(f"not measured: there is no {folder}")
        return 2
    reached = True
    print(f"{'spectrum':30s} faults departure   median  sigma  rho b2 Ch00      Re      q   fault")
    for name, kind in SPECTRA.items():
        axis, seen = np.loadtxt(folder / f"{name}.dat").T
        for exact in (False, True) if kind else (False,):
            values, worst = fit(axis, seen, kind, exact)
            word = "none" if kind is None else "exact" if exact else "its"
            m, sigma, strength, cutoff, fault, q = values
            faults = f"{fault:7.4f}" if kind else "      -"
            print(
                f"{name:30s} {word:6s} {100 * worst:8.3f} %  {m:6.2f} {sigma:6.3f} {strength:12.3e} "
                f"{cutoff:7.2f} {q:6.3f} {faults}"
            )
            wanted = not exact or kind == "growth"
            reached &= worst < WANTED or not wanted
    print(f"wanted: 3 % for all but 'exact' stacking faults: {'reached' if reached else 'NOT reached'}")
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
